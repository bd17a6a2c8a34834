"""DistilBERT (Sanh et al. 2019): BERT with half of the layers, without segments and without a pooler.

Sizes: BERT's (see bert.py) with half of their layers, as section 3 of the paper makes base of BERT base.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmkit.models.families.base import Family
from llmkit.models.families.encoder import Encoder, heads_of
from llmkit.models.families.heads import VocabularyHead
from llmkit.models.families.sizes import initial_spread, square

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerFast

    from llmkit.recipe.blocks import ScratchModel

_MASKED_LM_HEAD = ("vocab_transform", "vocab_layer_norm", "vocab_projector")


class DistilBert(Encoder):
    name = "distilbert"
    model_types = ("distilbert",)
    heads = heads_of("DistilBert")
    sizes = {
        "tiny": square(1, 128),
        "mini": square(2, 256),
        "small": square(2, 512),
        "medium": square(4, 512),
        "base": square(6, 768),
        "large": square(12, 1024),
    }
    size_parameters = {
        "tiny": 1_304_834,
        "mini": 3_825_410,
        "small": 10_927_618,
        "medium": 17_232_386,
        "base": 49_658_114,
        "large": 160_924_674,
    }
    layers = {"num_hidden_layers": "transformer.layer."}
    other_parts = ("classifier", "pre_classifier", "qa_outputs", *_MASKED_LM_HEAD)
    new_weights = (*Family.new_weights, "pre_classifier.", *(f"{part}." for part in _MASKED_LM_HEAD))
    vocabulary = "vocab_projector."
    lora_targets = ("q_lin", "v_lin")
    has_pooler = False

    def scratch_config(self, block: ScratchModel, tokenizer: PreTrainedTokenizerFast) -> PreTrainedConfig:
        from transformers import DistilBertConfig

        size = self.size(block.size)
        return DistilBertConfig(
            vocab_size=len(tokenizer),
            dim=size.hidden,
            n_layers=size.layers,
            n_heads=size.heads,
            hidden_dim=size.feed_forward,
            initializer_range=initial_spread(size.hidden),
            dropout=block.dropout,
            seq_classif_dropout=block.dropout,
            qa_dropout=block.dropout,
            attention_dropout=block.dropout if block.attention_dropout is None else block.attention_dropout,
            pad_token_id=tokenizer.pad_token_id,
        )

    def masked_lm_head(self, model: Any) -> VocabularyHead:
        def transform(states: Any) -> Any:  # (..., D)
            return model.vocab_layer_norm(model.activation(model.vocab_transform(states)))

        return VocabularyHead(transform, model.vocab_projector.weight, model.vocab_projector.bias)

"""BERT (Devlin et al. 2019).

Sizes: tiny to base from Turc et al. 2019, "Well-Read Students Learn Better", table 1 (and the google-research/bert
README); base and large from Devlin et al. 2019, section 3. Feed-forward 4 x hidden, a head per 64 units.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmkit.errors import ModelError
from llmkit.models.families.base import Family, Head, LearningRates, VocabularyHead, initial_spread, square
from llmkit.models.segments import token_types

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

    from llmkit.recipe.blocks import ScratchModel

BERT_TOKENS = {f"{role}_token": f"[{role.upper()}]" for role in ("pad", "unk", "cls", "sep", "mask")}


class Bert(Family):
    name = "bert"
    model_types = ("bert",)
    heads = {
        "classification": "BertForSequenceClassification",
        "embedding": "BertModel",
        "masked-lm": "BertForMaskedLM",
        "question-answering": "BertForQuestionAnswering",
        "token-classification": "BertForTokenClassification",
    }
    sizes = {
        "tiny": square(2, 128),
        "mini": square(4, 256),
        "small": square(4, 512),
        "medium": square(8, 512),
        "base": square(12, 768),
        "large": square(24, 1024),
    }
    learning_rates = LearningRates(pretrained=5e-5, random=1e-3, lora=4e-4)
    tokenizer = "wordpiece"
    special_tokens = BERT_TOKENS
    needed_tokens = ("cls", "sep", "pad")
    # Plain transformers must tell a saved BERT where the second text of a pair begins, as llmkit does.
    model_input_names = ("input_ids", "token_type_ids", "attention_mask")
    layers = {"num_hidden_layers": "encoder.layer."}
    other_parts = ("classifier", "cls", "pooler", "qa_outputs")
    new_weights = (*Family.new_weights, "bert.pooler.")
    vocabulary = "cls.predictions.decoder."
    lora_targets = ("query", "value")

    def scratch_config(self, block: ScratchModel, tokenizer: PreTrainedTokenizerFast) -> PreTrainedConfig:
        from transformers import BertConfig

        size = self.size(block.size)
        return BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=size.hidden,
            num_hidden_layers=size.layers,
            num_attention_heads=size.heads,
            intermediate_size=size.feed_forward,
            initializer_range=initial_spread(size.hidden),
            hidden_dropout_prob=block.dropout,
            attention_probs_dropout_prob=block.dropout if block.attention_dropout is None else block.attention_dropout,
            pad_token_id=tokenizer.pad_token_id,
        )

    def load_options(self, head: Head) -> dict[str, Any]:
        """No pooler for vectors: many checkpoints have none, and random weights must not be used."""
        return {"add_pooling_layer": False} if head == "embedding" else {}

    def prepare(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, head: Head) -> None:
        from llmkit.models.first_token import read_first_token_only

        if head == "classification":
            read_first_token_only(model)

    def masked_lm_head(self, model: Any) -> VocabularyHead:
        head = model.cls.predictions
        return VocabularyHead(head.transform, head.decoder.weight, head.decoder.bias)

    def check_pairs(self, config: PreTrainedConfig, *, name: str) -> None:
        if config.type_vocab_size < 2:
            raise ModelError(f"{name}: it has only one segment (type_vocab_size), so it cannot read pairs.")

    def segment_inputs(self, input_ids: Tensor, tokenizer: PreTrainedTokenizerFast) -> dict[str, Tensor]:
        return {"token_type_ids": token_types(input_ids, tokenizer.sep_token_id)}  # (B, T)

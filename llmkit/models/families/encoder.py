"""What encoders share: models with BERT's tasks, config keys and special tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from llmkit.errors import ModelError
from llmkit.models.families.base import Family, TokenizerAlgorithm
from llmkit.models.families.heads import Head, VocabularyHead
from llmkit.models.families.sizes import LearningRates, initial_spread, square

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedConfig, PreTrainedTokenizerFast

    from llmkit.recipe.blocks import ScratchModel

BERT_TOKENS = {f"{role}_token": f"[{role.upper()}]" for role in ("pad", "unk", "cls", "sep", "mask")}
ROBERTA_TOKENS = {
    "bos_token": "<s>",
    "cls_token": "<s>",
    "pad_token": "<pad>",
    "eos_token": "</s>",
    "sep_token": "</s>",
    "unk_token": "<unk>",
    "mask_token": "<mask>",
}
BERT_SIZES = {
    "tiny": square(2, 128),
    "mini": square(4, 256),
    "small": square(4, 512),
    "medium": square(8, 512),
    "base": square(12, 768),
    "large": square(24, 1024),
}
"""tiny to base from Turc et al. 2019, "Well-Read Students Learn Better", table 1 (and the google-research/bert README); base
and large from Devlin et al. 2019, section 3. Feed-forward 4 x hidden, a head per 64 units."""


def heads_of(prefix: str) -> Mapping[Head, str]:
    """The usual names of classes with a family's prefix."""
    names: dict[Head, str] = {
        "classification": "ForSequenceClassification",
        "embedding": "Model",
        "masked-lm": "ForMaskedLM",
        "question-answering": "ForQuestionAnswering",
        "token-classification": "ForTokenClassification",
    }
    return {head: f"{prefix}{name}" for head, name in names.items()}


class Encoder(Family):
    config_class: ClassVar[str]
    """In transformers."""
    sizes: ClassVar[Mapping[str, Any]] = BERT_SIZES
    learning_rates = LearningRates(pretrained=5e-5, random=1e-3, lora=4e-4)
    tokenizer: ClassVar[TokenizerAlgorithm] = "wordpiece"
    special_tokens: ClassVar[Mapping[str, str]] = BERT_TOKENS
    needed_tokens = ("cls", "sep", "pad")
    model_input_names: ClassVar[tuple[str, ...] | None] = ("input_ids", "attention_mask")
    layers: ClassVar[Mapping[str, str]] = {"num_hidden_layers": "encoder.layer."}
    lora_targets: ClassVar[tuple[str, ...]] = ("query", "value")
    has_pooler: ClassVar[bool] = True
    """Whether the class without a head has a layer after the last one, which vectors do not use."""

    def scratch_config(self, block: ScratchModel, tokenizer: PreTrainedTokenizerFast) -> PreTrainedConfig:
        import transformers

        size = self.size(block.size)
        config: PreTrainedConfig = getattr(transformers, self.config_class)(
            vocab_size=len(tokenizer),
            hidden_size=size.hidden,
            num_hidden_layers=size.layers,
            num_attention_heads=size.heads,
            intermediate_size=size.feed_forward,
            initializer_range=initial_spread(size.hidden),
            pad_token_id=tokenizer.pad_token_id,
            **self.dropout_keys(block),
            **self.scratch_keys(tokenizer, hidden=size.hidden),
        )
        return config

    def dropout_keys(self, block: ScratchModel) -> dict[str, float]:
        attention = block.dropout if block.attention_dropout is None else block.attention_dropout
        return {"hidden_dropout_prob": block.dropout, "attention_probs_dropout_prob": attention}

    def scratch_keys(self, tokenizer: PreTrainedTokenizerFast, *, hidden: int) -> dict[str, Any]:
        """Other keys of the config of random weights."""
        return {}

    def load_options(self, head: Head) -> dict[str, Any]:
        """No pooler for vectors: many checkpoints have none, and random weights must not be used."""
        return {"add_pooling_layer": False} if head == "embedding" and self.has_pooler else {}


class SegmentEncoder(Encoder):
    """An encoder that is told where the second text of a pair begins."""

    # Plain transformers must tell a saved model, as llmkit does.
    model_input_names = ("input_ids", "token_type_ids", "attention_mask")

    def check_pairs(self, config: PreTrainedConfig, *, name: str) -> None:
        if config.type_vocab_size < 2:
            raise ModelError(f"{name}: it has only one segment (type_vocab_size), so it cannot read pairs.")

    def segment_inputs(self, input_ids: Tensor, tokenizer: PreTrainedTokenizerFast) -> dict[str, Tensor]:
        from llmkit.models.segments import token_types

        return {"token_type_ids": token_types(input_ids, tokenizer.sep_token_id)}  # (B, T)


class RobertaPositions(Encoder):
    """Positions begin behind that of padding, so that 514 of them are 512 tokens; a pair has two separators."""

    special_tokens = ROBERTA_TOKENS
    pads_before_positions = True
    separators = 2
    other_parts = ("classifier", "lm_head", "pooler", "qa_outputs")
    new_weights = (*Family.new_weights, "lm_head.")
    output_modules = ("classifier.out_proj",)

    def positions(self, config: PreTrainedConfig) -> int | None:
        return int(config.max_position_embeddings) - int(config.pad_token_id) - 1

    def masked_lm_head(self, model: Any) -> VocabularyHead:
        from torch.nn import functional

        head = model.lm_head

        def transform(states: Any) -> Any:  # (..., D)
            return head.layer_norm(functional.gelu(head.dense(states)))

        return VocabularyHead(transform, head.decoder.weight, head.decoder.bias)

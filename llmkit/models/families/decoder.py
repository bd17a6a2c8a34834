"""What decoders share: models that predict the next token, and classify a text by the state of its last one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from llmkit.errors import UsageError
from llmkit.models.families.base import Family, TokenizerAlgorithm
from llmkit.models.families.heads import Head
from llmkit.models.families.sizes import LearningRates

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

    from llmkit.recipe.blocks import ScratchModel

END_OF_TEXT = "<|endoftext|>"


def decoder_heads(prefix: str) -> Mapping[Head, str]:
    """The usual names of classes with a family's prefix."""
    return {"causal-lm": f"{prefix}ForCausalLM", "classification": f"{prefix}ForSequenceClassification"}


class Decoder(Family):
    no_head = {
        "embedding": (
            "Its tokens attend only to earlier ones, so its hidden states do not represent a whole text; "
            "`llmkit embed` supports BERT and T5"
        )
    }
    sizes: ClassVar[Mapping[str, Any]] = {}
    learning_rates = LearningRates(pretrained=5e-5, random=1e-3, lora=2e-4)
    tokenizer: ClassVar[TokenizerAlgorithm] = "bpe"
    # The attention mask marks padding, never the id.
    special_tokens: ClassVar[Mapping[str, str]] = {
        "bos_token": END_OF_TEXT,
        "eos_token": END_OF_TEXT,
        "pad_token": END_OF_TEXT,
    }
    needed_tokens = ("eos", "pad")
    padding_side = "left"  # generation continues the right end of a prompt
    cleans_up_spaces = False  # it would delete spaces that the model generated
    other_parts: ClassVar[tuple[str, ...]] = ("classifier", "lm_head", "qa_outputs", "score")
    lora_targets: ClassVar[tuple[str, ...]] = ("q_proj", "v_proj")
    continues_prompts = True

    def scratch_config(self, block: ScratchModel, tokenizer: PreTrainedTokenizerFast) -> PreTrainedConfig:
        raise UsageError(f"model.architecture: {self.name} has no sizes for random weights; use gpt2 or llama.")

    def prepare(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, head: Head) -> None:
        """Set up padding so that transformers' classifier finds the last token of each text in a batch."""
        if head == "classification":
            tokenizer.padding_side = "right"  # on the left it would shift the positions
            model.config.pad_token_id = tokenizer.pad_token_id
            model.config.use_cache = False

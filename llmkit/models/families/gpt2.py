"""GPT-2 (Radford et al. 2019).

Sizes: small, medium, large and xl from its table 2. That table starts at 124 M parameters; tiny and mini take width and
depth of Turc et al. 2019, "Well-Read Students Learn Better", table 1, with GPT-2's own block.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmkit.models.families.decoder import END_OF_TEXT, Decoder
from llmkit.models.families.sizes import Size, initial_spread, square

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerFast

    from llmkit.recipe.blocks import ScratchModel

__all__ = ["END_OF_TEXT", "Gpt2"]


class Gpt2(Decoder):
    name = "gpt2"
    model_types = ("gpt2",)
    heads = {"causal-lm": "GPT2LMHeadModel", "classification": "GPT2ForSequenceClassification"}
    sizes = {
        "tiny": square(2, 128),
        "mini": square(4, 256),
        "small": square(12, 768),
        "medium": square(24, 1024),
        "large": square(36, 1280),
        "xl": Size(layers=48, hidden=1600, heads=25, feed_forward=6400, head_dim=64),
    }
    size_parameters = {
        "tiny": 1_551_872,
        "mini": 5_469_696,
        "small": 91_986_432,
        "medium": 311_552_000,
        "large": 719_941_120,
        "xl": 1_490_000_000,
    }
    layers = {"num_hidden_layers": "h."}
    other_parts = ("classifier", "lm_head", "multiple_choice_head", "qa_outputs", "score")
    output_modules = ("score", "transformer.ln_f")
    lora_targets = ("c_attn",)  # queries, keys and values are one matrix
    swaps_matrices = True

    def scratch_config(self, block: ScratchModel, tokenizer: PreTrainedTokenizerFast) -> PreTrainedConfig:
        from transformers import GPT2Config

        size = self.size(block.size)
        return GPT2Config(
            vocab_size=len(tokenizer),
            n_embd=size.hidden,
            n_layer=size.layers,
            n_head=size.heads,
            initializer_range=initial_spread(size.hidden),
            resid_pdrop=block.dropout,
            embd_pdrop=block.dropout,
            attn_pdrop=block.dropout if block.attention_dropout is None else block.attention_dropout,
            bos_token_id=tokenizer.eos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )

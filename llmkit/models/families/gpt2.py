"""GPT-2 (Radford et al. 2019).

Sizes: small, medium, large and xl from its table 2. That table starts at 124 M parameters; tiny and mini take width and
depth of Turc et al. 2019, "Well-Read Students Learn Better", table 1, with GPT-2's own block.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmkit.models.families.base import Family, Head, LearningRates, Size, initial_spread, square

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

    from llmkit.recipe.blocks import ScratchModel

END_OF_TEXT = "<|endoftext|>"


class Gpt2(Family):
    name = "gpt2"
    model_types = ("gpt2",)
    heads = {"causal-lm": "GPT2LMHeadModel", "classification": "GPT2ForSequenceClassification"}
    no_head = {
        "embedding": (
            "Its tokens attend only to earlier ones, so its hidden states do not represent a whole text; "
            "`llmkit embed` supports BERT and T5"
        )
    }
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
    learning_rates = LearningRates(pretrained=5e-5, random=1e-3, lora=2e-4)
    tokenizer = "bpe"
    # The attention mask marks padding, never the id.
    special_tokens = {"bos_token": END_OF_TEXT, "eos_token": END_OF_TEXT, "pad_token": END_OF_TEXT}
    needed_tokens = ("eos", "pad")
    padding_side = "left"  # generation continues the right end of a prompt
    cleans_up_spaces = False  # it would delete spaces that the model generated
    layers = {"num_hidden_layers": "h."}
    other_parts = ("classifier", "lm_head", "multiple_choice_head", "qa_outputs", "score")
    output_modules = ("score", "transformer.ln_f")
    lora_targets = ("c_attn",)  # queries, keys and values are one matrix
    swaps_matrices = True
    continues_prompts = True

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

    def prepare(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, head: Head) -> None:
        """Set up padding so that transformers' classifier finds the last token of each text in a batch."""
        if head == "classification":
            tokenizer.padding_side = "right"  # on the left it would shift the positions
            model.config.pad_token_id = tokenizer.pad_token_id
            model.config.use_cache = False

"""Llama (Touvron et al. 2023), and the models with its architecture, whose classes differ by name: Mistral (Jiang et al. 2023,
attention to near tokens), Qwen2 (Yang et al. 2024, biases of queries, keys and values) and Qwen3 (Yang et al. 2025, norms
of queries and keys).

Rotary positions, gated feed-forward layers, and several heads of queries for a head of keys and values.

Sizes: small and medium from Ben Allal et al. 2025, "SmolLM2" (the configs of SmolLM2-135M and SmolLM2-360M), large from
Zhang et al. 2024, "TinyLlama", table 1, xl from the config of SmolLM2-1.7B. tiny and mini take width and depth of Turc et
al. 2019, "Well-Read Students Learn Better", table 1, as GPT-2's; three matrices of 8/3 of the width have as many parameters
as two of four times the width (Shazeer 2020, section 2), rounded up to a multiple of 64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmkit.errors import ModelError
from llmkit.models.families.decoder import Decoder, decoder_heads
from llmkit.models.families.sizes import SIZE_KEYS, Size, initial_spread

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerFast

    from llmkit.recipe.blocks import ScratchModel


class Llama(Decoder):
    name = "llama"
    no_dropout = "Llama has dropout on attention weights only"
    model_types = ("llama", "mistral", "qwen2", "qwen3")
    class_prefixes = {"llama": "Llama", "mistral": "Mistral", "qwen2": "Qwen2", "qwen3": "Qwen3"}
    heads = decoder_heads("Llama")
    sizes = {
        "tiny": Size(layers=2, hidden=128, heads=2, feed_forward=384, head_dim=64),
        "mini": Size(layers=4, hidden=256, heads=4, feed_forward=704, head_dim=64),
        "small": Size(layers=30, hidden=576, heads=9, feed_forward=1536, head_dim=64, key_value_heads=3),
        "medium": Size(layers=32, hidden=960, heads=15, feed_forward=2560, head_dim=64, key_value_heads=5),
        "large": Size(layers=22, hidden=2048, heads=32, feed_forward=5632, head_dim=64, key_value_heads=4),
        "xl": Size(layers=24, hidden=2048, heads=32, feed_forward=8192, head_dim=64),
    }
    size_parameters = {
        "tiny": 1_450_624,
        "mini": 5_261_568,
        "small": 110_811_456,
        "medium": 322_315_200,
        "large": 985_360_384,
        "xl": 1_627_097_088,
    }
    size_keys = (*SIZE_KEYS, "num_key_value_heads")
    layers = {"num_hidden_layers": "layers."}
    output_modules = ("score",)

    def scratch_config(self, block: ScratchModel, tokenizer: PreTrainedTokenizerFast) -> PreTrainedConfig:
        from transformers import LlamaConfig

        size = self.size(block.size)
        return LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=size.hidden,
            intermediate_size=size.feed_forward,
            num_hidden_layers=size.layers,
            num_attention_heads=size.heads,
            num_key_value_heads=size.key_value_heads or size.heads,
            rms_norm_eps=1e-5,
            initializer_range=initial_spread(size.hidden),
            attention_dropout=block.attention_dropout or 0.0,
            tie_word_embeddings=True,  # as SmolLM2; a matrix of its own would be half of a small model
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )

    def check_config(self, config: PreTrainedConfig, *, name: str) -> None:
        heads, groups, units = config.num_attention_heads, config.num_key_value_heads, self._head_dim(config)
        if heads % groups:
            raise ModelError(
                f"{name}: its config has num_attention_heads: {heads}, which is not a multiple of "
                f"num_key_value_heads: {groups}."
            )
        if units % 2:
            raise ModelError(f"{name}: its config has head_dim: {units}; rotary positions need an even number.")
        kinds = getattr(config, "layer_types", None) or ()
        if "sliding_attention" in kinds and config.sliding_window is None:
            raise ModelError(f"{name}: its config has layer_types with sliding_attention, but no sliding_window.")

    def attention_width(self, config: PreTrainedConfig) -> int:
        return int(config.num_attention_heads) * self._head_dim(config)

    def _head_dim(self, config: PreTrainedConfig) -> int:
        """Of Qwen2, whose config has none, the width divided by the heads."""
        units: int | None = getattr(config, "head_dim", None)
        return units or int(config.hidden_size) // int(config.num_attention_heads)

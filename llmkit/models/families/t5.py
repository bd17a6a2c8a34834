"""T5 (Raffel et al. 2020) and mT5 (Xue et al. 2021), whose classes differ only by name.

Sizes: tiny and mini from Tay et al. 2021, "Scale Efficiently", table 2; small, base, large and xl (3B) from Raffel et
al. 2020, section 3.7.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llmkit.errors import ModelError
from llmkit.models.families.base import Family
from llmkit.models.families.heads import Head, VocabularyHead
from llmkit.models.families.seq2seq_parts import Attention, DecoderLayer, Seq2SeqParts, shifted_right
from llmkit.models.families.sizes import SIZE_KEYS, LearningRates, Size

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

    from llmkit.recipe.blocks import ScratchModel

_MT5 = "mt5"


class T5(Family):
    name = "t5"
    model_types = ("t5", _MT5)
    heads = {
        "seq2seq-lm": "T5ForConditionalGeneration",
        "embedding": "T5EncoderModel",
        # The encoder with a linear head; the logits of a text are the mean over its tokens (models/text_logits.py).
        "classification": "T5ForTokenClassification",
    }
    sizes = {
        "tiny": Size(layers=4, hidden=256, heads=4, feed_forward=1024, head_dim=32),
        "mini": Size(layers=4, hidden=384, heads=8, feed_forward=1536, head_dim=32),
        "small": Size(layers=6, hidden=512, heads=8, feed_forward=2048, head_dim=64),
        "base": Size(layers=12, hidden=768, heads=12, feed_forward=3072, head_dim=64),
        "large": Size(layers=24, hidden=1024, heads=16, feed_forward=4096, head_dim=64),
        "xl": Size(layers=24, hidden=1024, heads=32, feed_forward=16384, head_dim=128),
    }
    size_keys = (*SIZE_KEYS, "num_decoder_layers")
    size_parameters = {
        "tiny": 7_821_056,
        "mini": 17_236_736,
        "small": 48_153_088,
        "base": 204_373_248,
        "large": 712_961_024,
        "xl": 2_826_891_264,
    }
    learning_rates = LearningRates(pretrained=3e-4, random=1e-3, lora=1e-3)
    no_attention_dropout = "T5 has a single dropout rate"
    random_optimizer = "adamw-scaled"  # Nawrot 2023
    tokenizer = "unigram"
    special_tokens = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    needed_tokens = ("eos", "pad")
    layers = {"num_hidden_layers": "encoder.block.", "num_decoder_layers": "decoder.block."}
    other_parts = ("classification_head", "classifier", "decoder", "lm_head", "qa_outputs")
    is_encoder_decoder = True
    objectives = ("span-corruption",)
    decoder_layers = "num_decoder_layers"
    lora_targets = ("q", "v")

    def scratch_config(self, block: ScratchModel, tokenizer: PreTrainedTokenizerFast) -> PreTrainedConfig:
        from transformers import T5Config

        size = self.size(block.size)
        return T5Config(
            vocab_size=len(tokenizer),
            d_model=size.hidden,
            d_kv=size.head_dim,
            d_ff=size.feed_forward,
            num_layers=size.layers,
            num_heads=size.heads,
            dropout_rate=block.dropout,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            decoder_start_token_id=tokenizer.pad_token_id,  # Raffel et al.: the decoder starts from padding
        )

    def model_class(self, head: Head, *, model_type: str | None = None) -> type[PreTrainedModel]:
        import transformers

        cls = super().model_class(head)
        # The encoder alone has the same weights in both.
        name = f"M{cls.__name__}" if model_type == _MT5 and head != "embedding" else cls.__name__
        known: type[PreTrainedModel] = getattr(transformers, name)
        return known

    def check_config(self, config: PreTrainedConfig, *, name: str) -> None:
        """Half of the buckets are for single distances, the others for those up to the largest."""
        distance, buckets = config.relative_attention_max_distance, config.relative_attention_num_buckets
        if distance <= buckets // 2:
            raise ModelError(
                f"{name}: its config has relative_attention_max_distance: {distance}; with "
                f"relative_attention_num_buckets: {buckets} it must be more than {buckets // 2}."
            )

    def scale_new_head(self, model: PreTrainedModel) -> None:
        """transformers initializes a linear head of T5 with a standard deviation of 1 (5.x), which gives logits in the tens
        before the first step; it scales its other new heads like this."""
        import torch

        classifier = getattr(model, "classifier", None)
        if isinstance(classifier, torch.nn.Linear):
            with torch.no_grad():
                classifier.weight.mul_(model.config.d_model**-0.5)

    def default_prefix(self, config: PreTrainedConfig, prefix: str) -> str:
        """None for mT5, which was pretrained without task prefixes."""
        return "" if config.model_type == _MT5 else prefix

    def layers_of(self, head: Head) -> Mapping[str, str]:
        """The other heads are on the encoder alone."""
        if head == "seq2seq-lm":
            return self.layers
        return {key: prefix for key, prefix in self.layers.items() if key != self.decoder_layers}

    def seq2seq_parts(self, model: Any) -> Seq2SeqParts:
        config, decoder = model.config, model.decoder
        scales = getattr(config, "scale_decoder_outputs", False)  # T5 1.0 with tied embeddings; neither 1.1 nor mT5

        def scaled(states: Tensor) -> Tensor:
            return states * model.model_dim**-0.5 if scales else states

        return Seq2SeqParts(
            decoder_inputs=lambda labels: shifted_right(
                labels, start=config.decoder_start_token_id, pad=config.pad_token_id
            ),
            embed=lambda ids, position: decoder.embed_tokens(ids),
            layers=[_decoder_layer(block) for block in decoder.block],
            last_norm=decoder.final_layer_norm,
            position_bias=lambda tokens: decoder.block[0].layer[0].SelfAttention.compute_bias(tokens, tokens),
            head=VocabularyHead(scaled, model.lm_head.weight, None),
        )

    def refuse_precision(self, precision: str, device: torch.device) -> str | None:
        return "T5's activations overflow in fp16" if precision == "fp16" else None

    def attention_width(self, config: PreTrainedConfig) -> int:
        width: int = config.num_heads * config.d_kv
        return width


def _decoder_layer(block: Any) -> DecoderLayer:
    self_layer, cross_layer, feed_forward = block.layer
    return DecoderLayer(
        attention=_attention(self_layer.SelfAttention),
        attention_norm=self_layer.layer_norm,
        cross=_attention(cross_layer.EncDecAttention),
        cross_norm=cross_layer.layer_norm,
        feed_forward=feed_forward,
        norm_first=True,
    )


def _attention(module: Any) -> Attention:
    return Attention(module.q, module.k, module.v, module.o, heads=module.n_heads)

"""What BART and the models built like it share: config keys, names of weights, and a decoder that attends to the source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from llmkit.models.families.base import Family, TokenizerAlgorithm
from llmkit.models.families.heads import Head, VocabularyHead
from llmkit.models.families.seq2seq_parts import Attention, DecoderLayer, Map, Seq2SeqParts, shifted_right
from llmkit.models.families.sizes import SIZE_KEYS, LearningRates, initial_spread

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

    from llmkit.recipe.blocks import ScratchModel


class EncoderDecoder(Family):
    size_keys = (
        *SIZE_KEYS,
        "decoder_layers",
        "decoder_attention_heads",
        "encoder_ffn_dim",
        "decoder_ffn_dim",
        "max_position_embeddings",
    )
    config_class: ClassVar[str]
    """In transformers."""
    sizes: ClassVar[Mapping[str, Any]] = {}
    learning_rates = LearningRates(pretrained=5e-5, random=1e-3, lora=4e-4)
    tokenizer: ClassVar[TokenizerAlgorithm] = "unigram"
    special_tokens: ClassVar[Mapping[str, str]] = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    needed_tokens = ("eos", "pad")
    layers: ClassVar[Mapping[str, str]] = {
        "num_hidden_layers": "encoder.layers.",
        "decoder_layers": "decoder.layers.",
    }
    decoder_layers = "decoder_layers"
    other_parts: ClassVar[tuple[str, ...]] = ("classification_head", "final_logits_bias", "lm_head", "qa_outputs")
    new_weights: ClassVar[tuple[str, ...]] = ("classification_head.",)
    output_modules = ("classification_head.out_proj",)
    lora_targets = ("q_proj", "v_proj")
    is_encoder_decoder = True
    norm_first: ClassVar[bool] = False
    """Whether a layer's norms are in front of its attentions and its feed-forward part, or behind them."""
    fixed_positions: ClassVar[bool] = False
    """Whether the table of positions has sines."""
    first_position: ClassVar[int] = 0
    """The row of the table of positions that belongs to the first token."""

    def scratch_config(self, block: ScratchModel, tokenizer: PreTrainedTokenizerFast) -> PreTrainedConfig:
        import transformers

        size = self.size(block.size)
        end = tokenizer.eos_token_id
        config: PreTrainedConfig = getattr(transformers, self.config_class)(
            vocab_size=len(tokenizer),
            d_model=size.hidden,
            encoder_layers=size.layers,
            decoder_layers=size.layers,
            encoder_attention_heads=size.heads,
            decoder_attention_heads=size.heads,
            encoder_ffn_dim=size.feed_forward,
            decoder_ffn_dim=size.feed_forward,
            init_std=initial_spread(size.hidden),
            dropout=block.dropout,
            activation_dropout=block.dropout,
            attention_dropout=block.dropout if block.attention_dropout is None else block.attention_dropout,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=end,
            decoder_start_token_id=end,
            forced_eos_token_id=end,
        )
        return config

    def prepare(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, head: Head) -> None:
        """Positions that are sines are never trained; transformers (5.x) makes them trainable where they are not stored."""
        if self.fixed_positions:
            for stack in (model.get_encoder(), model.get_decoder()):
                stack.embed_positions.requires_grad_(False)

    def default_prefix(self, config: PreTrainedConfig, prefix: str) -> str:
        """None: only T5 was pretrained with task prefixes."""
        return ""

    def seq2seq_parts(self, model: Any) -> Seq2SeqParts:
        decoder = model.get_decoder()
        return Seq2SeqParts(
            decoder_inputs=lambda labels: self.decoder_inputs(labels, config=model.config),
            embed=lambda ids, position: self.embedded(decoder, ids, position),
            layers=[self._decoder_layer(layer) for layer in decoder.layers],
            last_norm=getattr(decoder, "layer_norm", _unchanged),
            position_bias=None,
            head=VocabularyHead(_unchanged, model.lm_head.weight, self.logits_bias(model)),
        )

    def decoder_inputs(self, labels: Tensor, *, config: Any) -> Tensor:
        """(B, T) ids in front of each of the labels (B, T)."""
        return shifted_right(labels, start=config.decoder_start_token_id, pad=config.pad_token_id)

    def embedded(self, decoder: Any, ids: Tensor, position: int) -> Tensor:
        """(..., D) the input of the decoder's first layer, of ids (...) that all have one position."""
        scale = getattr(decoder, "embed_scale", 1.0)  # others scale in the embedding itself
        states = decoder.embed_tokens(ids) * scale + self.position_states(decoder, ids, position)
        norm: Map = getattr(decoder, "layernorm_embedding", _unchanged)
        return norm(states)

    def position_states(self, decoder: Any, ids: Tensor, position: int) -> Tensor:
        """The states of a position, which are added to those of its ids (...): (D,), or (..., D) if they depend on these."""
        states: Tensor = decoder.embed_positions.weight[self.first_position + position]
        return states

    def logits_bias(self, model: Any) -> Tensor | None:
        """(V,) a constant that these models add to their logits."""
        bias: Tensor = model.final_logits_bias[0]
        return bias

    def _decoder_layer(self, layer: Any) -> DecoderLayer:
        def feed_forward(states: Tensor) -> Tensor:  # (..., D)
            inputs = layer.final_layer_norm(states) if self.norm_first else states
            states = states + layer.fc2(layer.activation_fn(layer.fc1(inputs)))
            return states if self.norm_first else layer.final_layer_norm(states)

        return DecoderLayer(
            attention=_attention(layer.self_attn),
            attention_norm=layer.self_attn_layer_norm,
            cross=_attention(layer.encoder_attn),
            cross_norm=layer.encoder_attn_layer_norm,
            feed_forward=feed_forward,
            norm_first=self.norm_first,
        )


def _attention(module: Any) -> Attention:
    return Attention(
        module.q_proj, module.k_proj, module.v_proj, module.out_proj, heads=module.num_heads, scale=module.scaling
    )


def _unchanged(states: Tensor) -> Tensor:
    return states

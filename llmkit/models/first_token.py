"""A BERT classifier uses only the first token's state of the last layer: compute only this one.

Keys and values of the last layer still need every token; its queries, its output and its feed-forward need only the
first. With six layers this saves a seventh of all work, in training and inference. Weights, config, names and results do not change.

Legend: B batch, T tokens, D hidden units.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers import BertForSequenceClassification
from transformers.models.bert.modeling_bert import ALL_ATTENTION_FUNCTIONS, eager_attention_forward


def read_first_token_only(model: BertForSequenceClassification) -> None:
    """Make the last layer return (B, 1, D), which is all that the following pooler uses."""
    layer: Any = model.bert.encoder.layer[-1]
    layer.forward = _FirstTokenForward(layer)


class _FirstTokenForward:
    """Replaces `BertLayer.forward`; a class, so that a copied model has its own copy of the layer."""

    def __init__(self, layer: Any) -> None:
        self.layer = layer

    def __call__(self, hidden_states: Tensor, attention_mask: Tensor | None = None, *args: Any, **kwargs: Any) -> Any:
        attention = self.layer.attention
        self_attention = attention.self
        rows = len(hidden_states)
        shape = (rows, -1, self_attention.num_attention_heads, self_attention.attention_head_size)
        first = hidden_states[:, :1]  # (B, 1, D)
        if attention_mask is not None:
            attention_mask = attention_mask[:, :, :1]  # of (B, 1, T, T)
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(
            self_attention.config._attn_implementation, eager_attention_forward
        )
        attended, _ = attend(
            self_attention,
            self_attention.query(first).view(shape).transpose(1, 2),
            self_attention.key(hidden_states).view(shape).transpose(1, 2),
            self_attention.value(hidden_states).view(shape).transpose(1, 2),
            attention_mask,
            dropout=self_attention.dropout.p if self_attention.training else 0.0,
            scaling=self_attention.scaling,
        )
        output = attention.output(attended.reshape(rows, 1, -1), first)
        return self.layer.feed_forward_chunk(output)

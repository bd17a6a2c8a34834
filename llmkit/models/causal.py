"""The outputs of a decoder for its next tokens, for every task that trains it.

Legend: B batch, T tokens, D hidden units.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from llmkit.models.losses import VocabularyOutputs


def next_token_outputs(model: Any, input_ids: Tensor, attention_mask: Tensor, labels: Tensor) -> VocabularyOutputs:
    """What the loss of the labels that count is computed from.

    Args:
        input_ids: (B, T)
        attention_mask: (B, T)
        labels: (B, T) the target of each output, one position before its token; `IGNORED` elsewhere.
    """
    # A full mask is left out: the fused causal kernel is then used.
    mask = None if attention_mask.all() else attention_mask
    hidden = model.base_model(input_ids=input_ids, attention_mask=mask, use_cache=False).last_hidden_state  # (B, T, D)
    head = model.get_output_embeddings()
    return VocabularyOutputs(hidden, head.weight, labels, head.bias)

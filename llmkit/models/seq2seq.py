"""The loss of T5's and mT5's targets, for every task that generates text.

Legend: B batch, S input tokens, T target tokens, D hidden units.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from llmkit.models.losses import vocabulary_loss_sum


def target_loss_sum(model: Any, input_ids: Tensor, attention_mask: Tensor | None, labels: Tensor) -> Tensor:
    """Scalar: nats over the targets that count.

    Args:
        input_ids: (B, S)
        attention_mask: (B, S), or None without padding.
        labels: (B, T), `IGNORED` at positions that are not targets.
    """
    states = model.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state  # (B, S, D)
    decoder = model.decoder(
        input_ids=model._shift_right(labels),  # the decoder reads the tokens before each target
        encoder_hidden_states=states,
        encoder_attention_mask=attention_mask,
        use_cache=False,
    )
    hidden = head_input(model, decoder.last_hidden_state)  # (B, T, D)
    return vocabulary_loss_sum(hidden, model.lm_head.weight, labels)


def head_input(model: Any, hidden: Tensor) -> Tensor:
    """(..., D) the vocabulary head's input from the decoder's last states (..., D)."""
    scales = getattr(model.config, "scale_decoder_outputs", False)  # T5 1.0 with tied embeddings; neither 1.1 nor mT5
    return hidden * model.model_dim**-0.5 if scales else hidden

"""The outputs for the targets of an encoder-decoder, for every task that generates text.

Legend: B batch, S input tokens, T target tokens, D hidden units.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from llmkit.models.loaded import LoadedModel
from llmkit.models.losses import VocabularyOutputs


def target_outputs(
    loaded: LoadedModel, input_ids: Tensor, attention_mask: Tensor | None, labels: Tensor
) -> VocabularyOutputs:
    """What the loss of the targets that count is computed from.

    Args:
        input_ids: (B, S)
        attention_mask: (B, S), or None without padding.
        labels: (B, T), `IGNORED` at positions that are not targets.
    """
    model: Any = loaded.model
    parts = loaded.family.seq2seq_parts(model)
    states = model.get_encoder()(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state  # (B, S, D)
    decoder = model.get_decoder()(
        input_ids=parts.decoder_inputs(labels),  # the decoder reads the tokens before each target
        encoder_hidden_states=states,
        encoder_attention_mask=attention_mask,
        use_cache=False,
    )
    hidden = parts.head.transform(decoder.last_hidden_state)  # (B, T, D)
    return VocabularyOutputs(hidden, parts.head.weight, labels, parts.head.bias)

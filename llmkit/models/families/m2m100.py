"""M2M100 (Fan et al. 2020) and NLLB (Costa-jussà et al. 2022): translators between any two of their languages.

Their positions are sinusoidal, and count from the one behind padding, which has none. The source begins with its language, and
the target with its own. Not from random weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmkit.models.families.encoder_decoder import EncoderDecoder

if TYPE_CHECKING:
    from torch import Tensor


class M2M100(EncoderDecoder):
    name = "m2m100"
    article = "an"
    model_types = ("m2m_100",)
    heads = {"seq2seq-lm": "M2M100ForConditionalGeneration"}
    translates = True
    config_class = "M2M100Config"
    norm_first = True

    def position_states(self, decoder: Any, ids: Tensor, position: int) -> Tensor:
        states: Tensor = decoder.embed_positions(ids.reshape(-1, 1), None, position)  # (N, 1, D)
        return states.view(*ids.shape, -1)

    def logits_bias(self, model: Any) -> None:
        return None

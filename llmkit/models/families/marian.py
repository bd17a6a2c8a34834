"""Marian's translators (Junczys-Dowmunt et al. 2018), as OPUS-MT publishes them: sinusoidal positions, a decoder that starts
from `<pad>`, and a bias of the logits.

A model with several target languages expects the target in front of the source, such as `>>fra<<`. Not from random weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmkit.errors import ModelError
from llmkit.models.families.encoder_decoder import EncoderDecoder

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


class Marian(EncoderDecoder):
    name = "marian"
    model_types = ("marian",)
    heads = {"seq2seq-lm": "MarianMTModel"}
    translates = True
    config_class = "MarianConfig"
    fixed_positions = True

    def check_config(self, config: PreTrainedConfig, *, name: str) -> None:
        if not config.share_encoder_decoder_embeddings:
            raise ModelError(
                f"{name}: its encoder and its decoder have separate vocabularies (share_encoder_decoder_embeddings: "
                "false), which llmkit does not support. Use a model with one vocabulary."
            )

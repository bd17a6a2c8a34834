"""PEGASUS (Zhang et al. 2020): BART with norms in front and sinusoidal positions, pretrained to write the sentences left out
of a text. Its decoder starts from `<pad>`; it writes `<n>` for a new line. Not from random weights.
"""

from __future__ import annotations

from llmkit.models.families.encoder_decoder import EncoderDecoder


class Pegasus(EncoderDecoder):
    name = "pegasus"
    model_types = ("pegasus",)
    heads = {"seq2seq-lm": "PegasusForConditionalGeneration"}
    config_class = "PegasusConfig"
    fixed_positions = True
    newline = "<n>"
    norm_first = True

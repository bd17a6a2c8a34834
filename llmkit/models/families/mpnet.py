"""MPNet (Song et al. 2020): masked and permuted language modelling; the body of many sentence encoders.

Without segments, and with relative positions beside those of RoBERTa's kind. Not from random weights: its objective is not
implemented.
"""

from __future__ import annotations

from llmkit.models.families.encoder import RobertaPositions, heads_of


class Mpnet(RobertaPositions):
    name = "mpnet"
    article = "an"
    model_types = ("mpnet",)
    heads = heads_of("MPNet")
    sizes = {}
    lora_targets = ("q", "v")
    attention_kernels = ("eager",)

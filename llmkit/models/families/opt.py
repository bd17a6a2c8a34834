"""OPT (Zhang et al. 2022): GPT-2 with ReLU, and `</s>` in front of every text.

Position p is row p + 2 of the table, so that `max_position_embeddings: 2048` are 2,048 tokens and 2,050 rows. OPT-350m has
narrower embeddings with a projection on both sides, and norms behind its layers. Only pretrained models, not from random
weights.
"""

from __future__ import annotations

from llmkit.models.families.decoder import Decoder, decoder_heads


class Opt(Decoder):
    name = "opt"
    article = "an"
    model_types = ("opt",)
    heads = decoder_heads("OPT")
    layers = {"num_hidden_layers": "decoder.layers."}
    output_modules = ("score", "model.decoder.final_layer_norm")

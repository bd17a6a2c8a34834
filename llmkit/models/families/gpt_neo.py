"""GPT-Neo (Black et al. 2021): GPT-2 with attention to near tokens in every other layer.

Its attention divides by nothing, and has no fused kernel. Only pretrained models, not from random weights.
"""

from __future__ import annotations

from llmkit.models.families.decoder import Decoder, decoder_heads


class GptNeo(Decoder):
    name = "gpt_neo"
    model_types = ("gpt_neo",)
    heads = decoder_heads("GPTNeo")
    layers = {"num_hidden_layers": "h."}
    attention_kernels = ("eager",)
    output_modules = ("score", "transformer.ln_f")

"""GPT-NeoX (Black et al. 2022), the architecture of Pythia (Biderman et al. 2023): rotary positions for a part of each head,
attention and feed-forward layer side by side.

Only pretrained models, not from random weights.
"""

from __future__ import annotations

from llmkit.models.families.decoder import Decoder, decoder_heads


class GptNeoX(Decoder):
    name = "gpt_neox"
    model_types = ("gpt_neox",)
    heads = decoder_heads("GPTNeoX")
    layers = {"num_hidden_layers": "layers."}
    other_parts = (*Decoder.other_parts, "embed_out")
    output_modules = ("score", "gpt_neox.final_layer_norm")
    lora_targets = ("query_key_value",)  # queries, keys and values are one matrix
    published_names = {"embed_out.": "lm_head."}

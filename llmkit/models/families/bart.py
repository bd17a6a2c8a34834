"""BART (Lewis et al. 2020): learned positions, norms behind each part of a layer, byte-level BPE with RoBERTa's special tokens.

Its targets begin with `<s>`, and its decoder starts from `</s>`. A classifier reads the decoder's state at the last `</s>`.
Sizes: base and large from Lewis et al. 2020, section 4 (6 and 12 layers in each stack); tiny and mini have the width
and depth of Turc et al. 2019, "Well-Read Students Learn Better", table 1.
"""

from __future__ import annotations

from llmkit.models.families.encoder import ROBERTA_TOKENS
from llmkit.models.families.encoder_decoder import EncoderDecoder
from llmkit.models.families.sizes import LearningRates, square


class Bart(EncoderDecoder):
    name = "bart"
    model_types = ("bart",)
    heads = {
        "seq2seq-lm": "BartForConditionalGeneration",
        "classification": "BartForSequenceClassification",
    }
    config_class = "BartConfig"
    sizes = {"tiny": square(2, 128), "mini": square(4, 256), "base": square(6, 768), "large": square(12, 1024)}
    size_parameters = {"tiny": 2_212_864, "mini": 9_947_136, "base": 106_960_896, "large": 363_012_096}
    # Lewis et al. 2020 give none; 3e-5 is that of fairseq's BART examples for summaries (examples/bart).
    learning_rates = LearningRates(pretrained=3e-5, random=1e-3, lora=4e-4)
    tokenizer = "bpe"
    special_tokens = ROBERTA_TOKENS
    model_input_names = ("input_ids", "attention_mask")
    objectives = ("denoising",)
    separators = 2
    cleans_up_spaces = False  # byte-level BPE restores the text
    first_position = 2

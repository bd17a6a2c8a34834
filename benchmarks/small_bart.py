"""A BART and a Marian with random weights, of the size of the published Marian models and with the tokenizer of small_t5.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from small_t5 import SPECIAL, VOCABULARY, write_words_tokenizer

END_SPREAD = 1.6
"""Standard deviation of the end token's logit relative to other tokens, so that some texts end before the limit."""


def write_like_bart(folder: Path, family: Literal["bart", "marian"]) -> None:
    """A model folder: six layers of 512 units in each stack. The head is not tied: a tied one would repeat the last token."""
    import torch
    from transformers import BartConfig, BartForConditionalGeneration, MarianConfig, MarianMTModel

    torch.manual_seed(17)
    write_words_tokenizer(folder, [f"w{index}" for index in range(len(SPECIAL), VOCABULARY)])
    layers = {"encoder_layers": 6, "decoder_layers": 6, "encoder_attention_heads": 8, "decoder_attention_heads": 8}
    sizes = {"d_model": 512, "encoder_ffn_dim": 2048, "decoder_ffn_dim": 2048, "max_position_embeddings": 512, **layers}
    ids = {"pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 1, "forced_eos_token_id": None}
    keys: dict[str, Any] = {"vocab_size": VOCABULARY, "tie_word_embeddings": False, **sizes, **ids}
    model: Any = (
        BartForConditionalGeneration(BartConfig(decoder_start_token_id=1, **keys))
        if family == "bart"
        else MarianMTModel(MarianConfig(decoder_start_token_id=0, scale_embedding=True, **keys))
    )
    with torch.no_grad():
        head = torch.randn(VOCABULARY, 512) * 0.2
        head[1] *= END_SPREAD
        head[0] = head[2] = 0.0  # padding and unknown words are never written
        model.lm_head.weight.copy_(head)
    model.save_pretrained(folder)

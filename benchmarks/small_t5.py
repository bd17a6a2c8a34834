"""Two T5 with random weights: one of the size of t5-small that ends its texts at uneven lengths, and a smaller one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

SPECIAL = ("<pad>", "</s>", "<unk>")
VOCABULARY = 32128
LOGIT_SPREAD = 5.0
"""Standard deviation of the logits: the most probable token then has about a half of the probability, as after training."""
END_SPREAD = 2.0
"""Standard deviation of the end token's logit relative to other tokens, so that texts end at different lengths."""
END_LOGIT = 35.0
"""Limit of the end token's mean logit; other logits reach about 20."""
END_STEP = 10
"""Number of tokens at which it is 0: after n tokens it is END_LOGIT x (1 - END_STEP / n)."""
FINAL_SCALE = 3.6
"""Root mean square of the decoder's last hidden states before their norm, measured."""
CONSTANT, START = 0, 1
"""Hidden units without random weights: 1 at every word, and the share of the start token among the tokens so far."""


def write_t5(folder: Path) -> None:
    """A model folder whose tokenizer has one token per word, `w3` to `w32127`."""
    import torch
    from transformers import T5Config, T5ForConditionalGeneration

    torch.manual_seed(17)
    write_words_tokenizer(folder, [f"w{index}" for index in range(len(SPECIAL), VOCABULARY)])
    model: Any = T5ForConditionalGeneration(T5Config(vocab_size=VOCABULARY, decoder_start_token_id=0))
    with torch.no_grad():
        _count_tokens(model)
        model.lm_head.weight = torch.nn.Parameter(_head(model))
    model.all_tied_weights_keys.pop("lm_head.weight")
    model.save_pretrained(folder)


def write_words_t5(folder: Path, words: Sequence[str], **sizes: int) -> None:
    """Six layers of 384 units, as the BERT of small_bert.py, unless `sizes` says otherwise; one token per word."""
    import torch
    from transformers import T5Config, T5ForConditionalGeneration

    torch.manual_seed(17)
    write_words_tokenizer(folder, words)
    default = {"d_model": 384, "d_kv": 32, "d_ff": 1536, "num_layers": 6, "num_heads": 12}
    config = T5Config(vocab_size=len(SPECIAL) + len(words), decoder_start_token_id=0, **{**default, **sizes})
    T5ForConditionalGeneration(config).save_pretrained(folder)


def write_words_tokenizer(folder: Path, words: Sequence[str]) -> None:
    """The files of a tokenizer with one token per word."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {token: index for index, token in enumerate([*SPECIAL, *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    names = dict(zip(("pad_token", "eos_token", "unk_token"), SPECIAL, strict=True))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=512, **names).save_pretrained(folder)


def _count_tokens(model: Any) -> None:
    """Keep two hidden units of the decoder free, and have one head of its first layer average over all tokens so far.

    A random T5 never ends a text: it repeats itself and knows no position. The start token is 1/n of n tokens.
    """
    embeddings = model.shared.weight
    embeddings[:, CONSTANT], embeddings[:, START] = 1.0, 0.0
    embeddings[0, CONSTANT], embeddings[0, START] = 0.0, 1.0  # texts start with padding
    for block in model.decoder.block:
        for output in (
            block.layer[0].SelfAttention.o,
            block.layer[1].EncDecAttention.o,
            block.layer[2].DenseReluDense.wo,
        ):
            output.weight[[CONSTANT, START]] = 0.0
    first = model.decoder.block[0].layer[0].SelfAttention
    first.relative_attention_bias.weight[:, 0] = 0.0
    first.q.weight[: model.config.d_kv] = 0.0
    first.v.weight[0] = 0.0
    first.v.weight[0, START] = 1.0
    first.o.weight[:, 0] = 0.0
    first.o.weight[START, 0] = 1.0


def _head(model: Any) -> Any:
    """Separate output weights, as in T5 1.1: tied weights would repeat the last token forever."""
    import torch

    width = model.config.d_model
    head = torch.randn(VOCABULARY, width) * LOGIT_SPREAD
    head[:, [CONSTANT, START]] = 0.0
    head[1] *= END_SPREAD
    scale = END_LOGIT * FINAL_SCALE * width**0.5
    head[1, CONSTANT], head[1, START] = scale, -scale * END_STEP
    head[0] = head[2] = 0.0  # padding and unknown words are never written
    return head

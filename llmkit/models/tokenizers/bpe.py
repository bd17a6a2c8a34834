"""Byte-level BPE, as GPT-2 and RoBERTa have it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from llmkit.models.tokenizers.vocabulary import refuse_below
from llmkit.recipe.blocks import TokenizerBlock

_MOST_LEARNED_BYTES = 1000
"""In training, longer words are cut into pieces of this size."""


def train_bpe(texts: Iterable[str], block: TokenizerBlock, *, special: Mapping[str, str]) -> Tokenizer:
    """
    Args:
        special: role such as `eos_token` -> text. With `cls_token` and `sep_token`, these stand around each text.
    """
    names = list(dict.fromkeys(special.values()))
    refuse_below(block.vocab_size, 256 + len(names), f"the 256 bytes and {' '.join(names)}")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=block.vocab_size,
        min_frequency=block.min_frequency,
        special_tokens=[_added(name, special) for name in names],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    # The trainer takes time by the square of a word's length; encoding does not.
    by_bytes = tokenizer.pre_tokenizer
    cut = pre_tokenizers.FixedLength(length=_MOST_LEARNED_BYTES)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([by_bytes, cut])
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.pre_tokenizer = by_bytes
    if "cls_token" in special:
        ids = {name: index for name, index in tokenizer.get_vocab().items() if name in names}
        cls, sep = ((special[role], ids[special[role]]) for role in ("cls_token", "sep_token"))
        tokenizer.post_processor = processors.RobertaProcessing(sep, cls, trim_offsets=True, add_prefix_space=False)
    return tokenizer


def _added(name: str, special: Mapping[str, str]) -> AddedToken:
    """A mask stands for a word with the space before it, as in RoBERTa."""
    return AddedToken(name, special=True, normalized=False, lstrip=name == special.get("mask_token"))

"""Byte-level BPE, as GPT-2 has it."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from llmkit.models.families.gpt2 import END_OF_TEXT
from llmkit.models.tokenizers.vocabulary import refuse_below
from llmkit.recipe.blocks import TokenizerBlock

_MOST_LEARNED_BYTES = 1000
"""In training, longer words are cut into pieces of this size."""


def train_bpe(texts: Iterable[str], block: TokenizerBlock) -> Tokenizer:
    refuse_below(block.vocab_size, 257, "the 256 bytes and the end of text")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=block.vocab_size,
        min_frequency=block.min_frequency,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    # The trainer takes time by the square of a word's length; encoding does not.
    by_bytes = tokenizer.pre_tokenizer
    cut = pre_tokenizers.FixedLength(length=_MOST_LEARNED_BYTES)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([by_bytes, cut])
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.pre_tokenizer = by_bytes
    return tokenizer

"""Training of a tokenizer on texts, one kind for each family. Knows the recipe's block, but no files.

The result is an ordinary fast tokenizer, whose `tokenizer.json` AutoTokenizer opens.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from llmkit.atomic import replace_file
from llmkit.errors import DataError, UsageError
from llmkit.models.families import Family
from llmkit.models.tokenizers.bpe import train_bpe
from llmkit.models.tokenizers.unigram import train_unigram
from llmkit.models.tokenizers.wordpiece import train_wordpiece
from llmkit.recipe.blocks import TokenizerBlock
from llmkit.reservoir import Reservoir

_UNBOUNDED = 10**30
"""What transformers writes where a tokenizer has no limit of its own."""
logger = logging.getLogger("llmkit")


def train_tokenizer(
    family: Family,
    texts: Iterable[str],
    *,
    block: TokenizerBlock,
    max_tokens: int | None,
    cached: Path | None = None,
) -> PreTrainedTokenizerFast:
    """A tokenizer of the family's kind, trained on `texts`, of which `block.max_characters` are held at most.

    gpt2: byte-level BPE, nothing is unknown. bert, lstm: WordPiece on BERT's own pre-tokenizer. t5: Unigram with the 100
    sentinels, and bytes for what the pieces do not cover.

    Decoding what gpt2's or t5's encoded gives any text back, all spaces included. The name of a special token in a
    text is read as that token, as everywhere in transformers; t5 then puts a space behind it. A text that is to be
    text throughout is encoded with `split_special_tokens=True`.

    Args:
        max_tokens: the window to write into the tokenizer; None for no limit.
        cached: the file of these very texts and options, taken if it is there, else written.
    Raises:
        UsageError: an option that this kind does not have, or no room for the family's fixed entries.
        DataError: there is no text.
    """
    _refuse_idle_options(family, block)
    if cached is not None and cached.exists():
        tokenizer = Tokenizer.from_file(str(cached))
    else:
        tokenizer = _trained(family, texts, block)
        if cached is not None:
            replace_file(cached, tokenizer.to_str().encode())
    return _wrapped(tokenizer, family, max_tokens=max_tokens)


def _trained(family: Family, texts: Iterable[str], block: TokenizerBlock) -> Tokenizer:
    filled = _refuse_empty(texts)
    used = filled if block.max_characters is None else _sampled(filled, most_characters=block.max_characters)
    match family.tokenizer:
        case "bpe":
            tokenizer = train_bpe(used, block)
        case "wordpiece":
            tokenizer = train_wordpiece(list(used), block)
        case "unigram":
            tokenizer = train_unigram(list(used), block.vocab_size)
    got = tokenizer.get_vocab_size()
    if got < block.vocab_size:
        logger.warning("tokenizer: asked for %s entries, got %s from this text", f"{block.vocab_size:,}", f"{got:,}")
    return tokenizer


def _refuse_idle_options(family: Family, block: TokenizerBlock) -> None:
    if family.tokenizer != "wordpiece" and block.strip_accents is not None:
        raise UsageError(
            f"model.tokenizer.strip_accents: {family.name}'s tokenizer keeps every character. Leave it out."
        )
    if family.tokenizer == "unigram" and block.min_frequency > 1:
        raise UsageError(
            f"model.tokenizer.min_frequency: {block.min_frequency} cannot be kept; {family.name}'s tokenizer weighs its pieces "
            "and has no least frequency. Leave it out."
        )


def _refuse_empty(texts: Iterable[str]) -> Iterator[str]:
    """The texts that are not empty; a DataError at their end if there was none."""
    found = False
    for text in texts:
        if text:
            found = True
            yield text
    if not found:
        raise DataError(
            "there is no text to train a tokenizer on. Give more rows, or smaller shares to validation and test."
        )


def _sampled(texts: Iterable[str], *, most_characters: int) -> list[str]:
    """All texts in their order; of more characters than these, texts drawn evenly, as many as there is room for.

    The last of those drawn is cut to fill the room. So a corpus in any order is seen whole, yet never held whole.
    """
    sample: Reservoir[str] = Reservoir()
    read = kept = 0
    for text in texts:
        read += len(text)
        kept += len(text)
        sample.add(text)
        while (over := kept - most_characters) > 0:
            if over < len(sample.last):
                sample.replace_last(sample.last[:-over])
                kept = most_characters
            else:
                kept -= len(sample.drop_last())
    if kept < read:
        logger.info(
            "tokenizer: trained on %s of %s characters, drawn evenly from all texts (model.tokenizer.max_characters)",
            f"{kept:,}",
            f"{read:,}",
        )
    return list(sample)


def _wrapped(tokenizer: Tokenizer, family: Family, *, max_tokens: int | None) -> PreTrainedTokenizerFast:
    names = family.model_input_names
    inputs: dict[str, Any] = {} if names is None else {"model_input_names": list(names)}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        padding_side=family.padding_side,
        model_max_length=max_tokens or _UNBOUNDED,
        clean_up_tokenization_spaces=False,
        **family.special_tokens,
        **inputs,
    )

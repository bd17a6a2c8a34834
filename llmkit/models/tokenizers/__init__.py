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
"""transformers' value for a tokenizer without a limit."""
logger = logging.getLogger("llmkit")


def train_tokenizer(
    family: Family,
    texts: Iterable[str],
    *,
    block: TokenizerBlock,
    max_tokens: int | None,
    cached: Path | None = None,
) -> PreTrainedTokenizerFast:
    """A tokenizer of the family's kind, trained on `texts`, of which at most `block.max_characters` are in memory.

    gpt2: byte-level BPE, nothing is unknown. bert, lstm: WordPiece on BERT's own pre-tokenizer. t5: Unigram with the 100
    sentinels, and bytes for text that the subwords do not cover.

    Decoding with gpt2 and t5 restores the encoded text, including all spaces. The name of a special token in a
    text is read as that token, as everywhere in transformers; t5 then adds a space after it. Encode with
    `split_special_tokens=True` to read such names as plain text.

    Args:
        max_tokens: the length limit stored in the tokenizer; None for no limit.
        cached: cache file for these texts and options; used if it exists, else written.
    Raises:
        UsageError: an option that this kind does not have, or a vocabulary too small for the family's fixed entries.
        DataError: there is no text.
    """
    _refuse_unused_options(family, block)
    if cached is not None and cached.exists():
        tokenizer = Tokenizer.from_file(str(cached))
    else:
        tokenizer = _train(family, texts, block)
        if cached is not None:
            replace_file(cached, tokenizer.to_str().encode())
    return _wrap(tokenizer, family, max_tokens=max_tokens)


def _train(family: Family, texts: Iterable[str], block: TokenizerBlock) -> Tokenizer:
    non_empty = _non_empty(texts)
    used = non_empty if block.max_characters is None else _sample(non_empty, most_characters=block.max_characters)
    match family.tokenizer:
        case "bpe":
            tokenizer = train_bpe(used, block, special=family.special_tokens)
        case "wordpiece":
            tokenizer = train_wordpiece(list(used), block)
        case "unigram":
            tokenizer = train_unigram(list(used), block.vocab_size)
    size = tokenizer.get_vocab_size()
    if size < block.vocab_size:
        logger.warning("tokenizer: asked for %s entries, got %s from this text", f"{block.vocab_size:,}", f"{size:,}")
    return tokenizer


def _refuse_unused_options(family: Family, block: TokenizerBlock) -> None:
    if family.tokenizer != "wordpiece" and block.strip_accents is not None:
        raise UsageError(
            f"model.tokenizer.strip_accents: {family.name}'s tokenizer keeps every character. Leave it out."
        )
    if family.tokenizer == "unigram" and block.min_frequency > 1:
        raise UsageError(
            f"model.tokenizer.min_frequency: {block.min_frequency} does not apply; {family.name}'s tokenizer weights its "
            "subwords and has no minimum frequency. Leave it out."
        )


def _non_empty(texts: Iterable[str]) -> Iterator[str]:
    """The texts that are not empty; DataError at the end if there were none."""
    any_text = False
    for text in texts:
        if text:
            any_text = True
            yield text
    if not any_text:
        raise DataError(
            "there is no text to train a tokenizer on. Give more rows, or smaller shares to validation and test."
        )


def _sample(texts: Iterable[str], *, most_characters: int) -> list[str]:
    """All texts in their order; if they have more characters than the limit, a uniform sample of texts.

    The last text of the sample is cut at the limit. The sample covers the whole corpus, which is never in memory.
    """
    sample: Reservoir[str] = Reservoir()
    read = sampled = 0
    for text in texts:
        read += len(text)
        sampled += len(text)
        sample.add(text)
        while (excess := sampled - most_characters) > 0:
            if excess < len(sample.last):
                sample.replace_last(sample.last[:-excess])
                sampled = most_characters
            else:
                sampled -= len(sample.drop_last())
    if sampled < read:
        logger.info(
            "tokenizer: trained on %s of %s characters, drawn evenly from all texts (model.tokenizer.max_characters)",
            f"{sampled:,}",
            f"{read:,}",
        )
    return list(sample)


def _wrap(tokenizer: Tokenizer, family: Family, *, max_tokens: int | None) -> PreTrainedTokenizerFast:
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

"""Texts to ids under a length limit, a few thousand at a time. Longer texts are counted, then truncated or dropped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from llmkit.data.lengths import LengthCount
from llmkit.models.threads import locked_tokenizer
from llmkit.tasks.long_texts import LONG_CHARACTERS, long_text_ids
from llmkit.tasks.unknown import UnknownCount

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerFast

    from llmkit.data.rows import Row

Item = TypeVar("Item")
_CHUNK_ROWS = 2000


def in_chunks(items: Iterable[Item], *, size: int = _CHUNK_ROWS) -> Iterator[list[Item]]:
    """Lists of `size` items (the last may be shorter), in order. Lazy: no item is read before its chunk is needed.

    Raises:
        ValueError: `size` is below 1.
    """
    if size < 1:
        raise ValueError(f"size must be at least 1, found {size}")
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def length_limit(lengths: Sequence[int] | NDArray[np.int64]) -> int:
    """The 99th percentile of lengths: the default length limit of generated texts."""
    import numpy as np

    return int(np.percentile(lengths, 99, method="inverted_cdf"))


def encode_texts(
    tokenizer: PreTrainedTokenizerFast,
    texts: Sequence[str],
    rows: Sequence[Row],
    *,
    count: LengthCount,
    unknown: UnknownCount,
) -> list[list[int] | None]:
    """Ids with special tokens, at most `count.max_tokens` of them; None for a row that the policy drops.

    Under `error` a text is truncated here: the report that follows raises.
    """
    encoded: list[list[int] | None] = []
    whole = token_ids(tokenizer, texts, special=True)
    unknown.add(texts, whole, names_are_text=tokenizer.split_special_tokens)
    for text, row, ids in zip(texts, rows, whole, strict=True):
        if count.fits(len(ids), place=row.place):
            encoded.append(ids)
        elif count.overflow == "drop":
            encoded.append(None)
        else:
            encoded.append(cut_ids(tokenizer, text, max_tokens=count.max_tokens))
    return encoded


def cut_ids(tokenizer: PreTrainedTokenizerFast, text: str, *, max_tokens: int) -> list[int]:
    """Ids of a text that is too long, truncated before its closing special token."""
    if len(text) > LONG_CHARACTERS and tokenizer.truncation_side == "right":
        return long_text_ids(tokenizer, text, special=True, names_are_text=False, most=max_tokens)
    with locked_tokenizer(tokenizer):
        ids: list[int] = tokenizer(text, truncation=True, max_length=max_tokens)["input_ids"]
    return ids


def token_ids(
    tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], *, special: bool, names_are_text: bool = False
) -> list[list[int]]:
    """All ids of each text, never truncated.

    Args:
        special: add special tokens.
        names_are_text: the name of a special token in a text does not become that token, save T5's `<pad>` and `</s>`,
            which are ordinary entries of its vocabulary.
    """
    if any(len(text) > LONG_CHARACTERS for text in texts):
        return [
            long_text_ids(tokenizer, text, special=special, names_are_text=names_are_text)
            if len(text) > LONG_CHARACTERS
            else token_ids(tokenizer, [text], special=special, names_are_text=names_are_text)[0]
            for text in texts
        ]
    with locked_tokenizer(tokenizer):
        encoding = tokenizer(
            list(texts),
            add_special_tokens=special,
            split_special_tokens=names_are_text or tokenizer.split_special_tokens,
            truncation=False,
            padding=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,  # its own warning about long texts: ours has the numbers
        )
    ids: list[list[int]] = encoding["input_ids"]
    return ids

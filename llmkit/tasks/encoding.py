"""Texts to ids under a length limit, a few thousand at a time. Longer texts are counted, then truncated or dropped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from llmkit.data.lengths import LengthCount
from llmkit.tasks.long_texts import part_of
from llmkit.tasks.token_ids import cut_ids, cuts_start, token_ids
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
    end = cuts_start(tokenizer)
    kept = None if count.overflow == "window" else count.max_tokens
    parts = [part_of(tokenizer, text, tokens=kept, end=end) for text in texts]
    read = [part.text for part in parts]
    all_ids = token_ids(tokenizer, read, special=True)
    unknown.add(read, all_ids, names_are_text=tokenizer.split_special_tokens)
    for part, row, ids in zip(parts, rows, all_ids, strict=True):
        if count.fits(part.whole_tokens(len(ids)), place=row.place):
            encoded.append(ids)
        elif count.overflow == "drop":
            encoded.append(None)
        else:
            encoded.append(cut_ids(tokenizer, part.text, max_tokens=count.max_tokens))
    return encoded

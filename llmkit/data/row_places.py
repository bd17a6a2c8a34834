"""Where the rows of examples stand, for messages: `reviews.csv:7`."""

from __future__ import annotations

from collections.abc import Iterable

from llmkit.data.examples import Examples
from llmkit.data.token_store import BATCH_TOKENS, Blocks


def places_of(examples: Examples, indices: Iterable[int]) -> list[str]:
    """The places of the rows that these examples were made from, in their order and without repetition.

    For blocks of a corpus, its rows are read again. Examples without places are numbered: `example 12`.
    """
    numbers = [int(index) for index in indices]
    blocks = examples.columns["input_ids"]
    if isinstance(blocks, Blocks):
        if _count_ends(blocks, blocks.stream.count.tokens) != blocks.stream.count.documents + 1:
            return [f"example {number}" for number in sorted(numbers)]  # there are end tokens in the text as well
        documents = sorted({document for number in numbers for document in _documents(blocks, number)})
        wanted = set(documents)
        places = [row.place for document, row in enumerate(examples.corpus) if document in wanted]
        if len(places) == len(documents):
            return places
    elif examples.origins:
        row_of = examples.row_of
        rows = sorted({number if row_of is None else int(row_of[number]) for number in numbers})
        return [examples.origins[row].place for row in rows]
    return [f"example {number}" for number in sorted(numbers)]


def _documents(blocks: Blocks, number: int) -> range:
    """The documents that a block has tokens of, numbered from 0. The stream is `end, document, end, document, end`."""
    start, stop = blocks.span(number)
    first = max(0, _count_ends(blocks, start + 1) - 1)
    return range(first, max(first, _count_ends(blocks, stop - 1) - 1) + 1)


def _count_ends(blocks: Blocks, stop: int) -> int:
    """End tokens among the first `stop` tokens of the stream."""
    stream = blocks.stream
    pieces = (stream.ids(start, min(stop, start + BATCH_TOKENS)) for start in range(0, stop, BATCH_TOKENS))
    return sum(int((piece == stream.ids(0, 1)[0]).sum()) for piece in pieces)

from __future__ import annotations

from collections.abc import Iterator

import pytest

from llmkit.tasks.batching import batches_by_length
from llmkit.tasks.encoding import in_chunks


def test_batches_hold_each_index_once_longest_first_with_ties_by_index() -> None:
    batches = batches_by_length([3, 9, 3, 5, 9], max_tokens=18)
    assert batches == [[1, 4], [3, 0, 2]]


@pytest.mark.parametrize("max_tokens", [1, 7, 20, 100, 10_000])
def test_no_batch_exceeds_the_tokens_unless_it_is_one_sequence(max_tokens: int) -> None:
    lengths = [(index * 37) % 50 + 1 for index in range(120)]
    batches = batches_by_length(lengths, max_tokens=max_tokens)
    assert sorted(index for batch in batches for index in batch) == list(range(120))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[index] for index in batch) <= max_tokens


def test_nothing_gives_no_batches() -> None:
    assert batches_by_length([], max_tokens=8) == []


def test_a_limit_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="max_tokens"):
        batches_by_length([1], max_tokens=0)
    with pytest.raises(ValueError, match="size"):
        next(in_chunks([1], size=0))


def test_chunks_keep_the_order_and_pull_no_item_early() -> None:
    pulled: list[int] = []

    def items() -> Iterator[int]:
        for number in range(7):
            pulled.append(number)
            yield number

    chunks = in_chunks(items(), size=3)
    assert next(chunks) == [0, 1, 2]
    assert pulled == [0, 1, 2]
    assert list(chunks) == [[3, 4, 5], [6]]

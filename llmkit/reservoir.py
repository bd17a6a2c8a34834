"""A uniform sample of a stream of unknown length (reservoir sampling). Knows nothing about the items."""

from __future__ import annotations

import random
from collections.abc import Iterator
from heapq import heappop, heappush, heapreplace
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Reservoir(Generic[Item]):
    """A sample of the added items; the caller decides its size.

    Each item gets a random number that depends only on its position in the stream. Whenever the sample is too large,
    the caller drops the item with the highest number, so that the items with the lowest numbers remain.
    """

    def __init__(self) -> None:
        self._draws = random.Random(0)
        self._heap: list[
            tuple[float, int, Item]
        ] = []  # highest number first; positions are distinct, so items are not compared
        self.items_added = 0

    def add(self, item: Item) -> None:
        heappush(self._heap, (-self._draws.random(), self.items_added, item))
        self.items_added += 1

    @property
    def last(self) -> Item:
        """The item that is dropped next."""
        return self._heap[0][2]

    def drop_last(self) -> Item:
        return heappop(self._heap)[2]

    def replace_last(self, item: Item) -> None:
        """Replace the item that is dropped next; `item` gets its number and position."""
        negated, position, _ = self._heap[0]
        heapreplace(self._heap, (negated, position, item))

    def __len__(self) -> int:
        return len(self._heap)

    def __iter__(self) -> Iterator[Item]:
        """The items in the order of the stream."""
        return (item for _, _, item in sorted(self._heap, key=lambda entry: entry[1]))

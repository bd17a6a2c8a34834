"""Items drawn evenly from a stream of unknown length (reservoir sampling). Knows nothing of the items."""

from __future__ import annotations

import random
from collections.abc import Iterator
from heapq import heappop, heappush, heapreplace
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Reservoir(Generic[Item]):
    """A sample of the items that were added, as large as the caller lets it be.

    Each item draws a number, always the same one for its place in the stream. The caller drops the item with the
    highest number as often as there is too little room, so those that stay have the lowest.
    """

    def __init__(self) -> None:
        self._draws = random.Random(0)
        self._heap: list[tuple[float, int, Item]] = []  # the highest number first; places differ, items never compare
        self.items_added = 0

    def add(self, item: Item) -> None:
        heappush(self._heap, (-self._draws.random(), self.items_added, item))
        self.items_added += 1

    @property
    def last(self) -> Item:
        """The item that leaves next."""
        return self._heap[0][2]

    def drop_last(self) -> Item:
        return heappop(self._heap)[2]

    def replace_last(self, item: Item) -> None:
        """Put `item` in the place of the one that leaves next, with its number."""
        negated, place, _ = self._heap[0]
        heapreplace(self._heap, (negated, place, item))

    def __len__(self) -> int:
        return len(self._heap)

    def __iter__(self) -> Iterator[Item]:
        """The items in the order of the stream."""
        return (item for _, _, item in sorted(self._heap, key=lambda entry: entry[1]))

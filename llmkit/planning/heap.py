"""How large the heap of a process becomes on a CPU: glibc's malloc, played with sizes alone.

A tensor is aligned to 64 bytes, so a free chunk is used only if it has room for the tensor and for moving it. What the
tensor does not use of it, often less than 100 bytes, is freed again: such small chunks are not merged with free
neighbours but wait for a small object, and the next object of torch may live there long. So a tensor often cannot take
the place of one of the same size, and the heap grows: on the recipes of `benchmarks/plan_accuracy.py` to between 1.2
and 1.9 times what is in use at once. Freed memory stays with the process, see `models/cpu.py`.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict

_HEADER, _UNIT, _LEAST = 8, 16, 32
"""Bytes in front of what was asked for; chunks are multiples of the unit, and have at least the last."""
_ALIGNMENT = 64
"""Of a tensor on a CPU."""
_CACHED, _LARGEST_CACHED, _LARGEST_LEFTOVER = 7, 1040, 128
"""Chunks of each size in the cache of small ones; sizes up to these are put there when an object is freed, and when a
tensor leaves a part of a chunk."""


class Heap:
    """Chunks by address. `peak` is the largest size so far."""

    def __init__(self) -> None:
        self.peak = 0
        self._end = 0
        self._sizes: dict[int, int] = {}
        """Of the chunks in use, by address."""
        self._free: list[tuple[int, int]] = []
        """(size, address), sorted."""
        self._free_starts: dict[int, int] = {}
        self._free_ends: dict[int, int] = {}
        self._cache: dict[int, list[int]] = defaultdict(list)

    def allocate(self, size: int) -> int:
        """The address of a new chunk, as `malloc` gives it."""
        needed = _chunk(size)
        cached = self._cache.get(needed)
        address, size = (cached.pop(), needed) if cached else self._take(needed)
        self._sizes[address] = size
        return address

    def allocate_tensor(self, size: int) -> int:
        """The address of a new chunk, as `posix_memalign` gives it."""
        needed = _chunk(size)
        address, taken = self._take(_chunk(needed + _ALIGNMENT + _LEAST))
        lead = -(address + _UNIT) % _ALIGNMENT
        if lead:
            lead += _ALIGNMENT if lead < _LEAST else 0
            self._give(address, lead, cached_up_to=_LARGEST_LEFTOVER)
            address, taken = address + lead, taken - lead
        if taken - needed >= _LEAST:
            self._give(address + needed, taken - needed, cached_up_to=_LARGEST_LEFTOVER)
            taken = needed
        self._sizes[address] = taken
        return address

    def release(self, address: int) -> None:
        self._give(address, self._sizes.pop(address), cached_up_to=_LARGEST_CACHED)

    def _take(self, needed: int) -> tuple[int, int]:
        """The smallest free chunk that is large enough, split; else a new one at the end. Its address and size."""
        place = bisect_left(self._free, (needed, -1))
        if place == len(self._free):
            address = self._end
            self._end += needed
            self.peak = max(self.peak, self._end)
            return address, needed
        size, address = self._free[place]
        self._forget(address, size)
        if size - needed < _LEAST:
            return address, size
        self._note(address + needed, size - needed)
        return address, needed

    def _give(self, address: int, size: int, *, cached_up_to: int) -> None:
        """Free a chunk: into the cache, or merged with the free chunks beside it."""
        cached = self._cache[size] if size <= cached_up_to else None
        if cached is not None and len(cached) < _CACHED:
            cached.append(address)
            return
        before = self._free_ends.get(address)
        if before is not None:
            before_size = self._free_starts[before]
            self._forget(before, before_size)
            address, size = before, before_size + size
        after = self._free_starts.get(address + size)
        if after is not None:
            self._forget(address + size, after)
            size += after
        if address + size == self._end:
            self._end = address
        else:
            self._note(address, size)

    def _note(self, address: int, size: int) -> None:
        insort(self._free, (size, address))
        self._free_starts[address] = size
        self._free_ends[address + size] = address

    def _forget(self, address: int, size: int) -> None:
        del self._free[bisect_left(self._free, (size, address))]
        del self._free_starts[address], self._free_ends[address + size]


def _chunk(size: int) -> int:
    """Bytes of the chunk for so many."""
    return max(_LEAST, -(-(size + _HEADER) // _UNIT) * _UNIT)

"""Places of many words in a text, in little memory."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import overload

Span = tuple[int, int]
"""Characters of a word, the end exclusive."""


class Spans(Sequence[Span]):
    """A sequence of spans; compares as a list of them."""

    def __init__(self, spans: Iterable[Span] = ()) -> None:
        self._starts, self._ends = array("q"), array("q")
        for start, end in spans:
            self._starts.append(start)
            self._ends.append(end)

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, place: int) -> Span: ...
    @overload
    def __getitem__(self, place: slice) -> Spans: ...
    def __getitem__(self, place: int | slice) -> Span | Spans:
        if isinstance(place, slice):
            return Spans(zip(self._starts[place], self._ends[place], strict=True))
        return self._starts[place], self._ends[place]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    def __repr__(self) -> str:
        return repr(list(self))

    __hash__ = None  # type: ignore[assignment]  # as a list

"""Encoded examples: sequences of different lengths in flat arrays. Knows neither tokenizers nor tasks.

The arrays may be memory-mapped; nothing here copies them.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from llmkit.data.rows import Row


@dataclass(frozen=True)
class Ragged:
    """N sequences of ids; sequence i is `values[offsets[i]:offsets[i + 1]]`."""

    values: NDArray[np.int32]
    offsets: NDArray[np.int64]
    """(N + 1,)"""

    @classmethod
    def of(cls, sequences: Iterable[Sequence[int] | NDArray[np.int32]]) -> Ragged:
        import numpy as np

        arrays = [np.asarray(sequence, dtype=np.int32) for sequence in sequences]
        offsets = np.zeros(len(arrays) + 1, dtype=np.int64)
        np.cumsum([len(array) for array in arrays], out=offsets[1:])
        return cls(values=np.concatenate(arrays) if arrays else np.zeros(0, dtype=np.int32), offsets=offsets)

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """(N,)"""
        import numpy as np

        return np.diff(self.offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> NDArray[np.int32]:
        return self.values[self.offsets[index] : self.offsets[index + 1]]

    def take(self, indices: Sequence[int]) -> Ragged:
        return Ragged.of([self[index] for index in indices])


class Column(Protocol):
    """N sequences of ids, in memory or not."""

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(N,)"""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> NDArray[np.int32]: ...

    def take(self, indices: Sequence[int]) -> Ragged: ...


class Origin(NamedTuple):
    """Where a row comes from; see `Row`."""

    place: str
    number: int = 0
    file: str = ""
    cluster: str | None = None

    @classmethod
    def of(cls, row: Row) -> Origin:
        return cls(row.place, row.number, row.file, row.cluster)


@dataclass(frozen=True)
class Examples:
    """N encoded examples, and what is needed to measure predictions on them."""

    columns: Mapping[str, Column]
    """`input_ids`, and `target_ids` if the task has target texts or classes."""
    references: Sequence[Any] = ()
    """What predictions are compared with, one per row; empty for tasks measured by their loss alone."""
    sources: Sequence[Any] = ()
    """What predictions are made from besides ids, such as the context of an answer; one per row, or empty."""
    origins: Sequence[Origin] = ()
    """Where each row comes from; one per row, or empty."""
    corpus: Iterable[Row] = ()
    """The rows that the blocks of a stream of tokens were cut from, to be read again; empty for other tasks."""
    row_of: NDArray[np.int64] | None = None
    """(N,) the row of each example, ascending, if a row can give several examples; None if each gives exactly one."""
    aligned: frozenset[str] = frozenset()
    """Columns that add no tokens to those of `input_ids`: classes of tokens or texts, and positions of tokens."""
    unknown: Mapping[str, Any] = field(default_factory=dict)
    """For each kind of text with unknown tokens or deleted characters, the totals (`UnknownTotals.record`)."""
    writing: Mapping[str, Any] = field(default_factory=dict)
    """The special tokens in the targets, as the keys of `SavedWriting`."""
    utf8_bytes: int = 0
    """Size of the raw text of the targets, for bits per byte; 0 where that has no meaning."""

    def __len__(self) -> int:
        return len(self.columns["input_ids"])

    @property
    def rows(self) -> int:
        """Number of rows; of examples if there are no references."""
        return len(self.references) or len(self)

    @cached_property
    def clusters(self) -> NDArray[np.int64] | None:
        """(rows,) the number of each row's cluster, from 0, in the order of their first rows; a row without a cluster has
        one of its own. None if no row has a cluster."""
        import numpy as np

        if all(origin.cluster is None for origin in self.origins):
            return None
        numbers: dict[object, int] = {}
        names = [index if origin.cluster is None else origin.cluster for index, origin in enumerate(self.origins)]
        return np.asarray([numbers.setdefault(name, len(numbers)) for name in names], dtype=np.int64)

    def examples_of(self) -> list[range]:
        """The examples of each row, in order."""
        import numpy as np

        if self.row_of is None:
            return [range(index, index + 1) for index in range(len(self))]
        bounds = np.searchsorted(self.row_of, np.arange(self.rows + 1)).tolist()
        return [range(start, end) for start, end in itertools.pairwise(bounds)]

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """(N,) tokens of each example, summed over its columns."""
        import numpy as np

        columns = self._sequences()
        return columns[0].lengths if len(columns) == 1 else np.sum([column.lengths for column in columns], axis=0)

    def padded_tokens(self, indices: NDArray[np.int64]) -> int:
        """Positions of a micro-batch of these examples, padding included."""
        return sum(len(indices) * int(column.lengths[indices].max()) for column in self._sequences())

    def _sequences(self) -> list[Column]:
        return [column for name, column in self.columns.items() if name not in self.aligned]

    def take(self, indices: Sequence[int]) -> Examples:
        """All examples of these rows, in this order; `utf8_bytes` is not copied."""
        import numpy as np

        examples_of = self.examples_of()
        by_row = [examples_of[index] for index in indices]
        examples = list(itertools.chain.from_iterable(by_row))
        columns = {name: column.take(examples) for name, column in self.columns.items()}
        references = [self.references[index] for index in indices] if self.references else ()
        sources = [self.sources[index] for index in indices] if self.sources else ()
        origins = [self.origins[index] for index in indices] if self.origins else ()
        row_of = None if self.row_of is None else np.repeat(np.arange(len(by_row)), [len(row) for row in by_row])
        return Examples(
            columns=columns,
            references=references,
            sources=sources,
            origins=origins,
            row_of=row_of,
            aligned=self.aligned,
            writing=self.writing,
        )


class ExampleBuilder:
    """Collects encoded rows, and returns them as `Examples`."""

    def __init__(self, *columns: str, aligned: Collection[str] = ()) -> None:
        """
        Args:
            columns: names of the columns of tokens, including `input_ids`.
            aligned: names of the columns that add no tokens, see `Examples.aligned`.
        """
        self._columns: dict[str, list[NDArray[np.int32]]] = {name: [] for name in (*columns, *aligned)}
        self._aligned = frozenset(aligned)
        self._counts: list[int] = []
        """Examples of each row."""
        self._references: list[Any] = []
        self._sources: list[Any] = []
        self._origins: list[Origin] = []

    def add(
        self,
        columns: Mapping[str, Sequence[Sequence[int]]],
        *,
        reference: Any,
        origin: Origin | None = None,
        source: Any = None,
    ) -> None:
        """Add a row.

        Args:
            columns: for each column the sequences of ids of the row's examples, of which there can be any number.
            origin: where the row comes from; of all rows or of none.
            source: see `Examples.sources`; for all rows or for none.
        """
        import numpy as np

        assert columns.keys() == self._columns.keys(), "every row has the same columns"
        assert len({len(sequences) for sequences in columns.values()}) == 1, "each example has all columns"
        for name, sequences in columns.items():
            self._columns[name] += [np.asarray(sequence, dtype=np.int32) for sequence in sequences]
        self._counts.append(len(columns["input_ids"]))
        self._references.append(reference)
        if origin is not None:
            self._origins.append(origin)
        if source is not None:
            self._sources.append(source)

    def examples(self) -> Examples:
        import numpy as np

        one_example_each = all(count == 1 for count in self._counts)
        return Examples(
            columns={name: Ragged.of(sequences) for name, sequences in self._columns.items()},
            references=self._references,
            sources=self._sources,
            origins=self._origins,
            row_of=None if one_example_each else np.repeat(np.arange(len(self._counts)), self._counts),
            aligned=self._aligned,
        )

"""Texts and other values that a caller of the Python API gives: which collections are taken, and what an item may be.

Any iterable of values is taken in its order: lists, tuples, generators, columns of pandas, polars, Arrow and datasets,
arrays of numpy, and open text files, which give their lines. Refused is what gives something else than its texts when
it is iterated: one text, a table, a mapping, bytes, a path.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from llmkit.errors import DataError, UsageError

Pair = tuple[str, str]
Item = TypeVar("Item")
_TABLES: Mapping[str, tuple[str, ...]] = {
    "pandas": ("DataFrame",),
    "polars": ("DataFrame", "LazyFrame"),
    "pyarrow": ("Table", "RecordBatch"),
    "datasets": ("Dataset", "IterableDataset"),
}
"""Package -> its classes with columns, by name: importing a package takes long, and it may not be installed."""


def given_texts(values: Iterable[object], *, what: str = "texts") -> Iterator[str]:
    """The texts, in order; each is checked when it is reached.

    Raises:
        UsageError: not a list of texts, at once.
        DataError: an item that is not a text, with its number from 1.
    """
    return (_text(value, f"row {row:,}") for row, value in enumerate(given_values(values, what=what), 1))


def given_pairs(values: Iterable[object], *, what: str = "pairs") -> Iterator[Pair]:
    """As `given_texts`, for pairs of texts."""
    return (_pair(value, f"row {row:,}") for row, value in enumerate(given_values(values, what=what), 1))


def given_texts_or_pairs(values: Iterable[object], *, what: str = "texts") -> Iterator[str | Pair]:
    """As `given_texts`, where an item may also be a pair of texts."""
    return (
        _pair(value, f"row {row:,}") if isinstance(value, list | tuple) else _text(value, f"row {row:,}")
        for row, value in enumerate(given_values(values, what=what), 1)
    )


def given_texts_or_words(values: Iterable[object], *, what: str = "texts") -> Iterator[str | list[str]]:
    """As `given_texts`, where an item may also be a list of words."""
    return (
        [_text(word, f"row {row:,}") for word in value]
        if isinstance(value, list | tuple)
        else _text(value, f"row {row:,}")
        for row, value in enumerate(given_values(values, what=what), 1)
    )


def given_items(values: Iterable[object], kind: type[Item], *, what: str) -> Iterator[str | Item]:
    """As `given_texts`, where an item may also be of a class of our own."""
    return (
        value if isinstance(value, kind) else _text(value, f"row {row:,}")
        for row, value in enumerate(given_values(values, what=what), 1)
    )


def given_values(values: Iterable[object], *, what: str) -> Iterator[Any]:
    """The values of any kind, in order, each as Python has it.

    Raises:
        UsageError: not an iterable of values, at once.
    """
    check_given(values, what=what)
    return _values(values)


def given_text(value: object, *, what: str) -> str:
    """One text.

    Raises:
        UsageError: it is something else.
    """
    if isinstance(value, str):
        return str(value)
    raise UsageError(f"{what}: found {_described(value)}, expected one text.")


def check_given(values: object, *, what: str) -> None:
    """
    Raises:
        UsageError: it does not give its values in an order when it is iterated; the message says what to pass.
    """
    if isinstance(values, str):
        raise UsageError(f"{what}: give a list of texts, such as [text], not one text.")
    if isinstance(values, os.PathLike):
        raise UsageError(f"{what}: found a path. Read the file first, with llmkit.api.read_texts(path).")
    if isinstance(values, bytes | bytearray | memoryview):
        raise UsageError(f"{what}: found bytes. Decode them, and give a list of texts.")
    if isinstance(values, Mapping) or _is_table(values):
        name = type(values).__name__
        raise UsageError(f"{what}: found a {name}, which has columns. Give one of them, such as data['text'].")
    if isinstance(values, set | frozenset):
        raise UsageError(f"{what}: found a {type(values).__name__}, which has no order. Give a list.")
    if not isinstance(values, Iterable) or getattr(values, "ndim", 1) == 0:
        raise UsageError(f"{what}: found {_described(values)}. Give a list.")


def given_names(values: object, *, what: str) -> list[str]:
    """Names such as those of files or metrics, each a text or a path.

    Raises:
        UsageError: one name instead of a list, or something else than a name.
    """
    if isinstance(values, str | os.PathLike):
        raise UsageError(f"{what}: give a list, such as [{str(values)!r}], not one name.")
    if isinstance(values, bytes | Mapping) or _is_table(values) or not isinstance(values, Iterable):
        raise UsageError(f"{what}: found {_described(values)}, expected a list of names.")
    names: list[str] = []
    for number, name in enumerate(values, 1):
        if not isinstance(name, str | os.PathLike):
            raise UsageError(f"{what}: item {number} is {_described(name)}, expected a name.")
        names.append(os.fsdecode(name) if isinstance(name, os.PathLike) else str(name))
    return names


def is_missing(value: object) -> bool:
    """Whether a value stands for none: None, NaN, or those of pandas."""
    return (
        value is None or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float) and value != value)
    )


def _values(values: Iterable[object]) -> Iterator[Any]:
    if isinstance(values, io.TextIOBase):  # the lines of an open file, without their line ends
        values = (line.removesuffix("\n") for line in values)
    arrow, numpy = sys.modules.get("pyarrow"), sys.modules.get("numpy")
    for value in values:
        if arrow is not None and isinstance(value, arrow.Scalar):
            yield value.as_py()
        elif numpy is not None and isinstance(value, numpy.ndarray):
            yield value.tolist()
        else:
            yield value


def _is_table(values: object) -> bool:
    return any(kind.__name__ in _TABLES.get(kind.__module__.partition(".")[0], ()) for kind in type(values).__mro__)


def _text(value: object, place: str) -> str:
    if not isinstance(value, str):
        raise DataError(f"{place}: found {_described(value)}, expected a text; remove the row or fill it")
    return str(value)  # numpy's texts are a class of their own


def _pair(value: object, place: str) -> Pair:
    if not isinstance(value, Sequence) or isinstance(value, str | bytes) or len(value) != 2:
        found = f"{len(value)} values" if isinstance(value, list | tuple) else _described(value)
        raise DataError(f"{place}: found {found}, expected a pair of texts")
    return _text(value[0], place), _text(value[1], place)


def _described(value: object) -> str:
    if is_missing(value):
        return f"{value}, a missing value"
    if isinstance(value, str):
        return "one text"
    return f"a {type(value).__name__}"

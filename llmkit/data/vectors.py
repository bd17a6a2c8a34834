"""Files of vectors, .jsonl and .parquet, read in batches of rows; `vector_writing.py` writes them.

Knows no models.
Legend: N rows, D dimensions.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from llmkit.data.files import open_regular_file
from llmkit.data.json_lines import read_jsonl
from llmkit.data.parquet_files import damage_reported, open_parquet, parquet_columns
from llmkit.data.readers import FORMATS, first_keys, good_records
from llmkit.data.vector_writing import ABOUT, VECTOR
from llmkit.errors import DataError, UsageError

if TYPE_CHECKING:
    import numpy as np

_READ_ROWS = 1024


class VectorRows(NamedTuple):
    texts: list[str]
    vectors: np.ndarray
    """(N, D) float32"""
    rows: list[int]
    """Numbers of the rows, from 1; rows without a vector are left out."""


class VectorFile:
    """A .jsonl or .parquet file whose rows have a text and a vector."""

    def __init__(self, path: Path, *, column: str) -> None:
        """`column` contains the texts."""
        self.name = path.as_posix()
        self._path = path
        self._column = column

    def about(self) -> dict[str, Any] | None:
        """A description of the vectors' model, if the file has one.

        Raises:
            DataError: it cannot be read.
        """
        if self._path.suffix.lower() != ".parquet":
            return None
        parquet_columns(self._path, self.name)  # an error if it is not Parquet
        with open_regular_file(self._path, self.name) as file, damage_reported(self.name):
            metadata = (open_parquet(file).schema_arrow.metadata or {}).get(ABOUT)
        if metadata is None:
            return None
        try:
            about = json.loads(metadata)
        except ValueError as error:
            raise DataError(
                f"{self.name}: its metadata about the model of the vectors is damaged. Embed the texts again."
            ) from error
        if not isinstance(about, dict):
            raise DataError(
                f"{self.name}: its metadata about the model of the vectors is damaged. Embed the texts again."
            )
        return about

    def __iter__(self) -> Iterator[VectorRows]:
        """All rows in order, in batches; all vectors have the same dimension.

        Raises:
            DataError: a row has no text or no vector, or a vector has another dimension or non-finite numbers.
        """
        import numpy as np

        dimension: int | None = None
        first_row = 1
        chunks = self._parquet_chunks() if self._path.suffix.lower() == ".parquet" else self._jsonl_chunks()
        for places, texts, vectors in chunks:
            checked, rows, kept = [], [], []
            for row, (place, text, vector) in enumerate(zip(places, texts, vectors, strict=True), first_row):
                if not isinstance(text, str):
                    raise DataError(f"{place}: {self._column!r} is not text. Embed the texts again.")
                if vector is None and not text.strip():
                    continue
                checked.append(_checked(vector, place, dimension=dimension))
                dimension = dimension or len(checked[-1])
                rows.append(row)
                kept.append(text)
            first_row += len(texts)
            if checked:
                yield VectorRows(kept, np.stack(checked), rows)

    def _jsonl_chunks(self) -> Iterator[tuple[list[str], list[Any], list[Any]]]:
        records = good_records(read_jsonl(self._path, self.name), lambda number: f"{self.name}:{number}")
        while batch := list(islice(records, _READ_ROWS)):
            texts = [record.get(self._column) for _, record in batch]
            yield [f"{self.name}:{number}" for number, _ in batch], texts, [record.get(VECTOR) for _, record in batch]

    def _parquet_chunks(self) -> Iterator[tuple[list[str], list[Any], list[Any]]]:
        first_row = 0
        with open_regular_file(self._path, self.name) as file, damage_reported(self.name):
            parquet = open_parquet(file)
            for batch in parquet.iter_batches(batch_size=_READ_ROWS, columns=[self._column, VECTOR]):
                texts, vectors = batch.column(self._column).to_pylist(), batch.column(VECTOR)
                arrays = [
                    row.values.to_numpy(zero_copy_only=False)
                    if row.is_valid and "list" in str(row.type)
                    else row.as_py()
                    for row in vectors
                ]
                yield [f"{self.name}[{first_row + index}]" for index in range(len(texts))], texts, arrays
                first_row += len(texts)


def open_vectors(path: Path, *, column: str = "text") -> VectorFile | None:
    """The file's vectors; None if it has none, such as a file of texts.

    Raises:
        DataError: the file cannot be read.
    """
    match FORMATS.get(path.suffix.lower()):
        case "parquet":
            columns = parquet_columns(path, path.as_posix())
        case "jsonl":
            columns = first_keys(read_jsonl(path, path.as_posix()))
        case _:
            return None
    return VectorFile(path, column=column) if {column, VECTOR} <= set(columns) else None


def _checked(value: Any, place: str, *, dimension: int | None) -> np.ndarray:
    """(D,) float32"""
    import numpy as np

    try:
        with np.errstate(over="ignore"):  # too large for float32 becomes infinite, and is an error below
            vector = np.asarray(value, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(f"{place}: {VECTOR!r} is not a list of numbers. Embed the texts again.") from error
    if vector.ndim != 1 or not len(vector) or not np.isfinite(vector).all():
        raise DataError(f"{place}: {VECTOR!r} is not a list of finite numbers. Embed the texts again.")
    if dimension is not None and len(vector) != dimension:
        fault = f"{VECTOR!r} has {len(vector):,} numbers, earlier rows have {dimension:,}"
        raise DataError(f"{place}: {fault}. Embed the texts again.")
    return vector


def check_search(queries: Sequence[str], *, top_k: int) -> int:
    """`top_k`, after checking it and the queries.

    Raises:
        UsageError: no query, an empty one, or `top_k` below 1.
    """
    if not queries or not all(query.strip() for query in queries):
        raise UsageError("a query is empty; give a text to search for.")
    if top_k < 1:
        raise UsageError(f"top_k is {top_k}; ask for at least 1 row.")
    return top_k

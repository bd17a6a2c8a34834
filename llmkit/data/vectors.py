"""Files of vectors: .npy, .jsonl and .parquet, written atomically, read in batches of rows.

Rows are (text, vector), with other columns such as a row's number first; .npy contains only the vectors. A row whose
text is empty has no vector: null in a file with columns, NaN in .npy. Knows no models: .parquet stores a description of
the model as an object.
Legend: N rows, D dimensions.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from llmkit.atomic import check_replaceable, replacing
from llmkit.data.files import open_regular_file
from llmkit.data.json_lines import read_jsonl
from llmkit.data.parquet_files import damage_reported, open_parquet, parquet_columns
from llmkit.data.readers import FORMATS, first_keys, good_records
from llmkit.errors import DataError, UsageError, nearest

if TYPE_CHECKING:
    import numpy as np

    Keys = Sequence[Mapping[str, Any]]

    class Add(Protocol):
        def __call__(self, texts: Sequence[str], vectors: np.ndarray, keys: Keys = ()) -> None: ...


_VECTOR = "vector"
_ABOUT = b"llmkit"
"""Key of the description in a Parquet file's metadata."""
_READ_ROWS = 1024


class VectorRows(NamedTuple):
    texts: list[str]
    vectors: np.ndarray
    """(N, D) float32"""
    rows: list[int]
    """Numbers of the rows, from 1; rows without a vector are left out."""


def check_vectors_file(path: Path) -> None:
    """Check, before anything is computed, that `writing_vectors` can write a file.

    Raises:
        UsageError: the extension is not that of a format.
        MachineError: the file cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix not in _WRITERS:
        extension = f"the unknown extension {path.suffix!r}" if path.suffix else "no extension"
        hint = nearest(suffix, _WRITERS)
        raise UsageError(f"{path}: has {extension}; vectors are written as {', '.join(_WRITERS)}.{hint}")
    check_replaceable(path)


@contextmanager
def writing_vectors(path: Path, *, dimension: int, about: Mapping[str, Any]) -> Iterator[Add]:
    """Yield a function that appends texts with their (N, D) vectors, and their keys; the file is published if the block
    succeeds.

    A vector of NaN is that of a row without a vector. The keys are the other columns of a row, the same for all rows.

    Args:
        about: a description of the model of the vectors; stored in .parquet only.
    Raises:
        UsageError, MachineError: as `check_vectors_file`, and a full disk.
    """
    check_vectors_file(path)
    with replacing(path) as temporary, _WRITERS[path.suffix.lower()](temporary, dimension, about) as add:
        yield add


@contextmanager
def _write_npy(path: Path, dimension: int, about: Mapping[str, Any]) -> Iterator[Add]:
    """numpy reserves space in the header for the number of rows, so that it can be filled in at the end."""
    import numpy as np

    rows = 0

    def header() -> dict[str, Any]:
        return {"descr": "<f4", "fortran_order": False, "shape": (rows, dimension)}

    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header())
        start = file.tell()

        def add(texts: Sequence[str], vectors: np.ndarray, keys: Keys = ()) -> None:
            nonlocal rows
            rows += len(texts)
            file.write(vectors.astype("<f4").tobytes())

        yield add
        file.seek(0)
        np.lib.format.write_array_header_1_0(file, header())
        assert file.tell() == start, "the header has grown into the vectors"


@contextmanager
def _write_jsonl(path: Path, dimension: int, about: Mapping[str, Any]) -> Iterator[Add]:
    with path.open("w", encoding="utf-8") as file:

        def add(texts: Sequence[str], vectors: np.ndarray, keys: Keys = ()) -> None:
            for text, vector, row_keys in zip(texts, vectors, keys or [{}] * len(texts), strict=True):
                record = {**row_keys, "text": text, _VECTOR: short_numbers(vector) if _is_vector(vector) else None}
                file.write(json.dumps(record, ensure_ascii=False) + "\n")

        yield add


@contextmanager
def _write_parquet(path: Path, dimension: int, about: Mapping[str, Any]) -> Iterator[Add]:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    with ExitStack() as stack:
        writer: pq.ParquetWriter | None = None

        def add(texts: Sequence[str], vectors: np.ndarray, keys: Keys = ()) -> None:
            nonlocal writer
            filled = [_is_vector(vector) for vector in vectors]
            offsets = pa.array([at * dimension for at in range(len(filled) + 1)], pa.int32())
            values = pa.array(vectors.reshape(-1), pa.float32())
            nulls = pa.array([not is_filled for is_filled in filled])
            columns = {name: [row_keys[name] for row_keys in keys] for name in (keys[0] if keys else ())}
            arrays = {
                **{name: _column_array(values, as_text=name == "id") for name, values in columns.items()},
                "text": pa.array(texts, pa.string()),
                _VECTOR: pa.ListArray.from_arrays(offsets, values, mask=nulls),
            }
            table = pa.table(arrays).replace_schema_metadata({_ABOUT: json.dumps(about)})
            if writer is None:
                writer = stack.enter_context(pq.ParquetWriter(path, table.schema))
            writer.write_table(table)

        yield add
        if writer is None:
            add([], np.empty((0, dimension), dtype=np.float32), [])


def _column_array(values: Sequence[Any], *, as_text: bool) -> Any:
    """An array of whole numbers, or of texts: ids of one file may have several types."""
    import pyarrow as pa

    if as_text:
        return pa.array([value if value is None else str(value) for value in values], pa.string())
    return pa.array(values, pa.int64())


def _is_vector(vector: np.ndarray) -> bool:
    import numpy as np

    return not np.isnan(vector).any()


_WRITERS: Mapping[str, Callable[[Path, int, Mapping[str, Any]], AbstractContextManager[Add]]] = {
    ".npy": _write_npy,
    ".jsonl": _write_jsonl,
    ".parquet": _write_parquet,
}


def short_numbers(vector: np.ndarray) -> list[float]:
    """A float32 vector as the shortest numbers that read back as the same float32."""
    numbers: list[float] = vector.astype(str).astype(float).tolist()
    return numbers


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
            metadata = (open_parquet(file).schema_arrow.metadata or {}).get(_ABOUT)
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
            yield [f"{self.name}:{number}" for number, _ in batch], texts, [record.get(_VECTOR) for _, record in batch]

    def _parquet_chunks(self) -> Iterator[tuple[list[str], list[Any], list[Any]]]:
        first_row = 0
        with open_regular_file(self._path, self.name) as file, damage_reported(self.name):
            parquet = open_parquet(file)
            for batch in parquet.iter_batches(batch_size=_READ_ROWS, columns=[self._column, _VECTOR]):
                texts, vectors = batch.column(self._column).to_pylist(), batch.column(_VECTOR)
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
    return VectorFile(path, column=column) if {column, _VECTOR} <= set(columns) else None


def _checked(value: Any, place: str, *, dimension: int | None) -> np.ndarray:
    """(D,) float32"""
    import numpy as np

    try:
        with np.errstate(over="ignore"):  # too large for float32 becomes infinite, and is an error below
            vector = np.asarray(value, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(f"{place}: {_VECTOR!r} is not a list of numbers. Embed the texts again.") from error
    if vector.ndim != 1 or not len(vector) or not np.isfinite(vector).all():
        raise DataError(f"{place}: {_VECTOR!r} is not a list of finite numbers. Embed the texts again.")
    if dimension is not None and len(vector) != dimension:
        fault = f"{_VECTOR!r} has {len(vector):,} numbers, earlier rows have {dimension:,}"
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

"""Writes files of vectors atomically: .npy, .jsonl and .parquet.

Rows are (text, vector), with other columns such as a row's number first; .npy contains only the vectors. A row whose
text is empty has no vector: null in a file with columns, NaN in .npy. Knows no models: .parquet stores a description of
the model as an object.
Legend: N rows, D dimensions.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from llmkit.atomic import check_replaceable, replacing
from llmkit.errors import UsageError, nearest

if TYPE_CHECKING:
    import numpy as np

    Keys = Sequence[Mapping[str, Any]]

    class Add(Protocol):
        def __call__(self, texts: Sequence[str], vectors: np.ndarray, keys: Keys = ()) -> None: ...


VECTOR = "vector"
ABOUT = b"llmkit"
"""Key of the description in a Parquet file's metadata."""


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
                record = {**row_keys, "text": text, VECTOR: short_numbers(vector) if _is_vector(vector) else None}
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
                VECTOR: pa.ListArray.from_arrays(offsets, values, mask=nulls),
            }
            table = pa.table(arrays).replace_schema_metadata({ABOUT: json.dumps(about)})
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

"""Parquet files: columns and rows. pyarrow may raise anything on damaged bytes, which is a DataError here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from llmkit.data.class_names import class_names_in, named_classes
from llmkit.data.files import detected_type, open_regular_file
from llmkit.data.readers import BadRecord, Record, repeated_name
from llmkit.errors import DataError, LlmkitError, RowError

if TYPE_CHECKING:
    import pyarrow.parquet as pq

_BATCH_ROWS = 1024


def parquet_columns(path: Path, name: str) -> list[str]:
    """Names of the top-level columns.

    Raises:
        DataError: the file is not Parquet, is damaged, or has two columns with the same name.
    """
    with open_regular_file(path, name) as file:
        meaning = detected_type(file)
        if meaning != "a Parquet file":
            raise DataError(f"{name}: is {meaning or 'of an unknown type'}, not a Parquet file.")
        with damage_reported(name):
            columns: list[str] = open_parquet(file).schema_arrow.names
    repeated = repeated_name(columns)
    if repeated is not None:
        raise DataError(f"{name}: two columns are named {repeated!r}. Rename one of them.")
    return columns


def read_parquet(path: Path, name: str, columns: Sequence[str]) -> Iterator[Record]:
    """Rows from index 0, in batches; only the requested columns are read.

    A class number becomes its class's name where the file has the names, as files of the hub do.

    Raises:
        DataError: the file is damaged.
    """
    index = 0
    with open_regular_file(path, name) as file, damage_reported(name):
        parquet = open_parquet(file)
        class_names = class_names_in(parquet.schema_arrow.metadata)
        names_of = {column: class_names[column] for column in columns if column in class_names}
        for batch in parquet.iter_batches(batch_size=_BATCH_ROWS, columns=list(columns)):
            for number, values in enumerate(batch.to_pylist(), index):
                yield number, _named(values, names_of, place=f"{name}[{number}]")
            index += batch.num_rows
        if index != parquet.metadata.num_rows:
            raise ValueError(f"it has {index:,} rows, and its footer says {parquet.metadata.num_rows:,}")


def open_parquet(file: BinaryIO) -> pq.ParquetFile:
    """The file, to be read in batches, whose pages are compared with their checksums."""
    import pyarrow.parquet as pq

    # The default, pre_buffer=True, would keep the whole file in memory until the last row.
    return pq.ParquetFile(file, pre_buffer=False, buffer_size=65536, page_checksum_verification=True)


@contextmanager
def damage_reported(name: str) -> Iterator[None]:
    """Convert what pyarrow raises on damaged bytes.

    Raises:
        DataError: anything was raised.
    """
    try:
        yield
    except (LlmkitError, GeneratorExit):
        raise
    except Exception as error:  # ArrowException, OverflowError, UnicodeDecodeError, AttributeError, ...
        reason = " ".join(str(error).split())  # thrift puts raw bytes into it, line ends among them
        raise DataError(f"{name}: damaged Parquet file ({reason}). Copy or write it again.") from error


def _named(
    values: Mapping[str, object], names_of: Mapping[str, Sequence[str]], *, place: str
) -> Mapping[str, object] | BadRecord:
    try:
        named: dict[str, Any] = {
            column: named_classes(names, values[column], place=place, column=column)
            for column, names in names_of.items()
        }
    except RowError as error:
        return BadRecord(error.fault, error.reason, values)
    return {**values, **named}

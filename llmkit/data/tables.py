"""The sources of rows: a file or a built-in data set, each a table that can be read repeatedly.

`readers.py` knows the formats, `hub.py` adds the tables of the Hugging Face hub.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

from llmkit.data.conll import conll_columns, marked_documents, read_conll
from llmkit.data.files import open_regular_file
from llmkit.data.json_files import read_json
from llmkit.data.json_lines import read_jsonl
from llmkit.data.parquet_files import parquet_columns, read_parquet
from llmkit.data.python_docs import COLUMNS, load_python_docs, python_docs_versions
from llmkit.data.python_docs_entities import COLUMNS as ENTITY_COLUMNS
from llmkit.data.python_docs_entities import load_python_docs_entities
from llmkit.data.python_docs_questions import QUESTION_COLUMNS, load_python_docs_questions
from llmkit.data.quoting import tsv_is_quoted
from llmkit.data.readers import InputUnit, Record, first_keys, format_of, read_csv, read_text, take_header, with_header
from llmkit.errors import DataError
from llmkit.recipe.blocks import Quoting
from llmkit.recipe.nodes import printable


class Table(Protocol):
    """One file, hub data set or built-in data set: columns, and records that can be read repeatedly."""

    name: str
    unit: Literal["line", "row"]
    """What the number of a record counts."""
    null_is_empty: bool
    """Whether a null text is what an empty cell is in other formats."""

    def columns(self) -> Sequence[str]:
        """Names of the columns; empty if there is neither a header nor a first record."""
        ...

    def records(self, columns: Sequence[str]) -> Iterator[Record]:
        """All records, with at least these columns."""
        ...

    def place(self, number: int) -> str:
        """Where a record is, for people."""
        ...

    def fingerprint(self) -> dict[str, Any]:
        """An identifier of the content, without row and column counts."""
        ...


class FileTable:
    """A local file. Its size and modification time are stored when it is first opened, and checked each time."""

    def __init__(self, path: Path, *, text_column: str, text_files: InputUnit, quoting: Quoting = "auto") -> None:
        self.name = printable(path.as_posix())
        file_format = format_of(path)
        assert file_format is not None, "sources checks the extension"
        self.format = file_format
        self.unit: Literal["line", "row"] = "row" if self.format in ("parquet", "json") else "line"
        self.null_is_empty = self.format == "parquet"
        self._path = path
        self._text_column = text_column
        self._text_files = text_files
        self._quoting = quoting
        self._stamp = self._current_stamp()

    def columns(self) -> Sequence[str]:
        self._check_unchanged()
        match self.format:
            case "csv" | "tsv":
                return [name for name in take_header(self._csv_rows(), self.name) if name]
            case "jsonl":
                return first_keys(read_jsonl(self._path, self.name))
            case "parquet":
                return parquet_columns(self._path, self.name)
            case "json":
                return first_keys(read_json(self._path, self.name))
            case "text":
                return [self._text_column]
            case "conll":
                return conll_columns(self._path, self.name)

    def records(self, columns: Sequence[str]) -> Iterator[Record]:
        self._check_unchanged()
        match self.format:
            case "csv" | "tsv":
                return with_header(self._csv_rows(), self.name)
            case "jsonl":
                return read_jsonl(self._path, self.name)
            case "parquet":
                return read_parquet(self._path, self.name, columns)
            case "json":
                return read_json(self._path, self.name)
            case "text":
                return read_text(self._path, self.name, column=self._text_column, unit=self._text_files)
            case "conll":
                return read_conll(self._path, self.name)

    @cached_property
    def documents(self) -> int:
        """The number of documents that begin with a mark, in a CoNLL file; 2 stands for two or more."""
        return marked_documents(self._path, self.name) if self.format == "conll" else 0

    def place(self, number: int) -> str:
        return f"{self.name}[{number}]" if self.unit == "row" else f"{self.name}:{number}"

    def fingerprint(self) -> dict[str, Any]:
        digest = hashlib.sha256()
        with open_regular_file(self._path, self.name) as file:
            while chunk := file.read(1024 * 1024):
                digest.update(chunk)
        self._check_unchanged()
        return {"name": self.name, "bytes": self._stamp[0], "sha256": digest.hexdigest()}

    def _csv_rows(self) -> Iterator[tuple[int, list[str]]]:
        delimiter = "\t" if self.format == "tsv" else ","
        return read_csv(self._path, self.name, delimiter=delimiter, quoted=self._is_quoted)

    @cached_property
    def _is_quoted(self) -> bool:
        if self._quoting == "auto":
            return self.format == "csv" or tsv_is_quoted(self._path, self.name)
        return self._quoting == "csv"

    def _current_stamp(self) -> tuple[int, int]:
        with open_regular_file(self._path, self.name) as file:
            status = os.fstat(file.fileno())
        return status.st_size, status.st_mtime_ns

    def _check_unchanged(self) -> None:
        if self._current_stamp() != self._stamp:
            raise DataError(f"{self.name}: changed since it was first read. Start again when it no longer changes.")


BUILTINS: Mapping[str, tuple[Callable[[], Sequence[Mapping[str, object]]], Sequence[str]]] = {
    "python-docs": (load_python_docs, COLUMNS),
    "python-docs-entities": (load_python_docs_entities, ENTITY_COLUMNS),
    "python-docs-questions": (load_python_docs_questions, QUESTION_COLUMNS),
}
"""Name after `builtin:` -> function that loads the rows, and their columns. All derive from `builtin:python-docs`."""


class BuiltinTable:
    """A built-in data set."""

    unit: Literal["line", "row"] = "row"
    null_is_empty = False

    def __init__(self, name: str) -> None:
        load, self._columns = BUILTINS[name]
        self.name = f"builtin:{name}"
        self._rows = load()

    def columns(self) -> Sequence[str]:
        return self._columns

    def records(self, columns: Sequence[str]) -> Iterator[Record]:
        return iter(enumerate(self._rows))

    def place(self, number: int) -> str:
        return f"{self.name}[{number}]"

    def fingerprint(self) -> dict[str, Any]:
        content = json.dumps(self._rows, sort_keys=True).encode()
        digest = hashlib.sha256(content).hexdigest()
        return {"name": self.name, "versions": python_docs_versions(), "sha256": digest}

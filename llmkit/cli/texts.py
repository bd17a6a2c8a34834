"""Texts in, results out: an argument, a file or a pipe; lines or JSONL, to standard output or a file."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from llmkit.errors import DataError, MachineError, UsageError

_FILES = (".txt", ".text", ".md", ".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")


def input_texts(given: str | None, *, column: str, by_line: bool) -> Iterator[str]:
    """The texts of an argument: a text, the name of a file, or `-` or nothing for standard input.

    Args:
        column: of a file with columns.
        by_line: each line of plain text is a text of its own; else all of it is one.
    Raises:
        UsageError: nothing was given, and standard input is a terminal.
        DataError: a name that looks like a file, and is none; input that is not UTF-8.
    """
    if given is None and sys.stdin.isatty():
        raise UsageError("give a text, a file, or pipe texts in.")
    if given is None or given == "-":
        return _stdin_texts(by_line=by_line)
    if _is_file(given):
        from llmkit.api import read_texts

        return read_texts(given, column=column, by_line=by_line)
    if given.lower().endswith(_FILES) and not any(char.isspace() for char in given):
        raise DataError(f"{given}: there is no such file in {Path.cwd()}. To use it as a text, pipe it in.")
    return iter([given])


def _is_file(given: str) -> bool:
    if given.startswith(("builtin:", "hub:")):
        return True
    with contextlib.suppress(OSError, ValueError):  # a long text is no possible name
        return Path(given).exists()
    return False


def _stdin_texts(*, by_line: bool) -> Iterator[str]:
    if not by_line:
        yield _decoded(sys.stdin.buffer.read(), "standard input").strip("\r\n")
        return
    blank = 0
    for number, line in enumerate(sys.stdin.buffer, start=1):
        text = _decoded(line, f"standard input:{number}").rstrip("\r\n")
        if text.strip():
            yield text
        else:
            blank += 1
    if blank:
        import logging

        logging.getLogger("llmkit").warning("standard input: skipped %d blank lines", blank)


def _decoded(content: bytes, place: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        fault = f"byte 0x{content[error.start]:02X} at offset {error.start} is not UTF-8"
        raise DataError(f"{place}: {fault}. Save the text as UTF-8.") from error


class Write(Protocol):
    def __call__(self, plain: str, record: Mapping[str, Any]) -> None: ...


@contextmanager
def results(*, as_json: bool, output: str | None) -> Iterator[Write]:
    """Give a function that writes one result: plain to standard output, or JSONL there or to the file `output`.

    The file appears when all results are in it.

    Raises:
        MachineError: the file cannot be written.
    """
    if output is None:

        def to_stdout(plain: str, record: Mapping[str, Any]) -> None:
            print(json.dumps(record, ensure_ascii=False) if as_json else plain, flush=True)

        yield to_stdout
        return
    path = Path(output)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            yield lambda plain, record: print(json.dumps(record, ensure_ascii=False), file=file)
        temporary.replace(path)
    except OSError as error:
        raise MachineError(f"{output}: cannot be written ({error.strerror}).") from error
    finally:
        temporary.unlink(missing_ok=True)

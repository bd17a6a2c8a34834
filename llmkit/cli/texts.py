"""Input rows from an argument, a file or a pipe; results as lines or JSONL, to standard output or a file.

`llmkit/api/texts.py` says what is one text.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from llmkit.atomic import replacing
from llmkit.errors import DataError, MachineError, UsageError, nearest

if TYPE_CHECKING:
    from llmkit.api import InputRow

Value = TypeVar("Value")
Result = TypeVar("Result")
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n"}
_LINE_ENDS = {ord(char): repr(char)[1:-1] for char in "\t\n\u2028\u2029"}
_PLAIN_TEXT = (".txt", ".text", ".md")
_FILES = (*_PLAIN_TEXT, ".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet", ".conll", ".conllu")


Quoting = Literal["auto", "csv", "none"]
"""The meaning of quotes in .csv and .tsv files."""

logger = logging.getLogger("llmkit")


def input_rows(
    source: str | None, *, column: str, by_line: bool, quoting: Quoting = "auto", note: bool = False
) -> Iterator[InputRow[str]]:
    """The texts of an argument: a text, a file name, or `-` or None for standard input.

    Args:
        column: the column that contains the texts, in a file with columns.
        by_line: whether each line of plain text is a separate text.
        note: log how plain text of several lines is read, since the user has not said it.
    Raises:
        UsageError: there is no argument, and standard input is a terminal.
        DataError: the argument looks like a file name, but there is no such file; the input is not UTF-8.
    """
    from llmkit.api import argument_row, stream_rows, text_rows

    if source is None or source == "-":
        if sys.stdin is None or (source is None and sys.stdin.isatty()):
            raise UsageError("give a text or a file, or pipe texts in.")
        rows = stream_rows(sys.stdin.buffer, by_line=by_line)
        return noted(rows, "standard input", by_line=by_line) if note else rows
    if is_data_file(source):
        rows = text_rows(source, column=column, by_line=by_line, quoting=quoting)
        return noted(rows, source, by_line=by_line) if note else rows
    if _has_extension(source):
        raise DataError(f"{source}: {_no_such_file(Path(source))} To use it as a text, pipe it in.")
    return iter([argument_row(as_text(source))])


def noted(rows: Iterator[InputRow[Value]], name: str, *, by_line: bool) -> Iterator[InputRow[Value]]:
    """The same rows; once it is known that a plain text has several lines, logs how they are read."""
    if name.startswith(("builtin:", "hub:")) or not (name == "standard input" or name.lower().endswith(_PLAIN_TEXT)):
        yield from rows
        return
    for number, row in enumerate(rows, 1):
        if by_line and number == 2:
            logger.info("%s: each line is one text; --whole reads all lines as one", name)
        elif not by_line and isinstance(row.value, str) and "\n" in row.value:
            lines = row.value.count("\n") + 1
            logger.info("%s: its %s lines are read as one text; --lines reads each line as one", name, f"{lines:,}")
        yield row


def input_words_or_texts(
    source: str | None, *, column: str | None, by_line: bool, quoting: Quoting = "auto"
) -> Iterator[InputRow[str]] | Iterator[InputRow[list[str]]]:
    """As `input_rows`, but a file may have lists of words in place of texts; without a column it is `text` or `words`."""
    if source is None or source == "-" or not is_data_file(source):
        return input_rows(source, column=column or "text", by_line=by_line, quoting=quoting)
    from llmkit.api import word_or_text_rows

    return word_or_text_rows(source, column=column, by_line=by_line, quoting=quoting)


def is_file_name(source: str) -> bool:
    """Whether an argument is a file or another source of rows, or has the name of one."""
    return is_data_file(source) or _has_extension(source)


def input_pairs(
    source: str | None, *, column: str, pair_column: str, quoting: Quoting = "auto"
) -> Iterator[InputRow[tuple[str, str]]]:
    """The pairs of texts in a file with two columns.

    Raises:
        UsageError: no file was given.
        DataError: a column is missing.
    """
    if source is None or not is_data_file(source):
        raise UsageError(
            f"pairs of texts come from a file with the columns {column} and {pair_column}; give one as the argument."
        )
    from llmkit.api import classifier_pairs

    return classifier_pairs(source, column=column, pair_column=pair_column, quoting=quoting)


def as_text(argument: str) -> str:
    """The argument decoded as UTF-8, also in an ASCII locale."""
    return os.fsencode(argument).decode("utf-8", "surrogateescape")


def _no_such_file(path: Path) -> str:
    folder = path.absolute().parent
    if not folder.is_dir():
        return f"there is no folder {folder}."
    return f"there is no such file in {folder}.{nearest(path.name, (entry.name for entry in folder.iterdir()))}"


def is_data_file(source: str) -> bool:
    if source.startswith(("builtin:", "hub:")):
        return True
    with contextlib.suppress(OSError, ValueError):  # a long text cannot be a file name
        return bool(source) and Path(source).exists()
    return False


def _has_extension(source: str) -> bool:
    return source.lower().endswith(_FILES) and not any(char.isspace() for char in source)


def shown(text: str) -> str:
    """Model output for standard output; on a terminal, control characters are escaped."""
    return text.translate(_CONTROLS) if sys.stdout.isatty() else text


def one_line(text: str) -> str:
    """A name or a line with names, such as those of labels and files, with control characters and line ends escaped."""
    return text.translate({**_CONTROLS, **_LINE_ENDS})


def counts_of(*, truncated: int, unknown: int) -> dict[str, int]:
    """The tokens of a text that the model did not see, for its record; those that it cannot read, if there are any."""
    counts = {"truncated_tokens": truncated}
    return {**counts, "unknown_tokens": unknown} if unknown else counts


class Write(Protocol):
    def __call__(self, plain: str, record: Mapping[str, Any]) -> None: ...


def write_results(
    write: Write,
    rows: Iterable[InputRow[Value]],
    use: Callable[[Iterator[Value]], Iterator[Result]],
    *,
    show: Callable[[Result], tuple[str, Mapping[str, Any]]],
    fields: Sequence[str] = ("text",),
    missing: Sequence[str],
) -> None:
    """Write one result for each row, with the row's number and id; null and the reason where it has no text.

    Args:
        use: the verb.
        show: a result as a line and as a record.
        fields: names of the row's texts in the record of a row without a result.
        missing: keys that are null there.
    """
    from llmkit.api import results_of_rows

    for row, result in results_of_rows(rows, use):
        if result is None:
            texts = row.value if isinstance(row.value, tuple) else (row.value,)
            names = ("words",) if isinstance(row.value, list) else fields
            nulls = {**dict(zip(names, texts, strict=False)), **dict.fromkeys(missing), "reason": row.empty}
            write("", {**row.keys, **nulls})
        else:
            plain, record = show(result)
            write(plain, {**row.keys, **record})


@contextmanager
def results(*, as_json: bool, output: str | None) -> Iterator[Write]:
    """Yield a function that writes one result: as text or JSONL to standard output, or as JSONL to the file `output`.

    `-` means standard output. A file is created once all results are written; a device or a pipe is written to
    immediately.

    Raises:
        MachineError: the file cannot be written.
    """
    if output is None or output == "-":

        def to_stdout(plain: str, record: Mapping[str, Any]) -> None:
            line = json.dumps(record, ensure_ascii=False) if as_json or output else plain
            print(shown(line), flush=True)

        yield to_stdout
        return
    path = Path(output)
    special = path.exists() and not path.is_file() and not path.is_dir()
    with _opened(path) if special else _replaced(path) as file:
        yield lambda plain, record: print(json.dumps(record, ensure_ascii=False), file=file)


@contextmanager
def _opened(path: Path) -> Iterator[IO[str]]:
    try:
        with path.open("w", encoding="utf-8") as file:
            yield file
    except BrokenPipeError:
        raise
    except OSError as error:
        raise MachineError(f"{path}: cannot be written ({error.strerror}).") from error


@contextmanager
def _replaced(path: Path) -> Iterator[IO[str]]:
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        yield file

"""Results of the verbs as lines or JSONL, on standard output or in a file, where a later command can go on."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol, TypeVar

from llmkit.atomic import check_replaceable, replacing
from llmkit.errors import MachineError, UsageError

if TYPE_CHECKING:
    from llmkit.api import EarlierResults, InputRow, Verb

Value = TypeVar("Value")
Result = TypeVar("Result")
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n"}
_LINE_ENDS = {ord(char): repr(char)[1:-1] for char in "\t\n\u2028\u2029"}

logger = logging.getLogger("llmkit")


class Write(Protocol):
    def __call__(self, plain: str, record: Mapping[str, Any]) -> None: ...


class Target:
    """Where the results of a command go: standard output, a file, or a device."""

    def __init__(self, *, as_json: bool, output: str | None, resume: bool = False) -> None:
        """`-` and None are standard output.

        Args:
            resume: go on after the last row of the file.
        Raises:
            UsageError: `resume` without a file.
            MachineError: the file cannot be written.
        """
        self.as_json = as_json or output is not None
        self.path = None if output in (None, "-") else Path(str(output))
        self.resume = resume
        self.texts_before = 0
        """Rows with a text whose results are not computed again."""
        self.is_device = (
            self.path is not None and self.path.exists() and not (self.path.is_file() or self.path.is_dir())
        )
        if resume and (self.path is None or self.is_device):
            raise UsageError("--resume-output goes on with the results in a file. Name it with --output.")
        if self.path is not None and not self.is_device:
            check_replaceable(self.path)

    @property
    def on_terminal(self) -> bool:
        """Whether the results themselves show the progress."""
        return self.path is None and sys.stdout.isatty()

    @contextmanager
    def writing(self, earlier: EarlierResults | None = None) -> Iterator[Write]:
        """Yield a function that writes one result.

        A new file has each result as soon as it is there. A file that exists already is replaced once all are, unless
        its own results are continued.

        Raises:
            MachineError: the file cannot be written.
        """
        path = self.path
        if path is None:
            yield self._to_stdout
        elif self.is_device or earlier is not None or not path.exists():
            with _reporting_faults(path), _Growing(path, earlier) as growing:
                yield growing.write
        else:
            with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
                yield lambda plain, record: print(json.dumps(record, ensure_ascii=False), file=file)

    def _to_stdout(self, plain: str, record: Mapping[str, Any]) -> None:
        print(shown(json.dumps(record, ensure_ascii=False) if self.as_json else plain), flush=True)


class _Growing:
    """A file or a device that each result is added to at once; created with the first one."""

    def __init__(self, path: Path, earlier: EarlierResults | None) -> None:
        self._path = path
        self._earlier = earlier
        self._file: IO[str] | None = None
        self._rows = earlier.rows if earlier else 0

    def __enter__(self) -> _Growing:
        return self

    def write(self, plain: str, record: Mapping[str, Any]) -> None:
        if self._earlier is not None and not self._earlier.is_new(record):
            return
        self._file = self._file or self._opened()
        print(json.dumps(record, ensure_ascii=False), file=self._file, flush=True)
        self._rows += 1

    def _opened(self) -> IO[str]:
        if self._earlier is not None and self._path.exists():
            os.truncate(self._path, self._earlier.end)
        return self._path.open("w" if self._earlier is None else "a", encoding="utf-8")

    def __exit__(self, kind: object, *error: object) -> None:
        if self._file is not None:
            if self._path.is_file():
                os.fsync(self._file.fileno())
            self._file.close()
        if kind is not None and self._rows and self._path.is_file():
            logger.info("%s has the results of %s rows; --resume-output goes on there", self._path, f"{self._rows:,}")


@contextmanager
def _reporting_faults(path: Path) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise MachineError(f"{path}: cannot be written ({error.strerror}).") from error


def write_results(
    target: Target,
    rows: Iterator[InputRow[Value]],
    use: Callable[[Iterator[Value]], Iterator[Result]],
    *,
    verb: Verb,
    show: Callable[[Result], tuple[str, Mapping[str, Any]]],
    fields: Sequence[str] = ("text",),
    missing: Iterable[str],
) -> int:
    """Write one result for each row, with the row's number and id; null and the reason where it has no text.

    Args:
        use: the verb.
        show: a result as a line and as a record.
        fields: names of the row's texts in the record of a row without a result.
        missing: keys that are null there.
    Returns:
        The number of rows, those of an earlier command included.
    """
    from llmkit.api import EarlierResults, results_of_rows
    from llmkit.cli.progress_bar import progress_bar

    earlier = None
    if target.resume and target.path is not None:
        earlier = EarlierResults(target.path, rows, verb=verb, fields=fields)
        rows, target.texts_before = earlier.remaining, earlier.texts_before
        logger.info("%s: has the results of %s rows", target.path, f"{earlier.rows:,}")
    with target.writing(earlier) as write, progress_bar(shown=not target.on_terminal) as report:
        row_count = 0
        for row, result in results_of_rows(rows, use, some_before=bool(earlier and earlier.rows)):
            row_count += 1
            report(verb, row_count, None)
            if result is None:
                texts = row.value if isinstance(row.value, tuple) else (row.value,)
                names = ("words",) if isinstance(row.value, list) else fields
                nulls = {**dict(zip(names, texts, strict=False)), **dict.fromkeys(missing), "reason": row.empty}
                write("", {**row.keys, **nulls})
            else:
                plain, record = show(result)
                write(plain, {**row.keys, **record})
    return row_count + (earlier.first if earlier else 0)


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

"""Results that an earlier command has written to a file: compared with the rows of an input, to go on after them."""

from __future__ import annotations

import json
import logging
import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from llmkit.api.texts import InputRow
from llmkit.api.verbs import Verb
from llmkit.data.files import open_regular_file
from llmkit.errors import DataError
from llmkit.inference.embedding import EMBED_CHUNK_ROWS
from llmkit.inference.filling import FILL_CHUNK_ROWS
from llmkit.inference.prompts import Prompt
from llmkit.inference.text import GENERATE_CHUNK_ROWS
from llmkit.tasks.classification.predict import CLASSIFY_CHUNK_ROWS
from llmkit.tasks.multiple_choice.choices import Question
from llmkit.tasks.multiple_choice.predict import CHOOSE_CHUNK_ROWS
from llmkit.tasks.question_answering.predict import ANSWER_CHUNK_ROWS
from llmkit.tasks.token_classification.predict import TAG_CHUNK_ROWS

logger = logging.getLogger("llmkit")
_CHUNK_ROWS: Mapping[Verb, int] = {
    "answer": ANSWER_CHUNK_ROWS,
    "choose": CHOOSE_CHUNK_ROWS,
    "classify": CLASSIFY_CHUNK_ROWS,
    "embed": EMBED_CHUNK_ROWS,
    "fill": FILL_CHUNK_ROWS,
    "generate": GENERATE_CHUNK_ROWS,
    "summarize": GENERATE_CHUNK_ROWS,
    "tag": TAG_CHUNK_ROWS,
    "translate": GENERATE_CHUNK_ROWS,
}
"""Rows that a verb computes together. The last digits of a result depend on the rows that it is computed with, so the
last chunk is computed again."""
_REWRITE = "Give another file, or leave out --resume-output to write this one again."


class EarlierResults:
    """The whole rows of a file of results in JSONL, which may end within a row or not be there."""

    def __init__(
        self, path: Path, rows: Iterator[InputRow[Any]], *, verb: Verb, fields: Sequence[str] = ("text",)
    ) -> None:
        """
        Args:
            rows: the input, of which those that need no computation are read here.
            fields: keys of the row's texts in a result.
        Raises:
            DataError: the results are not those of these rows.
        """
        self.path = path
        self.rows = 0
        """Rows that the file has."""
        self.end = 0
        """Bytes of these rows."""
        self.first = 0
        """Rows whose results are not computed again."""
        self.texts_before = 0
        """Those of them with a text."""
        self._expected: deque[tuple[int, dict[str, Any]]] = deque()
        """Row and result of those that are."""
        again: list[InputRow[Any]] = []
        for record in self._records():
            row = next(rows, None)
            if row is None:
                raise DataError(f"{path}: it has results of more rows than the input, {self.rows + 1:,}. {_REWRITE}")
            self._check(record, row, fields)
            self.rows += 1
            again.append(row)
            self._expected.append((row.row, record))
            if sum(waiting.empty is None for waiting in again) == _CHUNK_ROWS[verb]:
                self.first, self.texts_before = self.rows, self.texts_before + _CHUNK_ROWS[verb]
                again.clear()
                self._expected.clear()
        self.remaining: Iterator[InputRow[Any]] = chain(again, rows)
        """The rows to compute."""

    def is_new(self, record: Mapping[str, Any]) -> bool:
        """Whether the file lacks the next result.

        Raises:
            DataError: it has another one for this row.
        """
        if not self._expected:
            return True
        row, written = self._expected.popleft()
        if not _is_alike(written, json.loads(json.dumps(record))):
            raise DataError(
                f"{self.path}: the result of row {row:,} is another one now. Was it written with another model or other "
                f"options? {_REWRITE}"
            )
        return False

    def _records(self) -> Iterator[dict[str, Any]]:
        """The results up to the first incomplete one, which must be the last. Counts their bytes."""
        if not self.path.exists():
            return
        with open_regular_file(self.path, str(self.path)) as file:
            for line in file:
                record = _parsed(line)
                if record is None and not file.read(1):
                    logger.info("%s: its last line is incomplete, and is left out", self.path)
                    return
                if not isinstance(record, dict) or not isinstance(record.get("row"), int):
                    raise DataError(f"{self.path}:{self.rows + 1}: not a result with the number of its row. {_REWRITE}")
                yield record
                self.end += len(line)

    def _check(self, record: Mapping[str, Any], row: InputRow[Any], fields: Sequence[str]) -> None:
        """
        Raises:
            DataError: it is the result of another row.
        """
        for key, value in {"row": row.row, "id": row.id, **_texts(row.value, fields)}.items():
            found = record.get(key, None if key == "id" else value)
            if found != value:
                raise DataError(
                    f"{self.path}:{self.rows + 1}: {key!r} is {found!r:.60}, and {value!r:.60} in the input ({row.place}). "
                    f"These are results of other rows. {_REWRITE}"
                )


def _parsed(line: bytes) -> object:
    """The value of a whole line of JSON; None for any other line."""
    if not line.endswith(b"\n"):
        return None
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _texts(value: object, fields: Sequence[str]) -> dict[str, Any]:
    """What a result repeats of the value of its row."""
    if isinstance(value, Question):
        texts = {"context": value.context, "question": value.question, "choices": list(value.choices)}
        return {key: text for key, text in texts.items() if text}
    if isinstance(value, list):
        return {"words": value}
    texts_of_row = value if isinstance(value, tuple) else (value.text if isinstance(value, Prompt) else value,)
    return dict(zip(fields, texts_of_row, strict=False))


def _is_alike(first: object, second: object) -> bool:
    """Equal, save the last digits of floats: another number of threads changes these."""
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(_is_alike(first[key], second[key]) for key in first)
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(_is_alike, first, second))
    if isinstance(first, float) and isinstance(second, float):
        return math.isclose(first, second, rel_tol=1e-3, abs_tol=1e-3)
    return first == second

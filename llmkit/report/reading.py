"""Reads a run folder for its report. Damaged or lost files are named in `faults`, and the report goes on without them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from llmkit.errors import RunError
from llmkit.report.predictions import value_kind
from llmkit.report.shown_rows import ShownRow, read_shown_rows
from llmkit.runs.folder import Run
from llmkit.runs.saved_json import DataManifest, read_checked, read_json

_ORDER = ("test", "validation", "data")
"""Of the evaluations; others follow by name."""
Content = TypeVar("Content")
Number = float | int | None


class _Read(BaseModel):
    model_config = ConfigDict(extra="allow")


class BaselineRecord(_Read):
    title: str
    scores: dict[str, Number] = {}
    intervals: dict[str, Any] = {}


class VerdictRecord(_Read):
    metric: str
    better: bool
    text: str


class EvaluationRecord(_Read):
    """evaluation/NAME.json"""

    data: str
    rows: int
    scores: dict[str, Number]
    intervals: dict[str, Any] = {}
    clusters: int | None = None
    details: dict[str, Any] = {}
    baselines: dict[str, BaselineRecord] = {}
    verdict: VerdictRecord | None = None
    bad_rows: dict[str, Any] | None = None
    step: int | None = None
    """Of the training that measured it; None for `llmkit evaluate`."""

    @property
    def has_intervals(self) -> bool:
        return any(interval is not None for interval in self.intervals.values())

    @property
    def value_kind(self) -> str:
        """What is predicted; see `predictions.value_kind`."""
        return value_kind(self.scores)


@dataclass(frozen=True)
class SavedEvaluation:
    """One result of `llmkit evaluate`."""

    name: str
    """test, validation or data."""
    record: EvaluationRecord
    predictions: Path | None
    """The file of its predictions."""
    shown_rows: Mapping[int, ShownRow]
    """Line of the predictions, from 0 -> what the model read there."""

    @property
    def title(self) -> str:
        return {"test": "Test rows", "validation": "Validation rows", "data": "Given rows"}.get(self.name, self.name)


@dataclass(frozen=True)
class RunContent:
    """The files of a run folder; empty where there is none."""

    run: Run
    manifest: dict[str, Any]
    recipe: str = ""
    environment: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    evaluations: tuple[SavedEvaluation, ...] = ()
    faults: tuple[str, ...] = ()
    """What cannot be read, and why."""

    @property
    def name(self) -> str:
        """The folder's name, without the folders above it."""
        return self.run.folder.name or self.run.folder.resolve().name


def read_content(run: Run) -> RunContent:
    """
    Raises:
        RunError: run.json is missing or damaged.
    """
    faults: list[str] = []
    folder = run.folder

    def attempt(read: Callable[[], Content], default: Content, *, path: Path) -> Content:
        if not path.exists():
            return default
        try:
            return read()
        except (RunError, OSError) as error:
            faults.append(str(error).replace(f"{folder}/", ""))
            return default

    def text_of(path: Path) -> str:
        return path.read_text(encoding="utf-8", errors="replace")

    data, environment = folder / "data.json", folder / "env.json"
    evaluations = []
    for path in sorted((folder / "evaluation").glob("*.json"), key=_rank):
        record = attempt(lambda path=path: read_evaluation(path), None, path=path)  # type: ignore[misc]
        if record is not None:
            evaluations.append(_with_files(path, record))
    return RunContent(
        run=run,
        manifest=run.manifest(),
        recipe=attempt(lambda: text_of(run.recipe), "", path=run.recipe),
        environment=attempt(lambda: read_json(environment), {}, path=environment),
        data=attempt(lambda: read_checked(data, DataManifest), {}, path=data),
        metrics=attempt(run.metrics, [], path=folder / "metrics.jsonl"),
        evaluations=tuple(evaluations),
        faults=tuple(faults),
    )


def read_evaluation(path: Path) -> EvaluationRecord:
    """
    Raises:
        RunError: the file is damaged.
    """
    try:
        return EvaluationRecord.model_validate(read_json(path))
    except ValidationError as error:
        fault = error.errors()[0]
        raise RunError(f"{path} is damaged: {'.'.join(map(str, fault['loc']))}: {fault['msg']}.") from error


def cut_texts(record: EvaluationRecord) -> Sequence[int]:
    """Rows whose generated text reached the length limit, from 0; empty where there are more texts than rows."""
    written = record.details.get("written")
    if not isinstance(written, dict) or written.get("texts") != record.rows:
        return ()
    return [number for number in written.get("cut_texts", ()) if isinstance(number, int)]


def predictions_of(path: Path) -> Path:
    """The predictions beside the scores of an evaluation."""
    return path.with_suffix(".predictions.jsonl")


def shown_rows_of(path: Path) -> Path:
    """The inputs of the rows that a report shows, beside the scores."""
    return path.with_suffix(".shown_rows.jsonl")


def _with_files(path: Path, record: EvaluationRecord) -> SavedEvaluation:
    predictions, shown = predictions_of(path), shown_rows_of(path)
    return SavedEvaluation(
        path.stem,
        record,
        predictions if predictions.is_file() else None,
        read_shown_rows(shown) if shown.is_file() else {},
    )


def _rank(path: Path) -> tuple[int, str]:
    return (_ORDER.index(path.stem) if path.stem in _ORDER else len(_ORDER), path.stem)

"""One pass over a file of predictions: counts of labels, confidence, and the few rows that a report shows.

The file may have millions of lines; memory is bounded by the number of labels.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from heapq import heappush, heappushpop
from pathlib import Path
from typing import Any, NamedTuple

from llmkit.evaluation.metrics import METRICS
from llmkit.reservoir import Reservoir

BINS = 10
"""Of confidence, equally wide."""
_ROWS_SHOWN = 8
"""Of each kind."""
_POINTS = 400
"""Of numbers against numbers."""
_MOST_PAIRS = 10_000
"""Pairs of labels that are counted."""


class Line(NamedTuple):
    """A line of the file."""

    number: int
    """From 0."""
    prediction: Any
    reference: Any
    row: int | None
    """Number of the row in its file, from 1."""
    loss: float | None
    """Nats per target."""
    targets: int | None
    confidence: float | None
    """The probability of a predicted label."""
    cluster: str | None


@dataclass
class Bin:
    """Rows whose confidence is in one of the `BINS`."""

    rows: int = 0
    correct: int = 0
    confidence: float = 0.0
    """Sum."""


@dataclass
class Digest:
    """What a report needs of a file of predictions."""

    rows: int = 0
    damaged_lines: int = 0
    wrong: int = 0
    judged: int = 0
    """Rows that are either right or wrong."""
    pairs: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(reference, prediction) -> rows, or words of a tagged text."""
    bins: list[Bin] = field(default_factory=lambda: [Bin() for _ in range(BINS)])
    points: list[tuple[float, float]] = field(default_factory=list)
    """(reference, prediction) of a sample of rows with numbers."""
    confident_mistakes: list[Line] = field(default_factory=list)
    mistakes: list[Line] = field(default_factory=list)
    """A sample of all mistakes."""
    largest_errors: list[Line] = field(default_factory=list)
    """Of numbers."""
    highest_loss: list[Line] = field(default_factory=list)
    samples: list[Line] = field(default_factory=list)
    cut: list[Line] = field(default_factory=list)
    """Generated texts that reached the length limit."""

    @property
    def has_confidence(self) -> bool:
        return any(group.rows for group in self.bins)

    @property
    def shown(self) -> frozenset[int]:
        """Numbers of the lines that a report shows."""
        lists = (self.confident_mistakes, self.mistakes, self.largest_errors, self.highest_loss, self.samples, self.cut)
        return frozenset(line.number for lines in lists for line in lines)

    @property
    def calibration_error(self) -> float:
        """Expected calibration error: the mean distance of accuracy and confidence over rows, by bins."""
        rows = sum(group.rows for group in self.bins)
        return sum(abs(group.correct - group.confidence) for group in self.bins) / max(1, rows)


def value_kind(scores: Iterable[str]) -> str:
    """What is predicted, by the metrics that were measured: `label or labels`, `text` and so on; `any` if unknown."""
    names = set(scores)
    kinds = [str(metric.values) for metric in METRICS.values() if names.intersection(metric.scores)]
    kind = next((kind for kind in kinds if kind != "any"), "any")
    return "label or labels" if kind == "probabilities" else kind


def digest_predictions(path: Path, *, kind: str, cut: Iterable[int] = ()) -> Digest:
    """
    Args:
        kind: by `value_kind`.
        cut: numbers of the texts that reached the length limit, from 0.
    """
    digest, collected = Digest(), _Collected()
    reached_limit = frozenset(cut)
    for line in _lines(path, digest):
        digest.rows += 1
        right = is_right(line.prediction, line.reference, kind=kind)
        if right is not None:
            digest.judged += 1
            digest.wrong += not right
        _count_pairs(digest, line, kind=kind)
        if line.confidence is not None and right is not None:
            group = digest.bins[min(BINS - 1, max(0, int(line.confidence * BINS)))]
            group.rows += 1
            group.correct += right
            group.confidence += line.confidence
        collected.add(line, right=right, kind=kind)
        if line.number in reached_limit and len(digest.cut) < _ROWS_SHOWN:
            digest.cut.append(line)
    collected.give(digest)
    return digest


def is_right(prediction: Any, reference: Any, *, kind: str) -> bool | None:
    """Whether a prediction is exactly right; None where that is no question, as for numbers."""
    if kind == "number":
        return None
    if kind in ("label or labels", "labels with probabilities") and isinstance(reference, list):
        return set(map(str, labels_of(prediction))) == set(map(str, reference))
    if kind == "answer":
        return prediction == "" if not reference else prediction in _as_list(reference)
    if kind == "text":
        return prediction in _as_list(reference)
    return bool(prediction == reference)


def labels_of(prediction: Any) -> list[Any]:
    """The labels of a row that can have several."""
    if isinstance(prediction, Mapping):
        prediction = prediction.get("labels", [])
    return _as_list(prediction)


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


class _Collected:
    """The rows to show, while the file is read."""

    def __init__(self) -> None:
        self._confident, self._errors, self._losses = _Top(), _Top(), _Top()
        self._mistakes: Reservoir[Line] = Reservoir()
        self._samples: Reservoir[Line] = Reservoir()
        self._points: Reservoir[tuple[float, float]] = Reservoir()

    def add(self, line: Line, *, right: bool | None, kind: str) -> None:
        _sample(self._samples, line, most=_ROWS_SHOWN)
        self._losses.add(line.loss, line)
        if right is False:
            _sample(self._mistakes, line, most=_ROWS_SHOWN)
            self._confident.add(line.confidence, line)
        if kind == "number" and _is_number(line.prediction) and _is_number(line.reference):
            _sample(self._points, (float(line.reference), float(line.prediction)), most=_POINTS)
            self._errors.add(abs(line.prediction - line.reference), line)

    def give(self, digest: Digest) -> None:
        digest.confident_mistakes = self._confident.lines()
        digest.largest_errors = self._errors.lines()
        digest.highest_loss = self._losses.lines()
        digest.mistakes, digest.samples = list(self._mistakes), list(self._samples)
        digest.points = list(self._points)


class _Top:
    """The lines with the highest values; of equal ones the first."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Line]] = []

    def add(self, value: float | None, line: Line) -> None:
        if value is None or not math.isfinite(value):
            return
        entry = (value, -line.number, line)
        if len(self._heap) < _ROWS_SHOWN:
            heappush(self._heap, entry)
        else:
            heappushpop(self._heap, entry)

    def lines(self) -> list[Line]:
        return [line for _, _, line in sorted(self._heap, reverse=True)]


def _sample(reservoir: Reservoir[Any], item: object, *, most: int) -> None:
    reservoir.add(item)
    if len(reservoir) > most:
        reservoir.drop_last()


def _count_pairs(digest: Digest, line: Line, *, kind: str) -> None:
    """Count a label with its prediction, or the tag of each word."""
    prediction, reference = line.prediction, line.reference
    if kind in ("label", "label or labels") and isinstance(reference, str) and isinstance(prediction, str):
        pairs: Iterable[tuple[str, str]] = [(reference, prediction)]
    elif kind in ("tags", "entities") and _are_tags(prediction) and _are_tags(reference):
        pairs = zip(reference, prediction, strict=False)
    else:
        return
    for pair in pairs:
        if len(digest.pairs) < _MOST_PAIRS or pair in digest.pairs:
            digest.pairs[pair] += 1


def _are_tags(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(tag, str) for tag in value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _lines(path: Path, digest: Digest) -> Iterator[Line]:
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, text in enumerate(file):
            try:
                record = json.loads(text)
                prediction, reference = record["prediction"], record["reference"]
            except (ValueError, KeyError, TypeError, RecursionError):
                digest.damaged_lines += 1
                continue
            yield Line(
                number=number,
                prediction=prediction,
                reference=reference,
                row=record["row"] if isinstance(record.get("row"), int) else None,
                loss=float(record["loss"]) if _is_number(record.get("loss")) else None,
                targets=record["targets"] if isinstance(record.get("targets"), int) else None,
                confidence=_confidence(record),
                cluster=None if record.get("cluster") is None else str(record["cluster"]),
            )


def _confidence(record: Mapping[str, Any]) -> float | None:
    """The probability of a predicted label."""
    probabilities, prediction = record.get("probabilities"), record["prediction"]
    value: Any = record.get("probability")
    if isinstance(probabilities, Mapping) and isinstance(prediction, str):
        value = probabilities.get(prediction)
    return float(value) if _is_number(value) and 0 <= value <= 1 else None

"""What `evaluate` returns, its JSON record, and the files of it in a run's folder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llmkit.atomic import replace_file
from llmkit.evaluation.uncertainty.bootstrap import LEVEL, RESAMPLES, SEED, Interval
from llmkit.runs.folder import Run, finite, write_json

if TYPE_CHECKING:
    from llmkit.evaluation.verdict import Comparison
    from llmkit.tasks.base import Scores


@dataclass(frozen=True)
class Evaluation:
    """The result of an evaluation."""

    model: str | None
    """None if two files were compared."""
    data: str
    rows: int
    scores: Scores
    predictions: list[Any]
    comparison: Comparison | None = None
    """With the task's baselines, if requested."""
    columns: Mapping[str, str | tuple[str, ...] | None] | None = None
    """Where files were compared, the column of the `predictions` and that of the `references`; None for plain text.
    Where a model was measured on given rows, the columns of fields that have another name."""
    bad_rows: Mapping[str, Any] | None = None
    """Number of `rows` that were left out, and how many for each of the `reasons`; None if bad rows are an error."""
    intervals: Mapping[str, Interval | None] = field(default_factory=dict)
    """The 95 % interval of each score, by the bootstrap over rows or clusters; None for a score without one."""
    clusters: int | None = None
    """Number of clusters of the rows; None if each row counts as independent of the others."""


def evaluation_record(evaluation: Evaluation) -> dict[str, Any]:
    """For JSON: rows, scores with their intervals, details, and the comparison with baselines, if requested."""
    record: dict[str, Any] = {
        "data": evaluation.data,
        "rows": evaluation.rows,
        "clusters": evaluation.clusters,
        "scores": evaluation.scores.values,
        "intervals": dict(evaluation.intervals),
        "bootstrap": {
            "over": "rows" if evaluation.clusters is None else "clusters",
            "level": LEVEL,
            "resamples": RESAMPLES,
            "seed": SEED,
        },
        "details": evaluation.scores.details,
    }
    if evaluation.columns is not None:
        record["columns"] = dict(evaluation.columns)
    if evaluation.bad_rows is not None:
        record["bad_rows"] = dict(evaluation.bad_rows)
    if (comparison := evaluation.comparison) is not None:
        record |= {
            "baselines": {item.name: {"title": item.title, "scores": item.scores} for item in comparison.baselines},
            "verdict": {
                "metric": comparison.metric,
                "better": comparison.better,
                "difference": comparison.difference,
                "difference_interval": comparison.interval,
                "text": comparison.verdict,
            },
            "baseline_train_rows": comparison.train_rows,
        }
    checked: dict[str, Any] = finite(record)
    return checked


def save_evaluation(
    run: Run, evaluation: Evaluation, *, name: str, references: Sequence[Any], bad_rows: Iterable[bytes] | None = None
) -> None:
    """Write scores, every prediction with its reference, and rows that were left out, into the run's `evaluation/`.

    The scores are written last, and the old ones are deleted first: after a kill, no scores stand beside the files of
    another evaluation.
    """
    folder = run.folder / "evaluation"
    folder.mkdir(exist_ok=True)
    pairs = zip(evaluation.predictions, references, strict=True) if evaluation.predictions else ()
    lines = [
        json.dumps({"prediction": prediction, "reference": reference}, ensure_ascii=False) + "\n"
        for prediction, reference in pairs
    ]
    left_out = None if bad_rows is None else b"".join(bad_rows)
    for kind in ("json", "predictions.jsonl", "bad_rows.jsonl"):
        (folder / f"{name}.{kind}").unlink(missing_ok=True)
    if lines:
        replace_file(folder / f"{name}.predictions.jsonl", "".join(lines).encode())
    if left_out is not None:
        replace_file(folder / f"{name}.bad_rows.jsonl", left_out)
    write_json(folder / f"{name}.json", evaluation_record(evaluation))

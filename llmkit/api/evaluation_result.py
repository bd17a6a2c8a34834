"""What `evaluate` returns, its JSON record, and the files of it in a run's folder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llmkit.atomic import replace_file
from llmkit.evaluation.uncertainty.interval import LEVEL, RESAMPLES, SEED, Interval
from llmkit.evaluation.uncertainty.limits import interval_notes
from llmkit.runs.folder import Run, finite, write_json
from llmkit.tasks.predicted_label import PredictedLabel

if TYPE_CHECKING:
    from llmkit.data.examples import Examples
    from llmkit.evaluation.row_losses import RowLosses
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
    step: int | None = None
    """The step of the training that measured it; None for `evaluate`."""

    @property
    def interval_notes(self) -> list[str]:
        """Which intervals contain the true score too rarely, and why some scores have none."""
        return interval_notes(self.intervals, rows=self.rows, clusters=self.clusters)


def evaluation_record(evaluation: Evaluation) -> dict[str, Any]:
    """For JSON: rows, scores with their intervals, details, and the comparison with baselines, if requested."""
    record: dict[str, Any] = {
        "data": evaluation.data,
        "rows": evaluation.rows,
        "clusters": evaluation.clusters,
        "scores": evaluation.scores.values,
        "intervals": dict(evaluation.intervals),
        "interval_notes": evaluation.interval_notes,
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
    if evaluation.step is not None:
        record["step"] = evaluation.step
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


def row_facts(examples: Examples, losses: RowLosses) -> list[dict[str, Any]]:
    """What the files of predictions tell of each row, besides prediction and reference.

    `row` is its number in its file from 1, and `file` is the file if there are several. `cluster` is the name of its
    cluster if any row has one, and the place of a row that is independent of all others. `loss` is in nats per target; null
    for a row without targets. Of tasks that need only text, rows are blocks: `row` is the number of the block, and
    `bytes` is the size of its text, where it is known.
    """
    facts: list[dict[str, Any]] = [{"row": number} for number in range(1, examples.rows + 1)]
    has_clusters = examples.clusters is not None
    for fact, origin in zip(facts, examples.origins, strict=False):
        fact["row"] = origin.number or fact["row"]
        fact |= {"file": origin.file} if origin.file else {}
        fact |= {"cluster": origin.cluster or origin.place} if has_clusters else {}
    for fact, nats, targets in zip(facts, losses.nats.tolist(), losses.targets.tolist(), strict=True):
        fact |= {"loss": finite(nats / targets) if targets else None, "targets": targets}
    for fact, size in zip(facts, [] if losses.utf8_bytes is None else losses.utf8_bytes.tolist(), strict=False):
        fact["bytes"] = size
    return facts


def save_evaluation(
    run: Run,
    evaluation: Evaluation,
    *,
    name: str,
    references: Sequence[Any],
    facts: Sequence[Mapping[str, Any]] = (),
    bad_rows: Iterable[bytes] | None = None,
) -> None:
    """Write scores, every prediction with its reference, and rows that were left out, into the run's `evaluation/`.

    A model without predictions has a file of its rows' losses instead.

    Args:
        facts: of each row, by `row_facts`; empty if nothing is known.

    The scores are written last, and the old ones are deleted first: after a kill, no scores stand beside the files of
    another evaluation.
    """
    folder = run.folder / "evaluation"
    folder.mkdir(exist_ok=True)
    lines = list(_lines(evaluation.predictions, references, facts))
    left_out = None if bad_rows is None else b"".join(bad_rows)
    delete_evaluation(run, name)
    if lines:
        kind = "predictions" if evaluation.predictions else "losses"
        replace_file(folder / f"{name}.{kind}.jsonl", "".join(lines).encode())
    if left_out is not None:
        replace_file(folder / f"{name}.bad_rows.jsonl", left_out)
    write_json(folder / f"{name}.json", evaluation_record(evaluation))


def delete_evaluation(run: Run, name: str) -> None:
    for kind in ("json", "predictions.jsonl", "losses.jsonl", "bad_rows.jsonl", "shown_rows.jsonl"):
        (run.folder / "evaluation" / f"{name}.{kind}").unlink(missing_ok=True)


def _lines(predictions: Sequence[Any], references: Sequence[Any], facts: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A JSON object for each row, a line each."""
    if not predictions:
        yield from (json.dumps(fact, ensure_ascii=False) + "\n" for fact in facts)
        return
    for prediction, reference, fact in zip(predictions, references, facts or [{}] * len(references), strict=True):
        yield json.dumps({**_recorded(prediction), "reference": reference, **fact}, ensure_ascii=False) + "\n"


def _recorded(prediction: Any) -> dict[str, Any]:
    """A prediction for its line; of a label, with the probabilities of all labels, and whether the model abstains."""
    if not isinstance(prediction, PredictedLabel):
        return {"prediction": prediction}
    record: dict[str, Any] = {"prediction": str(prediction), "probabilities": prediction.probabilities}
    return record if prediction.abstained is None else {**record, "abstained": prediction.abstained}

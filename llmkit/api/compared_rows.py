"""The predictions that `compare` pairs: of runs, or of files. All must be of the same rows.

The files are those that `evaluate` writes: `predictions.jsonl`, or `losses.jsonl` of a model without predictions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from llmkit.api.scoring import paired_values
from llmkit.api.value_file import ValueFile
from llmkit.data.clusters import NO_CLUSTERS
from llmkit.data.json_lines import read_jsonl
from llmkit.data.readers import BadRecord
from llmkit.errors import DataError, RunError, UsageError
from llmkit.evaluation.metrics import METRICS
from llmkit.evaluation.values import predicted_label
from llmkit.recipe.blocks import Quoting
from llmkit.recipe.loading import load_recipe
from llmkit.runs.folder import Run
from llmkit.runs.saved_json import read_json
from llmkit.tasks import RECIPES

Split = Literal["test", "validation", "data"]
SPLITS: tuple[Split, ...] = ("test", "validation", "data")
_KEYS = ("file", "row", "id", "cluster", "bytes")
"""What a line says about its row, besides the reference."""


@dataclass(frozen=True)
class SystemRows:
    """The predictions of one model."""

    name: str
    """The run or the file."""
    values: Mapping[str, tuple[Sequence[Any], Sequence[Any]]]
    """Metric -> predictions and references, row by row."""
    keys: Sequence[Mapping[str, Any]]
    """What is known of each row, such as its number and cluster."""
    losses: Sequence[tuple[float, float]] | None = None
    """Nats and number of targets of each row."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Options of `score_texts` with which a run was evaluated."""

    @property
    def rows(self) -> int:
        return len(self.keys)


def run_rows(run: Run, *, split: Split, metrics: Sequence[str] | None) -> SystemRows:
    """The predictions of a run, and the losses of its rows.

    Args:
        metrics: None for those that `evaluate` measured.
    Raises:
        RunError: there are no such files, or they are damaged.
    """
    path = rows_file(run, split)
    if path is None:
        raise RunError(f"{run.folder} has no {split} predictions in its folder evaluation/. {_advice(run)}")
    evaluation = read_json(run.folder / "evaluation" / f"{split}.json")
    scores, details = (evaluation.get(key) or {} for key in ("scores", "details"))
    if metrics is None:
        metrics = [name for name, metric in METRICS.items() if metric.scores and set(metric.scores) <= set(scores)]
    records = _records(path)
    predictions = [_prediction(record) for record in records]
    references = [record.get("reference") for record in records]
    values = {name: (predictions, references) for name in metrics if "prediction" in records[0]}
    tokenizer = details.get("rouge", {}).get("tokenizer", "auto")
    settings = {
        "rouge_tokenizer": tokenizer,
        "language": load_recipe(run.recipe, kinds=RECIPES).recipe.written_language,
    }
    keys = [_keys_of(record) for record in records]
    return SystemRows(str(run.folder), values, keys, _losses(records), settings)


def file_rows(
    path: str | Path,
    references: Sequence[str | Path],
    *,
    metrics: Sequence[str],
    name: str,
    cluster: str | None = None,
    **columns: Any,
) -> SystemRows:
    """The predictions of a file.

    Args:
        references: files; empty if the file has its references itself, as those of runs have.
        cluster: a column of the file or of the references that says which rows belong together; `none` for independent
            rows.
        columns: as `paired_values` takes them.
    Raises:
        UsageError: no file has the column `cluster`.
    """
    values = paired_values(path, references or [path], metrics=metrics, **columns)
    first_metric = next(iter(values.values()))
    records = _records(Path(path)) if Path(path).suffix.lower() == ".jsonl" else []
    losses = _losses(records) if records else None
    keys = [_keys_of(record) for record in records] or [{} for _ in first_metric[0]]
    if cluster == NO_CLUSTERS:
        keys = [{key: value for key, value in row.items() if key != "cluster"} for row in keys]
    elif cluster is not None:
        names = _clusters_in([path, *references], cluster, quoting=columns.get("quoting", "auto"))
        keys = [{**row, "cluster": name} for row, name in zip(keys, names, strict=True)]
    return SystemRows(name, values, keys, losses)


def _clusters_in(paths: Sequence[str | Path], cluster: str, *, quoting: Quoting) -> list[str | None]:
    for path in paths:
        file = ValueFile(path, "prediction", ["any"], file_column=None, shared_column=None, quoting=quoting)
        has_columns = Path(path).suffix.lower() not in (".txt", ".text", ".md")
        clusters = file.clusters(cluster, column=cluster) if has_columns else None
        if clusters is not None:
            return clusters
    raise UsageError(f"--cluster: {' and '.join(map(str, paths))} have no column {cluster!r}.")


def rows_file(run: Run, split: Split) -> Path | None:
    """The file of a run with its predictions on a split, or with the losses of the rows."""
    paths = (run.folder / "evaluation" / f"{split}.{kind}.jsonl" for kind in ("predictions", "losses"))
    return next((path for path in paths if path.is_file()), None)


def common_split(runs: Sequence[Run]) -> Split:
    """The first split of which all runs have predictions.

    Raises:
        RunError: there is none; with the command that writes them.
    """
    splits = {run: [split for split in SPLITS if rows_file(run, split)] for run in runs}
    for split in SPLITS:
        if all(split in there for there in splits.values()):
            return split
    lacking = next((run for run, there in splits.items() if not there), None)
    if lacking is not None:
        raise RunError(f"{lacking.folder} has no predictions in its folder evaluation/. {_advice(lacking)}")
    listed = "; ".join(f"{run.folder}: {', '.join(there)}" for run, there in splits.items())
    raise RunError(
        f"the runs were not evaluated on the same split ({listed}). Evaluate all of them with the same --data."
    )


def check_same_rows(systems: Sequence[SystemRows]) -> None:
    """
    Raises:
        DataError: predictions of different rows; with the first row that differs.
    """
    first = systems[0]
    for other in systems[1:]:
        if first.rows != other.rows:
            raise DataError(
                f"{first.name} has {first.rows:,} rows, and {other.name} {other.rows:,}. Only predictions of the same rows "
                "can be compared."
            )
        for place, (ours, theirs) in enumerate(zip(_facts(first), _facts(other), strict=True), 1):
            for what in ours.keys() & theirs.keys():
                if ours[what] != theirs[what]:
                    raise DataError(
                        f"row {place:,}: {what} is {ours[what]!r:.60} in {first.name}, and {theirs[what]!r:.60} in "
                        f"{other.name}. Only predictions of the same rows can be compared; evaluate both on the same data."
                    )


def clusters_of(systems: Sequence[SystemRows]) -> list[int] | None:
    """(N,) the number of each row's cluster, if a system's file names clusters; a null is a cluster of its own."""
    for system in systems:
        names = [(keys.get("file"), keys.get("cluster")) for keys in system.keys]
        if any(cluster is not None for _, cluster in names):
            numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
            return [len(numbers) + row if name[1] is None else numbers[name] for row, name in enumerate(names)]
    return None


def _prediction(record: Mapping[str, Any]) -> Any:
    """With the probabilities that stand beside a label, for the metrics that need them."""
    prediction = record.get("prediction")
    if "probabilities" not in record or isinstance(prediction, Mapping):
        return prediction
    found = predicted_label({"label": prediction, **{key: record.get(key) for key in ("probabilities", "abstained")}})
    return prediction if found is None else found


def _advice(run: Run) -> str:
    return f"Write them with: llmkit evaluate --model {run.folder}"


def _facts(system: SystemRows) -> list[dict[str, Any]]:
    """What must be the same for both systems in each row."""
    facts = [dict(keys) for keys in system.keys]
    for _, references in system.values.values():
        for row, reference in zip(facts, references, strict=True):
            row["the reference"] = reference
    return facts


def _records(path: Path) -> list[Mapping[str, Any]]:
    records: list[Mapping[str, Any]] = []
    for number, record in read_jsonl(path, str(path)):
        if isinstance(record, BadRecord):
            raise DataError(f"{path}:{number}: {record.fault}")
        records.append(record)
    if not records:
        raise DataError(f"{path}: has no rows.")
    return records


def _keys_of(record: Mapping[str, Any]) -> dict[str, Any]:
    return {key: record[key] for key in _KEYS if key in record}


def _losses(records: Sequence[Mapping[str, Any]]) -> list[tuple[float, float]] | None:
    """Nats and targets of each row; None if a row does not say them."""
    losses = []
    for record in records:
        loss, targets = record.get("loss"), record.get("targets")
        if not isinstance(targets, int) or (targets and not isinstance(loss, int | float)):
            return None
        losses.append((float(loss or 0) * targets, float(targets)))
    return losses

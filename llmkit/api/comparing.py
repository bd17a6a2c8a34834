"""`compare`: runs or files of predictions, paired on the same rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.api.compared_rows import (
    Split,
    SystemRows,
    check_same_rows,
    clusters_of,
    common_split,
    file_rows,
    rows_file,
    run_rows,
)
from llmkit.api.seed_groups import check_seeds, named_groups, with_equal_recipes
from llmkit.data.clusters import NO_CLUSTERS
from llmkit.data.given import given_names
from llmkit.errors import DataError, RunError, UsageError
from llmkit.evaluation.metrics import RougeTokenizer, loss_statistics, score_names_of, score_texts
from llmkit.evaluation.metrics.external import EXTERNAL_PREFIX
from llmkit.evaluation.repeated_messages import no_repeated_messages
from llmkit.evaluation.uncertainty.limits import difference_notes
from llmkit.recipe.blocks import Quoting
from llmkit.runs.folder import Run, open_run
from llmkit.tasks.base import RowStatistics

if TYPE_CHECKING:
    from llmkit.evaluation.uncertainty.comparing import Difference

_OF_REFERENCES = {"majority_share", "majority_tag_share"}
"""Scores that do not depend on the predictions."""
_ZERO_OR_ONE = {"accuracy", "exact_match", "exact_text"}
_MICRO = {"precision_micro", "recall_micro", "f1_micro"}
"""The accuracy, where each row has one label."""


@dataclass(frozen=True)
class ComparedSystem:
    """A run or a file of predictions, or several runs that differ only in their seed."""

    name: str
    """A, B and so on."""
    members: tuple[str, ...]
    scores: Mapping[str, float]
    """Means over the members."""
    spreads: Mapping[str, float]
    """Standard deviations between the members; empty with one member."""


@dataclass(frozen=True)
class Compared:
    """The result of `compare`."""

    rows: int
    clusters: int | None
    """None if the rows are independent."""
    split: str | None
    systems: tuple[ComparedSystem, ...]
    differences: tuple[Difference, ...]
    notes: tuple[str, ...] = ()
    """What was left out, and why; and what these rows cannot show."""


def compare(
    systems: Sequence[str],
    *,
    references: Sequence[str] = (),
    metrics: Sequence[str] | None = None,
    split: Split | None = None,
    prediction_column: str | None = None,
    reference_column: str | None = None,
    cluster: str | None = None,
    quoting: Quoting = "auto",
    rouge_tokenizer: RougeTokenizer | None = None,
    language: str | None = None,
    label_names: Mapping[str, str] | None = None,
    seed: int = 0,
) -> Compared:
    """The differences between runs or files of predictions, with intervals and tests on the same rows.

    Args:
        systems: at least two runs that `evaluate` has measured, or files of predictions. Runs joined by commas are seeds of
            one recipe and count as one system; so do runs whose recipes differ only in `seed`.
        references: files with the references of files of predictions; without them, each file has its own.
        metrics: keys of `METRICS`; needed for files, for runs those that `evaluate` measured.
        split: the rows of runs: `test`, `validation`, or `data` for those of `evaluate --data`. Without it, the first of
            these of which all runs have predictions.
        cluster: as for `score_files`; without it, the clusters of files that `evaluate` wrote. For runs only `none`.
        rouge_tokenizer, language: as for `evaluate`; without them, as the runs were evaluated.
        seed: of the resamples; the same seed gives the same digits.
    Raises:
        UsageError: fewer than two systems, options that do not fit, or no score in common.
        DataError: the rows of the systems differ.
        RunError: a run was not evaluated.
    """
    groups = named_groups(given_names(systems, what="systems"))
    metrics = None if metrics is None else given_names(metrics, what="metrics")
    _check_request(groups, metrics=metrics)
    runs = {name: open_run(name) for group in groups for name in group if (Path(name) / "run.json").exists()}
    files = [name for group in groups for name in group if name not in runs]
    for name in files:
        if not Path(name).is_file():
            raise RunError(f"{name} is neither a run nor a file of predictions.")
    if not files and not references:
        if prediction_column or reference_column or cluster not in (None, NO_CLUSTERS) or label_names:
            raise UsageError("columns and labels of files: give files of predictions, or leave these options out.")
        groups, split, rows = _of_runs(groups, runs, split=split, metrics=metrics)
    else:
        split = split or (common_split(list(runs.values())) if runs else None)
        columns = {
            "prediction_column": prediction_column,
            "reference_column": reference_column,
            "cluster": cluster,
            "quoting": quoting,
            "label_names": label_names,
        }
        rows = _of_files(groups, runs, split=split, references=references, metrics=metrics, columns=columns)
    settings = _settings(rows, rouge_tokenizer=rouge_tokenizer, language=language)
    ordered = [rows[name] for group in groups for name in group]
    check_same_rows(ordered)
    clusters = None if cluster == NO_CLUSTERS else clusters_of(ordered)
    return _compared(groups, rows, clusters, split=split, settings=settings, seed=seed)


def _check_request(groups: Sequence[Sequence[str]], *, metrics: Sequence[str] | None) -> None:
    if len(groups) < 2:
        raise UsageError("give two or more runs or files to compare.")
    score_names_of(metrics or ())
    for name in metrics or ():
        if name.startswith(EXTERNAL_PREFIX):
            raise UsageError(f"{name}: modules of evaluate cannot be compared row by row. Choose a metric of llmkit.")


def _of_runs(
    groups: list[list[str]], runs: Mapping[str, Run], *, split: Split | None, metrics: Sequence[str] | None
) -> tuple[list[list[str]], Split, dict[str, SystemRows]]:
    for group in groups:
        check_seeds([runs[name] for name in group])
    if all(len(group) == 1 for group in groups):
        named = {str(run.folder): name for name, run in runs.items()}
        groups = [[named[str(run.folder)] for run in group] for group in with_equal_recipes(list(runs.values()))]
    split = split or common_split(list(runs.values()))
    return groups, split, {name: run_rows(run, split=split, metrics=metrics) for name, run in runs.items()}


def _of_files(
    groups: Sequence[Sequence[str]],
    runs: Mapping[str, Run],
    *,
    split: Split | None,
    references: Sequence[str],
    metrics: Sequence[str] | None,
    columns: Mapping[str, Any],
) -> dict[str, SystemRows]:
    if not metrics:
        raise UsageError("give --metric, once or more, such as accuracy, f1 or rouge.")
    paths: dict[str, str | Path] = {name: name for group in groups for name in group}
    for name, run in runs.items():
        path = rows_file(run, split) if split else None
        if path is None:
            raise RunError(f"{name} has no {split} predictions. Write them with: llmkit evaluate --model {name}")
        paths[name] = path
    return {name: file_rows(path, references, metrics=metrics, name=name, **columns) for name, path in paths.items()}


def _settings(
    rows: Mapping[str, SystemRows], *, rouge_tokenizer: RougeTokenizer | None, language: str | None
) -> dict[str, Any]:
    """Options of `score_texts`: those given, else those of all runs if they agree."""
    given = {"rouge_tokenizer": rouge_tokenizer, "language": language}
    settings: dict[str, Any] = {"rouge_tokenizer": "auto", "language": None}
    for key, value in given.items():
        values = {system.settings.get(key) for system in rows.values()}
        if value is not None:
            settings[key] = value
        elif len(values) == 1 and (shared := values.pop()) is not None:
            settings[key] = shared
    return settings


def _compared(
    groups: Sequence[Sequence[str]],
    rows: Mapping[str, SystemRows],
    clusters: list[int] | None,
    *,
    split: str | None,
    settings: Mapping[str, Any],
    seed: int,
) -> Compared:
    from llmkit.evaluation.uncertainty.comparing import Sampling, System, compare_systems

    ordered = [rows[name] for group in groups for name in group]
    units = ordered[0].rows if clusters is None else len(set(clusters))
    if units < 2:
        raise DataError(
            f"a comparison needs at least two {'rows' if clusters is None else 'clusters'}, and there is one."
        )
    metrics = [name for name in ordered[0].values if all(name in system.values for system in ordered)]
    notes = _notes(ordered)
    with_losses = not notes and all(system.losses is not None for system in ordered)
    statistics = {
        name: _statistics(rows[name].name, [rows[name]], metrics, settings, with_losses=with_losses) for name in rows
    }
    systems = [System(_letter(place), tuple(statistics[name] for name in group)) for place, group in enumerate(groups)]

    def both(first: int, second: int) -> RowStatistics:
        pair = [rows[groups[place][0]] for place in (first, second)]
        with no_repeated_messages():
            return _statistics("", pair, metrics, settings, with_losses=with_losses)

    differences = compare_systems(
        systems,
        sampling=Sampling(clusters, seed=seed),
        zero_or_one=_zero_or_one(ordered[0]),
        both=both,
    )
    if not differences:
        raise UsageError("the systems have no score in common. Name metrics that fit their predictions with --metric.")
    names = list(dict.fromkeys(found.score for found in differences))
    described = tuple(
        ComparedSystem(
            system.name,
            tuple(group),
            {name: system.value(name) for name in names},
            {name: system.spread(name) for name in names} if len(group) > 1 else {},
        )
        for system, group in zip(systems, groups, strict=True)
    )
    clusters_count = None if clusters is None else units
    notes += difference_notes(rows=ordered[0].rows, clusters=clusters_count)
    return Compared(ordered[0].rows, clusters_count, split, described, tuple(differences), tuple(notes))


def _letter(place: int) -> str:
    return chr(ord("A") + place) if place < 26 else f"system {place + 1}"


def _notes(systems: Sequence[SystemRows]) -> list[str]:
    """Why losses are not compared, if the systems have them."""
    losses = [system.losses for system in systems if system.losses is not None]
    if len(losses) == len(systems) and any(
        [targets for _, targets in side] != [targets for _, targets in losses[0]] for side in losses[1:]
    ):
        return ["loss: left out, since the rows have other numbers of targets, as with different tokenizers."]
    return []


def _statistics(
    name: str, systems: Sequence[SystemRows], metrics: Sequence[str], settings: Mapping[str, Any], *, with_losses: bool
) -> RowStatistics:
    """Of the scores of one system, or of several whose rows follow each other."""
    from llmkit.evaluation.uncertainty.statistics import merged, without

    parts = []
    for metric in metrics:
        predictions = [value for system in systems for value in system.values[metric][0]]
        references = [value for system in systems for value in system.values[metric][1]]
        try:
            scores = score_texts([metric], predictions, references, **settings)
        except DataError as error:
            raise DataError(f"{name}: {error}") from error
        parts += [scores.statistics] if scores.statistics is not None else []
    if with_losses:
        nats, targets = zip(*(loss for system in systems for loss in system.losses or ()), strict=True)
        parts.append(loss_statistics(("loss",), nats, targets))
    if not parts:
        raise UsageError("there is nothing to compare: no metric, and no losses. Name metrics with --metric.")
    return without(merged(parts), _OF_REFERENCES)


def _zero_or_one(system: SystemRows) -> frozenset[str]:
    one_label = not any(isinstance(references[0], list) for _, references in system.values.values())
    return frozenset(_ZERO_OR_ONE | (_MICRO if one_label else set()))

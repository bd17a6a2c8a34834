"""The gates of `evaluate`: conditions on its scores, for CI. A gate fails only on what the rows show to be significant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.api.comparing import Compared, compare
from llmkit.api.evaluation_result import Evaluation
from llmkit.errors import UsageError, nearest
from llmkit.evaluation.metrics import SCORES, RougeTokenizer
from llmkit.evaluation.uncertainty.wording import verdict
from llmkit.evaluation.verdict import compared_metric
from llmkit.runs.folder import finite, open_run

if TYPE_CHECKING:
    from llmkit.evaluation.uncertainty.comparing import Difference


@dataclass(frozen=True)
class Gate:
    """A condition on a score, and whether it holds."""

    condition: str
    """Such as `rougeL at least 0.3`."""
    score: str
    value: float
    passed: bool
    text: str
    """The result in a sentence."""


@dataclass(frozen=True)
class Gates:
    """The conditions as a user gives them; scores are those of `SCORES`."""

    fail_under: Mapping[str, float]
    """Score -> the worst value allowed."""
    no_worse_than: str | None = None
    """A run, or a file of predictions."""
    margins: Mapping[str, float] | None = None
    """Score -> the loss allowed against `no_worse_than`. The empty name stands for the main score."""

    def check(self) -> None:
        """
        Raises:
            UsageError: an unknown score, or margins that apply to nothing.
        """
        for name in (*self.fail_under, *(name for name in self.margins or {} if name)):
            if name not in SCORES:
                raise UsageError(f"unknown score {name!r}.{nearest(name, SCORES)} Scores: {', '.join(SCORES)}.")
        if self.margins and self.no_worse_than is None:
            raise UsageError("--margin applies to --no-worse-than. Give both.")
        for name, margin in (self.margins or {}).items():
            if margin < 0:
                raise UsageError(f"--margin: {margin:g}{f' for {name}' if name else ''} is below 0.")


def model_gates(gates: Gates, evaluation: Evaluation, *, given_data: bool) -> list[Gate]:
    """The results of the gates for a model that was evaluated.

    Args:
        given_data: the rows are those of `--data`, not the run's own.
    Raises:
        UsageError: a score that was not measured; or a model that is no run is to be compared.
        RunError: `no_worse_than` has no predictions for these rows; DataError: its rows differ.
    """
    results = _limits(gates, evaluation)
    if gates.no_worse_than is None:
        return results
    if not (Path(str(evaluation.model)) / "run.json").exists():
        raise UsageError(f"--no-worse-than: {evaluation.model} is not a run, so its predictions are not saved.")
    best = open_run(str(evaluation.model)).manifest().get("best") or {}
    split: Any = "data" if given_data else evaluation.data.split()[0]
    compared = compare([gates.no_worse_than, str(evaluation.model)], split=split)
    main = compared_metric(evaluation.scores.values, best=best.get("metric", "loss"))
    return results + _comparisons(gates, compared, main=main)


def file_gates(
    gates: Gates,
    evaluation: Evaluation,
    *,
    predictions: str,
    references: Sequence[str],
    metrics: Sequence[str],
    rouge_tokenizer: RougeTokenizer,
    language: str | None,
    columns: Mapping[str, Any],
) -> list[Gate]:
    """The same for a file of predictions. `columns` is as `compare` takes columns and labels."""
    results = _limits(gates, evaluation)
    if gates.no_worse_than is None:
        return results
    compared = compare(
        [gates.no_worse_than, predictions],
        references=references,
        metrics=metrics,
        rouge_tokenizer=rouge_tokenizer,
        language=language,
        **columns,
    )
    return results + _comparisons(gates, compared, main=compared_metric(evaluation.scores.values, best="loss"))


def gate_records(results: Sequence[Gate]) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = finite([asdict(gate) for gate in results])
    return records


def _limits(gates: Gates, evaluation: Evaluation) -> list[Gate]:
    scores = evaluation.scores.values
    for name in gates.fail_under:
        if name not in scores:
            raise UsageError(f"--fail-under: {name} was not measured. Measured: {', '.join(scores)}.")
    return [_limit(name, scores[name], limit, evaluation) for name, limit in gates.fail_under.items()]


def _limit(name: str, value: float, limit: float, evaluation: Evaluation) -> Gate:
    """Fails if the whole interval is worse than the limit; without an interval, if the score is."""
    interval = evaluation.intervals.get(name)
    low, high = interval or (value, value)
    higher = SCORES[name].better == "higher"
    fails = not (high >= limit if higher else low <= limit)
    worse = not (value >= limit if higher else value <= limit)
    side = "under" if higher else "above"
    shown = f"{name} {value:.4f}" + (f" [{low:.4f}, {high:.4f}]" if interval else "")
    if fails:
        text = f"failed: {shown} is {side} {limit:g}."
    elif worse:
        text = f"passed: {shown} is {side} {limit:g}, but not significantly."
    else:
        text = f"passed: {shown}, limit {limit:g}."
    return Gate(f"{name} {'at least' if higher else 'at most'} {limit:g}", name, value, not fails, text)


def _comparisons(gates: Gates, compared: Compared, *, main: str | None) -> list[Gate]:
    margins = {name or (main or ""): margin for name, margin in (gates.margins or {"": 0.0}).items()}
    differences = {found.score: found for found in compared.differences}
    for name in margins:
        if name not in differences:
            raise UsageError(
                f"--no-worse-than: {name or 'the main score'} cannot be compared. Compared: {', '.join(differences)}."
            )
    return [_comparison(differences[name], margin, other=str(gates.no_worse_than)) for name, margin in margins.items()]


def _comparison(found: Difference, margin: float, *, other: str) -> Gate:
    """Fails if the score is significantly worse; with a margin, if the whole interval of the loss is above it."""
    higher = SCORES[found.score].better == "higher"
    loss = -found.difference if higher else found.difference
    least_loss = -found.interval.high if higher else found.interval.low
    fails = least_loss > margin if margin else found.is_significant and loss > 0
    allowed = f", by more than {margin:g}" if margin else ""
    text = f"{'failed' if fails else 'passed'}: {verdict(found)} (A: {other}, B: this)"
    return Gate(f"{found.score} no worse than {other}{allowed}", found.score, found.values[1], not fails, text)

"""`llmkit classify`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from llmkit.cli.output import Target, counts_of, one_line, write_results
from llmkit.cli.shared_options import Column, Json, Lines, ModelName, Output, Quoting, ResumeOutput, Source, open_model
from llmkit.cli.texts import input_pairs, input_rows
from llmkit.errors import UsageError

if TYPE_CHECKING:
    from llmkit.api import Classification, InputRow

_CLASSIFIED_KEYS: Mapping[str, Sequence[str]] = {
    "single_label_classification": ("label", "probabilities"),
    "multi_label_classification": ("labels", "probabilities"),
    "regression": ("value",),
}
"""Problem type -> keys of a result."""


Overflow = Annotated[
    Literal["error", "truncate", "window"] | None,
    typer.Option(
        help="Texts longer than the model's context window: raise an error, truncate them, or read them in windows. "
        "Default: as in training."
    ),
]
Threshold = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[LABEL=]NUMBER",
        help="Least probability of a label, for a model of any number of labels. Can be repeated, such as --threshold 0.5 "
        "--threshold spam=0.3. Default: as tuned in training.",
    ),
]
AbstainBelow = Annotated[
    float | None,
    typer.Option(
        metavar="NUMBER",
        help="Give no label where the most probable one has a probability below this. Default: the limit that the "
        "recipe's abstain chose, else every text gets a label.",
    ),
]
AbstainAccuracy = Annotated[
    float | None,
    typer.Option(
        metavar="NUMBER",
        help="Choose --abstain-below on the run's validation rows, so that the labels have at least this accuracy.",
    ),
]
PairColumn = Annotated[
    str | None,
    typer.Option(help="Column that contains the second texts, for a model of text pairs.", show_default="text_pair"),
]


def classify(
    source: Source = None,
    model: ModelName = None,
    overflow: Overflow = None,
    threshold: Threshold = None,
    abstain_below: AbstainBelow = None,
    abstain_accuracy: AbstainAccuracy = None,
    column: Column = "text",
    pair_column: PairColumn = None,
    lines: Lines = None,
    quoting: Quoting = "auto",
    as_json: Json = False,
    output: Output = None,
    resume_output: ResumeOutput = False,
) -> None:
    """Classify texts: the label or labels of each with their probabilities, or a number for a regression."""
    from llmkit.api import parse_thresholds

    parse_thresholds(threshold or ())
    _check_abstaining(abstain_below, abstain_accuracy)
    rows: Iterator[InputRow[str]] | Iterator[InputRow[tuple[str, str]]] = input_rows(
        source, column=column, by_line=lines is not False, quoting=quoting
    )
    pairs = (
        None if pair_column is None else input_pairs(source, column=column, pair_column=pair_column, quoting=quoting)
    )
    target = Target(as_json=as_json, output=output, resume=resume_output)
    opened = open_model(model, verb="classify")
    if pairs is None and opened.reads_pairs:
        pairs = input_pairs(source, column=column, pair_column="text_pair", quoting=quoting)
    limit = parse_thresholds(threshold or (), opened.loaded.labels)
    below = abstain_below if abstain_accuracy is None else opened.abstain_limit(abstain_accuracy).below

    def use(texts: Iterator[Any]) -> Iterator[Classification]:
        return opened.classify(texts, overflow=overflow, threshold=limit, abstain_below=below)

    missing = _CLASSIFIED_KEYS[opened.problem_type]
    inputs: Iterator[InputRow[Any]] = rows if pairs is None else pairs
    write_results(target, inputs, use, verb="classify", show=_classified, fields=("text", "text_pair"), missing=missing)


def _check_abstaining(below: float | None, accuracy: float | None) -> None:
    """
    Raises:
        UsageError: numbers that are no probabilities, or both.
    """
    if below is not None and not 0 <= below <= 1:
        raise UsageError(f"--abstain-below {below:g}: not a probability. Give a number from 0 to 1.")
    if accuracy is not None and not 0 < accuracy < 1:
        raise UsageError(f"--abstain-accuracy {accuracy:g}: give a number between 0 and 1, such as 0.95.")
    if below is not None and accuracy is not None:
        raise UsageError("--abstain-accuracy chooses --abstain-below. Give one of the two.")


COMMANDS = (classify,)


def _classified(result: Classification) -> tuple[str, dict[str, Any]]:
    """A result as a line and as a record, which has only the keys that the model's problem type produces."""
    record: dict[str, Any] = {"text": result.text}
    if result.text_pair is not None:
        record["text_pair"] = result.text_pair
    if result.value is not None:
        plain = f"{result.value:.4f}"
        record["value"] = result.value
    else:
        shown = result.labels if result.best_guess is None else [result.best_guess]
        plain = "\t".join(f"{one_line(label)}\t{result.probabilities[label]:.4f}" for label in shown) or "(none)"
        plain = f"(abstained)\t{plain}" if result.abstained else plain
        record.update({"labels": result.labels} if result.best_guess is None else {"label": result.label})
        if result.abstain_below is not None:
            record |= {
                "abstained": result.abstained,
                "best_guess": result.best_guess,
                "abstain_below": result.abstain_below,
            }
        record["probabilities"] = result.probabilities
        if result.threshold is not None:
            record["threshold"] = result.threshold
    record |= counts_of(truncated=result.truncated_tokens, unknown=result.unknown_tokens)
    return plain, {**record, "windows": result.windows} if result.windows > 1 else record

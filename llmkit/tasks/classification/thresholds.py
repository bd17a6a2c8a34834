"""The least probability of a label: where a text may have many, for all labels or for each; else the one below which a
classifier abstains."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from llmkit.errors import ModelError, UsageError, nearest
from llmkit.tasks.classification.problem_types import problem_type_of
from llmkit.tasks.classification.saved import SavedClassification

if TYPE_CHECKING:
    from llmkit.models.loaded import LoadedModel

Threshold = float | dict[str, float]
"""One for all labels, or by label."""
DEFAULT_THRESHOLD = 0.5
"""Before one is tuned on the validation rows."""


def labels_above(probabilities: Mapping[str, float], threshold: float | Mapping[str, float]) -> list[str]:
    """The labels with at least their threshold, in the model's order."""
    return [
        label
        for label, probability in probabilities.items()
        if probability >= (threshold if isinstance(threshold, float) else threshold.get(label, DEFAULT_THRESHOLD))
    ]


def threshold_in_use(loaded: LoadedModel, given: float | Mapping[str, float] | None) -> Threshold | None:
    """The model's own threshold with the given ones in its place; None if a text has one label or a number.

    Args:
        given: for all labels, or for some by name; the others keep the model's.
    Raises:
        UsageError: outside 0 to 1, of a label that the model does not have, or for a model without thresholds.
    """
    if problem_type_of(loaded) != "multi_label_classification":
        if given is not None:
            raise UsageError(
                f"threshold: {loaded.name} gives one label or a number for each text, which needs no threshold. "
                "Remove it; only a multilabel model has one."
            )
        return None
    saved = SavedClassification.load(loaded).threshold
    own: Threshold = DEFAULT_THRESHOLD if saved is None else saved
    if given is None:
        return own
    for label, value in (given if isinstance(given, Mapping) else {"": given}).items():
        _check(value, label=label, labels=loaded.labels)
    if not isinstance(given, Mapping):
        return float(given)
    by_label = own if isinstance(own, dict) else dict.fromkeys(loaded.labels, own)
    return {**by_label, **{label: float(value) for label, value in given.items()}}


def abstain_limit_in_use(loaded: LoadedModel, given: float | None) -> float | None:
    """The given probability below which a text gets no label, else the model's own; None if every text gets one.

    Raises:
        UsageError: outside 0 to 1, or for a model that gives many labels or a number.
        ModelError: the model was to abstain, and has no limit that reaches its accuracy.
    """
    if problem_type_of(loaded) != "single_label_classification":
        if given is not None:
            raise UsageError(
                f"abstain_below: {loaded.name} gives any number of labels or a number for each text. Remove it; only a model "
                "of one label per text can abstain."
            )
        return None
    if given is not None:
        _check(given, label="", name="abstain_below")
        return float(given)
    saved = SavedClassification.load(loaded)
    if saved.abstain_accuracy is not None and saved.abstain_below is None:
        raise ModelError(
            f"{loaded.name}: it was trained to abstain below accuracy {saved.abstain_accuracy:g}, and no limit reached that on "
            "its validation rows. Give a limit with --abstain-below, such as 0.9, or 0 to label every text."
        )
    return saved.abstain_below


def parse_thresholds(options: Iterable[str], labels: Iterable[str] = ()) -> Threshold | None:
    """`0.5` for all labels, `spam=0.3` for one; both together give a threshold for each label.

    Args:
        options: as on the command line.
        labels: of the model.
    Raises:
        UsageError: another form, or two thresholds for the same labels.
    """
    by_label: dict[str, float] = {}
    for option in options:
        label, equals, number = option.rpartition("=")
        if equals and not label:
            raise UsageError(f"--threshold {option}: no label before =. Write LABEL=NUMBER, such as spam=0.3.")
        if label in by_label:
            raise UsageError(f"--threshold: {label or 'all labels'} has two thresholds. Give one.")
        try:
            by_label[label] = float(number)
        except ValueError as error:
            raise UsageError(
                f"--threshold {option}: not a number. Write a number for all labels, or LABEL=NUMBER for one."
            ) from error
    for label, value in by_label.items():
        _check(value, label=label)
    if "" not in by_label:
        return by_label or None
    shared = by_label.pop("")
    return {**dict.fromkeys(labels, shared), **by_label} if by_label else shared


def _check(value: object, *, label: str, labels: Iterable[str] | None = None, name: str = "threshold") -> None:
    name = f"threshold of {label!r}" if label else name
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise UsageError(f"{name}: {value!r} is not a number from 0 to 1.")
    if label and labels is not None and label not in labels:
        raise UsageError(
            f"threshold: the model has no label {label!r}.{nearest(label, labels)} It has: {', '.join(labels)}."
        )

"""What a classifier answers: one label, many labels, or a number. From logits to predictions, for measuring and for use.

Legend: N sequences (texts or windows of them), R rows, C classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from typing_extensions import assert_never

from llmkit.errors import ModelError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from llmkit.models.loaded import LoadedModel

Answer = Literal["label", "labels", "number"]
DEFAULT_THRESHOLD = 0.5
"""Of many labels, until the validation rows have shown a better one."""
PROBLEM_TYPES: Mapping[Answer, str] = {
    "label": "single_label_classification",
    "labels": "multi_label_classification",
    "number": "regression",
}
"""Words of transformers' configs."""
NUMBER_LABELS = ("LABEL_0",)
"""transformers' own name of an only output."""


def problem_type_of(loaded: LoadedModel) -> Answer:
    """By the model's config.

    Raises:
        ModelError: its number of outputs does not fit its problem type.
    """
    problem, outputs = loaded.model.config.problem_type, len(loaded.labels)
    fits: dict[Answer, bool] = {"label": outputs > 1, "labels": outputs > 0, "number": outputs == 1}
    if problem is None:  # transformers takes it so, too
        return "label" if outputs > 1 else "number"
    for answer, name in PROBLEM_TYPES.items():
        if problem == name and fits[answer]:
            return answer
    raise ModelError(f"{loaded.name}: config.json says {problem}, which {outputs} outputs do not fit.")


def scores_of(logits: NDArray[np.float32], answer: Answer) -> NDArray[np.float64]:
    """(N, C) probabilities: adding up to 1 for one label, each for itself for many; a number stays as it is."""
    import numpy as np
    from scipy.special import expit, softmax

    scores: NDArray[np.float64] = logits.astype(np.float64)
    match answer:
        case "label":
            scores = softmax(scores, axis=1)
        case "labels":
            scores = expit(scores)
        case "number":
            pass
        case _:
            assert_never(answer)
    return scores


def scores_of_rows(
    scores: NDArray[np.float64], lengths: Sequence[int], windows: Sequence[range]
) -> NDArray[np.float64]:
    """(R, C) the mean over a row's windows, weighted by their tokens.

    Args:
        scores: (N, C)
        lengths: (N,) tokens of each window.
        windows: the windows of each row.
    """
    import numpy as np

    if len(windows) == len(scores):
        return scores
    weights = np.asarray(lengths, dtype=np.float64)[:, None]  # (N, 1)
    starts = [one.start for one in windows]
    total: NDArray[np.float64] = np.add.reduceat(scores * weights, starts) / np.add.reduceat(weights, starts)
    return total


def predictions_of(
    scores: NDArray[np.float64], answer: Answer, *, labels: Sequence[str], threshold: float | None
) -> list[Any]:
    """A prediction for each row of (R, C) scores: a name; names with all probabilities; a number."""
    match answer:
        case "label":
            return [labels[index] for index in scores.argmax(axis=1)]
        case "labels":
            limit = DEFAULT_THRESHOLD if threshold is None else threshold
            each = (dict(zip(labels, row, strict=True)) for row in scores.tolist())
            return [{"labels": chosen(by_label, limit), "probabilities": by_label} for by_label in each]
        case "number":
            return [float(value) for value in scores[:, 0]]
        case _:
            assert_never(answer)


def chosen(probabilities: Mapping[str, float], threshold: float) -> list[str]:
    """The labels that are likely enough, in the model's order."""
    return [label for label, probability in probabilities.items() if probability >= threshold]


def best_threshold(probabilities: Sequence[float], wanted: Sequence[bool]) -> tuple[float, float] | None:
    """The threshold with the largest micro F1 over all rows and labels, and that F1; None where nothing is wanted.

    It lies half way between two probabilities that occur, so that rounding moves no label across it. Of several
    equally good ones, the nearest to a half.
    """
    import numpy as np
    from sklearn.metrics import precision_recall_curve

    if not any(wanted):
        return None
    precision, recall, rising = precision_recall_curve(wanted, probabilities)  # one more of both, for no label at all
    f1 = 2 * precision * recall / np.maximum(precision + recall, np.finfo(float).tiny)
    middles = (rising + np.append(0.0, rising[:-1])) / 2
    f1 = np.where(middles > 0, f1[:-1], -1.0)  # a threshold of 0 tells nothing apart
    best = f1 >= f1.max() * (1 - 1e-12)
    threshold = float(min(middles[best].tolist()[::-1], key=lambda middle: abs(middle - DEFAULT_THRESHOLD)))
    return threshold, float(f1.max())


def flattened(
    predictions: Iterable[Mapping[str, Any]], references: Iterable[Sequence[str]]
) -> tuple[list[float], list[bool]]:
    """Every probability of every row, and whether that label is right."""
    probabilities: list[float] = []
    wanted: list[bool] = []
    for prediction, reference in zip(predictions, references, strict=True):
        right = set(reference)
        for label, probability in prediction["probabilities"].items():
            probabilities.append(probability)
            wanted.append(label in right)
    return probabilities, wanted

"""What a classifier predicts: one label, many labels, or a number. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from llmkit.errors import ModelError

if TYPE_CHECKING:
    from llmkit.models.loaded import LoadedModel

Answer = Literal["label", "labels", "number"]
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

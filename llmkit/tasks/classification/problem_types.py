"""What a classifier predicts: one label, many labels, or a number. Imports nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from llmkit.errors import ModelError

if TYPE_CHECKING:
    from llmkit.models.loaded import LoadedModel

ProblemType = Literal["single_label_classification", "multi_label_classification", "regression"]
"""As `problem_type` in transformers' configs."""
NUMBER_LABELS = ("LABEL_0",)
"""transformers' name of the only output of a regression."""


def problem_type_of(loaded: LoadedModel) -> ProblemType:
    """From the model's config; without an entry there, from its number of outputs, as transformers does.

    Raises:
        ModelError: its number of outputs does not fit its problem type.
    """
    problem_type, outputs = loaded.model.config.problem_type, len(loaded.labels)
    fits: dict[ProblemType, bool] = {
        "single_label_classification": outputs > 1,
        "multi_label_classification": outputs > 0,
        "regression": outputs == 1,
    }
    if problem_type is None:
        return "single_label_classification" if outputs > 1 else "regression"
    for name, does_fit in fits.items():
        if name == problem_type and does_fit:
            return name
    raise ModelError(f"{loaded.name}: config.json says {problem_type}, which {outputs} outputs do not fit.")

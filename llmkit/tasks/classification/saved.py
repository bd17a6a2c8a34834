"""What a trained classifier remembers for its use: `task_specific_params.classification` of its config.json.

transformers keeps that entry and does not look at it, so the folder stays a plain Hugging Face one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, ValidationError

from llmkit.errors import ModelError
from llmkit.recipe.blocks import Block

if TYPE_CHECKING:
    from llmkit.models.loaded import LoadedModel

_TASK = "classification"


class ClassifierMemory(Block):
    overflow: Literal["error", "truncate", "window"] | None = None
    """What becomes of a text that is too long; None where no training has said."""
    window_overlap: Annotated[int, Field(ge=0)] | None = None
    pairs: bool | None = None
    """Whether it was trained on pairs; None where nobody has said."""
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    """Least probability of a label, where a text may have many."""
    class_weights: dict[str, float] | None = None
    """What a row of a label counts in the loss; 1 where a label is not named."""

    @classmethod
    def of(cls, loaded: LoadedModel) -> ClassifierMemory:
        """What a model remembers; nothing at all where another program has trained it.

        Raises:
            ModelError: its config says what no training writes.
        """
        by_task = getattr(loaded.model.config, "task_specific_params", None)
        try:
            return cls.model_validate(by_task.get(_TASK, {}) if isinstance(by_task, dict) else {})
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, ("task_specific_params", _TASK, *first["loc"])))
            raise ModelError(f"{loaded.name}: config.json: {key}: {first['msg']}.") from error

    def write(self, loaded: LoadedModel) -> None:
        """In place of what the checkpoint could do before: T5's translations, GPT-2's sampling."""
        loaded.model.config.task_specific_params = {_TASK: self.model_dump(exclude_none=True)}

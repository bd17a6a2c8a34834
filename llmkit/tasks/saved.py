"""What a trained model saves in its config.json for inference: `task_specific_params`, an entry for each task.

Only these classes read and write the entries. transformers saves them and does not read them, so the folder stays a
plain Hugging Face one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import ConfigDict, ValidationError
from typing_extensions import Self

from llmkit.errors import ModelError
from llmkit.recipe.blocks import Block

if TYPE_CHECKING:
    from llmkit.models.loaded import LoadedModel


class SavedTaskConfig(Block):
    """The entry of one task. Keys that are None are not written."""

    model_config = ConfigDict(extra="ignore")  # other programs write keys of their own

    TASK: ClassVar[str]
    """The entry's name."""

    @classmethod
    def load(cls, loaded: LoadedModel, *, entry: str | None = None) -> Self:
        """The entry of a model; all None where it has none, such as a model that another program trained.

        Args:
            entry: its name, where that is not the task's.
        Raises:
            ModelError: it has a value that no training writes.
        """
        name = entry or cls.TASK
        try:
            return cls.model_validate(saved_entries(loaded).get(name, {}))
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, ("task_specific_params", name, *first["loc"])))
            value = "" if first["type"] == "missing" else f" {first['input']!r:.40}"
            raise ModelError(f"{loaded.name}: config.json has {key}{value}: {first['msg']}.") from error

    @classmethod
    def is_in(cls, loaded: LoadedModel) -> bool:
        return cls.TASK in saved_entries(loaded)

    def save(self, loaded: LoadedModel) -> None:
        """Write it into the model's config, so that every checkpoint has it, in place of the entries
        of its base model: T5's translations, GPT-2's sampling."""
        loaded.model.config.task_specific_params = {self.TASK: self.model_dump(exclude_none=True)}


def saved_entries(loaded: LoadedModel) -> Mapping[str, Any]:
    """Entry by name: llmkit's by task, those of Google's T5 by names such as `translation_en_to_de`."""
    entries: Mapping[str, Any] = getattr(loaded.model.config, "task_specific_params", None) or {}
    return entries


class SavedWriting(SavedTaskConfig):
    """How a model writes special tokens."""

    special_tokens: list[str] | None = None
    """Those that stood in the texts that it was trained to write: they are text."""
    spaced_special_tokens: bool | None = None
    """Whether these stand between spaces, in the texts; None for what the tokenizer keeps of the spaces."""


class SavedCausalLM(SavedWriting):
    TASK: ClassVar[str] = "causal-lm"


def writing_config(loaded: LoadedModel) -> SavedWriting:
    """What any task saved about it.

    Raises:
        ModelError: a damaged entry.
    """
    entry = next((name for name, content in saved_entries(loaded).items() if "special_tokens" in content), "")
    return SavedWriting.load(loaded, entry=entry) if entry else SavedWriting()

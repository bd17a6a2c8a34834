"""The recipe of a chat model: answers to instructions and in conversations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from llmkit.models.chat import is_chat_model
from llmkit.models.families import Head, families_with
from llmkit.models.generation import config_options
from llmkit.recipe.blocks import Block, ColumnType, PositiveInt, ScratchModel
from llmkit.recipe.generation import MinNewTokens, NgramSize
from llmkit.tasks.base import TaskRecipe
from llmkit.tasks.draft import TaskDraft
from llmkit.tasks.instruction.draft import InstructionDraft
from llmkit.tasks.instruction.rows import messages_of

if TYPE_CHECKING:
    from llmkit.data.rows import Row
    from llmkit.models.loaded import LoadedModel


class AnswerBlock(Block):
    """How answers are generated: without sampling in evaluation; and by default with the saved model. Options that are
    not given are those of the model's own generation config."""

    max_new_tokens: PositiveInt | None = None
    """Length limit; without it, the 99th percentile of the training answers."""
    min_new_tokens: MinNewTokens | None = None
    """The end of text is impossible before this many tokens."""
    no_repeat_ngram_size: NgramSize | None = None
    """No sequence of this many tokens occurs twice in prompt and answer; 0 turns it off."""
    repetition_penalty: Annotated[float, Field(ge=0.1, le=10, examples=[1.2])] | None = None
    """Divides the scores of tokens already there (Keskar et al. 2019); 1 is off."""


class InstructionRecipe(TaskRecipe):
    HEAD: ClassVar[Head] = "causal-lm"
    VERB: ClassVar[str] = "chat"
    USE: ClassVar[str] = "llmkit chat --model {model}"
    PURPOSE: ClassVar[str] = "answers prompts and takes part in conversations"
    PIPELINE_TAG: ClassVar[str] = "text-generation"
    COLUMN_TYPES: ClassVar[Mapping[str, ColumnType]] = {
        "prompt": "text",
        "input": "text",
        "response": "text",
        "messages": "messages",
    }
    OPTIONAL_FIELDS: ClassVar[Mapping[str, bool]] = {"input": True}
    COLUMN_ALIASES: ClassVar[Mapping[str, tuple[str, ...]]] = {"messages": ("conversations", "conversation")}
    FIELD_GROUPS: ClassVar[tuple[tuple[str, ...], ...]] = (("prompt", "response"), ("messages",))
    READ_FIELDS: ClassVar[tuple[str, ...]] = ("prompt", "messages")
    TARGET_FIELDS: ClassVar[tuple[str, ...]] = ("response",)
    FAMILIES: ClassVar[tuple[str, ...]] = families_with("causal-lm")
    METRICS: ClassVar[tuple[str, ...]] = ("rouge",)
    BEST: ClassVar[str] = "loss"
    DRAFT: ClassVar[TaskDraft] = InstructionDraft()

    task: Literal["instruction"]
    max_tokens: Annotated[int, Field(ge=16)] | None = None
    """The longest conversation, template included; without it, the model's window."""
    overflow: Literal["error", "truncate", "drop", "window"] = "truncate"
    """What happens to longer ones, always with counts: `truncate` leaves out the oldest turns, `window` makes an example
    of each later answer."""
    generation: AnswerBlock = AnswerBlock()

    @property
    def window_tokens(self) -> int | None:
        """Positions after the longest example stay untrained where the weights were random."""
        return self.max_tokens if isinstance(self.model, ScratchModel) else None

    @property
    def loss_scores(self) -> tuple[str, ...]:
        return ("loss", "perplexity")

    @model_validator(mode="after")
    def _one_form_of_rows(self) -> InstructionRecipe:
        named = self.data.columns.keys()
        if "messages" in named and len(named) > 1:
            raise ValueError("data.columns: rows have messages, or prompt and response; name the columns of one form")
        return self

    def check_row(self, row: Row, labels: Sequence[str] | None) -> None:
        messages_of(row)

    @classmethod
    def has_trained(cls, loaded: LoadedModel) -> bool:
        return is_chat_model(loaded)

    @classmethod
    def keys_of_model(cls, loaded: LoadedModel) -> dict[str, Any]:
        options = config_options(loaded)
        return {"generation": {key: value for key, value in options.items() if key in AnswerBlock.model_fields}}

"""The keys that the recipes of summarization, translation and text-to-text have in common."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from llmkit.data.lengths import Overflow
from llmkit.models.families import Head, families_with
from llmkit.models.generation import config_options
from llmkit.recipe.blocks import Block, PositiveInt
from llmkit.recipe.generation import BEAM_OPTIONS, LengthPenalty, MinNewTokens, NgramSize
from llmkit.tasks.base import TaskRecipe
from llmkit.tasks.seq2seq.saved import SavedSeq2Seq

if TYPE_CHECKING:
    from llmkit.models.loaded import LoadedModel


class WritingBlock(Block):
    """How texts are generated: in evaluation, and by default with the saved model. Options that are not given are those
    of the model's own generation config."""

    max_new_tokens: PositiveInt | None = None
    """Length limit; without it, what 99 % of the training targets need."""
    min_new_tokens: MinNewTokens | None = None
    """The end of text is impossible before this many tokens."""
    beams: Annotated[int, Field(ge=1, le=64, examples=[4])] | None = None
    """Beam width; 1 is greedy decoding."""
    length_penalty: LengthPenalty | None = None
    """Of beam search: a beam's score is divided by its length to this power; above 0 prefers longer texts."""
    early_stopping: bool | Literal["never"] | None = None
    """Of beam search: true stops at as many finished texts as beams, false when a better one is unlikely, `never` when
    a better one is impossible."""
    no_repeat_ngram_size: NgramSize | None = None
    """No sequence of this many tokens occurs twice in a text; 0 turns it off."""
    repetition_penalty: Annotated[float, Field(ge=0.1, le=10, examples=[1.2])] | None = None
    """Divides the scores of tokens already there (Keskar et al. 2019); 1 is off."""

    @model_validator(mode="after")
    def _check_combination(self) -> WritingBlock:
        given = [key for key in BEAM_OPTIONS if getattr(self, key) is not None]
        if given and self.beams == 1:
            raise ValueError(f"{given[0]}: applies only to beam search; set beams to 2 or more, or remove it")
        if None not in (self.min_new_tokens, self.max_new_tokens) and self.min_new_tokens > self.max_new_tokens:  # type: ignore[operator]
            raise ValueError(f"min_new_tokens: {self.min_new_tokens} exceeds max_new_tokens {self.max_new_tokens}")
        return self


class Seq2SeqRecipe(TaskRecipe):
    """The keys of all three; each has its own default lengths."""

    HEAD: ClassVar[Head] = "seq2seq-lm"
    FAMILIES: ClassVar[tuple[str, ...]] = families_with("seq2seq-lm")
    SOURCE: ClassVar[str]
    """The input field."""
    TARGET: ClassVar[str]
    """The output field."""
    TARGET_LENGTH: ClassVar[Literal["shorter", "similar", "any"]] = "any"
    """How long an output is, compared with its input."""
    SAVED: ClassVar[type[SavedSeq2Seq]]

    prefix: Annotated[str, Field(max_length=10_000, examples=["summarize: "])] | None = None
    """Put before every text, in training and inference; without it, the task's own for T5, none for mT5."""
    max_source_tokens: Annotated[int, Field(ge=4)]
    """The longest source text, prefix and special tokens included."""
    max_target_tokens: Annotated[int, Field(ge=2)]
    """The longest target text, end of text included."""
    overflow: Overflow = "truncate"
    generation: WritingBlock = WritingBlock()

    @property
    def window_tokens(self) -> int | None:
        return self.max_source_tokens

    @property
    def task_prefix(self) -> str:
        """The prefix that T5 was trained on this task with, if any."""
        return ""

    @property
    def languages(self) -> tuple[str | None, str | None]:
        """Source and target language, as in the recipe; None for what a multilingual tokenizer is set to."""
        return None, None

    @abstractmethod
    def saved_config(self, *, prefix: str) -> SavedSeq2Seq:
        """What the trained model saves."""

    @property
    def chunk_overlap(self) -> int:
        """Tokens that the chunks of a long text share."""
        return 0

    @classmethod
    def keys_of_model(cls, loaded: LoadedModel) -> dict[str, Any]:
        """Of the entries of Google's T5, the prefix and the generation options."""
        saved = cls.SAVED.load(loaded) if cls.SAVED.is_in(loaded) else SavedSeq2Seq()
        own_keys = set(type(saved).model_fields) - set(SavedSeq2Seq.model_fields) | {"prefix"}
        options = config_options(loaded, saved.generation_entry)
        if options.get("beams", 1) == 1:
            options = {key: value for key, value in options.items() if key not in BEAM_OPTIONS}
        limit = {"max_source_tokens": loaded.window} if loaded.is_bounded else {}
        generation = {key: value for key, value in options.items() if key in WritingBlock.model_fields}
        return {**saved.model_dump(exclude_none=True, include=own_keys), **limit, "generation": generation}

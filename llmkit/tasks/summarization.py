"""A short text for a long one, with T5.

Legend: B batch, S source tokens, T target tokens, D hidden units.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from llmkit.data.examples import Examples, Ragged
from llmkit.data.lengths import LengthCount
from llmkit.recipe.blocks import Block, GenerationBlock, Kind, PositiveInt, Recipe
from llmkit.tasks.base import Batch, Engine
from llmkit.tasks.encoding import encode_texts, in_chunks
from llmkit.tasks.padding import attention_mask, padded

if TYPE_CHECKING:
    from torch import Tensor

    from llmkit.data.order import Indices
    from llmkit.data.rows import Row
    from llmkit.models.loaded import Head, LoadedModel


class SummaryBlock(Block):
    """How summaries are written: in evaluation, and with the saved model by default."""

    max_new_tokens: PositiveInt | None = None
    """Length limit; without it, `max_target_tokens`."""
    beams: Annotated[int, Field(ge=1, le=64)] = 1
    """Width of the search; 1 takes the likeliest token each time."""
    repetition_penalty: Annotated[float, Field(ge=0.1, le=10)] = 1.0
    """Divides the scores of tokens already there (Keskar et al. 2019); 1 is off."""


class SummarizationRecipe(Recipe):
    ROLES: ClassVar[Mapping[str, Kind]] = {"text": "text", "summary": "text"}
    FAMILIES: ClassVar[tuple[str, ...]] = ("t5",)
    METRICS: ClassVar[tuple[str, ...]] = ("rouge",)
    BEST: ClassVar[str] = "rougeL"

    task: Literal["summarization"]
    prefix: str = "summarize: "
    """Stands in front of every text, in training and in use; T5's own words by default."""
    max_source_tokens: Annotated[int, Field(ge=4)] = 512
    max_target_tokens: Annotated[int, Field(ge=2)] = 64
    overflow: Literal["error", "truncate", "drop"] = "truncate"
    """What happens to longer texts and summaries, always with counts."""
    generation: SummaryBlock = SummaryBlock()

    @property
    def window_tokens(self) -> int | None:
        return self.max_source_tokens


class SummarizationTask:
    HEAD: ClassVar[Head] = "seq2seq-lm"
    USE: ClassVar[str] = "llmkit summarize FILE --model {model}"

    def __init__(self, recipe: SummarizationRecipe, loaded: LoadedModel) -> None:
        self.recipe = recipe
        self.loaded = loaded
        self.options = GenerationBlock(
            max_new_tokens=recipe.generation.max_new_tokens or recipe.max_target_tokens,
            beams=recipe.generation.beams,
            repetition_penalty=recipe.generation.repetition_penalty,
        )
        self._leave_word()

    @staticmethod
    def labels(recipe: SummarizationRecipe, rows: Iterable[Row]) -> None:
        """A text has no classes."""

    def encode(self, rows: Iterable[Row]) -> Examples:
        recipe, tokenizer = self.recipe, self.loaded.tokenizer
        sources = LengthCount(what="text", max_tokens=recipe.max_source_tokens, overflow=recipe.overflow)
        targets = LengthCount(what="summary", max_tokens=recipe.max_target_tokens, overflow=recipe.overflow)
        kept: list[tuple[list[int], list[int], str]] = []
        for chunk in in_chunks(rows):
            texts = [recipe.prefix + row.fields["text"] for row in chunk]
            summaries = [row.fields["summary"] for row in chunk]
            inputs = encode_texts(tokenizer, texts, chunk, count=sources)
            outputs = encode_texts(tokenizer, summaries, chunk, count=targets)
            for source, target, summary in zip(inputs, outputs, summaries, strict=True):
                if source is not None and target is not None:
                    kept.append((source, target, summary))
        sources.report(key="max_source_tokens", targets=False)
        targets.report(key="max_target_tokens", targets=True)
        columns = {
            "input_ids": Ragged.of([source for source, _, _ in kept]),
            "target_ids": Ragged.of([target for _, target, _ in kept]),
        }
        return Examples(columns=columns, references=[summary for _, _, summary in kept])

    def collate(self, examples: Examples, indices: Indices, *, epoch: int | None = None) -> Batch:
        from llmkit.models.losses import IGNORED

        sources, targets = examples.columns["input_ids"], examples.columns["target_ids"]
        return {
            "input_ids": padded(sources, indices, value=self.loaded.tokenizer.pad_token_id),  # (B, S)
            "attention_mask": attention_mask(sources, indices),  # (B, S)
            "labels": padded(targets, indices, value=IGNORED),  # (B, T)
        }

    def loss_sum(self, batch: Batch) -> Tensor:
        from llmkit.models.seq2seq import target_loss_sum

        return target_loss_sum(self.loaded.model, batch["input_ids"], batch["attention_mask"], batch["labels"])

    def predict(self, examples: Examples, engine: Engine) -> list[Any]:
        sources = examples.columns["input_ids"]
        written = engine.generate([sources[index].tolist() for index in range(len(sources))], self.options)
        return [self.loaded.tokenizer.decode(first[0], skip_special_tokens=True).strip() for first in written]

    def _leave_word(self) -> None:
        """Write prefix and options into the model's configs, where its later users look for them."""
        config, generation = self.loaded.model.config, self.loaded.model.generation_config
        config.task_specific_params = {"summarization": {"prefix": self.recipe.prefix}}
        generation.max_new_tokens = self.options.max_new_tokens
        generation.num_beams = self.options.beams
        generation.repetition_penalty = self.options.repetition_penalty

"""One label of many for a text, with BERT. Labels are names everywhere; ids live only inside a batch.

Legend: B batch, T tokens, C classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator

from llmkit.data.examples import Examples, Ragged
from llmkit.data.lengths import LengthCount
from llmkit.errors import DataError, nearest
from llmkit.recipe.blocks import Kind, Names, Recipe
from llmkit.tasks.base import Batch, Engine
from llmkit.tasks.encoding import encode_texts, in_chunks
from llmkit.tasks.padding import attention_mask, padded

if TYPE_CHECKING:
    from torch import Tensor

    from llmkit.data.order import Indices
    from llmkit.data.rows import Row
    from llmkit.models.loaded import Head, LoadedModel


class ClassificationRecipe(Recipe):
    ROLES: ClassVar[Mapping[str, Kind]] = {"text": "text", "label": "label"}
    FAMILIES: ClassVar[tuple[str, ...]] = ("bert", "lstm")
    METRICS: ClassVar[tuple[str, ...]] = ("accuracy", "f1")
    BEST: ClassVar[str] = "accuracy"

    task: Literal["classification"]
    labels: Names | None = None
    """Their names in the order of the model's outputs; without it, those of the training rows, sorted."""
    max_tokens: Annotated[int, Field(ge=4)] | None = None
    """The longest text, special tokens included; without it, the model's window."""
    overflow: Literal["error", "truncate", "drop"] = "truncate"
    """What happens to longer texts, always with counts."""

    @property
    def window_tokens(self) -> int | None:
        return self.max_tokens

    @field_validator("labels")
    @classmethod
    def _once_each(cls, labels: Names | None) -> Names | None:
        twice = [label for label, count in Counter(labels or ()).items() if count > 1]
        if twice:
            raise ValueError(f"{twice[0]!r} stands there more than once")
        return labels


class ClassificationTask:
    HEAD: ClassVar[Head] = "classification"
    USE: ClassVar[str] = 'llmkit classify "a text" --model {model}'

    def __init__(self, recipe: ClassificationRecipe, loaded: LoadedModel) -> None:
        self.recipe = recipe
        self.loaded = loaded
        self.class_of = {label: index for index, label in enumerate(loaded.labels)}

    @staticmethod
    def labels(recipe: ClassificationRecipe, rows: Iterable[Row]) -> tuple[str, ...]:
        """The recipe's labels, or those of the training rows, sorted.

        Raises:
            DataError: there are fewer than two.
        """
        found = recipe.labels or tuple(sorted({row.fields["label"] for row in rows}))
        if len(found) < 2:
            place = "the recipe names" if recipe.labels else "the training rows have"
            raise DataError(f"classification needs two labels or more; {place} {', '.join(found) or 'none'}.")
        return found

    def encode(self, rows: Iterable[Row]) -> Examples:
        count = LengthCount(what="text", max_tokens=self.loaded.window, overflow=self.recipe.overflow)
        inputs: list[list[int]] = []
        labels: list[str] = []
        unseen: Counter[str] = Counter()
        place = ""
        for chunk in in_chunks(rows):
            encoded = encode_texts(self.loaded.tokenizer, [row.fields["text"] for row in chunk], chunk, count=count)
            for row, ids in zip(chunk, encoded, strict=True):
                label = row.fields["label"]
                if label not in self.class_of:
                    unseen[label] += 1
                    place = place or row.place
                elif ids is not None:
                    inputs.append(ids)
                    labels.append(label)
        if unseen:
            raise DataError(self._unseen(unseen, place))
        count.report(key="max_tokens", targets=False)
        columns = {"input_ids": Ragged.of(inputs), "target_ids": Ragged.of([[self.class_of[name]] for name in labels])}
        return Examples(columns=columns, references=labels)

    def collate(self, examples: Examples, indices: Indices, *, epoch: int | None = None) -> Batch:
        inputs = examples.columns["input_ids"]
        return {
            "input_ids": padded(inputs, indices, value=self.loaded.tokenizer.pad_token_id),  # (B, T)
            "attention_mask": attention_mask(inputs, indices),  # (B, T)
            "labels": padded(examples.columns["target_ids"], indices, value=0).squeeze(1),  # (B,)
        }

    def loss_sum(self, batch: Batch) -> Tensor:
        from llmkit.models.losses import cross_entropy_sum

        logits = self.loaded.model(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
        ).logits  # (B, C)
        return cross_entropy_sum(logits, batch["labels"])

    def predict(self, examples: Examples, engine: Engine) -> list[Any]:
        inputs = examples.columns["input_ids"]
        logits = engine.class_logits([inputs[index].tolist() for index in range(len(inputs))])  # (N, C)
        return [self.loaded.labels[index] for index in logits.argmax(axis=1)]

    def _unseen(self, unseen: Counter[str], place: str) -> str:
        listed = ", ".join(f"{label!r} ({count:,} rows)" for label, count in unseen.most_common(5))
        hint = nearest(next(iter(unseen)), self.class_of)
        return f"{place}: labels that the model does not have: {listed}.{hint} It has: {', '.join(self.class_of)}."

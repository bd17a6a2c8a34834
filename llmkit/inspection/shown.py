"""Examples as the model gets them: tokens, what is hidden, what counts in the loss, labels. Made by the task's own code.

Legend: B batch, T tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from typing_extensions import assert_never

from llmkit.inspection.token_texts import token_texts
from llmkit.models.special_tokens import special_ids_of

if TYPE_CHECKING:
    from llmkit.tasks.base import Batch, Task

_IGNORED = -100
Role = Literal["text", "special", "padding"]


@dataclass(frozen=True)
class ShownToken:
    id: int
    text: str
    """As it is in the text, with its space; control characters and parts of characters as escapes."""
    role: Role = "text"
    in_loss: bool = False
    """Whether the loss counts this token, or what is predicted at it."""
    target: str | None = None
    """What is predicted at it, where that is not the token itself: a hidden token, or the tag of a word."""


@dataclass(frozen=True)
class ShownSequence:
    name: str
    """`input` or `target`; `choice 0` and so on."""
    tokens: tuple[ShownToken, ...]

    def record(self) -> dict[str, Any]:
        """For JSON: a list for each property of the tokens."""
        tokens = self.tokens
        return {
            "name": self.name,
            "ids": [token.id for token in tokens],
            "tokens": [token.text for token in tokens],
            "roles": [token.role for token in tokens],
            "loss_mask": [int(token.in_loss) for token in tokens],
            "targets": [token.target for token in tokens] if any(token.target for token in tokens) else None,
        }


@dataclass(frozen=True)
class ShownExample:
    """One example of a batch: a row, a window of one, or a block of running text."""

    place: str
    """Of its row; empty for a block."""
    number: int
    """Of its row in the split, or of the block, from 1."""
    sequences: tuple[ShownSequence, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    """What is learned besides tokens, such as the label."""
    notes: tuple[str, ...] = ()
    """What was logged as the row was encoded, such as tokens that were cut."""

    def record(self) -> dict[str, Any]:
        return {
            "place": self.place,
            "number": self.number,
            "sequences": [sequence.record() for sequence in self.sequences],
            **({"facts": dict(self.facts)} if self.facts else {}),
            **({"notes": list(self.notes)} if self.notes else {}),
        }


Shown = tuple[tuple[ShownSequence, ...], dict[str, str]]
"""The sequences and the facts of an example."""


class BatchReader:
    """The examples of a collated batch."""

    def __init__(self, task: Task, batch: Batch) -> None:
        self._task = task
        self._batch = {name: tensor.tolist() for name, tensor in batch.items()}
        self._special = special_ids_of(task.loaded.tokenizer)
        self._tokenizer = task.loaded.tokenizer

    def examples(self) -> Iterator[Shown]:
        """Each example of the batch, in order."""
        if "choices" in self._batch:
            yield from self._choices()
            return
        for row in range(len(self._batch["input_ids"])):
            yield self._example(row)

    def _example(self, row: int) -> Shown:
        head, labels = self._task.recipe.HEAD, self._batch["labels"][row]
        match head:
            case "causal-lm":
                # The target of output t is token t + 1.
                counts = [False, *(label != _IGNORED for label in labels[:-1])]
                return (self._sequence("input", row, counts),), {}
            case "masked-lm" | "replaced-token-detection":
                counts = [label != _IGNORED for label in labels]
                texts = token_texts(self._tokenizer, [max(label, 0) for label in labels])
                targets = [text if counted else None for text, counted in zip(texts, counts, strict=True)]
                whole = {"discriminator": "its loss counts every token but padding"}
                return (self._sequence("input", row, counts, targets),), (whole if head != "masked-lm" else {})
            case "seq2seq-lm":
                written = [label for label in labels if label != _IGNORED]
                target = ShownSequence("target", self._tokens(written, [True] * len(written), padding=0))
                return (self._sequence("input", row), target), {}
            case "token-classification":
                names = self._task.loaded.labels
                counts = [label != _IGNORED for label in labels]
                tags = [names[label] if counted else None for label, counted in zip(labels, counts, strict=True)]
                return (self._sequence("input", row, counts, tags),), {}
            case "question-answering":
                return self._answer(row, *labels)
            case "classification":
                return (self._sequence("input", row),), self._label(row)
            case "embedding":
                raise AssertionError("no task trains it")
            case other:
                assert_never(other)

    def _answer(self, row: int, start: int, end: int) -> Shown:
        if start == _IGNORED:
            return (self._sequence("input", row),), {"answer": "a part of it is in this window, so it does not count"}
        if start == end == 0:
            return (self._sequence("input", row, self._between(row, 0, 0)),), {"answer": "none in this window"}
        sequence = self._sequence("input", row, self._between(row, start, end))
        text = "".join(token.text for token in sequence.tokens[start : end + 1])
        return (sequence,), {"answer": text.strip(), "answer tokens": f"{start} to {end}"}

    def _between(self, row: int, start: int, end: int) -> list[bool]:
        return [start <= place <= end for place in range(len(self._batch["input_ids"][row]))]

    def _label(self, row: int) -> dict[str, str]:
        names, labels = self._task.loaded.labels, self._batch["labels"][row]
        if "values" in self._batch:
            return {"number": f"{self._batch['values'][row]:g}"}
        if isinstance(labels, list):
            return {"labels": ", ".join(name for name, has in zip(names, labels, strict=True) if has) or "none"}
        return {"label": names[labels]}

    def _choices(self) -> Iterator[Shown]:
        first = 0
        for count, answer in zip(self._batch["choices"], self._batch["answers"], strict=True):
            rows = range(first, first + count)
            yield (
                tuple(self._sequence(f"choice {row - first}", row) for row in rows),
                {"answer": f"choice {answer}"},
            )
            first += count

    def _sequence(
        self, name: str, row: int, counts: Sequence[bool] = (), targets: Sequence[str | None] = ()
    ) -> ShownSequence:
        ids = self._batch["input_ids"][row]
        mask = self._batch.get("attention_mask")
        padding = 0 if mask is None else len(ids) - sum(mask[row])
        return ShownSequence(name, self._tokens(ids, counts or [False] * len(ids), targets, padding=padding))

    def _tokens(
        self, ids: Sequence[int], counts: Sequence[bool], targets: Sequence[str | None] = (), *, padding: int
    ) -> tuple[ShownToken, ...]:
        """
        Args:
            padding: tokens at the end that are padding.
        """
        real = len(ids) - padding
        texts = token_texts(self._tokenizer, ids)
        return tuple(
            ShownToken(token, text, self._role(token, place < real), counted, target)
            for place, (token, text, counted, target) in enumerate(
                zip(ids, texts, counts, targets or [None] * len(ids), strict=True)
            )
        )

    def _role(self, token: int, is_real: bool) -> Role:
        if not is_real:
            return "padding"
        return "special" if token in self._special else "text"

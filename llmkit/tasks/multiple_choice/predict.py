"""From questions with choices to the most probable choice, over an engine and a tokenizer. Knows no commands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from llmkit.errors import DataError, UsageError
from llmkit.models.loaded import LoadedModel
from llmkit.tasks.classification.inputs import TextInputs
from llmkit.tasks.engine import Engine
from llmkit.tasks.inputs import LongTextCount, check_texts, numbered_chunks
from llmkit.tasks.multiple_choice.choices import Question
from llmkit.tasks.multiple_choice.recipe import MultipleChoiceRecipe
from llmkit.tasks.multiple_choice.saved import SavedMultipleChoice
from llmkit.tasks.multiple_choice.scoring import choice_scores, read_questions

ChooseOverflow = Literal["error", "truncate"]
CHOOSE_CHUNK_ROWS = 512


@dataclass(frozen=True)
class Choice:
    question: Question
    index: int
    """Index of the most probable choice, from 0."""
    probabilities: list[float]
    """Probability of each choice; they add up to 1."""
    truncated_tokens: int
    """Tokens of the context that were truncated, for the choice with which it lost most."""
    unknown_tokens: int = 0
    """Tokens that stand for text that the model cannot read, in all sequences of the question."""

    @property
    def text(self) -> str:
        return self.question.choices[self.index]


def choose(
    loaded: LoadedModel, engine: Engine, questions: Iterable[Question], *, overflow: ChooseOverflow | None = None
) -> Iterator[Choice]:
    """The most probable choice of each question, in their order.

    Args:
        overflow: what happens to a context that is too long; None for the policy that the model was trained with.
    Raises:
        DataError: a question that is not valid, or too long under `error`.
        UsageError: the model was trained on another task.
        ModelError: the model's outputs are not finite.
    """
    from llmkit.tasks.multiple_choice.probabilities import choice_shares

    check_chooser(loaded)
    inputs, long_texts = TextInputs(loaded, pairs=True), LongTextCount(loaded)
    saved = SavedMultipleChoice.load(loaded)
    policy = overflow or saved.overflow or "truncate"
    try:
        for first_row, chunk in numbered_chunks(questions, size=CHOOSE_CHUNK_ROWS):
            for row, question in enumerate(chunk, start=first_row):
                question.check(f"row {row:,}")
                check_texts(
                    [question.context + question.question, *question.choices], first_row=row, may_be_empty=False
                )
            encoded = read_questions(inputs, chunk, unknown=long_texts.unknown)
            truncated = [max(0, max(map(inputs.tokens, contents)) - inputs.window) for contents in encoded]
            _refuse_long(truncated, inputs.window, first_row=first_row, policy=policy)
            long_texts.add(truncated)
            scores = choice_scores([[inputs.cut(content) for content in contents] for contents in encoded], engine)
            for question, contents, row, tokens in zip(chunk, encoded, scores, truncated, strict=True):
                unknown = sum(content.unknown_tokens for content in contents)
                shares = choice_shares(row, saved.temperature).tolist()
                yield Choice(question, int(row.argmax()), shares, tokens, unknown)
        long_texts.unknown.report()
    finally:
        long_texts.report()


def check_chooser(loaded: LoadedModel) -> None:
    """
    Raises:
        UsageError: the model was trained on another task.
    """
    if len(loaded.labels) != 1 or loaded.family.name not in MultipleChoiceRecipe.FAMILIES:
        raise UsageError(f"{loaded.name}: it was not trained on multiple-choice; it has {len(loaded.labels)} outputs.")


def _refuse_long(truncated: list[int], window: int, *, first_row: int, policy: ChooseOverflow) -> None:
    row = next((row for row, tokens in enumerate(truncated, start=first_row) if tokens), None)
    if policy == "error" and row is not None:
        raise DataError(
            f"row {row:,}: {window + truncated[row - first_row]:,} tokens, and the model takes {window:,} at most; shorten "
            "the context, or allow it to be cut with overflow truncate"
        )

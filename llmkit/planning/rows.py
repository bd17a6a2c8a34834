"""The encoded rows of a plan: all of them, or of a large corpus a sample."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from llmkit.data.examples import Examples
from llmkit.data.lengths import LengthCount, reported_lengths
from llmkit.data.rows import Row
from llmkit.reservoir import Reservoir
from llmkit.tasks.base import Task, TaskRecipe
from llmkit.training.prepare import first_rows, require_rows
from llmkit.training.splits import Split, SplitRows

CORPUS_CHARACTERS = 20_000_000
"""Of a corpus with more, a sample of so many is encoded."""


@dataclass(frozen=True)
class TextLengths:
    """Tokens of one kind of text before anything is cut."""

    what: str
    """Such as `text` or `summary`."""
    texts: int
    limit: int | None
    """None where nothing is too long."""
    p50: int
    p90: int
    p99: int
    longest: int
    over_limit: float
    """Share of the texts that are longer than the limit."""
    overflow: str
    """What happens to these: error, truncate, drop or window."""


@dataclass(frozen=True)
class EncodedRows:
    """The examples of both splits; of a corpus perhaps those of a sample."""

    train: Examples
    validation: Examples
    rows: int
    """Training rows."""
    validation_rows: int
    scale: float
    """Training examples of the whole over those in `train`; 1 if nothing was left out."""
    lengths: tuple[TextLengths, ...]
    """Of the training rows."""

    @property
    def train_examples(self) -> int:
        return round(len(self.train) * self.scale)


@dataclass(frozen=True)
class TextSize:
    """How much text the training rows have."""

    rows: int
    characters: int


def encode_rows(
    task: Task, recipe: TaskRecipe, splits: dict[Split, SplitRows], size: TextSize, *, cached: bool
) -> EncodedRows:
    """Encode the rows as training does.

    Args:
        cached: the tokens of a corpus may be read from the cache and written to it, for the training.
    Raises:
        DataError: a row that the task cannot use, or there are none.
    """
    rows: Iterable[Row] = splits["train"] if cached else iter(splits["train"])
    held_out = splits["validation"] if cached else iter(splits["validation"])
    scale = 1.0
    if recipe.PRETRAINS and size.characters > CORPUS_CHARACTERS:
        rows, scale = _sample(splits["train"], characters=size.characters)
    with reported_lengths() as counts:
        train = task.prepare_training(task.encode(rows))
    lengths = tuple(_described(count) for count in counts) or _of_blocks(train)
    validation = task.encode(first_rows(held_out, recipe))
    require_rows(len(train), splits["train"], recipe=recipe)
    require_rows(len(validation), splits["validation"], recipe=recipe)
    task.check_labels(train, validation)
    return EncodedRows(train, validation, size.rows, validation.rows, scale, lengths)


def _sample(rows: Iterable[Row], *, characters: int) -> tuple[list[Row], float]:
    """Rows drawn evenly, and the size of all rows over theirs."""
    sample: Reservoir[Row] = Reservoir()
    sampled = 0
    for row in rows:
        sampled += len(row.fields["text"])
        sample.add(row)
        while sampled > CORPUS_CHARACTERS and len(sample) > 1:
            sampled -= len(sample.drop_last().fields["text"])
    return list(sample), characters / max(1, sampled)


def _described(count: LengthCount) -> TextLengths:
    p50, p90, p99, longest = np.percentile(count.lengths, [50, 90, 99, 100], method="inverted_cdf").astype(int)
    share = count.truncated.long_texts / count.truncated.texts
    bounded = count.max_tokens < 10**9
    return TextLengths(
        what=count.what,
        texts=count.truncated.texts,
        limit=count.max_tokens if bounded else None,
        p50=int(p50),
        p90=int(p90),
        p99=int(p99),
        longest=int(longest),
        over_limit=share,
        overflow=count.overflow,
    )


def _of_blocks(examples: Examples) -> tuple[TextLengths, ...]:
    """Of a corpus, whose documents are cut into blocks, so that nothing is too long."""
    p50, p90, p99, longest = np.percentile(examples.lengths, [50, 90, 99, 100], method="inverted_cdf").astype(int)
    return (TextLengths("block", len(examples), None, int(p50), int(p90), int(p99), int(longest), 0.0, "blocks"),)

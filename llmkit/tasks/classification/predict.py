"""From texts, or pairs of them, to labels or numbers, over an engine and a tokenizer.

Rows come in chunks and keep their order, as in text.py. Knows no files and no commands.

Legend: N sequences (texts or windows of them), R rows, C classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, field
from itertools import accumulate, pairwise
from typing import Literal

from llmkit.errors import DataError, UsageError
from llmkit.models.loaded import LoadedModel
from llmkit.tasks.base import Engine
from llmkit.tasks.classification.inputs import Contents, Pair, TextInputs
from llmkit.tasks.classification.problem_types import Answer, problem_type_of
from llmkit.tasks.classification.saved import SavedClassification
from llmkit.tasks.inputs import Cuts, check_texts, numbered_chunks

CLASSIFY_CHUNK_ROWS = 2048
"""Enough texts of each length for full batches."""

ClassifyOverflow = Literal["error", "truncate", "window"]


@dataclass(frozen=True)
class Classification:
    text: str
    label: str | None
    """The most probable one, where a text has one label; else None."""
    probabilities: dict[str, float]
    """By label, in the order of the model's classes; of one label they add up to 1. Empty for a number."""
    truncated_tokens: int
    """Tokens that the model did not see; 0 where the whole text fitted, or was read in windows."""
    text_pair: str | None = None
    labels: list[str] = field(default_factory=list)
    """Those that are likely enough, where a text may have many."""
    value: float | None = None
    """The number of a regression."""
    windows: int = 1
    """Pieces that the text was read in."""


def reads_pairs(loaded: LoadedModel) -> bool | None:
    """Whether a model was trained on pairs; None where its config does not say."""
    return SavedClassification.load(loaded).pairs


def classify_texts(
    loaded: LoadedModel,
    engine: Engine,
    texts: Iterable[str | Pair],
    *,
    overflow: ClassifyOverflow | None = None,
) -> Iterator[Classification]:
    """The label, the labels or the number of each text or pair, as the model was trained.

    Args:
        texts: texts, or (text, text_pair) tuples; all of one kind.
        overflow: what becomes of a text longer than `loaded.window`; None for what the model was trained with, else
            `truncate`. A text is cut at its end, the longer one of a pair first, or read in overlapping windows
            whose probabilities are averaged by their length. How many is logged once, when the results end.
    Raises:
        DataError: an empty text, one that is no valid Unicode, or one too long under `error`.
        UsageError: texts for a model of pairs, or pairs for one of texts.
        ModelError: the model's outputs do not fit its problem type, or it gives no finite numbers.
    """
    _refuse_other_task(loaded)
    answer = problem_type_of(loaded)
    saved = SavedClassification.load(loaded)
    policy = overflow or saved.overflow or "truncate"
    reader: _Reader | None = None
    cuts = Cuts(loaded)
    try:
        for first_row, chunk in numbered_chunks(texts, size=CLASSIFY_CHUNK_ROWS):
            if reader is None:
                pairs = isinstance(chunk[0], tuple)
                _check_pairs(loaded, saved, pairs=pairs)
                inputs = TextInputs(loaded, pairs=pairs, overlap=saved.window_overlap)
                reader = _Reader(loaded, engine, inputs, answer=answer, policy=policy, threshold=saved.threshold)
            yield from reader.classify(chunk, first_row=first_row, cuts=cuts)
    finally:
        cuts.warn()


@dataclass(frozen=True)
class _Reader:
    """All that is settled with the first row."""

    loaded: LoadedModel
    engine: Engine
    inputs: TextInputs
    _: KW_ONLY
    answer: Answer
    policy: ClassifyOverflow
    threshold: float | None

    def classify(self, chunk: Sequence[str | Pair], *, first_row: int, cuts: Cuts) -> Iterator[Classification]:
        from llmkit.tasks.classification.scores import predictions_of, scores_of, scores_of_rows

        inputs, answer, names = self.inputs, self.answer, self.loaded.labels
        firsts, seconds = _sides(chunk, pairs=inputs.pairs, first_row=first_row)
        contents = inputs.read(firsts, seconds)
        pieces = [self._pieces(content, row=row) for row, content in enumerate(contents, start=first_row)]
        lost = [
            max(0, inputs.tokens(content) - inputs.window) if len(held) == 1 else 0
            for content, held in zip(contents, pieces, strict=True)
        ]
        cuts.count(lost, windows=[len(held) for held in pieces])
        sequences = [ids for held in pieces for ids in held]
        scores = scores_of(self.engine.class_logits(sequences, pairs=inputs.pairs), answer)  # (N, C)
        windows = [range(*ends) for ends in pairwise(accumulate(map(len, pieces), initial=0))]
        of_rows = scores_of_rows(scores, list(map(len, sequences)), windows)  # (R, C)
        found = predictions_of(of_rows, answer, labels=names, threshold=self.threshold)
        for index, (text, prediction, row) in enumerate(zip(firsts, found, of_rows.tolist(), strict=True)):
            yield Classification(
                text=text,
                label=prediction if answer == "label" else None,
                probabilities={} if answer == "number" else dict(zip(names, row, strict=True)),
                truncated_tokens=lost[index],
                text_pair=None if seconds is None else seconds[index],
                labels=prediction["labels"] if answer == "labels" else [],
                value=prediction if answer == "number" else None,
                windows=len(pieces[index]),
            )

    def _pieces(self, content: Contents, *, row: int) -> list[list[int]]:
        """What the model reads of a row: all of it, its beginning, or its windows."""
        tokens, window = self.inputs.tokens(content), self.inputs.window
        if tokens <= window:
            return [self.inputs.whole(content)]
        if self.policy == "truncate":
            return [self.inputs.cut(content)]
        if self.policy == "window":
            return self.inputs.windows(content, place=f"row {row:,}")
        raise DataError(
            f"row {row:,}: the text has {tokens:,} tokens, and {self.loaded.name} takes {window:,} at most; "
            "shorten it, or allow it to be cut with overflow truncate, or read in pieces with overflow window"
        )


def _refuse_other_task(loaded: LoadedModel) -> None:
    """
    Raises:
        UsageError: the model was trained on another task with the same head; its scores are no labels.
    """
    from llmkit.tasks import RECIPES

    for task, kind in RECIPES.items():
        if kind.HEAD == "classification" and kind.VERB != "classify" and kind.has_trained(loaded):
            raise UsageError(f"{loaded.name}: was trained on {task}. Use `llmkit {kind.VERB}`.")


def _check_pairs(loaded: LoadedModel, saved: SavedClassification, *, pairs: bool) -> None:
    if saved.pairs is not None and saved.pairs != pairs:
        trained, given = ("pairs", "single texts") if saved.pairs else ("single texts", "pairs")
        raise UsageError(f"{loaded.name} was trained on {trained}, and these are {given}. Give it {trained}.")


def _sides(chunk: Sequence[str | Pair], *, pairs: bool, first_row: int) -> tuple[list[str], list[str] | None]:
    """First and second texts, checked."""
    firsts: list[str] = []
    seconds: list[str] = []
    for row, one in enumerate(chunk, start=first_row):
        if isinstance(one, tuple) != pairs:
            raise DataError(f"row {row:,}: texts and pairs of texts cannot be mixed; give all rows a pair, or none")
        both = one if isinstance(one, tuple) else (one,)
        firsts.append(both[0])
        seconds.extend(both[1:])
    check_texts(firsts, first_row=first_row, may_be_empty=False)
    check_texts(seconds, first_row=first_row, may_be_empty=False)
    return firsts, seconds if pairs else None

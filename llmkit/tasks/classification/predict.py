"""From texts, or pairs of them, to labels or numbers, over an engine and a tokenizer.

Rows come in chunks and keep their order, as in text.py. Knows no files and no commands.

Legend: N sequences (texts or windows of them), R rows, C classes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from itertools import accumulate, pairwise
from typing import Literal

from llmkit.errors import DataError, UsageError
from llmkit.models.loaded import LoadedModel
from llmkit.tasks.classification.inputs import Contents, Pair, TextInputs
from llmkit.tasks.classification.problem_types import ProblemType, problem_type_of
from llmkit.tasks.classification.saved import SavedClassification
from llmkit.tasks.classification.thresholds import Threshold, abstain_limit_in_use, threshold_in_use
from llmkit.tasks.engine import Engine
from llmkit.tasks.inputs import LongTextCount, check_texts, numbered_chunks

logger = logging.getLogger("llmkit")
CLASSIFY_CHUNK_ROWS = 2048
"""Enough texts of each length for full batches."""

ClassifyOverflow = Literal["error", "truncate", "window"]


@dataclass(frozen=True)
class Classification:
    text: str
    label: str | None
    """The most probable label, where a text has one; None where the model abstains, and for many labels or a number."""
    probabilities: dict[str, float]
    """By label, in the order of the model's classes; of a single label they add up to 1. Empty for a number."""
    truncated_tokens: int
    """Tokens that were truncated; 0 where the whole text fitted, or was read in windows."""
    text_pair: str | None = None
    labels: list[str] = field(default_factory=list)
    """The labels above the threshold, where a text may have many."""
    value: float | None = None
    """The number of a regression."""
    threshold: Threshold | None = None
    """The least probability of a label, where a text may have many: one for all labels, or by label."""
    windows: int = 1
    """Windows that the text was read in."""
    unknown_tokens: int = 0
    """Tokens that stand for text that the model cannot read."""
    best_guess: str | None = None
    """The most probable label, where a text has one, also if the model abstains."""
    abstain_below: float | None = None
    """The probability of the best guess below which the text has no label; None if the model never abstains."""

    @property
    def abstained(self) -> bool:
        """Whether the text has no label since its best guess is not probable enough."""
        return self.label is None and self.best_guess is not None


def reads_pairs(loaded: LoadedModel) -> bool | None:
    """Whether a model was trained on pairs; None where its config does not say."""
    return SavedClassification.load(loaded).pairs


def classify_texts(
    loaded: LoadedModel,
    engine: Engine,
    texts: Iterable[str | Pair],
    *,
    overflow: ClassifyOverflow | None = None,
    threshold: float | Mapping[str, float] | None = None,
    abstain_below: float | None = None,
) -> Iterator[Classification]:
    """The label, the labels or the number of each text or pair, as the model was trained.

    Args:
        texts: texts, or (text, text_pair) tuples; all of one kind.
        overflow: what happens to a text longer than `loaded.window`; None for what the model was trained with, else
            `truncate`. A text is truncated at its end, the longer one of a pair first, or read in overlapping windows
            whose probabilities are averaged by their length. How many is logged once, when the results end.
        threshold: least probability of a label where a text may have many, for all labels or for some by name; without
            it, the model's own.
        abstain_below: a text whose most probable label is less probable than this gets none; without it, the model's own
            limit. How many is logged once, when the results end.
    Raises:
        DataError: an empty text, one that is not valid Unicode, or one too long under `error`.
        UsageError: a threshold or limit that does not fit the model; texts for a model of pairs, or pairs for one of texts.
        ModelError: the model's outputs do not fit its problem type, or are not finite; it has no limit to abstain.
    """
    check_classifier(loaded)
    problem_type = problem_type_of(loaded)
    saved = SavedClassification.load(loaded)
    policy = overflow or saved.overflow or "truncate"
    limit = threshold_in_use(loaded, threshold)
    abstention = AbstentionCount(abstain_limit_in_use(loaded, abstain_below))
    reader: _Reader | None = None
    long_texts = LongTextCount(loaded)
    try:
        for first_row, chunk in numbered_chunks(texts, size=CLASSIFY_CHUNK_ROWS):
            if reader is None:
                pairs = isinstance(chunk[0], tuple)
                _check_pairs(loaded, saved, pairs=pairs)
                inputs = TextInputs(loaded, pairs=pairs, overlap=saved.window_overlap)
                reader = _Reader(
                    loaded,
                    engine,
                    inputs,
                    problem_type=problem_type,
                    policy=policy,
                    threshold=limit,
                    temperature=saved.temperature,
                    abstain_below=abstention.limit,
                )
            yield from map(abstention.counted, reader.classify(chunk, first_row=first_row, long_texts=long_texts))
        long_texts.unknown.report()
    finally:
        long_texts.report()
        abstention.report()


@dataclass(frozen=True)
class _Reader:
    """All that is decided with the first row."""

    loaded: LoadedModel
    engine: Engine
    inputs: TextInputs
    _: KW_ONLY
    problem_type: ProblemType
    policy: ClassifyOverflow
    threshold: Threshold | None
    temperature: float | None
    abstain_below: float | None

    def classify(
        self, chunk: Sequence[str | Pair], *, first_row: int, long_texts: LongTextCount
    ) -> Iterator[Classification]:
        from llmkit.tasks.classification.scores import calibrated, predictions_of, scores_of, scores_of_rows

        inputs, problem_type, names = self.inputs, self.problem_type, self.loaded.labels
        firsts, seconds = _sides(chunk, pairs=inputs.pairs, first_row=first_row)
        contents = inputs.read(firsts, seconds, unknown=long_texts.unknown, cut=self.policy != "window")
        windows = [self._windows(content, row=row) for row, content in enumerate(contents, start=first_row)]
        truncated = [
            max(0, inputs.tokens(content) - inputs.window) if len(row_windows) == 1 else 0
            for content, row_windows in zip(contents, windows, strict=True)
        ]
        long_texts.add(truncated, windows=list(map(len, windows)))
        sequences = [ids for row_windows in windows for ids in row_windows]
        scores = scores_of(self.engine.class_logits(sequences, pairs=inputs.pairs), problem_type)  # (N, C)
        ranges = [range(*ends) for ends in pairwise(accumulate(map(len, windows), initial=0))]
        row_scores = scores_of_rows(scores, list(map(len, sequences)), ranges)  # (R, C)
        row_scores = calibrated(row_scores, problem_type, self.temperature)
        predictions = predictions_of(
            row_scores, problem_type, labels=names, threshold=self.threshold, abstain_below=self.abstain_below
        )
        for index, (text, prediction, row) in enumerate(zip(firsts, predictions, row_scores.tolist(), strict=True)):
            best_guess = str(prediction) if problem_type == "single_label_classification" else None
            yield Classification(
                text=text,
                label=None if best_guess is None or prediction.abstained else best_guess,
                probabilities={} if problem_type == "regression" else dict(zip(names, row, strict=True)),
                truncated_tokens=truncated[index],
                text_pair=None if seconds is None else seconds[index],
                labels=prediction["labels"] if problem_type == "multi_label_classification" else [],
                value=prediction if problem_type == "regression" else None,
                windows=len(windows[index]),
                unknown_tokens=contents[index].unknown_tokens,
                threshold=self.threshold,
                best_guess=best_guess,
                abstain_below=self.abstain_below,
            )

    def _windows(self, content: Contents, *, row: int) -> list[list[int]]:
        """The sequences of a row: all of it, truncated, or its windows."""
        tokens, window = self.inputs.tokens(content), self.inputs.window
        if tokens <= window:
            return [self.inputs.whole(content)]
        if self.policy == "truncate":
            return [self.inputs.cut(content)]
        if self.policy == "window":
            return self.inputs.windows(content, place=f"row {row:,}")
        raise DataError(
            f"row {row:,}: the text has {tokens:,} tokens, and {self.loaded.name} takes {window:,} at most; "
            "shorten it, or allow it to be cut with overflow truncate, or read it in windows with overflow window"
        )


class AbstentionCount:
    """Counts the texts that get no label."""

    def __init__(self, limit: float | None) -> None:
        self.limit = limit
        self._texts = self._abstained = 0

    def counted(self, result: Classification) -> Classification:
        self._texts += 1
        self._abstained += result.abstained
        return result

    def report(self) -> None:
        if self.limit is not None and self._texts:
            logger.info(
                "abstained from %s of %s texts, whose best label has a probability below %g",
                *(f"{self._abstained:,}", f"{self._texts:,}", self.limit),
            )


def check_classifier(loaded: LoadedModel) -> None:
    """
    Raises:
        UsageError: the model was trained on another task with the same head; its outputs are not labels.
    """
    from llmkit.tasks import RECIPES

    for task, recipe_class in RECIPES.items():
        if (
            recipe_class.HEAD == "classification"
            and recipe_class.VERB != "classify"
            and recipe_class.has_trained(loaded)
        ):
            raise UsageError(f"{loaded.name}: was trained on {task}. Use `llmkit {recipe_class.VERB}`.")


def _check_pairs(loaded: LoadedModel, saved: SavedClassification, *, pairs: bool) -> None:
    if saved.pairs is not None and saved.pairs != pairs:
        trained_on, inputs = ("pairs", "single texts") if saved.pairs else ("single texts", "pairs")
        raise UsageError(f"{loaded.name} was trained on {trained_on}, and these are {inputs}. Give it {trained_on}.")


def _sides(chunk: Sequence[str | Pair], *, pairs: bool, first_row: int) -> tuple[list[str], list[str] | None]:
    """First and second texts, checked."""
    firsts: list[str] = []
    seconds: list[str] = []
    for row, text in enumerate(chunk, start=first_row):
        if isinstance(text, tuple) != pairs:
            raise DataError(f"row {row:,}: texts and pairs of texts cannot be mixed; give all rows a pair, or none")
        both = text if isinstance(text, tuple) else (text,)
        firsts.append(both[0])
        seconds.extend(both[1:])
    check_texts(firsts, first_row=first_row, may_be_empty=False)
    check_texts(seconds, first_row=first_row, may_be_empty=False)
    return firsts, seconds if pairs else None

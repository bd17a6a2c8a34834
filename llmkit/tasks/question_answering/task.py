"""The span of a context that answers a question, or no answer, with BERT.

Legend: B batch, T tokens.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from llmkit.data.examples import ExampleBuilder, Examples
from llmkit.data.lengths import LengthCount
from llmkit.data.order import Indices
from llmkit.data.rows import Row
from llmkit.errors import DataError
from llmkit.models.loaded import LoadedModel
from llmkit.models.losses import IGNORED, cross_entropy_sum
from llmkit.tasks.base import BaseTask, Batch, Engine
from llmkit.tasks.encoding import in_chunks
from llmkit.tasks.padding import attention_mask, padded
from llmkit.tasks.question_answering.locate import locate_answer
from llmkit.tasks.question_answering.options import AnswerOptions, overlap_of
from llmkit.tasks.question_answering.recipe import QuestionAnsweringRecipe
from llmkit.tasks.question_answering.saved import SavedQuestionAnswering
from llmkit.tasks.question_answering.windows import EncodedPair, Reading, encode_pairs, find_answer

_CHUNK_ROWS = 1000
_CLS = 0
logger = logging.getLogger("llmkit")


class QuestionAnsweringTask(BaseTask):
    def __init__(self, recipe: QuestionAnsweringRecipe, loaded: LoadedModel) -> None:
        self.recipe = recipe
        self.loaded = loaded
        self.options = AnswerOptions(
            window_overlap=overlap_of(loaded.window, recipe.window_overlap),
            max_answer_tokens=recipe.max_answer_tokens,
            no_answer=SavedQuestionAnswering.load(loaded).may_say_no_answer,
            no_answer_threshold=recipe.no_answer_threshold,
        )
        self._save_config()

    def prepare_training(self, train: Examples) -> Examples:
        """Keep whether any question of the training has no answer: what was never seen is never said."""
        no_answer = any(not answers for answers in train.references)
        self.options = self.options.model_copy(update={"no_answer": no_answer})
        self._save_config()
        return train

    def encode(self, rows: Iterable[Row]) -> Examples:
        window = self.loaded.window
        length = LengthCount(what="question and context", max_tokens=window, overflow=self.recipe.overflow)
        count = _QuestionCount(max_answer_tokens=self.options.max_answer_tokens)
        builder = ExampleBuilder("input_ids", aligned=("target_ids",))
        for chunk in in_chunks(rows, size=_CHUNK_ROWS):
            pairs = [(row.fields["question"], row.fields["context"]) for row in chunk]
            encoded = encode_pairs(self.loaded, pairs, overlap=self.options.window_overlap)
            for row, pair in zip(chunk, encoded, strict=True):
                fits = length.fits(pair.whole_tokens, place=row.place)
                if not fits and self.recipe.overflow == "drop":
                    continue
                windows = len(pair.sequences) if fits or self.recipe.overflow == "window" else 1
                reading = replace(pair.reading, starts=pair.reading.starts[:windows])
                targets = count.targets(row, pair, reading)
                builder.add(
                    {"input_ids": pair.sequences[:windows], "target_ids": targets},
                    reference=row.fields["answers"]["text"],
                    source=reading,
                )
        length.report(key="max_tokens", targets=False)
        count.report(window=window)
        return builder.examples()

    def collate(self, examples: Examples, indices: Indices, *, epoch: int | None = None) -> Batch:
        inputs, tokenizer = examples.columns["input_ids"], self.loaded.tokenizer
        input_ids = padded(inputs, indices, value=tokenizer.pad_token_id)  # (B, T)
        return {
            "input_ids": input_ids,
            "attention_mask": attention_mask(inputs, indices),  # (B, T)
            **self.loaded.family.segment_inputs(input_ids, tokenizer),
            "labels": padded(examples.columns["target_ids"], indices, value=IGNORED),  # (B, 2): start and end
        }

    def loss_sum(self, batch: Batch) -> Tensor:
        inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
        output = self.loaded.model(**inputs)
        logits = torch.stack([output.start_logits, output.end_logits], dim=1).float()  # (B, 2, T)
        # Padding is no place for an answer; with it, the loss would depend on what a batch is padded to.
        logits = logits.masked_fill(batch["attention_mask"].unsqueeze(1) == 0, float("-inf"))
        return cross_entropy_sum(logits.flatten(0, 1), batch["labels"].flatten())

    def predict(self, examples: Examples, engine: Engine) -> list[Any]:
        inputs = examples.columns["input_ids"]
        sequences = [inputs[index].tolist() for index in range(len(inputs))]
        logits = engine.token_logits(sequences, pairs=True)  # for each (T, 2)
        predictions = []
        for reading, windows in zip(examples.sources, examples.examples_of(), strict=True):
            found = find_answer(reading, [logits[index] for index in windows], self.options)
            predictions.append("" if found.start is None else reading.context.text[found.start : found.end])
        return predictions

    def _save_config(self) -> None:
        """Write the options into the model's config, for its use."""
        SavedQuestionAnswering(**self.options.model_dump()).save(self.loaded)


@dataclass
class _QuestionCount:
    """Counts of questions and answers, logged at the end."""

    max_answer_tokens: int
    questions: int = 0
    cut_questions: int = 0
    cut_tokens: int = 0
    unanswered: int = 0
    moved: int = 0
    out_of_reach: int = 0
    too_long: int = 0

    def targets(self, row: Row, pair: EncodedPair, reading: Reading) -> list[tuple[int, int]]:
        """Start and end of the answer in each window of `reading`; counts what is odd about it.

        Raises:
            DataError: an answer that is not in the context.
        """
        spans = self._located(row)
        self.questions += 1
        self.cut_questions += pair.cut_tokens > 0
        self.cut_tokens += pair.cut_tokens
        self.unanswered += not spans
        return self._targets(reading, spans, cut=len(reading.starts) < len(pair.sequences))

    def report(self, *, window: int) -> None:
        questions = f"{self.questions:,}"
        if self.unanswered:
            logger.info("answers: %s of %s questions have none", f"{self.unanswered:,}", questions)
        for count, fault in (
            (self.moved, "stood elsewhere in the context than answer_start says, and were moved there"),
            (self.out_of_reach, "stand whole in no window and cannot be learnt; raise window_overlap or max_tokens"),
            (self.too_long, f"are longer than max_answer_tokens {self.max_answer_tokens:,} and will not be found"),
        ):
            if count:
                logger.warning("answers: %s (of %s questions) %s", f"{count:,}", questions, fault)
        if self.cut_questions:
            message = "questions: %s of %s take more than half of the window (%s tokens) and were cut, %s tokens lost"
            counts = (f"{count:,}" for count in (self.cut_questions, self.questions, window, self.cut_tokens))
            logger.warning(message, *counts)

    def _located(self, row: Row) -> list[tuple[int, int]]:
        """Characters of each answer in the context."""
        context, answers = row.fields["context"], row.fields["answers"]
        spans = []
        for text, start in zip(answers["text"], answers["answer_start"], strict=True):
            span = locate_answer(context, text, start)
            if span is None:
                there = context[start : start + len(text)]
                raise DataError(
                    f"{row.place}: the answer {text!r:.60} does not stand at character {start:,} of the context, where "
                    f"{there!r:.60} is, and not once elsewhere. Correct the text or its start, counted from 0."
                )
            self.moved += span[0] != start + len(text) - len(text.lstrip())
            spans.append(span)
        return spans

    def _targets(self, reading: Reading, spans: list[tuple[int, int]], *, cut: bool) -> list[tuple[int, int]]:
        """Start and end in each window, of the first answer; [CLS] where a window has nothing of it.

        Args:
            cut: these are not all windows of the context; an answer that none holds may stand behind them.
        """
        if not spans:
            return [(_CLS, _CLS)] * len(reading.starts)
        tokens = reading.context.tokens_of(*spans[0])
        if tokens is None:
            self.out_of_reach += 1
            return [(IGNORED, IGNORED)] * len(reading.starts)
        first, last = tokens
        self.too_long += last - first >= self.max_answer_tokens
        whole = [start <= first and last < start + reading.room for start in reading.starts]
        self.out_of_reach += not any(whole)
        targets = []
        for start, holds in zip(reading.starts, whole, strict=True):
            begin = reading.first + first - start
            part = first < start + reading.room and last >= start
            if holds:
                targets.append((begin, begin + last - first))
            elif (part or cut) and not any(whole):  # neither the answer, nor a window without it
                targets.append((IGNORED, IGNORED))
            else:
                targets.append((_CLS, _CLS))
        return targets

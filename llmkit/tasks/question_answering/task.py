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

from llmkit.data.examples import ExampleBuilder, Examples, Origin
from llmkit.data.lengths import LengthCount
from llmkit.data.order import Indices
from llmkit.data.rows import Row
from llmkit.models.loaded import LoadedModel
from llmkit.models.losses import IGNORED, cross_entropies, cross_entropy_sum, row_sums
from llmkit.tasks.base import Batch
from llmkit.tasks.base_task import BaseTask
from llmkit.tasks.encoding import in_chunks
from llmkit.tasks.engine import Engine
from llmkit.tasks.padding import attention_mask, padded
from llmkit.tasks.question_answering.options import AnswerOptions, overlap_of
from llmkit.tasks.question_answering.recipe import QuestionAnsweringRecipe
from llmkit.tasks.question_answering.rows import located_answers
from llmkit.tasks.question_answering.saved import SavedQuestionAnswering
from llmkit.tasks.question_answering.windows import ContextWindows, EncodedPair, encode_pairs, find_answer
from llmkit.tasks.unknown import UnknownCount, with_unknown

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
            no_answer=SavedQuestionAnswering.load(loaded).allows_no_answer,
            no_answer_threshold=recipe.no_answer_threshold,
        )
        self._save_config()

    def prepare_training(self, train: Examples) -> Examples:
        """Save whether any training question has no answer; if none, the model never predicts it."""
        no_answer = any(not answers for answers in train.references)
        self.options = self.options.model_copy(update={"no_answer": no_answer})
        self._save_config()
        return train

    def encode(self, rows: Iterable[Row]) -> Examples:
        window = self.loaded.window
        length = LengthCount(what="question and context", max_tokens=window, overflow=self.recipe.overflow)
        count = _QuestionCount(max_answer_tokens=self.options.max_answer_tokens)
        unknown = UnknownCount(self.loaded.tokenizer)
        builder = ExampleBuilder("input_ids", aligned=("target_ids",))
        for chunk in in_chunks(rows, size=_CHUNK_ROWS):
            pairs = [(row.fields["question"], row.fields["context"]) for row in chunk]
            encoded = encode_pairs(self.loaded, pairs, overlap=self.options.window_overlap, unknown=unknown)
            for row, pair in zip(chunk, encoded, strict=True):
                fits = length.fits(pair.whole_tokens, place=row.place)
                if not fits and self.recipe.overflow == "drop":
                    continue
                windows = len(pair.sequences) if fits or self.recipe.overflow == "window" else 1
                context_windows = replace(pair.windows, starts=pair.windows.starts[:windows])
                targets = count.targets(row, pair, context_windows)
                builder.add(
                    {"input_ids": pair.sequences[:windows], "target_ids": targets},
                    reference=row.fields["answers"]["text"],
                    origin=Origin.of(row),
                    source=context_windows,
                )
        length.report(key="max_tokens", targets=False)
        count.report(window=window)
        return with_unknown(builder.examples(), unknown)

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
        return cross_entropy_sum(*self._outputs(batch))

    def row_losses(self, batch: Batch) -> Tensor:
        return row_sums(cross_entropies(*self._outputs(batch)), batch["labels"])

    def _outputs(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits (B * 2, T) and labels (B * 2,) of starts and ends."""
        inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
        output = self.loaded.model(**inputs)
        logits = torch.stack([output.start_logits, output.end_logits], dim=1).float()  # (B, 2, T)
        # An answer is never at padding, and the loss must not depend on the length that a batch is padded to.
        logits = logits.masked_fill(batch["attention_mask"].unsqueeze(1) == 0, float("-inf"))
        return logits.flatten(0, 1), batch["labels"].flatten()

    def predict(self, examples: Examples, engine: Engine) -> list[Any]:
        inputs = examples.columns["input_ids"]
        sequences = [inputs[index].tolist() for index in range(len(inputs))]
        logits = engine.token_logits(sequences, pairs=True)  # for each (T, 2)
        predictions = []
        for context_windows, windows in zip(examples.sources, examples.examples_of(), strict=True):
            answer = find_answer(context_windows, [logits[index] for index in windows], self.options)
            predictions.append("" if answer.start is None else context_windows.context.text[answer.start : answer.end])
        return predictions

    def _save_config(self) -> None:
        """Save the options in the model's config, for inference."""
        SavedQuestionAnswering(**self.options.model_dump()).save(self.loaded)


@dataclass
class _QuestionCount:
    """Counts of questions and answers, logged at the end."""

    max_answer_tokens: int
    questions: int = 0
    cut_questions: int = 0
    cut_tokens: int = 0
    without_answer: int = 0
    moved: int = 0
    without_start: int = 0
    out_of_reach: int = 0
    too_long: int = 0

    def targets(self, row: Row, pair: EncodedPair, context_windows: ContextWindows) -> list[tuple[int, int]]:
        """Start and end of the answer in each window of `context_windows`; counts the problems.

        Raises:
            DataError: an answer that is not in the context.
        """
        spans = self._spans(row)
        self.questions += 1
        self.cut_questions += pair.cut_tokens > 0
        self.cut_tokens += pair.cut_tokens
        self.without_answer += not spans
        return self._targets(context_windows, spans, truncated=len(context_windows.starts) < len(pair.sequences))

    def report(self, *, window: int) -> None:
        questions = f"{self.questions:,}"
        if self.without_answer:
            logger.info("answers: %s of %s questions have none", f"{self.without_answer:,}", questions)
        if self.without_start:
            message = "answers: %s (of %s questions) have no answer_start; taken where they occur, once each"
            logger.info(message, f"{self.without_start:,}", questions)
        for count, fault in (
            (self.moved, "are not at their answer_start but elsewhere in the context, and were moved there"),
            (self.out_of_reach, "are not whole in any window and cannot be learnt; raise window_overlap or max_tokens"),
            (self.too_long, f"are longer than max_answer_tokens {self.max_answer_tokens:,} and will not be predicted"),
        ):
            if count:
                logger.warning("answers: %s (of %s questions) %s", f"{count:,}", questions, fault)
        if self.cut_questions:
            message = "questions: %s of %s take more than half of the window (%s tokens) and were cut, %s tokens lost"
            counts = (f"{count:,}" for count in (self.cut_questions, self.questions, window, self.cut_tokens))
            logger.warning(message, *counts)

    def _spans(self, row: Row) -> list[tuple[int, int]]:
        """Characters of each answer in the context."""
        answers = located_answers(row)
        self.moved += sum(answer.given_start not in (None, answer.start) for answer in answers)
        self.without_start += sum(answer.given_start is None for answer in answers)
        return [(answer.start, answer.end) for answer in answers]

    def _targets(
        self, context_windows: ContextWindows, spans: list[tuple[int, int]], *, truncated: bool
    ) -> list[tuple[int, int]]:
        """Start and end in each window, of the first answer; [CLS] where a window has no part of it.

        Args:
            truncated: these are not all windows of the context; an answer that none contains may come after them.
        """
        if not spans:
            return [(_CLS, _CLS)] * len(context_windows.starts)
        tokens = context_windows.context.tokens_of(*spans[0])
        if tokens is None:
            self.out_of_reach += 1
            return [(IGNORED, IGNORED)] * len(context_windows.starts)
        first, last = tokens
        self.too_long += last - first >= self.max_answer_tokens
        whole = [start <= first and last < start + context_windows.room for start in context_windows.starts]
        self.out_of_reach += not any(whole)
        targets = []
        for start, is_whole in zip(context_windows.starts, whole, strict=True):
            begin = context_windows.first + first - start
            part = first < start + context_windows.room and last >= start
            if is_whole:
                targets.append((begin, begin + last - first))
            elif (part or truncated) and not any(whole):  # neither the answer, nor a window without it
                targets.append((IGNORED, IGNORED))
            else:
                targets.append((_CLS, _CLS))
        return targets

"""From questions and their contexts to answers, over an engine and a tokenizer. Knows no files and no commands.

A context of any length is read whole, in overlapping windows. Rows are counted from 1.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from llmkit.models.loaded import LoadedModel
from llmkit.tasks.encoding import in_chunks
from llmkit.tasks.engine import Engine
from llmkit.tasks.inputs import check_texts
from llmkit.tasks.question_answering.options import AnswerOptions, overlap_of
from llmkit.tasks.question_answering.recipe import QuestionAnsweringRecipe
from llmkit.tasks.question_answering.saved import SavedQuestionAnswering
from llmkit.tasks.unknown import UnknownCount

logger = logging.getLogger("llmkit")

ANSWER_CHUNK_ROWS = 256
"""Contexts may be long, and all windows of a chunk are in memory."""


def answer_options(loaded: LoadedModel) -> AnswerOptions:
    """The options of the model's config, else the defaults of a recipe. Another program's model may predict no answer.

    Raises:
        ModelError: a damaged entry.
        UsageError: its overlap leaves no step forward.
    """
    saved, keys = SavedQuestionAnswering.load(loaded), QuestionAnsweringRecipe.model_fields
    saved_options = saved.model_dump(exclude_none=True, exclude={"window_overlap", "no_answer"})
    defaults = {name: keys[name].default for name in ("max_answer_tokens", "no_answer_threshold")}
    overlap = overlap_of(loaded.window, saved.window_overlap)
    return AnswerOptions(window_overlap=overlap, no_answer=saved.allows_no_answer, **{**defaults, **saved_options})


@dataclass(frozen=True)
class Answer:
    question: str
    text: str | None
    """The answer as in the context; None where the model predicts no answer."""
    score: float
    """Probability of the prediction, a text or no answer."""
    start: int | None
    """The answer is `context[start:end]`."""
    end: int | None
    no_answer: float
    """Probability that the context has no answer; 0 from a model that was trained only on questions with answers."""
    truncated_tokens: int
    """Tokens at the end of the question that were truncated. The context is always read whole."""
    unknown_tokens: int = 0
    """Tokens of question and context that stand for text that the model cannot read."""


def answer_questions(
    loaded: LoadedModel, engine: Engine, pairs: Iterable[tuple[str, str]], *, options: AnswerOptions
) -> Iterator[Answer]:
    """The answer to each (question, context), a span of the context.

    A question that takes more than half of the window is cut at its end; the number of these is logged once, as a
    warning, when the results end.

    Raises:
        DataError: an empty question or context, or one that is not valid Unicode.
        ModelError: the model's outputs are not finite.
    """
    from llmkit.tasks.question_answering.windows import encode_pairs, find_answer

    questions_read = cut_questions = 0
    unknown = UnknownCount(loaded.tokenizer)
    try:
        for chunk in in_chunks(pairs, size=ANSWER_CHUNK_ROWS):
            for row, (question, context) in enumerate(chunk, start=questions_read + 1):
                check_texts([question], first_row=row, may_be_empty=False, what="question")
                check_texts([context], first_row=row, may_be_empty=False, what="context")
            questions_read += len(chunk)
            encoded = encode_pairs(loaded, chunk, overlap=options.window_overlap, unknown=unknown)
            logits = iter(engine.token_logits([ids for pair in encoded for ids in pair.sequences], pairs=True))
            for (question, context), pair in zip(chunk, encoded, strict=True):
                cut_questions += pair.cut_tokens > 0
                answer = find_answer(pair.windows, [next(logits) for _ in pair.sequences], options)
                text = None if answer.start is None else context[answer.start : answer.end]
                place = (answer.score, answer.start, answer.end, answer.no_answer)
                yield Answer(question, text, *place, pair.cut_tokens, pair.unknown_tokens)
        unknown.report()
    finally:
        if cut_questions:
            message = "%s of %s questions took more than half of %s's window (%s tokens) and were cut at their end"
            logger.warning(message, f"{cut_questions:,}", f"{questions_read:,}", loaded.name, f"{loaded.window:,}")

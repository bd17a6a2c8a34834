"""Questions with their contexts as windows of ids, and the best answer over all windows of a context.

`[CLS] question [SEP] a window of the context [SEP]`, as BERT reads SQuAD (Devlin et al. 2018, section 4.2). Shared by
training and inference; knows no rows.

Legend: T tokens of a context, W tokens of a window's sequence.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from transformers import PreTrainedTokenizerFast

from llmkit.data.windows import window_starts
from llmkit.errors import ModelError
from llmkit.models.loaded import LoadedModel
from llmkit.models.threads import locked_tokenizer
from llmkit.tasks.long_texts import LONG_CHARACTERS, long_text_run
from llmkit.tasks.offsets import without_spaces
from llmkit.tasks.question_answering.options import AnswerOptions, longest_question
from llmkit.tasks.unknown import UnknownCount


@dataclass(frozen=True)
class Context:
    """A text with the offset mapping of its tokens."""

    text: str
    offsets: NDArray[np.int32]
    """(T, 2) first character of each token, and its end, exclusive; without the space that some tokens begin with."""

    def tokens_of(self, start: int, end: int) -> tuple[int, int] | None:
        """First and last token of a span of characters; None where it has none, such as invisible characters."""
        first = int(np.searchsorted(self.offsets[:, 1], start, side="right"))
        last = int(np.searchsorted(self.offsets[:, 0], end, side="left")) - 1
        return (first, last) if first <= last else None


@dataclass(frozen=True)
class ContextWindows:
    """The windows of a context, and its position in their sequences."""

    context: Context
    starts: tuple[int, ...]
    """The first token of the context in each sequence."""
    first: int
    """Its position there."""
    room: int
    """The most tokens of the context that a sequence holds."""


@dataclass(frozen=True)
class EncodedPair:
    """A question and a context in windows, which together have all of the context."""

    windows: ContextWindows
    sequences: list[list[int]]
    """Ids of each window, at most as many as the model's window."""
    whole_tokens: int
    """Tokens of question and context in a single sequence."""
    cut_tokens: int
    """Tokens at the end of the question that are in no sequence."""
    unknown_tokens: int
    """Tokens of both that stand for text that the model cannot read."""


@dataclass(frozen=True)
class AnswerSpan:
    """A predicted answer; `start` and `end` are characters of the context, None for no answer."""

    start: int | None
    end: int | None
    score: float
    """Probability of the prediction, among all valid spans and, where it is allowed, no answer."""
    no_answer: float
    """Probability that the context has no answer; 0 where the model may not predict that."""


def encode_pairs(
    loaded: LoadedModel, pairs: Iterable[tuple[str, str]], *, overlap: int, unknown: UnknownCount | None = None
) -> list[EncodedPair]:
    """Each (question, context) in windows of `loaded.window` tokens; equal contexts share their tokens.

    Args:
        unknown: counts the distinct texts; None to count nothing.
    Raises:
        ModelError: a window has no room for a context.
    """
    tokenizer, window = loaded.tokenizer, loaded.window
    pairs = list(pairs)
    contexts = _tokenize(tokenizer, [context for _, context in pairs], unknown=unknown)
    questions = _tokenize(tokenizer, [question for question, _ in pairs], unknown=unknown)
    most = longest_question(window)
    encoded = []
    for question, context in pairs:
        (_, question_ids, of_question), (tokenized, ids, of_context) = questions[question], contexts[context]
        separators = [tokenizer.sep_token_id] * loaded.family.separators
        head = [tokenizer.cls_token_id, *question_ids[:most], *separators]
        room = window - len(head) - 1
        if room < 1:
            raise ModelError(f"{loaded.name}: it reads {window} tokens, which leaves no room for a context.")
        starts = window_starts(len(ids), size=room, overlap=min(overlap, room - 1))
        sequences = [[*head, *ids[start : start + room], tokenizer.sep_token_id] for start in starts]
        windows = ContextWindows(tokenized, tuple(starts), first=len(head), room=room)
        cut = max(0, len(question_ids) - most)
        whole = len(head) + len(ids) + 1
        encoded.append(EncodedPair(windows, sequences, whole, cut, unknown_tokens=of_question + of_context))
    return encoded


def _tokenize(
    tokenizer: PreTrainedTokenizerFast, texts: Iterable[str], *, unknown: UnknownCount | None
) -> dict[str, tuple[Context, list[int], int]]:
    """Each distinct text with its ids and its number of unknown tokens.

    Names of special tokens are read as text: a `[SEP]` would end the question.
    """
    all_texts = list(dict.fromkeys(texts))
    distinct = [text for text in all_texts if len(text) <= LONG_CHARACTERS]
    long_texts = {
        text: _tokenize_long(tokenizer, text, unknown=unknown) for text in all_texts if len(text) > LONG_CHARACTERS
    }
    if not distinct:
        return long_texts
    with locked_tokenizer(tokenizer):
        encoding = tokenizer(
            distinct,
            add_special_tokens=False,
            split_special_tokens=True,
            truncation=False,
            verbose=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            return_offsets_mapping=True,
        )
    counts = unknown.add(distinct, encoding["input_ids"]) if unknown else [0] * len(distinct)
    tokens = zip(distinct, encoding["input_ids"], encoding["offset_mapping"], counts, strict=True)
    return long_texts | {text: (_context(text, offsets), ids, count) for text, ids, offsets, count in tokens}


def _tokenize_long(
    tokenizer: PreTrainedTokenizerFast, text: str, *, unknown: UnknownCount | None
) -> tuple[Context, list[int], int]:
    run = long_text_run(tokenizer, text, names_are_text=True)
    count = unknown.add([text], [run.ids])[0] if unknown else 0
    return _context(text, zip(run.starts, run.ends, strict=True)), list(run.ids), count


def _context(text: str, offsets: Iterable[tuple[int, int]]) -> Context:
    places = chain.from_iterable(without_spaces(text, start, end) for start, end in offsets)
    return Context(text, np.fromiter(places, dtype=np.int32).reshape(-1, 2))


def find_answer(windows: ContextWindows, logits: Sequence[NDArray[np.float32]], options: AnswerOptions) -> AnswerSpan:
    """The span of the context with the highest sum of start and end logits over all windows, or no answer.

    A span in several windows has the best of its scores. The null score is that of [CLS], the least over the windows:
    one window with a likely answer is enough (Devlin et al. 2018, section 4.3, and their code for windows).

    Args:
        logits: for each sequence (W, 2), start and end.
    """
    scores = span_scores(windows, logits, most=options.max_answer_tokens)  # (T, most)
    null_score = min(float(window_logits[0].sum()) for window_logits in logits)
    candidates = np.append(scores.ravel(), null_score if options.no_answer else -np.inf)
    if not np.isfinite(candidates).any():  # a context without a token, and no answer is not allowed
        return AnswerSpan(None, None, score=1.0, no_answer=0.0)
    probabilities = softmax(candidates)
    no_answer = float(probabilities[-1])
    best = int(scores.argmax()) if scores.size else None
    if best is None or (options.no_answer and null_score > scores.flat[best] + options.no_answer_threshold):
        return AnswerSpan(None, None, score=no_answer, no_answer=no_answer)
    first, more = divmod(best, scores.shape[1])
    offsets = windows.context.offsets
    start, end = int(offsets[first, 0]), int(offsets[first + more, 1])
    return AnswerSpan(start, end, score=float(probabilities[best]), no_answer=no_answer)


def span_scores(windows: ContextWindows, logits: Sequence[NDArray[np.float32]], *, most: int) -> NDArray[np.float64]:
    """(T, most) score of the span from a token to the one this many tokens later; -inf where there is none."""
    tokens = len(windows.context.offsets)
    scores = np.full((tokens, min(most, tokens)), -np.inf)
    for start, window_logits in zip(windows.starts, logits, strict=True):
        inside = window_logits[windows.first : -1].astype(np.float64)  # without the [SEP] after it
        count = len(inside)
        for more in range(min(scores.shape[1], count)):
            spans = inside[: count - more, 0] + inside[more:, 1]
            best = scores[start : start + count - more, more]
            np.maximum(best, spans, out=best)
    return scores

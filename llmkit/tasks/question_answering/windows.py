"""Questions with their contexts as windows of ids, and the best answer over all windows of a context.

`[CLS] question [SEP] a window of the context [SEP]`, as BERT reads SQuAD (Devlin et al. 2018, section 4.2). Shared by
the task and by those who use its models; draws nothing and knows no rows.

Legend: T tokens of a context, W tokens of a window's sequence.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from transformers import PreTrainedTokenizerFast

from llmkit.data.windows import window_starts
from llmkit.models.loaded import LoadedModel
from llmkit.models.threads import own_turn
from llmkit.tasks.question_answering.options import AnswerOptions, longest_question


@dataclass(frozen=True)
class Context:
    """A text, and where its tokens stand in it."""

    text: str
    offsets: NDArray[np.int32]
    """(T, 2) first character of each token, and the one behind its last."""

    def tokens_of(self, start: int, end: int) -> tuple[int, int] | None:
        """First and last token of a stretch of characters; None where it has none, such as invisible characters."""
        first = int(np.searchsorted(self.offsets[:, 1], start, side="right"))
        last = int(np.searchsorted(self.offsets[:, 0], end, side="left")) - 1
        return (first, last) if first <= last else None


@dataclass(frozen=True)
class Reading:
    """Where the tokens of a context stand in the sequences that were made of it."""

    context: Context
    starts: tuple[int, ...]
    """The first token of the context in each sequence."""
    first: int
    """Its position there."""
    room: int
    """The most tokens of the context that a sequence holds."""


@dataclass(frozen=True)
class EncodedPair:
    """A question and a context, whole: nothing of the context is left out."""

    reading: Reading
    sequences: list[list[int]]
    """One a window, at most the model's window of ids each."""
    whole_tokens: int
    """Of one sequence without windows."""
    cut_tokens: int
    """Tokens at the end of the question that are in no sequence."""


@dataclass(frozen=True)
class FoundAnswer:
    """What a model says about a question; `start` and `end` are characters of the context, None for no answer."""

    start: int | None
    end: int | None
    score: float
    """Probability of what is said, among all spans that are allowed and, where that is allowed, no answer."""
    no_answer: float
    """Probability that the context has no answer; 0 where the model may not say so."""


def encode_pairs(loaded: LoadedModel, pairs: Iterable[tuple[str, str]], *, overlap: int) -> list[EncodedPair]:
    """Each (question, context) in windows of `loaded.window` tokens; equal contexts share their tokens."""
    tokenizer, window = loaded.tokenizer, loaded.window
    held = list(pairs)
    contexts = _tokenize(tokenizer, [context for _, context in held])
    questions = _tokenize(tokenizer, [question for question, _ in held])
    most = longest_question(window)
    encoded = []
    for question, context in held:
        (_, asked), (whole, ids) = questions[question], contexts[context]
        head = [tokenizer.cls_token_id, *asked[:most], tokenizer.sep_token_id]
        room = window - len(head) - 1
        starts = window_starts(len(ids), size=room, overlap=min(overlap, room - 1))
        sequences = [[*head, *ids[start : start + room], tokenizer.sep_token_id] for start in starts]
        reading = Reading(whole, tuple(starts), first=len(head), room=room)
        cut = max(0, len(asked) - most)
        encoded.append(EncodedPair(reading, sequences, whole_tokens=len(head) + len(ids) + 1, cut_tokens=cut))
    return encoded


def _tokenize(tokenizer: PreTrainedTokenizerFast, texts: Iterable[str]) -> dict[str, tuple[Context, list[int]]]:
    """Each different text with its ids. The name of a special token is text here: a `[SEP]` would end the question."""
    different = list(dict.fromkeys(texts))
    if not different:
        return {}
    with own_turn(tokenizer):
        encoding = tokenizer(
            different,
            add_special_tokens=False,
            split_special_tokens=True,
            truncation=False,
            verbose=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            return_offsets_mapping=True,
        )
    tokens = zip(different, encoding["input_ids"], encoding["offset_mapping"], strict=True)
    return {
        text: (Context(text, np.array(offsets, dtype=np.int32).reshape(-1, 2)), ids) for text, ids, offsets in tokens
    }


def find_answer(reading: Reading, logits: Sequence[NDArray[np.float32]], options: AnswerOptions) -> FoundAnswer:
    """The span of the context with the highest sum of start and end logits over all windows, or no answer.

    A span in several windows has its best score of them. No answer has the score of [CLS], the least over the windows:
    one window that is sure of an answer is enough (Devlin et al. 2018, section 4.3, and their code for windows).

    Args:
        logits: for each sequence (W, 2), start and end.
    """
    scores = span_scores(reading, logits, most=options.max_answer_tokens)  # (T, most)
    null_score = min(float(one[0].sum()) for one in logits)
    possible = np.append(scores.ravel(), null_score if options.no_answer else -np.inf)
    if not np.isfinite(possible).any():  # a context without a token, and an answer is wanted
        return FoundAnswer(None, None, score=1.0, no_answer=0.0)
    shares = softmax(possible)
    no_answer = float(shares[-1])
    best = int(scores.argmax()) if scores.size else None
    if best is None or (options.no_answer and null_score > scores.flat[best] + options.no_answer_threshold):
        return FoundAnswer(None, None, score=no_answer, no_answer=no_answer)
    first, more = divmod(best, scores.shape[1])
    offsets = reading.context.offsets
    start, end = int(offsets[first, 0]), int(offsets[first + more, 1])
    return FoundAnswer(start, end, score=float(shares[best]), no_answer=no_answer)


def span_scores(reading: Reading, logits: Sequence[NDArray[np.float32]], *, most: int) -> NDArray[np.float64]:
    """(T, most) the score of the span that begins at a token and goes on for so many more; -inf where there is none."""
    tokens = len(reading.context.offsets)
    scores = np.full((tokens, min(most, tokens)), -np.inf)
    for start, window in zip(reading.starts, logits, strict=True):
        inside = window[reading.first : -1].astype(np.float64)  # without the [SEP] behind it
        count = len(inside)
        for more in range(min(scores.shape[1], count)):
            spans = inside[: count - more, 0] + inside[more:, 1]
            place = scores[start : start + count - more, more]
            np.maximum(place, spans, out=place)
    return scores

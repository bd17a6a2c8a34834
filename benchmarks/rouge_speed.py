"""ROUGE by llmkit and by rouge-score in turn, on the same pairs of texts: the ratio of their times, and equal digits.

    python benchmarks/rouge_speed.py [PAIRS]

Times are those of the processor, since the machine may do other things; the stems of llmkit are computed anew each time.
The references are passages of docstrings; each prediction is its reference from a later word on, with words left out.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from itertools import islice

from rouge_score.rouge_scorer import RougeScorer

from llmkit.data.sources import open_rows
from llmkit.evaluation.metrics.rouge import ROUGE_SCORES, _stem, rouge_rows

ROUNDS = 3
Pair = tuple[str, str]
Rows = list[tuple[float, ...]]


def main() -> None:
    pairs = int(sys.argv[1]) if sys.argv[1:] else 10_000
    words = corpus_words()
    for count, length, line in (
        (pairs, 60, None),
        (pairs, 60, 20),
        (pairs // 1000, 2000, None),
        (pairs // 1000, 2000, 20),
    ):
        texts = make_pairs(words, count=count, length=length, words_in_line=line or 2 * length)
        compare(f"{count:,} pairs of {length:,} words, {f'{line} in a line' if line else 'in one line'}", texts)


def corpus_words() -> list[str]:
    from llmkit.data.fields import Fields

    rows = open_rows(["builtin:python-docs"], Fields(column_types={"text": "text"}))
    return [word for row in islice(rows, 20_000) for word in str(row.fields["text"]).split()]


def make_pairs(words: list[str], *, count: int, length: int, words_in_line: int) -> list[Pair]:
    """Predictions and references of about `length` words, each in lines of `words_in_line`."""
    rng = random.Random(0)

    def in_lines(passage: list[str]) -> str:
        starts = range(0, len(passage), words_in_line)
        return "\n".join(" ".join(passage[start : start + words_in_line]) for start in starts)

    pairs = []
    for _ in range(count):
        start = rng.randrange(len(words) - 2 * length)
        reference = words[start : start + length]
        shifted = words[start + length // 4 : start + length // 4 + round(1.25 * length)]
        pairs.append((in_lines([word for word in shifted if rng.random() < 0.8]), in_lines(reference)))
    return pairs


def compare(title: str, pairs: list[Pair]) -> None:
    ratios, seconds = [], []
    for _ in range(ROUNDS):
        ours, our_seconds = timed(with_llmkit, pairs)
        theirs, their_seconds = timed(with_rouge_score, pairs)
        assert ours == theirs, "the scores differ"
        ratios.append(their_seconds / our_seconds)
        seconds.append((our_seconds, their_seconds))
    ratios.sort()
    our_seconds, their_seconds = sorted(seconds)[ROUNDS // 2]
    print(f"{title}: equal in every digit; llmkit {our_seconds:.2f} s, rouge-score {their_seconds:.2f} s")
    print(f"  {ratios[ROUNDS // 2]:.0f} times as fast ({ratios[0]:.0f} to {ratios[-1]:.0f})", flush=True)


def timed(score: Callable[[list[Pair]], Rows], pairs: list[Pair]) -> tuple[Rows, float]:
    start = time.process_time()
    rows = score(pairs)
    return rows, time.process_time() - start


def with_llmkit(pairs: list[Pair]) -> Rows:
    _stem.cache_clear()
    predictions, references = zip(*pairs, strict=True)
    rows, _ = rouge_rows(predictions, references, tokenizer="rouge-score")
    return list(zip(*(rows[name].tolist() for name in ROUGE_SCORES), strict=True))


def with_rouge_score(pairs: list[Pair]) -> Rows:
    scorer = RougeScorer(list(ROUGE_SCORES), use_stemmer=True)
    rows = [scorer.score(reference, prediction) for prediction, reference in pairs]
    return [tuple(row[name].fmeasure for name in ROUGE_SCORES) for row in rows]


if __name__ == "__main__":
    main()

"""The tokens that pretraining hides: single tokens or words for BERT, spans for T5 and BART. Pure: randomness comes in as `rng`.

The generator of an example is seeded by (seed, epoch, example) and nothing else, so that batches, devices and a
resume do not change what is hidden.
Legend: T tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Ids = NDArray[np.int32]
Flags = NDArray[np.bool_]

_EVALUATION = 2**32 - 1
"""In place of the epoch in evaluation: the same draws each time.

The largest 32-bit number. Numpy mixes a seed from 32-bit words, so that 2**32 would be 0, 1: the draws of
another example in the first epoch.
"""


def rng_of(*, seed: int, epoch: int | None, example: int) -> Generator:
    """The random generator of an example.

    Args:
        epoch: None for evaluation, whose draws never change.
    """
    return np.random.Generator(np.random.PCG64([seed, _EVALUATION if epoch is None else epoch, example]))


def chosen_positions(word_starts: Flags, *, rate: float, rng: Generator) -> Flags:
    """Flags (T,) of the positions to predict: whole words, until `rate` of all tokens is reached.

    As many as Devlin et al. 2019 take: `round(rate * T)`, at least one. A word that would exceed this is skipped.
    With a flag at every token, each token is a word.
    """
    target_count = max(1, round(rate * len(word_starts)))
    chosen = np.zeros(len(word_starts), dtype=np.bool_)
    starts = np.flatnonzero(word_starts)
    if len(starts) == len(word_starts):
        chosen[rng.permutation(len(starts))[:target_count]] = True
        return chosen
    bounds = np.unique(np.append(starts, [0, len(word_starts)]))  # a block may begin inside a word
    remaining = target_count
    for word in rng.permutation(len(bounds) - 1):
        start, stop = bounds[word], bounds[word + 1]
        if stop - start <= remaining:
            chosen[start:stop] = True
            remaining -= stop - start
        if not remaining:
            break
    if not chosen.any():  # every word is longer than the target
        chosen[rng.integers(len(chosen))] = True
    return chosen


def hide_tokens(ids: Ids, chosen: Flags, *, mask_id: int, ordinary: Ids, rng: Generator) -> Ids:
    """The ids (T,) with 80 % of the chosen ones masked, 10 % replaced by a random ordinary id, 10 % unchanged.

    Devlin et al. 2019, section 3.1.
    """
    draws = rng.random(len(ids))
    others = ordinary[rng.integers(len(ordinary), size=len(ids))]
    hidden = np.where(chosen & (draws < 0.8), mask_id, ids)
    return np.where(chosen & (draws >= 0.9), others, hidden).astype(np.int32)


@dataclass(frozen=True)
class SpanPlan:
    """How many tokens go in and come out where spans of a text are replaced by sentinels.

    Raffel et al. 2020, sections 3.1.4 and 3.3.4: the corrupted input and the target each end with the end id, and
    every span has a sentinel in the input and in the target.
    """

    raw_tokens: int
    noise_tokens: int
    spans: int

    @property
    def input_tokens(self) -> int:
        return self.raw_tokens - self.noise_tokens + self.spans + 1

    @property
    def target_tokens(self) -> int:
        return self.noise_tokens + self.spans + 1


def plan_spans(input_tokens: int, *, density: float, mean_span: float) -> SpanPlan:
    """The longest text whose corrupted form fits `input_tokens`, filling them exactly where that is possible.

    Raises:
        ValueError: not even the shortest text fits.
    """
    longest: SpanPlan | None = None
    raw_tokens = 2
    while (plan := _plan_of(raw_tokens, density=density, mean_span=mean_span)).input_tokens <= input_tokens:
        longest = plan
        raw_tokens += 1
    if longest is None:
        raise ValueError(f"{input_tokens} tokens are too few for one span")
    return longest


def _plan_of(raw_tokens: int, *, density: float, mean_span: float) -> SpanPlan:
    noise_tokens = min(max(round(raw_tokens * density), 1), raw_tokens - 1)
    spans = min(max(round(noise_tokens / mean_span), 1), raw_tokens - noise_tokens)
    return SpanPlan(raw_tokens, noise_tokens, spans)


def corrupt_spans(ids: Ids, plan: SpanPlan, *, sentinels: Ids, end_id: int, rng: Generator) -> tuple[Ids, Ids]:
    """Corrupted input and target of a text of `plan.raw_tokens` ids.

    Args:
        sentinels: at least `plan.spans` ids, in the order in which they appear.
    """
    noise = _random_partition(plan.noise_tokens, plan.spans, rng)
    visible = _random_partition(plan.raw_tokens - plan.noise_tokens, plan.spans, rng)
    inputs: list[Ids] = []
    targets: list[Ids] = []
    position = 0
    for sentinel, visible_tokens, noise_tokens in zip(sentinels[: plan.spans, None], visible, noise, strict=True):
        hidden = position + visible_tokens
        inputs += [ids[position:hidden], sentinel]
        targets += [sentinel, ids[hidden : hidden + noise_tokens]]
        position = hidden + noise_tokens
    end = np.asarray([end_id], dtype=np.int32)
    return np.concatenate([*inputs, end]), np.concatenate([*targets, end])


def _random_partition(total: int, parts: int, rng: Generator) -> NDArray[np.int64]:
    """`parts` whole numbers from 1 that sum to `total`, uniformly among all such partitions."""
    bounds = np.sort(rng.choice(total - 1, size=parts - 1, replace=False)) + 1
    return np.diff(np.concatenate([[0], bounds, [total]])).astype(np.int64)


def permute_sentences(ids: Ids, last: Flags, *, end_id: int, rng: Generator) -> Ids:
    """The ids (T,) with the sentences of each document in a random order; ends of documents stay where they are.

    Lewis et al. 2020, section 2.2.

    Args:
        last: (T,) flags of tokens that end a sentence.
    """
    permuted: list[Ids] = []
    ends = np.flatnonzero(ids == end_id)
    for document, flags in zip(np.split(ids, ends), np.split(last, ends), strict=True):
        opened = int(len(document) > 0 and document[0] == end_id)  # that of the document before
        bounds = np.flatnonzero(flags[opened:-1]) + 1
        sentences = np.split(document[opened:], bounds)
        permuted += [document[:opened], *(sentences[index] for index in rng.permutation(len(sentences)))]
    return np.concatenate(permuted)


def infill_spans(ids: Ids, *, rate: float, mean_span: float, mask_id: int, rng: Generator) -> Ids:
    """The ids with spans of `round(rate * T)` tokens in all, at least one, each replaced by one mask.

    Lewis et al. 2020, section 2.2: the lengths have a Poisson distribution, and a span of no tokens inserts a mask. No more
    of these than make the result as long as `ids`. Spans begin at random places.
    """
    tokens = len(ids)
    lengths = _poisson_lengths(max(1, round(rate * tokens)), mean=mean_span, rng=rng)
    hidden = int(lengths.sum())
    spans = lengths[lengths > 0]
    inserted = min(len(lengths) - len(spans), hidden - len(spans))
    spans = rng.permutation(np.concatenate([spans, np.zeros(inserted, dtype=spans.dtype)]))
    consumed = np.ones(tokens - hidden + len(spans), dtype=np.int64)  # tokens of `ids` for each token of the result
    is_mask = np.zeros(len(consumed), dtype=np.bool_)
    is_mask[rng.permutation(len(consumed))[: len(spans)]] = True
    consumed[is_mask] = spans
    starts = np.cumsum(consumed) - consumed
    return np.where(is_mask, mask_id, ids[np.minimum(starts, tokens - 1)]).astype(np.int32)


def _poisson_lengths(total: int, *, mean: float, rng: Generator) -> NDArray[np.int64]:
    """Lengths of spans until they are `total` tokens; the last one is shortened."""
    lengths: list[int] = []
    missing = total
    while missing:
        lengths.append(min(int(rng.poisson(mean)), missing))
        missing -= lengths[-1]
    return np.asarray(lengths, dtype=np.int64)

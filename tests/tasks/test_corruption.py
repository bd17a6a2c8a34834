"""What pretraining hides: how much, where, and that it can be put back. Pure functions of a rng."""

from __future__ import annotations

import math

import numpy as np
import pytest
from facts import facts
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from llmkit.tasks.pretraining.corruption import (
    SpanPlan,
    chosen_positions,
    corrupt_spans,
    hide_tokens,
    plan_spans,
    rng_of,
)

END = 1
SENTINELS = np.arange(2000, 1000, -1, dtype=np.int32)
"""Falling, as T5's are."""
seeds = st.integers(0, 2**32 - 1)
rates = st.floats(0.01, 0.99)
flags_of_words = st.lists(st.booleans(), min_size=1, max_size=60).map(lambda flags: np.array(flags, dtype=np.bool_))


def drawn(seed: int = 1, epoch: int | None = 0, example: int = 0) -> np.random.Generator:
    return rng_of(seed=seed, epoch=epoch, example=example)


def words_of(starts: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The number of the word that each token is in; a block may begin inside one."""
    return np.cumsum(starts)


# ---- the generator


def test_seed_epoch_and_example_each_have_draws_of_their_own_and_evaluation_has_others() -> None:
    """Evaluation once stood for the epoch 2**32, whose two words made its example 0 the first epoch's example 1."""
    epochs = [None, 0, 1, 2, 99_999]
    draws = {
        drawn(seed, epoch, example).random() for seed in (0, 1, 17) for epoch in epochs for example in range(0, 300)
    }
    assert len(draws) == 3 * len(epochs) * 300


@given(seeds, st.none() | st.integers(0, 10**5), st.integers(0, 10**9))
def test_the_same_example_has_the_same_draws(seed: int, epoch: int | None, example: int) -> None:
    assert drawn(seed, epoch, example).random() == drawn(seed, epoch, example).random()


# ---- which tokens


@given(st.integers(1, 500), rates, seeds)
def test_of_single_tokens_exactly_the_rate_is_chosen_and_at_least_one(tokens: int, rate: float, seed: int) -> None:
    chosen = chosen_positions(np.ones(tokens, dtype=np.bool_), rate=rate, rng=drawn(seed))
    assert chosen.sum() == max(1, round(rate * tokens))


@given(flags_of_words, rates, seeds)
def test_a_word_is_chosen_whole_or_not_at_all(starts: NDArray[np.bool_], rate: float, seed: int) -> None:
    chosen, words = chosen_positions(starts, rate=rate, rng=drawn(seed)), words_of(starts)
    wanted = max(1, round(rate * len(starts)))
    sizes = np.unique(words, return_counts=True)[1]
    if sizes.min() > wanted:  # no word fits: one token, or there would be no target
        assert chosen.sum() == 1
        return
    assert 1 <= chosen.sum() <= wanted
    for word in np.unique(words):
        assert chosen[words == word].all() or not chosen[words == word].any()


@given(flags_of_words, rates, seeds)
def test_no_further_word_would_have_fitted(starts: NDArray[np.bool_], rate: float, seed: int) -> None:
    chosen, words = chosen_positions(starts, rate=rate, rng=drawn(seed)), words_of(starts)
    room = max(1, round(rate * len(starts))) - int(chosen.sum())
    passed_over = [int((words == word).sum()) for word in np.unique(words) if not chosen[words == word].any()]
    assert all(size > room for size in passed_over)


def test_every_position_is_chosen_about_equally_often() -> None:
    counts = np.zeros(20)
    for example in range(2000):
        counts += chosen_positions(np.ones(20, dtype=np.bool_), rate=0.15, rng=drawn(example=example))
    expected = 2000 * 3 / 20
    assert np.abs(counts - expected).max() < 5 * math.sqrt(expected)


# ---- what becomes of them

MASK, TOKENS = 4, 200_000
ORDINARY = np.arange(5, 1000, dtype=np.int32)


def hidden_tokens() -> tuple[NDArray[np.int32], NDArray[np.bool_], NDArray[np.int32]]:
    rng = drawn()
    ids = rng.integers(5, 1000, size=TOKENS).astype(np.int32)
    chosen = rng.random(TOKENS) < 0.5
    return ids, chosen, hide_tokens(ids, chosen, mask_id=MASK, ordinary=ORDINARY, rng=rng)


def test_of_the_chosen_80_percent_are_masked_10_replaced_and_10_left() -> None:
    ids, chosen, hidden = hidden_tokens()
    count = int(chosen.sum())
    masked = int((hidden[chosen] == MASK).sum())
    left = int((hidden[chosen] == ids[chosen]).sum())
    replaced = count - masked - left
    by_chance = 0.1 / len(ORDINARY)  # replaced by itself
    for found, share in ((masked, 0.8), (replaced, 0.1 - by_chance), (left, 0.1 + by_chance)):
        assert abs(found - share * count) < 5 * math.sqrt(count * share * (1 - share))


def test_what_is_not_chosen_stays_and_nothing_is_changed_in_place() -> None:
    ids, chosen, hidden = hidden_tokens()
    assert (hidden[~chosen] == ids[~chosen]).all()
    assert not np.shares_memory(ids, hidden)
    assert MASK not in ids


def test_replacements_are_ordinary_tokens_all_of_them_about_equally_often() -> None:
    ids, chosen, hidden = hidden_tokens()
    changed = hidden[chosen & (hidden != MASK) & (hidden != ids)]
    assert set(changed.tolist()) <= set(ORDINARY.tolist())
    counts = np.bincount(changed, minlength=1000)[5:]
    expected = len(changed) / len(ORDINARY)
    assert np.abs(counts - expected).max() < 6 * math.sqrt(expected)


# ---- spans: how many tokens


def papers_own(inputs_length: int, noise_density: float, mean_span: float) -> tuple[int, int]:
    """`random_spans_helper` of google-research/text-to-text-transfer-transformer: raw tokens, target tokens."""

    def lengths_of(tokens_length: int) -> tuple[int, int]:
        noise = round(tokens_length * noise_density)
        spans = round(noise / mean_span)
        return tokens_length - noise + spans + 1, noise + spans + 1

    tokens_length = inputs_length
    while lengths_of(tokens_length + 1)[0] <= inputs_length:
        tokens_length += 1
    return tokens_length, lengths_of(tokens_length)[1]


def test_512_tokens_take_568_of_text_and_114_targets_at_the_published_settings() -> None:
    plan = plan_spans(512, density=0.15, mean_span=3.0)
    assert plan == SpanPlan(raw_tokens=568, noise_tokens=85, spans=28)
    assert (plan.input_tokens, plan.target_tokens) == (512, 114)


@given(st.integers(32, 700), st.sampled_from([0.1, 0.15, 0.2, 0.3, 0.5]), st.sampled_from([2.0, 3.0, 5.0, 10.0]))
def test_the_plan_is_that_of_the_papers_own_code(input_tokens: int, density: float, mean_span: float) -> None:
    assume(round(input_tokens * density) / mean_span > 1)  # theirs has no span at all in shorter texts
    plan = plan_spans(input_tokens, density=density, mean_span=mean_span)
    assert (plan.raw_tokens, plan.target_tokens) == papers_own(input_tokens, density, mean_span)


plans = st.tuples(st.integers(16, 300), st.floats(0.05, 0.9), st.floats(1.0, 12.0))


@given(plans)
def test_the_plan_fills_the_input_and_no_longer_text_would_fit(settings_of: tuple[int, float, float]) -> None:
    input_tokens, density, mean_span = settings_of
    plan = plan_spans(input_tokens, density=density, mean_span=mean_span)
    assert plan.input_tokens <= input_tokens
    assert 1 <= plan.spans <= min(plan.noise_tokens, plan.raw_tokens - plan.noise_tokens)
    assert plan.noise_tokens == pytest.approx(plan.raw_tokens * density, abs=0.5001)
    if plan.spans < plan.raw_tokens - plan.noise_tokens:  # else two tokens come in with each that stays
        assert plan.input_tokens == input_tokens


@pytest.mark.parametrize("input_tokens", [0, 1, 2])
def test_an_input_without_room_for_one_span_is_refused(input_tokens: int) -> None:
    with pytest.raises(ValueError, match=facts(input_tokens, "span")):
        plan_spans(input_tokens, density=0.15, mean_span=3.0)


# ---- spans: what goes where


def merged(inputs: NDArray[np.int32], targets: NDArray[np.int32]) -> list[int]:
    """The text again: each sentinel of the input gives way to what follows it in the target."""
    spans: dict[int, list[int]] = {}
    for token in targets[:-1].tolist():
        if token in SENTINELS:
            spans[token] = current = []
        else:
            current.append(token)
    return [token for one in inputs[:-1].tolist() for token in spans.get(one, [one])]


@settings(deadline=None)
@given(plans, seeds)
def test_input_and_target_merge_to_the_very_text(settings_of: tuple[int, float, float], seed: int) -> None:
    input_tokens, density, mean_span = settings_of
    plan = plan_spans(input_tokens, density=density, mean_span=mean_span)
    assume(plan.raw_tokens < 900)
    ids = drawn(seed).integers(2, 1000, size=plan.raw_tokens).astype(np.int32)
    inputs, targets = corrupt_spans(ids, plan, sentinels=SENTINELS, end_id=END, rng=drawn(seed, example=1))
    assert (len(inputs), len(targets)) == (plan.input_tokens, plan.target_tokens)
    assert inputs[-1] == targets[-1] == END
    assert merged(inputs, targets) == ids.tolist()
    used = SENTINELS[: plan.spans].tolist()
    for side in (inputs, targets):  # in order, each once, and never two side by side
        places = np.flatnonzero(np.isin(side, SENTINELS))
        assert side[places].tolist() == used
        assert (np.diff(places) > 1).all()
    assert int((~np.isin(targets, SENTINELS)).sum()) - 1 == plan.noise_tokens
    assert inputs[0] == ids[0]  # a text begins with what stays, as in the paper's own code


def test_every_division_into_spans_comes_up_about_equally_often() -> None:
    """Of 6 noise tokens 3 spans can be made in 10 ways; of 6 that stay too."""
    plan = SpanPlan(raw_tokens=12, noise_tokens=6, spans=3)
    ids = np.arange(2, 14, dtype=np.int32)
    counts: dict[tuple[int, ...], int] = {}
    for example in range(5000):
        inputs, _ = corrupt_spans(ids, plan, sentinels=SENTINELS, end_id=END, rng=drawn(example=example))
        counts[tuple(inputs.tolist())] = counts.get(tuple(inputs.tolist()), 0) + 1
    assert len(counts) == 100
    assert max(abs(count - 50) for count in counts.values()) < 5 * math.sqrt(50)

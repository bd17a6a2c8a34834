"""Which examples a step sees: pure functions, checked as such."""

from __future__ import annotations

import numpy as np
from builders import sentence
from hypothesis import given
from hypothesis import strategies as st

from llmkit.data.order import batch_of_step, cut_by_tokens, share_of_rank, steps_per_epoch

counts = st.integers(1, 200)
seeds = st.integers(0, 2**32 - 1)
lengths_of = st.lists(st.integers(1, 60), min_size=1, max_size=80).map(np.array)


@given(counts, st.integers(1, 70), seeds, st.integers(0, 3))
def test_an_epoch_shows_every_example_once_and_only_its_last_batch_is_short(
    count: int, batch_size: int, seed: int, epoch: int
) -> None:
    per_epoch = steps_per_epoch(count, batch_size=batch_size)
    steps = range(epoch * per_epoch, (epoch + 1) * per_epoch)
    batches = [batch_of_step(step, count=count, batch_size=batch_size, seed=seed).tolist() for step in steps]
    assert sorted(index for batch in batches for index in batch) == list(range(count))
    assert all(len(batch) == batch_size for batch in batches[:-1])
    assert 1 <= len(batches[-1]) <= batch_size


def test_a_step_is_the_same_in_any_order_of_asking() -> None:
    forwards = [batch_of_step(step, count=50, batch_size=7, seed=3).tolist() for step in range(40)]
    backwards = [batch_of_step(step, count=50, batch_size=7, seed=3).tolist() for step in reversed(range(40))]
    assert forwards == backwards[::-1]


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    orders = {
        tuple(batch_of_step(epoch, count=50, batch_size=50, seed=seed)) for epoch in range(3) for seed in range(3)
    }
    assert len(orders) == 9


@given(lengths_of, st.integers(1, 9))
def test_ranks_share_a_batch_without_loss_and_evenly(lengths: np.ndarray, world_size: int) -> None:
    batch = np.random.Generator(np.random.PCG64(1)).permutation(len(lengths))
    shares = [share_of_rank(batch, lengths, rank=rank, world_size=world_size) for rank in range(world_size)]
    assert sorted(np.concatenate(shares).tolist()) == sorted(batch.tolist())
    sizes = [len(share) for share in shares]
    assert max(sizes) - min(sizes) <= 1
    tokens = [int(lengths[share].sum()) for share in shares]
    assert max(tokens) - min(tokens) <= int(lengths.max())


@given(lengths_of, st.integers(1, 200))
def test_cuts_hold_every_example_once_within_the_limit_longest_first(lengths: np.ndarray, max_tokens: int) -> None:
    indices = np.arange(len(lengths))[::2]
    cuts = cut_by_tokens(indices, lengths, max_tokens=max_tokens)
    assert sorted(np.concatenate(cuts).tolist()) == indices.tolist()
    for cut in cuts:
        assert len(cut) == 1 or len(cut) * int(lengths[cut].max()) <= max_tokens
    longest = [int(length) for cut in cuts for length in lengths[cut]]
    assert longest == sorted(longest, reverse=True)


@given(lengths_of)
def test_a_limit_that_holds_all_cuts_once(lengths: np.ndarray) -> None:
    assert len(cut_by_tokens(np.arange(len(lengths)), lengths, max_tokens=len(lengths) * int(lengths.max()))) == 1


def test_nothing_is_cut_into_nothing() -> None:
    assert cut_by_tokens([], np.array([3, 4]), max_tokens=9) == []


def test_sentences_of_the_builders_are_uneven() -> None:
    assert len({len(sentence(number).split()) for number in range(40)}) > 5

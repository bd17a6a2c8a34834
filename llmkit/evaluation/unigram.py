"""The unigram baseline: the loss that a model must beat to have learned anything."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from llmkit.data.examples import Examples
from llmkit.tasks.base import Task
from llmkit.tasks.target_counts import target_ids, targets_of_rows

_MOST_TARGETS = 200_000
_EXAMPLES_AT_ONCE = 64


def unigram_loss(task: Task, train: Examples, validation: Examples) -> float:
    """Nats per validation target when predicting by token frequency alone.

    The frequencies are those of the training targets with add-one smoothing, so that no token is impossible. Both are
    samples of some hundred thousand targets, taken evenly.
    """
    costs = _costs(task, train)
    scored = [costs[targets] for targets in _targets(task, validation)]
    return float(np.concatenate(scored).mean())


def unigram_nats(task: Task, train: Examples, examples: Examples) -> NDArray[np.float64]:
    """(N,) as `unigram_loss`, summed over all targets of each example."""
    costs = _costs(task, train)
    nats = []
    for start in range(0, len(examples), _EXAMPLES_AT_ONCE):
        batch = task.collate(examples, np.arange(start, min(start + _EXAMPLES_AT_ONCE, len(examples))))
        ends = np.cumsum(targets_of_rows(batch))
        sums = np.cumsum(np.append(0.0, costs[target_ids(batch)]))[np.append(0, ends)]
        nats.append(np.diff(sums))
    return np.concatenate(nats)


def _costs(task: Task, train: Examples) -> NDArray[np.float64]:
    """(V,) nats of each token."""
    counts = np.ones(task.loaded.model.config.vocab_size)
    for targets in _targets(task, train):
        np.add.at(counts, targets, 1)
    costs: NDArray[np.float64] = np.log(counts.sum()) - np.log(counts)
    return costs


def _targets(task: Task, examples: Examples) -> Iterator[NDArray[np.int64]]:
    """Ids of targets, from chunks all over the examples, in an order without a pattern."""
    order = np.random.Generator(np.random.PCG64(0)).permutation(len(examples))
    taken = 0
    for start in range(0, len(order), _EXAMPLES_AT_ONCE):
        targets = target_ids(task.collate(examples, order[start : start + _EXAMPLES_AT_ONCE]))
        yield targets
        taken += len(targets)
        if taken >= _MOST_TARGETS:
            return

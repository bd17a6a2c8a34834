"""A task's scores on encoded examples: always the loss, and metrics of its predictions if it has any."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from numpy.typing import NDArray

from llmkit.data.examples import Examples
from llmkit.data.order import Indices, cut_by_tokens
from llmkit.errors import DataError
from llmkit.evaluation.length_limit import Counts, LengthCounter, length_limit_details
from llmkit.evaluation.metrics import score_texts
from llmkit.evaluation.metrics.language_model import loss_scores, loss_statistics
from llmkit.evaluation.metrics.rouge import RougeTokenizer
from llmkit.evaluation.row_losses import RowLosses
from llmkit.evaluation.uncertainty.statistics import merged
from llmkit.tasks.base import WRITING_HEADS, Scores, Task
from llmkit.tasks.engine import Engine
from llmkit.tasks.target_counts import targets_of_rows

logger = logging.getLogger("llmkit")
Sums = dict[str, tuple[float, int]]
"""Score -> sum and number of values."""
_BATCH_TOKENS = {"cpu": 4096, "cuda": 65536}


class Measured(NamedTuple):
    """The result of an evaluation."""

    scores: Scores
    predictions: list[Any]
    """One for each row; empty for tasks that are measured by their loss alone."""
    losses: RowLosses


def measure(
    task: Task,
    examples: Examples,
    *,
    engine: Engine,
    accelerator: Accelerator,
    metrics: Sequence[str] | None = None,
    rouge_tokenizer: RougeTokenizer = "auto",
    tune: bool = False,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Measured:
    """The scores of all examples, and the predictions and losses, in the order of the rows.

    With several processes each evaluates its share; sums and texts are gathered, never averages.

    Args:
        metrics: of the predictions; None for the task's own.
        tune: these are validation rows, on which the task tunes its threshold, from all rows and equally on every
            process.
        report: called with the number of examples whose loss is computed, and of all.
    Raises:
        DataError: there are no examples, or none with a loss, although the loss selects the checkpoint.
    """
    if not len(examples):
        raise DataError("there are no rows to evaluate on.")
    task.loaded.model.eval()
    if tune:
        task.reset_tuning()
    result = _measure_share(task, examples, engine=engine, accelerator=accelerator, report=report)
    results = _gather(result, accelerator.num_processes)
    predictions = _in_order([result.predictions for result in results])
    nats = np.asarray(_in_order([result.nats.tolist() for result in results]), dtype=np.float64)
    targets = np.asarray(_in_order([result.targets.tolist() for result in results]), dtype=np.int64)
    names = task.recipe.loss_scores
    tokenizer = task.loaded.tokenizer if "bits_per_byte" in names else None
    row_losses = RowLosses.of_examples(examples, nats, targets, tokenizer=tokenizer)
    total = int(targets.sum())
    # Without targets every text is longer than the model's window, and was processed in chunks.
    if not total and task.recipe.best == "loss":
        raise DataError("evaluation.best: loss, but every text is too long to have one. Choose a score of a metric.")
    losses = loss_scores(names, float(row_losses.nats.sum()), total, examples.utf8_bytes) if total else {}
    statistics = [loss_statistics(names, row_losses.nats, row_losses.targets, row_losses.utf8_bytes)] if total else []
    losses |= _means([result.means for result in results])
    unknown = {"unknown": dict(examples.unknown)} if examples.unknown else {}
    if not predictions:
        return Measured(Scores(losses, unknown, merged(statistics) if statistics else None), [], row_losses)
    if tune:
        predictions = task.tune_threshold(predictions, examples.references)
    metrics = metrics or task.recipe.metrics
    scores = score_rows(task, predictions, examples.references, metrics=metrics, rouge_tokenizer=rouge_tokenizer)
    limits = length_limit_details([result.counts for result in results])
    details = {**scores.details, **limits, **unknown, **task.tuned}
    statistics += [scores.statistics] if scores.statistics is not None else []
    all_statistics = merged(statistics) if statistics else None
    return Measured(Scores({**losses, **scores.values}, details, all_statistics), predictions, row_losses)


def _measure_share(
    task: Task,
    examples: Examples,
    *,
    engine: Engine,
    accelerator: Accelerator,
    report: Callable[[int, int], None],
) -> _Result:
    """Losses and predictions of the rows of this process."""
    rank, world_size = accelerator.process_index, accelerator.num_processes
    indices = np.arange(rank, len(examples), world_size)
    counter = LengthCounter(engine)
    with accelerator.autocast():
        nats, targets, means = _losses(task, examples, indices, device=accelerator.device, report=report)
        whole = world_size == 1 or not task.recipe.metrics
        share = examples if whole else examples.take(range(rank, examples.rows, world_size))
        predictions = task.predict(share, counter if task.recipe.HEAD in WRITING_HEADS else engine)
    return _Result(nats, targets, means, predictions, counter.counts)


def score_rows(
    task: Task,
    predictions: Sequence[Any],
    references: Sequence[Any],
    *,
    metrics: Sequence[str],
    rouge_tokenizer: RougeTokenizer,
) -> Scores:
    """The metrics of predictions, either the model's or a baseline's."""
    return score_texts(
        metrics,
        predictions,
        references,
        rouge_tokenizer=rouge_tokenizer,
        language=task.recipe.written_language,
    )


def _losses(
    task: Task,
    examples: Examples,
    indices: Indices,
    *,
    device: torch.device,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[NDArray[np.float64], NDArray[np.int64], Sums]:
    """Nats and targets of each of these examples, in their order, and other sums; in float64, since a corpus has millions
    of targets."""
    nats, targets = np.zeros(len(examples), dtype=np.float64), np.zeros(len(examples), dtype=np.int64)
    means: Sums = {}
    done = 0
    with torch.inference_mode():
        for batch_indices in cut_by_tokens(indices, examples.lengths, max_tokens=_BATCH_TOKENS.get(device.type, 4096)):
            batch = task.collate(examples, batch_indices)
            targets[batch_indices] = targets_of_rows(batch)
            on_device = {name: tensor.to(device) for name, tensor in batch.items()}
            nats[batch_indices] = task.row_losses(on_device).cpu().double().numpy()
            for name, (total, count) in task.means(on_device).items():
                before = means.get(name, (0.0, 0))
                means[name] = before[0] + total, before[1] + count
            done += len(batch_indices)
            report(done, len(indices))
    return nats[indices] * task.loaded.loss_unit, targets[indices], means


def _means(shares: Sequence[Sums]) -> dict[str, float]:
    """The quotients of the sums over all processes."""
    names = dict.fromkeys(name for share in shares for name in share)
    totals = {name: [share[name] for share in shares if name in share] for name in names}
    return {
        name: sum(total for total, _ in values) / max(1, sum(count for _, count in values))
        for name, values in totals.items()
    }


class _Result(NamedTuple):
    """The result of one process."""

    nats: NDArray[np.float64]
    """Of its examples."""
    targets: NDArray[np.int64]
    means: Sums
    predictions: list[Any]
    counts: Counts
    """Of generated texts."""


def _gather(result: _Result, world_size: int) -> list[_Result]:
    if world_size == 1:
        return [result]
    results: list[_Result] = gather_object([result])
    return results


def _in_order(shares: Sequence[Sequence[Any]]) -> list[Any]:
    """The values of all rows or examples in order: number i was processed by process i mod world size."""
    merged: list[Any] = [None] * sum(map(len, shares))
    for rank, share in enumerate(shares):
        merged[rank :: len(shares)] = share
    return merged

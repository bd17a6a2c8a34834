"""A task's scores on encoded examples: always the loss, and metrics of its predictions if it has any."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from llmkit.data.examples import Examples
from llmkit.data.order import Indices, cut_by_tokens
from llmkit.errors import DataError
from llmkit.evaluation.length_limit import Counts, LengthCounter, length_limit_details
from llmkit.evaluation.metrics import score_texts
from llmkit.evaluation.metrics.language_model import loss_scores
from llmkit.evaluation.metrics.rouge import RougeTokenizer
from llmkit.tasks.base import WRITING_HEADS, Scores, Task, count_targets
from llmkit.tasks.engine import Engine

logger = logging.getLogger("llmkit")
Sums = dict[str, tuple[float, int]]
"""Score -> sum and number of values."""
_BATCH_TOKENS = {"cpu": 4096, "cuda": 65536}


def measure(
    task: Task,
    examples: Examples,
    *,
    engine: Engine,
    accelerator: Accelerator,
    metrics: Sequence[str] | None = None,
    rouge_tokenizer: RougeTokenizer = "auto",
    tune: bool = False,
) -> tuple[Scores, list[Any]]:
    """The scores of all examples, and the predictions, in the order of the rows.

    With several processes each evaluates its share; sums and texts are gathered, never averages.

    Args:
        metrics: of the predictions; None for the task's own.
        tune: these are validation rows, on which the task tunes its threshold, from all rows and equally on every
            process.
    Raises:
        DataError: there are no examples, or none with a loss, although the loss selects the checkpoint.
    """
    if not len(examples):
        raise DataError("there are no rows to evaluate on.")
    rank, world_size = accelerator.process_index, accelerator.num_processes
    indices = np.arange(rank, len(examples), world_size)
    rows = range(rank, examples.rows, world_size)
    task.loaded.model.eval()
    with accelerator.autocast():
        nats, targets, means = _loss_sum(task, examples, indices, device=accelerator.device)
        share = examples.take(rows) if world_size > 1 and task.recipe.metrics else examples
        counter = LengthCounter(engine)
        predictions = task.predict(share, counter if task.recipe.HEAD in WRITING_HEADS else engine)
    results = _gather(_Result(nats, targets, means, predictions, counter.counts), world_size)
    predictions = _in_order([result.predictions for result in results])
    nats, targets = sum(result.nats for result in results), sum(result.targets for result in results)
    # Without targets every text is longer than the model's window, and was processed in chunks.
    if not targets and task.recipe.best == "loss":
        raise DataError("evaluation.best: loss, but every text is too long to have one. Choose a score of a metric.")
    losses = loss_scores(task.recipe.loss_scores, nats, targets, examples.utf8_bytes) if targets else {}
    losses |= _means([result.means for result in results])
    unknown = {"unknown": dict(examples.unknown)} if examples.unknown else {}
    if not predictions:
        return Scores(losses, unknown), []
    if tune:
        predictions = task.tune_threshold(predictions, examples.references)
    metrics = metrics or task.recipe.metrics
    scores = score_rows(task, predictions, examples.references, metrics=metrics, rouge_tokenizer=rouge_tokenizer)
    details = {**scores.details, **length_limit_details([result.counts for result in results]), **unknown}
    return Scores({**losses, **scores.values}, details, scores.statistics), predictions


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


def _loss_sum(task: Task, examples: Examples, indices: Indices, *, device: torch.device) -> tuple[float, int, Sums]:
    """Nats, targets and other sums of these examples; in float64, since a corpus has millions of targets."""
    nats, targets = 0.0, 0
    means: Sums = {}
    with torch.inference_mode():
        for batch_indices in cut_by_tokens(indices, examples.lengths, max_tokens=_BATCH_TOKENS.get(device.type, 4096)):
            batch = task.collate(examples, batch_indices)
            targets += count_targets(batch)
            on_device = {name: tensor.to(device) for name, tensor in batch.items()}
            nats += float(task.loss_sum(on_device))
            for name, (total, count) in task.means(on_device).items():
                before = means.get(name, (0.0, 0))
                means[name] = before[0] + total, before[1] + count
    return nats * task.loaded.loss_unit, targets, means


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

    nats: float
    targets: int
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
    """The predictions of all rows in order: row i was processed by process i mod world size."""
    merged: list[Any] = [None] * sum(map(len, shares))
    for rank, share in enumerate(shares):
        merged[rank :: len(shares)] = share
    return merged

"""A task's scores on encoded examples: always the loss, and metrics of its predictions if it has any."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llmkit.data.examples import Examples
from llmkit.data.order import Indices, cut_by_tokens
from llmkit.errors import DataError
from llmkit.evaluation.length_limit import Counts, WrittenLengths, written_details
from llmkit.evaluation.metrics import score_texts
from llmkit.evaluation.metrics.language_model import loss_scores
from llmkit.evaluation.metrics.rouge import RougeTokenizer
from llmkit.tasks.base import WRITING_HEADS, Engine, Scores, Task, count_targets

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator

logger = logging.getLogger("llmkit")
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
    """The scores of all examples, and the predictions, one per row in order.

    With several processes each evaluates its share; sums and texts are gathered, never averages.

    Args:
        metrics: of the predictions; None for the task's own.
        tune: these are validation rows, on which the task tunes its threshold, from all rows and equally on every
            process.
    Raises:
        DataError: there are no examples, or none with a loss although the loss selects the checkpoint.
    """
    import numpy as np

    if not len(examples):
        raise DataError("there are no rows to evaluate on.")
    rank, world_size = accelerator.process_index, accelerator.num_processes
    own = np.arange(rank, len(examples), world_size)
    own_rows = range(rank, examples.rows, world_size)
    task.loaded.model.eval()
    with accelerator.autocast():
        nats, targets = _loss_sum(task, examples, own, device=accelerator.device)
        share = examples.take(own_rows) if world_size > 1 and task.recipe.metrics else examples
        lengths = WrittenLengths(engine)
        predictions = task.predict(share, lengths if task.recipe.HEAD in WRITING_HEADS else engine)
    parts = _gathered((nats, targets, predictions, lengths.counted), world_size)
    predictions = _in_order([part[2] for part in parts])
    nats, targets = sum(part[0] for part in parts), sum(part[1] for part in parts)
    # Without targets every text is longer than the model reads at once, and was written about in parts.
    if not targets and task.recipe.best == "loss":
        raise DataError("evaluation.best: loss, but every text is too long to have one. Choose a score of a metric.")
    losses = loss_scores(task.recipe.loss_scores, nats, targets, examples.utf8_bytes) if targets else {}
    if not predictions:
        return Scores(losses), []
    if tune:
        predictions = task.tune_threshold(predictions, examples.references)
    wanted = metrics or task.recipe.metrics
    scores = score_rows(task, predictions, examples.references, metrics=wanted, rouge_tokenizer=rouge_tokenizer)
    details = {**scores.details, **written_details([part[3] for part in parts])}
    return Scores({**losses, **scores.values}, details), predictions


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


def _loss_sum(task: Task, examples: Examples, own: Indices, *, device: torch.device) -> tuple[float, int]:
    """Nats and targets of these examples; sums in float64, since a corpus has millions of targets."""
    import torch

    nats, targets = 0.0, 0
    with torch.inference_mode():
        for cut in cut_by_tokens(own, examples.lengths, max_tokens=_BATCH_TOKENS.get(device.type, 4096)):
            batch = task.collate(examples, cut)
            targets += count_targets(batch)
            nats += float(task.loss_sum({name: tensor.to(device) for name, tensor in batch.items()}))
    return nats * task.loaded.loss_unit, targets


_Part = tuple[float, int, list[Any], Counts]
"""Nats, targets, predictions, and counts of what was written, of one process."""


def _gathered(part: _Part, world_size: int) -> list[_Part]:
    if world_size == 1:
        return [part]
    from accelerate.utils import gather_object

    parts: list[_Part] = gather_object([part])
    return parts


def _in_order(shares: Sequence[Sequence[Any]]) -> list[Any]:
    """Undo the dealing: row i was measured by process i mod world size."""
    merged: list[Any] = [None] * sum(map(len, shares))
    for rank, share in enumerate(shares):
        merged[rank :: len(shares)] = share
    return merged

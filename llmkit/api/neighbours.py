"""`evaluate --metric neighbour_recall`: the vectors of a model on labelled rows."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from llmkit.api.evaluation_result import Evaluation, save_evaluation
from llmkit.api.evaluation_rows import find_run, labelled_rows
from llmkit.api.loading import load
from llmkit.data.given import given_names
from llmkit.errors import UsageError
from llmkit.evaluation.metrics import neighbour_recall
from llmkit.evaluation.uncertainty.score_intervals import score_intervals
from llmkit.inference.embedding import vector_options
from llmkit.models.pooling import Pooling
from llmkit.recipe.blocks import Quoting

logger = logging.getLogger("llmkit")


def evaluate_embeddings(
    model: str | None = None,
    *,
    data: Sequence[str] | None,
    columns: Mapping[str, str | tuple[str, ...]] | None = None,
    quoting: Quoting = "auto",
    pooling: Pooling | None = None,
) -> Evaluation:
    """Whether rows with the same label have similar vectors: the metric `neighbour_recall`.

    A run's result is also written to its folder, as `evaluation/neighbours.json`. The predictions are the labels of
    the nearest other rows.

    Args:
        model: anything that `embed` takes; without it, the default of `embed`.
        data: sources of labelled rows, as in a recipe.
        columns: the columns of `text` and `label`, where they have other names.
        pooling: as in `Model.embed`, which gets no other options.
    Raises:
        UsageError: no rows are named.
        DataError: rows without a text or a label, or fewer than two.
    """
    data = [] if data is None else given_names(data, what="data")
    if not data:
        raise UsageError("neighbour_recall needs rows with a text and a label. Give --data.")
    rows = labelled_rows(data, columns=columns, quoting=quoting)
    embedder = load(model, verb="embed")
    texts, labels = [row.fields["text"] for row in rows], [row.fields["label"] for row in rows]
    if repeated := len(texts) - len(set(texts)):
        count = f"{repeated:,} of {len(texts):,}"
        logger.warning("%s texts are duplicates: such rows are each other's nearest neighbours", count)
    scores = neighbour_recall(embedder.embed(texts, pooling=pooling), labels, similarity=embedder.similarity)
    name = embedder.loaded.name
    used = vector_options(embedder.loaded, pooling=pooling)
    details: dict[str, Any] = {"pooling": "+".join(used.pooling)}
    if embedder.loaded.sentence is not None:
        details |= {"normalized": used.normalize, "prompt": used.prompt, "similarity": embedder.similarity}
    scores = replace(scores, details={**scores.details, **details})
    nearest_labels = scores.details.pop("nearest_labels")
    mapped = dict(columns) if columns else None
    evaluation = Evaluation(
        name,
        ", ".join(data),
        len(rows),
        scores,
        nearest_labels,
        columns=mapped,
        intervals=score_intervals(scores),
    )
    if (run := find_run(name)) is not None:
        save_evaluation(run, evaluation, name="neighbours", references=labels)
    return evaluation

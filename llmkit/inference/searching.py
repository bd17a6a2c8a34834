"""Search of texts by their vectors."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from llmkit.inference.embedding import (
    EmbeddingEngine,
    EmbedOptions,
    EmbedOverflow,
    embed_texts,
    search_options,
    vector_options,
)
from llmkit.inference.nearest_rows import Found, NearestRows
from llmkit.models.loaded import LoadedModel
from llmkit.tasks.similarity import Similarity

logger = logging.getLogger("llmkit")


def search_texts(
    loaded: LoadedModel,
    engine: EmbeddingEngine,
    queries: Sequence[str],
    texts: Iterable[str],
    *,
    top_k: int,
    similarity: Similarity,
    overflow: EmbedOverflow,
    query_options: EmbedOptions,
    text_options: EmbedOptions,
) -> list[list[Found]]:
    """For each query the `top_k` nearest texts, the nearest first; exact, in bounded memory.

    Args:
        queries: at least one.
        query_options, text_options: as in `vector_options`; without a prompt, as in `search_options`.
    Raises:
        UsageError: as `vector_options`.
        DataError: as `embed_texts`.
    """
    import numpy as np

    by_query = search_options(loaded, "query", query_options)
    by_text = search_options(loaded, "document", text_options)
    if by_query["prompt"] or by_text["prompt"]:
        logger.info("prompt of the queries: %r, of the texts: %r", by_query["prompt"], by_text["prompt"])
    batches = embed_texts(loaded, engine, queries, options=vector_options(loaded, **by_query), overflow=overflow)
    vectors = np.concatenate([batch.vectors for batch in batches])  # (Q, D)
    nearest = NearestRows(vectors, top_k=top_k, similarity=similarity)
    for batch in embed_texts(loaded, engine, texts, options=vector_options(loaded, **by_text), overflow=overflow):
        nearest.add(batch.texts, batch.vectors)
    return nearest.results()

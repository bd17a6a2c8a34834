"""`embed`: vectors of many texts into a file, and the nearest rows of texts or of such a file."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from llmkit.api.model import Model
from llmkit.data.vectors import (
    VectorFile,
    check_search,
    check_vectors_file,
    open_vectors,
    short_numbers,
    writing_vectors,
)
from llmkit.errors import ModelError, UsageError
from llmkit.inference.embedding import EmbedOverflow, Found, NearestRows
from llmkit.tasks.base import Pooling

__all__ = ["SavedVectors", "check_search", "check_vectors_file", "save_vectors", "saved_vectors", "short_numbers"]
logger = logging.getLogger("llmkit")


def save_vectors(
    model: Model,
    texts: Iterable[str],
    path: str | Path,
    *,
    pooling: Pooling = "mean",
    normalize: bool = True,
    overflow: EmbedOverflow = "truncate",
) -> int:
    """Write the vectors of all texts to a .npy, .jsonl or .parquet file, in bounded memory; the number of rows.

    .npy is a float32 array (N, D); the others have the columns `text` and `vector`. The file appears when it is
    complete. A Parquet file also records the model's weights, and `SavedVectors` checks them before a search.

    Raises:
        UsageError: another extension.
        MachineError: the file cannot be written.
        DataError, ModelError: as `Model.embed`.
    """
    about = {**_model_record(model), "pooling": pooling, "normalized": normalize}
    rows = 0
    with writing_vectors(Path(path), dimension=model.dimension, about=about) as add:
        for batch in model.embed_stream(texts, pooling=pooling, normalize=normalize, overflow=overflow):
            add(batch.texts, batch.vectors)
            rows += len(batch.texts)
    logger.info("%s: %s vectors of %s numbers", path, f"{rows:,}", f"{model.dimension:,}")
    return rows


class SavedVectors:
    """A file of vectors to search in."""

    def __init__(self, file: VectorFile) -> None:
        self._file = file
        self._about: dict[str, Any] = file.about() or {}

    @property
    def model(self) -> str | None:
        """Name of the model of the vectors; None if the file does not record it."""
        name = self._about.get("model")
        return name if isinstance(name, str) else None

    def search(
        self,
        model: Model,
        queries: Sequence[str],
        *,
        top_k: int = 5,
        pooling: Pooling | None = None,
        overflow: EmbedOverflow = "truncate",
    ) -> list[list[Found]]:
        """For each query the nearest rows by cosine, the nearest first; exact, in bounded memory.

        Args:
            pooling: of the queries; None for that of the file, which is `mean` where the file does not say.
        Raises:
            ModelError: the vectors were made with other weights, or have another dimension.
            UsageError: they have another pooling; no query, or `top_k` below 1.
            DataError: a damaged row, or a query that cannot be embedded.
        """
        self._check(model)
        vectors = model.embed(queries, pooling=self._pooling(pooling), overflow=overflow)
        nearest = NearestRows(vectors, top_k=check_search(queries, top_k=top_k))
        for rows in self._file:
            if rows.vectors.shape[1] != model.dimension:
                raise ModelError(
                    f"{self._file.name}: its vectors have {rows.vectors.shape[1]:,} numbers, those of "
                    f"{model.loaded.name} {model.dimension:,}. Search with the model that made them, or embed again."
                )
            nearest.add(rows.texts, rows.vectors)
        return nearest.results()

    def _check(self, model: Model) -> None:
        file_weights, weights = self._about.get("weights_sha256"), _model_record(model)["weights_sha256"]
        if file_weights is None:
            logger.warning(
                "%s does not say which weights made its vectors: only their length is checked", self._file.name
            )
        elif file_weights != weights:
            raise ModelError(
                f"{self._file.name}: its vectors were made by {self.model} (weights {file_weights:.12}), and this is "
                f"{model.loaded.name} (weights {weights:.12}). Search with --model {self.model}, or embed the texts again."
            )

    def _pooling(self, requested: Pooling | None) -> Pooling:
        saved: Pooling | None = self._about.get("pooling")
        if requested is not None and saved is not None and requested != saved:
            raise UsageError(f"{self._file.name}: its vectors have the pooling {saved}, not {requested}.")
        return saved or requested or "mean"


def saved_vectors(path: str | Path, *, column: str = "text") -> SavedVectors | None:
    """The vectors of a .jsonl or .parquet file; None if it is not a file, or has only texts.

    Raises:
        UsageError: a .npy file, whose vectors have no texts.
        DataError: the file cannot be read.
    """
    path = Path(path)
    if path.suffix.lower() == ".npy":
        raise UsageError(f"{path}: has vectors, but no texts to show. Save them as .parquet or .jsonl to search them.")
    file = open_vectors(path, column=column)
    return None if file is None else SavedVectors(file)


def _model_record(model: Model) -> dict[str, Any]:
    from llmkit.models.export import weights_sha256

    loaded = model.loaded
    return {
        "format": 1,
        "model": loaded.name,
        "revision": loaded.revision,
        "weights_sha256": weights_sha256(loaded.model),
        "dimension": model.dimension,
    }

"""`embed`: vectors of many texts into a file, and the nearest rows of texts or of such a file."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import Unpack

from llmkit.api.aligned import renumbered, report_empty, results_of_rows
from llmkit.api.model import Model
from llmkit.api.texts import InputRow
from llmkit.data.given import given_texts, given_values
from llmkit.data.vector_writing import check_vectors_file, short_numbers, writing_vectors
from llmkit.data.vectors import VectorFile, check_search, open_vectors
from llmkit.errors import ModelError, UsageError
from llmkit.inference.embedding import (
    EMBED_CHUNK_ROWS,
    EmbedOptions,
    EmbedOverflow,
    VectorOptions,
    search_options,
    vector_options,
)
from llmkit.inference.nearest_rows import Found, NearestRows
from llmkit.models.pooling import Pooling
from llmkit.tasks.encoding import in_chunks

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["SavedVectors", "check_search", "check_vectors_file", "save_vectors", "saved_vectors", "short_numbers"]
logger = logging.getLogger("llmkit")


def save_vectors(
    model: Model,
    texts: Iterable[str | InputRow[str]],
    path: str | Path,
    *,
    overflow: EmbedOverflow = "truncate",
    **options: Unpack[EmbedOptions],
) -> int:
    """Write the vectors of all texts to a .npy, .jsonl or .parquet file, in bounded memory; the number of rows.

    .npy is a float32 array (N, D); the others have the columns `row`, `text` and `vector`. The file is there when all
    vectors are in it. A Parquet file also says which weights made it, and how; `SavedVectors` checks a search by that.

    Args:
        texts: texts, or rows of `text_rows` or `stream_rows`. A row without a text has a null as its vector, or NaN in
            .npy; a row's id is a column of its own.
        options: as in `Model.embed`.
    Raises:
        UsageError: another extension.
        MachineError: the file cannot be written.
        DataError, ModelError: as `Model.embed`.
    """
    import numpy as np

    used = vector_options(model.loaded, **options)
    rows = 0
    vectors = row_vectors(model, _rows_of(texts), overflow=overflow, **options)
    with writing_vectors(Path(path), dimension=used.dimension, about=_about(model, used)) as add:
        for batch in in_chunks(vectors, size=EMBED_CHUNK_ROWS):
            nulls = np.full(used.dimension, np.nan, dtype=np.float32)
            table = np.stack([nulls if vector is None else vector for _, vector in batch])
            add([row.value for row, _ in batch], table, [row.keys for row, _ in batch])
            rows += len(batch)
    logger.info("%s: %s vectors of %s numbers", path, f"{rows:,}", f"{used.dimension:,}")
    return rows


def row_vectors(
    model: Model,
    rows: Iterable[InputRow[str]],
    *,
    overflow: EmbedOverflow = "truncate",
    **options: Unpack[EmbedOptions],
) -> Iterator[tuple[InputRow[str], NDArray[np.float32] | None]]:
    """Each row with its vector (D,), in order and in bounded memory; None for a row without a text.

    Raises:
        DataError, ModelError: as `Model.embed`, and where no row has a text.
    """

    def use(texts: Iterator[str]) -> Iterator[NDArray[np.float32]]:
        for batch in model.embed_stream(texts, overflow=overflow, **options):
            yield from batch.vectors

    return results_of_rows(rows, use)


def search_rows(
    model: Model, queries: Sequence[str], rows: Iterable[InputRow[str]], **options: Any
) -> list[list[Found]]:
    """As `Model.search`, with its options, in rows of which some may have no text."""
    numbers: list[int] = []
    empty: list[str] = []

    def texts() -> Iterator[str]:
        for row in rows:
            if row.empty is None:
                numbers.append(row.row)
                yield row.value
            else:
                empty.append(row.place)

    with renumbered(numbers):
        found = model.search(queries, texts(), **options)
    report_empty(len(empty), empty, len(numbers) + len(empty))
    return [[replace(result, row=numbers[result.row - 1]) for result in results] for results in found]


def _rows_of(texts: Iterable[str | InputRow[str]]) -> Iterator[InputRow[str]]:
    """Rows as they are, texts as rows."""
    for number, text in enumerate(given_values(texts, what="texts"), 1):
        yield text if isinstance(text, InputRow) else InputRow(number, text, f"row {number:,}")


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
        pooling: Pooling | Sequence[Pooling] | None = None,
        overflow: EmbedOverflow = "truncate",
        query_prompt: str | None = None,
        query_prompt_name: str | None = None,
    ) -> list[list[Found]]:
        """For each query the nearest rows, the nearest first; exact, in bounded memory. See `Model.similarity`.

        Args:
            pooling: of the queries; None for that of the file, or that of `model` where the file does not say.
            query_prompt: as in `Model.search`.
        Raises:
            ModelError: the vectors were made with other weights, or have another dimension.
            UsageError: they have another pooling; no query, or `top_k` below 1.
            DataError: a damaged row, or a query that cannot be embedded.
        """
        self._check(model)
        queries = list(given_texts(queries, what="queries"))
        options = self._options(model, pooling)
        options |= {"prompt": query_prompt, "prompt_name": query_prompt_name}
        options = search_options(model.loaded, "query", options)
        if options["prompt"]:
            logger.info("prompt of the queries: %r", options["prompt"])
        dimension = vector_options(model.loaded, **options).dimension
        vectors = model.embed(queries, overflow=overflow, **options)
        nearest = NearestRows(vectors, top_k=check_search(queries, top_k=top_k), similarity=model.similarity)
        for rows in self._file:
            if rows.vectors.shape[1] != dimension:
                raise ModelError(
                    f"{self._file.name}: its vectors have {rows.vectors.shape[1]:,} numbers, those of "
                    f"{model.loaded.name} {dimension:,}. Search with the model that made them, or embed again."
                )
            nearest.add(rows.texts, rows.vectors, rows.rows)
        return nearest.results()

    def _check(self, model: Model) -> None:
        file_weights, weights = self._about.get("weights_sha256"), _model_record(model)["weights_sha256"]
        if file_weights is None:
            logger.warning(
                "%s does not say which weights made its vectors: only their length is checked", self._file.name
            )
            return
        if file_weights != weights:
            raise ModelError(
                f"{self._file.name}: its vectors were made by {self.model} (weights {file_weights:.12}), and this is "
                f"{model.loaded.name} (weights {weights:.12}). Search with --model {self.model}, or embed the texts again."
            )
        prompt = search_options(model.loaded, "document", {})["prompt"]
        if (file_prompt := self._about.get("prompt", "")) != prompt:
            logger.warning(
                "%s: its texts were embedded with the prompt %r; for the texts of a search, %s has %r",
                *(self._file.name, file_prompt, model.loaded.name, prompt),
            )

    def _options(self, model: Model, requested: Pooling | Sequence[Pooling] | None) -> EmbedOptions:
        """How the queries are embedded: as the rows were."""
        saved = self._about.get("pooling")
        if saved is None:
            return {"pooling": requested}
        name = requested if isinstance(requested, str | None) else "+".join(requested)
        if name is not None and name != saved:
            raise UsageError(f"{self._file.name}: its vectors have the pooling {saved}, not {name}.")
        normalize = self._about.get("normalized")
        by_default = vector_options(model.loaded).normalize
        return {"pooling": saved.split("+"), "normalize": None if normalize == by_default else normalize}


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


def _about(model: Model, used: VectorOptions) -> dict[str, Any]:
    return {
        **_model_record(model),
        "dimension": used.dimension,
        "pooling": "+".join(used.pooling),
        "normalized": used.normalize,
        "prompt": used.prompt,
    }


def _model_record(model: Model) -> dict[str, Any]:
    from llmkit.models.export import weights_sha256

    loaded = model.loaded
    sha256 = weights_sha256(loaded.model)
    return {
        "format": 1,
        "model": loaded.name,
        "revision": loaded.revision,
        "weights_sha256": sha256 if loaded.sentence is None else loaded.sentence.sha256(sha256),
    }

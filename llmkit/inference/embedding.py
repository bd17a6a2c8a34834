"""From texts to vectors, and from a vector to its nearest rows, with an engine and a tokenizer.

Texts are read in chunks and vectors keep their order, so that a file of any length is processed in bounded memory.
Knows no files and no commands.
Legend: N texts, Q queries, D hidden units, k results.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, Protocol

from llmkit.models.loaded import LoadedModel
from llmkit.tasks.base import Pooling
from llmkit.tasks.encoding import token_ids
from llmkit.tasks.inputs import LongTextCount, check_texts, encode_whole, numbered_chunks

if TYPE_CHECKING:
    import numpy as np

EMBED_CHUNK_ROWS = 2048
"""Enough texts of each length for full batches."""
_T5_TOKENS = 512
"""The input length of T5's pretraining: the window of models without a limit (mT5), since attention grows with its square."""

EmbedOverflow = Literal["error", "truncate", "window"]
logger = logging.getLogger("llmkit")


class EmbeddingEngine(Protocol):
    """An engine whose model outputs hidden states, not logits."""

    def embeddings(self, sequences: Sequence[Sequence[int]], *, pooling: Pooling) -> np.ndarray:
        """(N, D) float32, in the order of the sequences."""
        ...


@dataclass(frozen=True)
class Embedded:
    """Some texts with their vectors, in order."""

    texts: list[str]
    vectors: np.ndarray
    """(N, D) float32"""


@dataclass(frozen=True)
class Found:
    """A row that is near a query."""

    score: float
    """Cosine, -1 to 1."""
    row: int
    """From 1."""
    text: str


def embed_texts(
    loaded: LoadedModel,
    engine: EmbeddingEngine,
    texts: Iterable[str],
    *,
    pooling: Pooling,
    normalize: bool,
    overflow: EmbedOverflow,
) -> Iterator[Embedded]:
    """A vector for each text, in batches of texts.

    Args:
        pooling: `mean` is over a text's own tokens, with special tokens, without padding.
        normalize: scale each vector to unit length, so that a dot product of two is their cosine.
        overflow: for a text longer than the window: truncate its end, or use the mean of windows that do not overlap,
            weighted by their tokens. The number of such texts is logged once when the results end.
    Raises:
        DataError: an empty text, one that is not valid Unicode, or one that is too long with `error`.
        ModelError: the model's output is not finite.
    """
    window = loaded.window if loaded.is_bounded else _T5_TOKENS
    long_texts = LongTextCount(loaded, window=window)
    rows = windowed_texts = 0
    try:
        for first_row, chunk in numbered_chunks(texts, size=EMBED_CHUNK_ROWS):
            check_texts(chunk, first_row=first_row, may_be_empty=False)
            if overflow == "window":
                windows = _windows(loaded, chunk, size=window)
            else:
                whole = encode_whole(loaded, chunk, first_row=first_row, overflow=overflow, window=window)
                windows = [[encoded.ids] for encoded in whole]
                long_texts.add([encoded.truncated_tokens for encoded in whole])
            rows += len(chunk)
            windowed_texts += sum(len(text_windows) > 1 for text_windows in windows)
            vectors = _mean_of_windows(engine, windows, pooling=pooling)
            yield Embedded(chunk, unit_vectors(vectors) if normalize else vectors)
    finally:
        long_texts.report()
        if windowed_texts:
            counts = (f"{windowed_texts:,}", f"{rows:,}", f"{window:,}")
            logger.info("%s of %s texts are longer than %s tokens: using the mean of their windows", *counts)


def unit_vectors(vectors: np.ndarray) -> np.ndarray:
    """(N, D) vectors scaled to unit length; a vector of zeros is not changed."""
    import numpy as np

    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)  # (N, 1)
    units: np.ndarray = (vectors / np.where(lengths > 0, lengths, 1.0)).astype(vectors.dtype)
    return units


class NearestRows:
    """The `top_k` rows nearest to each query by cosine, exact, over chunks of rows that are each read once."""

    def __init__(self, queries: np.ndarray, *, top_k: int) -> None:
        """`queries` are (Q, D), of any length."""
        self._queries = unit_vectors(queries.astype("float64"))  # (Q, D)
        self._top_k = top_k
        self._rows = 0
        self._best: list[list[Found]] = [[] for _ in queries]

    def add(self, texts: Sequence[str], vectors: np.ndarray) -> None:
        """Add the next rows; `vectors` are (N, D), of any length."""
        import numpy as np

        scores = self._queries @ unit_vectors(vectors.astype(np.float64)).T  # (Q, N)
        for best, row_scores in zip(self._best, scores, strict=True):
            nearest = np.argsort(-row_scores, kind="stable")[: self._top_k]  # of equal rows, the first one
            best += [Found(float(row_scores[index]), self._rows + int(index) + 1, texts[index]) for index in nearest]
            best.sort(key=lambda result: (-result.score, result.row))
            del best[self._top_k :]
        self._rows += len(texts)

    def results(self) -> list[list[Found]]:
        """For each query its nearest rows so far, the nearest first; fewer than `top_k` where there are fewer rows."""
        return self._best


def _windows(loaded: LoadedModel, texts: Sequence[str], *, size: int) -> list[list[list[int]]]:
    """For each text its ids in windows of at most `size` and of similar length, each with the special tokens."""
    windows = []
    for text, ids in zip(texts, token_ids(loaded.tokenizer, texts, special=True), strict=True):
        if len(ids) <= size:
            windows.append([ids])
            continue
        (inner,) = token_ids(loaded.tokenizer, [text], special=False)
        added = len(ids) - len(inner)
        before = next(start for start in range(added + 1) if ids[start : start + len(inner)] == inner)
        count = -(-len(inner) // (size - added))
        edges = [len(inner) * number // count for number in range(count + 1)]
        prefix, suffix = ids[:before], ids[before + len(inner) :]
        windows.append([[*prefix, *inner[start:end], *suffix] for start, end in pairwise(edges)])
    return windows


def _mean_of_windows(
    engine: EmbeddingEngine, windows: Sequence[Sequence[list[int]]], *, pooling: Pooling
) -> np.ndarray:
    """(N, D): the mean of each text's windows, weighted by their tokens."""
    import numpy as np

    vectors = engine.embeddings([ids for text_windows in windows for ids in text_windows], pooling=pooling)
    if len(vectors) == len(windows):
        return vectors
    means = np.empty((len(windows), vectors.shape[1]), dtype=np.float32)
    start = 0
    for text, text_windows in enumerate(windows):
        weights = [len(ids) for ids in text_windows]
        means[text] = np.average(vectors[start : start + len(text_windows)], axis=0, weights=weights)
        start += len(text_windows)
    return means

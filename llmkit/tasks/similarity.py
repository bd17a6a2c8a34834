"""How near vectors are to each other.

Legend: Q queries, N rows, D dimensions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmkit.models.pooling import Similarity

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Similarity", "similarities", "unit_vectors"]


def unit_vectors(vectors: np.ndarray) -> np.ndarray:
    """(N, D) vectors scaled to unit length; a vector of zeros is not changed."""
    import numpy as np

    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)  # (N, 1)
    units: np.ndarray = (vectors / np.where(lengths > 0, lengths, 1.0)).astype(vectors.dtype)
    return units


def similarities(queries: np.ndarray, rows: np.ndarray, *, similarity: Similarity) -> np.ndarray:
    """(Q, N) the similarity of each query (Q, D) to each row (N, D), larger for nearer ones; a distance is negative."""
    from scipy.spatial.distance import cdist

    if similarity == "cosine":
        queries, rows = unit_vectors(queries), unit_vectors(rows)
    if similarity in ("cosine", "dot"):
        products: np.ndarray = queries @ rows.T
        return products
    negative: np.ndarray = -cdist(queries, rows, metric="euclidean" if similarity == "euclidean" else "cityblock")
    return negative

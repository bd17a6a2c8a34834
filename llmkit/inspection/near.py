"""Texts that are nearly equal, by MinHash (Broder 1997) and locality-sensitive hashing. Knows no rows.

Two texts are as similar as the sets of their runs of five characters: the size of the intersection over that of the union
(Jaccard). Case and white space do not count. Characters rather than words, so that scripts without spaces work too.

Legend: N texts, P hash functions, B bands, C characters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

NEAR = 0.8
"""From this similarity on, texts are nearly equal."""
_RUN = 5
_HASHES = 128
_BANDS = 16
"""With 8 hashes in each band, texts of similarity 0.8 share a band with probability 0.95, those of 0.9 with 0.9999."""
_SEED = 1
_CHUNK_CHARACTERS = 500_000
_CHUNK_TEXTS = 10_000
_CHUNK_PAIRS = 100_000
_MULTIPLIER, _ONE, _HALF = np.uint64(0x9E3779B97F4A7C15), np.uint64(1), np.uint64(32)


class NearPair(NamedTuple):
    """Numbers of two texts, the first before the second."""

    first: int
    second: int
    similarity: float


def near_pairs(texts: Sequence[str]) -> list[NearPair]:
    """Pairs of texts whose estimated similarity is at least `NEAR`, in order.

    Every text that is nearly equal to an earlier one is the second of some pair, with the probabilities above; not all
    pairs among many such texts are listed.
    """
    if len(texts) < 2:
        return []
    signatures = np.concatenate([_signatures(chunk) for chunk in _chunks(texts)])  # (N, P)
    candidates = _candidates(signatures)
    pairs = []
    for start in range(0, len(candidates), _CHUNK_PAIRS):
        chunk = candidates[start : start + _CHUNK_PAIRS]
        similar = (signatures[chunk[:, 0]] == signatures[chunk[:, 1]]).mean(axis=1)
        near = similar >= NEAR
        pairs += [
            NearPair(first, second, similarity)
            for (first, second), similarity in zip(chunk[near].tolist(), similar[near].tolist(), strict=True)
        ]
    return pairs


def _chunks(texts: Sequence[str]) -> Iterator[list[str]]:
    """Some texts at a time, without differences of case and white space."""
    chunk: list[str] = []
    characters = 0
    for text in texts:
        chunk.append(" ".join(text.casefold().split()))
        characters += len(chunk[-1])
        if characters >= _CHUNK_CHARACTERS or len(chunk) == _CHUNK_TEXTS:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk


def _signatures(texts: Sequence[str]) -> NDArray[np.uint32]:
    """(N, P)"""
    from rensa import RMinHash

    hashes, offsets = _hashed_runs(texts)
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(hashes, offsets, _HASHES, _SEED)
    return np.asarray(matrix.to_rows(), dtype=np.uint32)


def _hashed_runs(texts: Sequence[str]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """A hash of the run that begins at each character, and where those of each text begin and end."""
    padding = _RUN - 1  # NUL characters: a run at the end of a text is shorter, and reaches into no other text
    joined = "".join(text + "\0" * padding for text in texts)
    codes = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)  # (C,)
    length = len(codes) - padding
    hashes = codes[:length] + _ONE
    for place in range(1, _RUN):
        hashes *= _MULTIPLIER
        hashes += codes[place : place + length]
    hashes ^= hashes >> _HALF
    lengths = np.asarray([len(text) for text in texts])
    ends = np.cumsum(lengths + padding) - padding  # where the padding of each text begins
    is_text = np.ones(len(codes), dtype=np.bool_)
    is_text[(ends[:, None] + np.arange(padding)).ravel()] = False
    return hashes[is_text[:length]], np.append(0, np.cumsum(lengths)).astype(np.uint64)


def _candidates(signatures: NDArray[np.uint32]) -> NDArray[np.int64]:
    """(pairs, 2) texts that share a band: each with the first text and with the one before it there."""
    width = _HASHES // _BANDS
    pairs = []
    for band in range(_BANDS):
        part = signatures[:, band * width : (band + 1) * width].astype(np.uint64)  # (N, width)
        keys = part[:, 0]
        for column in range(1, width):
            keys = keys * _MULTIPLIER + part[:, column]
        order = np.argsort(keys, kind="stable")  # texts with the same key one after another, in order
        starts = np.flatnonzero(np.append(True, np.diff(keys[order]) != 0))
        first = np.repeat(order[starts], np.diff(np.append(starts, len(order))))
        later = np.ones(len(order), dtype=np.bool_)
        later[starts] = False
        before = np.append(-1, order[:-1])
        pairs += [np.stack([other[later], order[later]], axis=1) for other in (first, before)]
    return np.unique(np.concatenate(pairs), axis=0)

"""The F-measures of ROUGE for many rows at once, equal to those of rouge-score in every digit. Knows no tokenizers.

Tokens are numbers. N-grams are counted with numpy, the longest common subsequence (LCS) by rapidfuzz. For rougeLsum not
its length counts but its positions, of which several subsequences have different ones; `_lcs_positions` gives those
that rouge-score's table gives, a whole column of the table at a time, as the bits of an integer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Lines = Sequence[Sequence[int]]
"""The tokens of each line of a text."""
FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
_LARGEST = 2**62


def f_measures(targets: Sequence[Lines], predictions: Sequence[Lines]) -> dict[str, FloatArray]:
    """(pairs,) rouge1, rouge2, rougeL and rougeLsum, each 0..1.

    Args:
        targets: the reference of each pair; lines without tokens make no difference.
    """
    from rapidfuzz.distance import LCSseq
    from rapidfuzz.process import cpdist

    sides = [[list(chain.from_iterable(lines)) for lines in side] for side in (targets, predictions)]
    lengths = [np.array([len(tokens) for tokens in side], dtype=np.int64) for side in sides]
    common = cpdist(*sides, scorer=LCSseq.similarity, dtype=np.uint32, workers=-1).astype(np.int64)
    # Of a single line, the LCS is the union of all, and has no token more often than either side.
    union = np.array(
        [
            length if _is_one_line(target) and _is_one_line(prediction) else union_hits(target, prediction)
            for length, target, prediction in zip(common.tolist(), targets, predictions, strict=True)
        ],
        dtype=np.int64,
    )
    return {
        "rouge1": _f_measure(_common_ngrams(*sides, words=1), *lengths),
        "rouge2": _f_measure(_common_ngrams(*sides, words=2), *(np.maximum(length - 1, 0) for length in lengths)),
        "rougeL": _f_measure(common, *lengths),
        "rougeLsum": _f_measure(union, *lengths),
    }


def _is_one_line(lines: Lines) -> bool:
    return sum(map(bool, lines)) <= 1


def _f_measure(hits: IntArray, target_count: IntArray, prediction_count: IntArray) -> FloatArray:
    """(pairs,) 0 where a side is empty. The operations are those of rouge-score, in its order."""
    precision = hits / np.maximum(prediction_count, 1)
    recall = hits / np.maximum(target_count, 1)
    total = precision + recall
    return np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)


def _common_ngrams(targets: Lines, predictions: Lines, *, words: int) -> IntArray:
    """(pairs,) the number of n-grams that both sides have, each as often as on the side that has it less often."""
    pairs = len(targets)
    of_row, ngrams, size = _ngrams([*targets, *predictions], words)
    if pairs * size > _LARGEST:
        ngrams = np.unique(ngrams, return_inverse=True)[1]
        size = len(ngrams)
    keys = of_row % pairs * size + ngrams  # one for each n-gram of a pair
    sides = np.split(keys, [np.searchsorted(of_row, pairs)])
    (target_keys, target_counts), (keys, counts) = (np.unique(side, return_counts=True) for side in sides)
    if not len(target_keys):
        return np.zeros(pairs, dtype=np.int64)
    places = np.minimum(np.searchsorted(target_keys, keys), len(target_keys) - 1)
    common = np.where(target_keys[places] == keys, np.minimum(target_counts[places], counts), 0)
    return np.bincount(keys // size, weights=common, minlength=pairs).astype(np.int64)


def _ngrams(rows: Lines, words: int) -> tuple[IntArray, IntArray, int]:
    """The row of each n-gram of one or two tokens; the n-gram as a number; and a number above all of these."""
    lengths = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
    tokens = np.fromiter(chain.from_iterable(rows), dtype=np.int64, count=int(lengths.sum()))
    of_row = np.repeat(np.arange(len(rows)), lengths)
    size = int(tokens.max(initial=0)) + 1
    if words == 1:
        return of_row, tokens, size
    inside = of_row[1:] == of_row[:-1]
    bigrams = tokens[:-1] * size + tokens[1:]
    return of_row[1:][inside], bigrams[inside], size**2


def union_hits(target: Lines, prediction: Lines) -> int:
    """The number of the target's tokens in the union of the LCS of each of its lines with each line of the prediction.

    No token counts more often than the prediction has it (Lin 2004, section 3.2, and its program ROUGE 1.5.5).
    """
    lines = _PackedLines.of(target)
    union = 0
    for line in prediction:
        union |= _lcs_positions(lines, line)
    counts = Counter(chain.from_iterable(prediction))
    return sum(min((union & lines.positions.get(token, 0)).bit_count(), count) for token, count in counts.items())


class _PackedLines(NamedTuple):
    """Lines of tokens as bits of integers: one for each token, and a zero after each line."""

    positions: dict[int, int]
    """Token -> the bits where it stands."""
    all_bits: int
    """The bits of all tokens."""
    shifts: list[tuple[int, int]]
    """1, 2, 4 and so on up to the longest line, each with the bits that stay in their line if they move down so far."""

    @classmethod
    def of(cls, lines: Lines) -> _PackedLines:
        positions: dict[int, int] = {}
        starts, bit = [], 1
        for line in lines:
            starts.append(bit)
            for token in line:
                positions[token] = positions.get(token, 0) | bit
                bit <<= 1
            bit <<= 1
        longest = max(map(len, lines), default=0)
        all_bits = sum((start << len(line)) - start for start, line in zip(starts, lines, strict=True))
        shifts, low_bits, width = [], sum(start for start, line in zip(starts, lines, strict=True) if line), 1
        while width < longest:
            shifts.append((width, all_bits & ~low_bits))
            low_bits |= low_bits << width
            width *= 2
        return cls(positions, all_bits, shifts)


def _lcs_positions(lines: _PackedLines, other: Sequence[int]) -> int:
    """The bits of the LCS of each line with `other`: that which rouge-score finds.

    It reads its table t, whose cell (i, j) has the length of the LCS of the first i tokens of the line and the first j
    of `other`, from the end: equal tokens are taken; else j shrinks if t(i, j-1) > t(i-1, j), and i if not. So i shrinks
    to the nearest token that either equals the one at j, or at which t(i, j) > t(i-1, j); in the second case j shrinks.
    The bits where column j of t grows follow from those of column j-1 (Crochemore et al. 2001).
    """
    flat, columns = lines.all_bits, []  # the bits where the column does not grow
    matches = [lines.positions.get(token, 0) for token in other]
    for match in matches:
        taken = flat & match
        flat = ((flat + taken) | (flat - taken)) & lines.all_bits
        columns.append(match | (lines.all_bits ^ flat))
    before, found = lines.all_bits, 0  # the bits before i
    for match, column in zip(reversed(matches), reversed(columns), strict=True):
        smeared = column & before
        if not smeared:
            break
        for width, movable in lines.shifts:
            smeared |= (smeared & movable) >> width
        highest = smeared ^ (smeared >> 1 & lines.all_bits)
        found |= highest & match
        before = smeared ^ (highest & match)
    return found

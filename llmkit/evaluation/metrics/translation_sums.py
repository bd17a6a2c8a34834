"""sacrebleu's scores from sums of its statistics of each sentence, for many resamples at once.

Legend: R resamples.
"""

from __future__ import annotations

import numpy as np

from llmkit.evaluation.uncertainty.statistics import FloatArray, ratio

_ORDERS = 4
"""Of BLEU's n-grams."""
_BETA = 2
"""Weight of recall in chrF."""


def bleu_of_sums(sums: FloatArray) -> FloatArray:
    """(R,) as sacrebleu's `compute_bleu` with exponential smoothing.

    Args:
        sums: (R, 10) the words of the predictions and of the references; the n-grams of each order that match, and all
            of the predictions.
    """
    length, reference_length = sums[:, 0], sums[:, 1]
    matches, totals = sums[:, 2 : 2 + _ORDERS], sums[:, 2 + _ORDERS :]
    short = 1 - ratio(reference_length, length, otherwise=np.inf)  # an empty text has a penalty of exp(-inf)
    penalty = np.exp(np.minimum(short, 0.0))
    logarithms = np.zeros(len(sums))
    smoothing = np.ones(len(sums))
    defined = matches.any(axis=1) & totals.all(axis=1)  # an order without n-grams makes the score 0
    for order in range(_ORDERS):
        none = matches[:, order] == 0
        smoothing = np.where(none, 2 * smoothing, smoothing)
        precision = np.where(none, 1 / smoothing, matches[:, order]) / np.maximum(totals[:, order], 1)
        logarithms += np.log(100 * precision)
    return np.where(defined, penalty * np.exp(logarithms / _ORDERS), 0.0)


def chrf_of_sums(sums: FloatArray) -> FloatArray:
    """(R,) as sacrebleu's chrF without epsilon smoothing.

    Args:
        sums: (R, 3 x orders) for each order the n-grams of the predictions, of the references, and those that match.
    """
    predicted, expected, matches = (sums[:, start::3] for start in range(3))
    counted = (predicted > 0) & (expected > 0)
    orders = counted.sum(axis=1).astype(np.float64)
    precision = ratio(np.where(counted, ratio(matches, predicted), 0).sum(axis=1), orders)
    recall = ratio(np.where(counted, ratio(matches, expected), 0).sum(axis=1), orders)
    return 100 * ratio((1 + _BETA**2) * precision * recall, _BETA**2 * precision + recall)


def ter_of_sums(sums: FloatArray) -> FloatArray:
    """(R,) as sacrebleu's TER.

    Args:
        sums: (R, 2) edits, and words of the references.
    """
    edits, words = sums[:, 0], sums[:, 1]
    return 100 * np.where(words > 0, ratio(edits, words), (edits > 0).astype(np.float64))

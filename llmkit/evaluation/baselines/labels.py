"""Labels and numbers for texts without a neural network: the majority, the mean, and linear models on TF-IDF.

The features are those of the usual strong baseline (Wang and Manning 2012 is the classic on its strength): single
words and pairs of neighbours, logarithmic counts, inverse document frequency, rows of length 1. A word is what
`UnicodeWords` finds, so that in Chinese, Japanese or Thai these are single characters and pairs of them.

Memory: n-grams are hashed into 2^18 columns, so no vocabulary is held, and classes are fitted one by one, each
against the rest. Same rows in, same predictions out: nothing here draws random numbers.

Legend: N training rows, M rows to predict, C labels, F features.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Texts = Sequence[tuple[str, ...]]
"""What is read of each row: a text, or a pair of texts."""
_FEATURES = 2**18
_INVERSE_REGULARIZATION = 10.0
"""scikit-learn's own 1 is too strict with rows of length 1: 0.858 of builtin:python-docs' validation rows, not 0.916."""
_RIDGE = 1.0


def most_frequent(labels: Sequence[str], *, count: int) -> list[str]:
    """The most frequent label for each of `count` rows; of equals, the first one."""
    return [Counter(labels).most_common(1)[0][0]] * count


def most_frequent_set(labels: Sequence[Sequence[str]], *, count: int) -> list[dict[str, Any]]:
    """The most frequent set of labels for each of `count` rows, and the share of the rows that has each label."""
    most = Counter(tuple(sorted(of_row)) for of_row in labels).most_common(1)[0][0]
    rows_with = Counter(name for of_row in labels for name in set(of_row))
    shares = {name: rows_with[name] / len(labels) for name in sorted(rows_with)}
    return [{"labels": list(most), "probabilities": shares} for _ in range(count)]


def mean(targets: Sequence[float], *, count: int) -> list[float]:
    return [sum(targets) / len(targets)] * count


def linear_label(texts: Texts, labels: Sequence[str], wanted: Texts) -> list[str]:
    """Predict a label for each text by one-vs-rest logistic regression."""
    import numpy as np

    names = sorted(set(labels))
    held = np.array(labels)
    scores = _one_against_rest(texts, [held == name for name in names], wanted)  # (M, C)
    return [names[index] for index in scores.argmax(axis=1)]


def linear_label_sets(texts: Texts, labels: Sequence[Sequence[str]], wanted: Texts) -> list[dict[str, Any]]:
    """For each text, the probability of each label by a separate logistic regression, and the labels from 0.5 on."""
    import numpy as np
    from scipy.special import expit

    names = sorted({name for of_row in labels for name in of_row})
    held = [np.array([name in of_row for of_row in labels]) for name in names]
    shares = expit(_one_against_rest(texts, held, wanted))  # (M, C)
    each = [dict(zip(names, row.tolist(), strict=True)) for row in shares]
    return [{"labels": [name for name in names if row[name] >= 0.5], "probabilities": row} for row in each]


def linear_numbers(texts: Texts, numbers: Sequence[float], wanted: Texts) -> list[float]:
    """Predict a number for each text by ridge regression."""
    from sklearn.linear_model import Ridge

    known, new = _features(texts, wanted)
    model = Ridge(alpha=_RIDGE, solver="sparse_cg").fit(known, list(numbers))
    return [float(number) for number in model.predict(new)]


def _one_against_rest(texts: Texts, held: Sequence[NDArray[np.bool_]], wanted: Texts) -> NDArray[np.float64]:
    """(M, C) log-odds of each label.

    Args:
        held: for each label (N,) whether a training row has it.
    """
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    known, new = _features(texts, wanted)  # (N, F), (M, F)
    scores = np.empty((len(wanted), len(held)))
    for index, has in enumerate(held):
        if has.all():  # nothing to tell apart; a label that no training row has is not among them
            scores[:, index] = np.inf
            continue
        # liblinear's Newton steps for the primal problem: no random numbers, unlike its dual.
        model = LogisticRegression(C=_INVERSE_REGULARIZATION, solver="liblinear", max_iter=1000)
        scores[:, index] = model.fit(known, has).decision_function(new)
    return scores


def _features(texts: Texts, wanted: Texts) -> tuple[Any, Any]:
    """(N, F) and (M, F) sparse features; a pair has those of both texts, and the cosine between them."""
    from scipy.sparse import csr_matrix, hstack
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

    sides = max(len(of_row) for of_row in texts)
    counter = HashingVectorizer(analyzer=_Grams(), n_features=_FEATURES, alternate_sign=False, norm=None)

    def counted(rows: Texts) -> list[Any]:
        """For each side (rows, F) counts; a row that lacks the second text has none there."""
        return [
            counter.transform(of_row[side] if side < len(of_row) else "" for of_row in rows) for side in range(sides)
        ]

    known, new = counted(texts), counted(wanted)
    scales = [TfidfTransformer(sublinear_tf=True).fit(counts) for counts in known]

    def scaled(counts: Sequence[Any]) -> Any:
        vectors = [scale.transform(of_side) for scale, of_side in zip(scales, counts, strict=True)]
        if sides == 1:
            return vectors[0]
        cosines = csr_matrix(vectors[0].multiply(vectors[1]).sum(axis=1))  # their lengths are 1
        return hstack([*vectors, cosines], format="csr")

    return scaled(known), scaled(new)


class _Grams:
    """Words and pairs of neighbours of a text."""

    def __init__(self) -> None:
        from llmkit.evaluation.metrics.rouge import UnicodeWords

        self._words = UnicodeWords()

    def __call__(self, text: str) -> list[str]:
        words = self._words.tokenize(text)
        return [*words, *(f"{first} {second}" for first, second in pairwise(words))]

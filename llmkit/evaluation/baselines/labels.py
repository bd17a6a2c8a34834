"""Labels and numbers for texts without a neural network: the majority, the mean, and linear models on TF-IDF.

The features are those of the usual strong baseline (Wang and Manning 2012 is the classic on its strength): single
words and pairs of neighbours, logarithmic counts, inverse document frequency, rows of unit length. A word is a
match of `UnicodeWords`, so that in Chinese, Japanese or Thai these are single characters and pairs of them.

Memory: n-grams are hashed into 2^18 columns, so no vocabulary is stored, and classes are fitted one by one, each
against the rest. The predictions are deterministic: no random numbers are used.

Legend: N training rows, M rows to predict, C labels, F features.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack
from scipy.special import expit
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from sklearn.linear_model import LogisticRegression, Ridge

from llmkit.evaluation.metrics.rouge import UnicodeWords

Texts = Sequence[tuple[str, ...]]
"""The input of each row: a text, or a pair of texts."""
_FEATURES = 2**18
INVERSE_REGULARIZATION = 10.0
"""scikit-learn's default of 1 is too strong for rows of unit length: 0.858 of builtin:python-docs' validation rows, not 0.916."""
_RIDGE = 1.0


def most_frequent(labels: Sequence[str], *, count: int) -> list[str]:
    """The most frequent label for each of `count` rows; of equals, the first one."""
    return [Counter(labels).most_common(1)[0][0]] * count


def most_frequent_set(labels: Sequence[Sequence[str]], *, count: int) -> list[dict[str, Any]]:
    """The most frequent set of labels for each of `count` rows, and the share of the rows that has each label."""
    most_frequent_labels = Counter(tuple(sorted(label_set)) for label_set in labels).most_common(1)[0][0]
    rows_with = Counter(name for label_set in labels for name in set(label_set))
    shares = {name: rows_with[name] / len(labels) for name in sorted(rows_with)}
    return [{"labels": list(most_frequent_labels), "probabilities": shares} for _ in range(count)]


def with_unseen_labels(predictions: list[dict[str, Any]], references: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
    """The predictions with probability 0 for labels that no training row has: `map` is a mean over the same labels as
    the model's."""
    unseen = dict.fromkeys((name for label_set in references for name in label_set), 0.0)
    return [{**prediction, "probabilities": {**unseen, **prediction["probabilities"]}} for prediction in predictions]


def mean(targets: Sequence[float], *, count: int) -> list[float]:
    return [sum(targets) / len(targets)] * count


def linear_label(texts: Texts, labels: Sequence[str], new_texts: Texts) -> list[str]:
    """Predict a label for each text by one-vs-rest logistic regression."""
    names = sorted(set(labels))
    label_array = np.array(labels)
    scores = _one_vs_rest(texts, [label_array == name for name in names], new_texts)  # (M, C)
    return [names[index] for index in scores.argmax(axis=1)]


def linear_label_sets(texts: Texts, labels: Sequence[Sequence[str]], new_texts: Texts) -> list[dict[str, Any]]:
    """For each text, the probability of each label by a separate logistic regression, and the labels from 0.5 on."""
    names = sorted({name for label_set in labels for name in label_set})
    masks = [np.array([name in label_set for label_set in labels]) for name in names]
    shares = expit(_one_vs_rest(texts, masks, new_texts))  # (M, C)
    probabilities = [dict(zip(names, row.tolist(), strict=True)) for row in shares]
    return [{"labels": [name for name in names if row[name] >= 0.5], "probabilities": row} for row in probabilities]


def linear_numbers(texts: Texts, numbers: Sequence[float], new_texts: Texts) -> list[float]:
    """Predict a number for each text by ridge regression."""
    known, new = features(texts, new_texts)
    model = Ridge(alpha=_RIDGE, solver="sparse_cg").fit(known, list(numbers))
    return [float(number) for number in model.predict(new)]


def _one_vs_rest(texts: Texts, masks: Sequence[NDArray[np.bool_]], new_texts: Texts) -> NDArray[np.float64]:
    """(M, C) log-odds of each label.

    Args:
        masks: for each label (N,) whether a training row has it.
    """
    known, new = features(texts, new_texts)  # (N, F), (M, F)
    scores = np.empty((len(new_texts), len(masks)))
    for index, mask in enumerate(masks):
        if mask.all():  # no negative rows; every label has a positive row
            scores[:, index] = np.inf
            continue
        # liblinear's Newton steps for the primal problem: no random numbers, unlike its dual.
        model = LogisticRegression(C=INVERSE_REGULARIZATION, solver="liblinear", max_iter=1000)
        scores[:, index] = model.fit(known, mask).decision_function(new)
    return scores


def features(texts: Texts, new_texts: Texts) -> tuple[Any, Any]:
    """(N, F) and (M, F) sparse features; a pair has those of both texts, and the cosine between them."""
    sides = max(map(len, texts))
    vectorizer = HashingVectorizer(analyzer=_Grams(), n_features=_FEATURES, alternate_sign=False, norm=None)

    def count(rows: Texts) -> list[Any]:
        """For each side (rows, F) counts; a row that lacks the second text has none there."""
        return [vectorizer.transform(row[side] if side < len(row) else "" for row in rows) for side in range(sides)]

    known, new = count(texts), count(new_texts)
    transformers = [TfidfTransformer(sublinear_tf=True).fit(counts) for counts in known]

    def scale(counts: Sequence[Any]) -> Any:
        vectors = [transformer.transform(side) for transformer, side in zip(transformers, counts, strict=True)]
        if sides == 1:
            return vectors[0]
        cosines = csr_matrix(vectors[0].multiply(vectors[1]).sum(axis=1))  # the vectors have unit length
        return hstack([*vectors, cosines], format="csr")

    return scale(known), scale(new)


class _Grams:
    """Words and pairs of neighbours of a text."""

    def __init__(self) -> None:
        self._words = UnicodeWords()

    def __call__(self, text: str) -> list[str]:
        words = self._words.tokenize(text)
        return [*words, *(f"{first} {second}" for first, second in pairwise(words))]

"""Labels that look wrong: confident learning (Northcutt et al. 2021) on out-of-fold probabilities of linear models.

The probability of each label of a row comes from models that were trained on other rows: logistic regression on TF-IDF of
words, and of runs of characters; together they find more than either. cleanlab estimates how many labels are wrong from
what is usual for the rows that have each label. The rows come in the order of how much likelier another label is.

Legend: N rows, C labels.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from llmkit.evaluation.baselines.labels import features
from llmkit.inspection.findings import Finding, FoundRow, found, share
from llmkit.inspection.rows import InspectedRow, Inspection

FOLDS = 5
_LEAST_ROWS = 50
_MOST_ROWS = 20_000
"""Labels of more rows would take minutes."""
_FIRST_CHARACTERS = 10_000
"""Of a text."""
_RUN = 5
"""Characters of a run."""
_FEATURES = 2**18
_INVERSE_REGULARIZATION = (30.0, 10.0)
"""Of the models on words and on runs of characters."""
_SEED = 0


class Suspect(NamedTuple):
    """A label that is probably wrong."""

    row: int
    likely: str
    """A likelier label."""
    log_ratio: float
    """Log of the label's probability over that of the likelier one."""


def suspect_labels(inspection: Inspection) -> Iterator[Finding]:
    """Rows whose labels are probably wrong, the likeliest first, with the label that the other rows suggest."""
    if inspection.label_fields not in (("label",), ("labels",)):
        return
    several = inspection.label_fields == ("labels",)
    rows = list(inspection.rows)
    of = ""
    if len(rows) > _MOST_ROWS:
        of = f", in {_MOST_ROWS:,} of {len(rows):,} rows that were chosen at random"
        rows = [rows[index] for index in sorted(random.Random(_SEED).sample(range(len(rows)), _MOST_ROWS))]
    labels = [inspection.labels_of(row) for row in rows]
    counts = Counter(name for names in labels for name in set(names))
    frequent = {name for name, count in counts.items() if count >= FOLDS}
    usable = [index for index, names in enumerate(labels) if several or names[0] in frequent]
    if len(usable) < _LEAST_ROWS or len(frequent) < 2:
        return
    rows, labels = [rows[index] for index in usable], [labels[index] for index in usable]
    texts = ["\n".join(row.inputs) for row in rows]
    suspects = (
        suspects_of_sets(texts, labels, sorted(frequent))
        if several
        else suspects_of(texts, [names[0] for names in labels])
    )
    if suspects:
        yield found(
            "suspect-labels",
            "info",
            f"{share(len(suspects), len(rows))} rows have labels that look wrong, compared with similar texts{of}",
            rows=(_found_row(rows[suspect.row], labels[suspect.row], suspect.likely) for suspect in suspects),
            count=len(suspects),
        )


def suspects_of(texts: Sequence[str], labels: Sequence[str]) -> list[Suspect]:
    """The labels that are probably wrong, the likeliest first.

    Args:
        labels: each occurs `FOLDS` times or more.
    """
    names = sorted(set(labels))
    return _suspects(_views(texts), np.searchsorted(names, labels), names)


def suspects_of_sets(texts: Sequence[str], labels: Sequence[Sequence[str]], names: Sequence[str]) -> list[Suspect]:
    """As `suspects_of`, where a text has any number of labels: each label is looked at by itself. Of a row, only the
    likeliest suspect is returned."""
    views = _views(texts)
    worst: dict[int, Suspect] = {}
    for name in names:
        has = np.array([name in row for row in labels])  # (N,)
        if min(has.sum(), (~has).sum()) >= FOLDS:
            for suspect in _suspects(views, has.astype(np.int64), (f"not {name}", name)):
                before = worst.get(suspect.row)
                if before is None or suspect.log_ratio < before.log_ratio:
                    worst[suspect.row] = suspect
    return sorted(worst.values(), key=lambda suspect: suspect.log_ratio)


def _suspects(views: Sequence[Any], targets: NDArray[np.int64], names: Sequence[str]) -> list[Suspect]:
    """
    Args:
        views: sparse features of the texts, each (N, F).
        targets: (N,) numbers of labels.
    """
    from cleanlab.count import num_label_issues

    probabilities = _out_of_fold(views, targets)  # (N, C)
    every = np.arange(len(targets))
    others = probabilities.copy()
    others[every, targets] = 0.0
    likely = others.argmax(axis=1)  # (N,)
    tiny = np.finfo(np.float64).tiny
    log_ratios = np.log(probabilities[every, targets] + tiny) - np.log(others[every, likely] + tiny)  # (N,)
    count = num_label_issues(targets, probabilities)
    order = np.argsort(log_ratios, kind="stable")[:count]
    return [Suspect(int(row), names[int(likely[row])], float(log_ratios[row])) for row in order if log_ratios[row] < 0]


def _views(texts: Sequence[str]) -> tuple[Any, Any]:
    """(N, F) TF-IDF of words and pairs of them, and of runs of characters within words."""
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

    beginnings = [text[:_FIRST_CHARACTERS] for text in texts]
    words, _ = features([(text,) for text in beginnings], [("",)])
    runs = HashingVectorizer(
        analyzer="char_wb", ngram_range=(_RUN, _RUN), n_features=_FEATURES, alternate_sign=False, norm=None
    ).transform(beginnings)
    return words, TfidfTransformer(sublinear_tf=True).fit_transform(runs)


def _out_of_fold(views: Sequence[Any], targets: NDArray[np.int64]) -> NDArray[np.float64]:
    """(N, C) means over the views."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.multiclass import OneVsRestClassifier

    probabilities = []
    for number, (view, inverse) in enumerate(zip(views, _INVERSE_REGULARIZATION, strict=True)):
        # The dual problem of one label against the others: several times faster than one model of all labels.
        model = LogisticRegression(C=inverse, solver="liblinear", dual=True, max_iter=1000, random_state=_SEED)
        # Other folds for each view: their mean depends less on which rows are together.
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=_SEED + number)
        probabilities.append(
            cross_val_predict(OneVsRestClassifier(model), view, targets, cv=folds, method="predict_proba")
        )
    mean: NDArray[np.float64] = np.mean(probabilities, axis=0)
    return mean


def _found_row(row: InspectedRow, labels: Sequence[str], likely: str) -> FoundRow:
    return FoundRow(row.place, row.text, f"{', '.join(labels) or 'no label'}; perhaps {likely}")

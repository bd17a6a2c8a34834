"""Labels that look wrong: confident learning (Northcutt et al. 2021) on out-of-fold probabilities of a linear model.

The probability of each label of a row comes from a model that was trained on other rows: logistic regression on TF-IDF.
cleanlab compares it with what is usual for the rows that have the label.

Legend: N rows, C labels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from llmkit.evaluation.baselines.labels import INVERSE_REGULARIZATION, features
from llmkit.inspection.findings import Finding, FoundRow, found, share
from llmkit.inspection.rows import InspectedRow, Inspection

FOLDS = 5
_LEAST_ROWS = 50
_SEED = 0


def suspect_labels(inspection: Inspection) -> Iterator[Finding]:
    """Rows whose labels are probably wrong, the likeliest first, with the label that the other rows suggest."""
    if inspection.label_fields not in (("label",), ("labels",)):
        return
    several = inspection.label_fields == ("labels",)
    rows = list(inspection.rows)
    labels = [inspection.labels_of(row) for row in rows]
    frequent = {
        name for name, count in Counter(name for names in labels for name in set(names)).items() if count >= FOLDS
    }
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
            f"{share(len(suspects), len(rows))} rows have labels that look wrong, compared with similar texts",
            rows=(_suspect(rows[index], labels[index], likely) for index, likely in suspects),
            count=len(suspects),
        )


def suspects_of(texts: Sequence[str], labels: Sequence[str]) -> list[tuple[int, str]]:
    """Numbers of the rows whose label is probably wrong, the likeliest first, each with a likelier label.

    Args:
        labels: each occurs `FOLDS` times or more.
    """
    from cleanlab.filter import find_label_issues

    names = sorted(set(labels))
    targets = np.searchsorted(names, labels)  # (N,)
    probabilities = _out_of_fold(texts, targets)  # (N, C)
    issues = find_label_issues(
        targets,
        probabilities,
        filter_by="low_self_confidence",
        return_indices_ranked_by="self_confidence",
        n_jobs=1,
    )
    return [(int(index), names[int(probabilities[index].argmax())]) for index in issues]


def suspects_of_sets(
    texts: Sequence[str], labels: Sequence[Sequence[str]], names: Sequence[str]
) -> list[tuple[int, str]]:
    """As `suspects_of`, where a text has any number of labels; each is looked at by itself."""
    suspects: dict[int, str] = {}
    for name in names:
        has = ["yes" if name in row else "no" for row in labels]
        if min(has.count("yes"), has.count("no")) >= FOLDS:
            for index, likely in suspects_of(texts, has):
                suspects.setdefault(index, f"{'' if likely == 'yes' else 'not '}{name}")
    return list(suspects.items())


def _out_of_fold(texts: Sequence[str], targets: NDArray[np.int64]) -> NDArray[np.float64]:
    """(N, C)"""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.multiclass import OneVsRestClassifier

    words, _ = features([(text,) for text in texts], [("",)])
    # The dual problem of one label against the others: several times faster than one model of all labels.
    one = LogisticRegression(C=INVERSE_REGULARIZATION, solver="liblinear", dual=True, max_iter=1000, random_state=_SEED)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=_SEED)
    probabilities: NDArray[np.float64] = cross_val_predict(
        OneVsRestClassifier(one), words, targets, cv=folds, method="predict_proba"
    )
    return probabilities


def _suspect(row: InspectedRow, labels: Sequence[str], likely: str) -> FoundRow:
    return FoundRow(row.place, row.text, f"{', '.join(labels) or 'no label'}; perhaps {likely}")

"""The column of the predictions or references in a file, by the names that commands write and data sets have.

Knows only names of columns; the caller checks whether the values fit.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from llmkit.errors import DataError, UsageError
from llmkit.evaluation.values import NEEDED, ValueKind

Side = Literal["prediction", "reference"]

_RESULT_COLUMNS: Mapping[ValueKind, tuple[str, ...]] = {
    "text": ("summary", "translation", "texts", "answer"),
    "label": ("label",),
    "label or labels": ("label", "labels"),
    "labels with probabilities": ("labels",),
    "probabilities": ("label", "labels"),
    "number": ("value", "label"),
    "tags": ("tags",),
    "entities": ("tags", "entities"),
    "answer": ("answer",),
    "any": (),
}
"""Names of the commands' results."""
_REFERENCE_COLUMNS: Mapping[ValueKind, tuple[str, ...]] = {
    **_RESULT_COLUMNS,
    "text": ("summary", "translation", "target", "response"),
    "entities": ("tags", "spans", "entities"),
    "answer": ("answers", "answer"),
}
"""Names of references in data sets."""
_REFERENCES_OF_RESULT: Mapping[str, tuple[str, ...]] = {
    "answer": ("answers", "response"),
    "entities": ("spans",),
    "index": ("answer",),
    "label": ("label",),
    "labels": ("labels",),
    "summary": ("summary",),
    "tags": ("tags",),
    "texts": ("response", "target"),
    "translation": ("translation", "target"),
    "value": ("label",),
}
"""Column of a command's results -> columns of the rows that its model was trained on."""
_VALUE_COLUMNS = {name for names in (*_RESULT_COLUMNS.values(), *_REFERENCE_COLUMNS.values()) for name in names}
_INPUT_COLUMNS = {
    "article", "context", "document", "input", "messages", "prompt", "question", "source", "text", "text_pair", "words",
}  # fmt: skip
"""Inputs of a model, compared only if a file has nothing else."""
_OTHER_COLUMNS = {
    "abstain_below", "abstained", "best_guess", "finished", "guid", "id", "idx", "index", "masks", "no_answer", "offsets", "parts", "probabilities", "scores",
    "texts_finished", "truncated_tokens", "unknown_tokens", "vector", "windows",
}  # fmt: skip
"""Details of a result or row, never compared."""


def reference_columns_of(column: str | None) -> tuple[str, ...]:
    """Columns of references in data sets for a column of a command's results."""
    return _REFERENCES_OF_RESULT.get(column or "", ())


def choose_column(
    names: Sequence[str],
    *,
    side: Side,
    kinds: Sequence[ValueKind],
    paired: Sequence[str],
    fits: Callable[[str], bool],
    of: str,
) -> str:
    """The only column, or `prediction` or `reference`, or the only fitting column of the first group with any.

    The groups: `paired`; names of results or references of these kinds; of other kinds; unknown names; and inputs of a
    model, if there is no other column.

    Args:
        names: all columns of the file; without any it has no rows, and reading it fails.
        kinds: what the metrics compare.
        fits: whether a column has values of all these kinds.
        of: the file, for messages.
    Raises:
        UsageError: several of a group fit.
        DataError: none fits.
    """
    if side in names or not names:
        return side
    if len(names) == 1:
        return names[0]
    known = {name for kind in kinds for name in (_RESULT_COLUMNS if side == "prediction" else _REFERENCE_COLUMNS)[kind]}
    unknown = set(names) - _VALUE_COLUMNS - _INPUT_COLUMNS - _OTHER_COLUMNS - {"prediction", "reference"}
    unfit: list[str] = []
    # Of a conversation, the last answer is compared.
    in_messages = side == "reference" and "text" in kinds and "messages" in names and fits("messages")
    answered = {"messages"} if in_messages else set()
    for groups in ((set(paired), known, answered), (_VALUE_COLUMNS, unknown), (_INPUT_COLUMNS,)):
        for group in groups:
            candidates = [name for name in names if name in group and name not in unfit]
            fitting = [name for name in candidates if fits(name)]
            if fitting:
                return _only(fitting, side=side, of=of)
            unfit += candidates
        if unfit:
            break  # the column is one of these, and its values are wrong
    if len(unfit) == 1:
        return unfit[0]  # reading it reports the wrong row
    needed = " and ".join(dict.fromkeys(NEEDED[kind] for kind in kinds))
    raise DataError(
        f"{of}: no column here could be the {side}s ({needed}); found {_listed(names)}. Name it with --{side}-column."
    )


def _only(names: Sequence[str], *, side: Side, of: str) -> str:
    if len(names) > 1:
        raise UsageError(
            f"{of}: {_listed(names)} could each be the {side}s. Say which, such as --{side}-column {json.dumps(names[0])}"
        )
    return names[0]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))

"""Which column of a file has the predictions, or the references: by what each command writes and each task's rows have.

Knows names of columns; whoever has the file says whether the values of one fit.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from llmkit.errors import DataError, UsageError
from llmkit.evaluation.values import NEEDED, ValueKind

Side = Literal["prediction", "reference"]

_WRITTEN: Mapping[ValueKind, tuple[str, ...]] = {
    "text": ("summary", "translation", "texts", "answer"),
    "label": ("label",),
    "label or labels": ("label", "labels"),
    "labels with probabilities": ("labels",),
    "number": ("value", "label"),
    "tags": ("tags",),
    "entities": ("tags", "entities"),
    "answer": ("answer",),
    "any": (),
}
"""What the commands call their results."""
_RIGHT: Mapping[ValueKind, tuple[str, ...]] = {
    **_WRITTEN,
    "text": ("summary", "translation", "target", "response"),
    "entities": ("tags", "spans", "entities"),
    "answer": ("answers", "answer"),
}
"""What rows of data call that which should be."""
_RIGHT_FOR: Mapping[str, tuple[str, ...]] = {
    "answer": ("answers", "response"),
    "entities": ("spans",),
    "label": ("label",),
    "labels": ("labels",),
    "summary": ("summary",),
    "tags": ("tags",),
    "texts": ("response", "target"),
    "translation": ("translation", "target"),
    "value": ("label",),
}
"""Column of a command's results -> columns of the rows that its model was trained on."""
_KNOWN = {name for names in (*_WRITTEN.values(), *_RIGHT.values()) for name in names}
_READ = {
    "article", "context", "document", "input", "messages", "prompt", "question", "source", "text", "text_pair", "words",
}  # fmt: skip
"""What a model reads: compared only where a file has nothing else."""
_BESIDE = {
    "guid", "id", "idx", "index", "masks", "no_answer", "offsets", "parts", "probabilities", "scores",
    "truncated_tokens", "vector", "windows",
}  # fmt: skip
"""What stands beside a result or a row, and is never meant."""


def columns_of_answer(column: str | None) -> tuple[str, ...]:
    """Columns that data sets have for what a command writes in this column."""
    return _RIGHT_FOR.get(column or "", ())


def choose_column(
    names: Sequence[str],
    *,
    side: Side,
    kinds: Sequence[ValueKind],
    paired: Sequence[str],
    fits: Callable[[str], bool],
    of: str,
) -> str:
    """The only column, or `prediction` or `reference`, or the one of the first group that has any that fits.

    The groups: `paired`; what the commands write or data sets have for these kinds of values; for other kinds; columns
    of unknown names; and what a model reads, where there is no column of the others.

    Args:
        names: all columns of the file; without any it has no rows, and whoever reads them says so.
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
    known = {name for kind in kinds for name in (_WRITTEN if side == "prediction" else _RIGHT)[kind]}
    unknown = set(names) - _KNOWN - _READ - _BESIDE - {"prediction", "reference"}
    unfit: list[str] = []
    for groups in ((set(paired), known), (_KNOWN, unknown), (_READ,)):
        for group in groups:
            there = [name for name in names if name in group and name not in unfit]
            fitting = [name for name in there if fits(name)]
            if fitting:
                return _only(fitting, side=side, of=of)
            unfit += there
        if unfit:
            break  # one of these is meant, and its values are not what they should be
    if len(unfit) == 1:
        return unfit[0]  # reading it tells which row is wrong
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

"""The error for rows with a label or tag that a model does not have."""

from __future__ import annotations

from collections.abc import Sequence

from llmkit.errors import RowError, nearest

_LABELS_SHOWN = 20


def unknown_label(place: str, noun: str, name: str, *, known: Sequence[str]) -> RowError:
    """The error for a row with a label that the model does not have.

    Args:
        noun: `label` or `tag`.
    """
    more = f" and {len(known) - _LABELS_SHOWN} more" if len(known) > _LABELS_SHOWN else ""
    listed = ", ".join(known[:_LABELS_SHOWN])
    fix = "Correct it, or train with it: name it under labels: in the recipe."
    fault = f"the model does not have the {noun} {name!r:.60}.{nearest(name, known)} It has: {listed}{more}. {fix}"
    return RowError(place, fault, reason=f"a {noun} that the model does not have")

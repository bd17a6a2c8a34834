"""What a difference between two systems says, in a sentence."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from llmkit.evaluation.metrics import is_better

if TYPE_CHECKING:
    from llmkit.evaluation.uncertainty.comparing import Difference


def verdict(found: Difference) -> str:
    """Which system is better and how surely; or that there is no evidence, and what these rows could have shown."""
    first, second, score = found.first, found.second, found.score
    if math.isnan(found.difference):
        return f"{score}: undefined for {first} or {second}."
    basis = f"p {shown_p(found.p_corrected)}, {found.test}"
    if found.is_significant:
        second_is_better = is_better(score, found.values[1], found.values[0])
        better, worse = (second, first) if second_is_better else (first, second)
        return f"{score}: {better} is better than {worse} by {abs(found.difference):.4f} ({basis})."
    if not found.standard_error and not found.difference:
        return f"{score}: no evidence of a difference: {first} and {second} have the same score in every row."
    limit = (
        ""
        if math.isnan(found.smallest)
        else f" With these rows, one of {found.smallest:.4f} or more would be found in 80 % of cases."
    )
    return f"{score}: no evidence of a difference between {first} and {second} ({basis}).{limit}"


def shown_p(p_value: float) -> str:
    return "undefined" if math.isnan(p_value) else "< 0.001" if p_value < 0.001 else f"= {p_value:.3f}"

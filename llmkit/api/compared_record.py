"""The result of `compare` as JSON and as lines of Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmkit.api.comparing import Compared
from llmkit.evaluation.uncertainty.wording import verdict
from llmkit.runs.folder import finite

if TYPE_CHECKING:
    from llmkit.evaluation.uncertainty.comparing import Difference


def compared_record(compared: Compared) -> dict[str, Any]:
    """For JSON: the systems with their scores, and each difference with its interval, test and sentence."""
    record: dict[str, Any] = finite(
        {
            "rows": compared.rows,
            "clusters": compared.clusters,
            "split": compared.split,
            "systems": [
                {
                    "name": system.name,
                    "members": list(system.members),
                    "scores": dict(system.scores),
                    "spread_between_seeds": dict(system.spreads),
                }
                for system in compared.systems
            ],
            "differences": [difference_record(found) for found in compared.differences],
            "notes": list(compared.notes),
        }
    )
    return record


def difference_record(found: Difference) -> dict[str, Any]:
    record: dict[str, Any] = finite(
        {
            "score": found.score,
            "first": found.first,
            "second": found.second,
            "values": list(found.values),
            "difference": found.difference,
            "interval": list(found.interval),
            "p_value": found.p_value,
            "p_corrected": found.p_corrected,
            "significant": found.is_significant,
            "test": found.test,
            "standard_error_of_rows": found.standard_error,
            "standard_error_of_seeds": found.seed_error,
            "smallest_difference": found.smallest,
            "text": verdict(found),
        }
    )
    return record

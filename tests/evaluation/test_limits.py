"""What the output says where intervals and tests do not keep what they promise."""

from __future__ import annotations

import pytest

from llmkit.evaluation.uncertainty.interval import Interval
from llmkit.evaluation.uncertainty.limits import difference_notes, interval_notes
from llmkit.evaluation.uncertainty.paired import randomisation
from llmkit.evaluation.uncertainty.statistics import of_means

KNOWN = Interval(0.1, 0.2)


@pytest.mark.parametrize(
    ("scores", "rows", "clusters", "named"),
    [
        (("accuracy", "f1_macro"), 200, None, []),
        (("accuracy", "ece"), 200, None, ["ece:"]),
        (("ece",), 100_000, None, []),
        (("nll",), 400, 40, ["nll:"]),
        (("map", "nll"), 400, None, []),
        (("ece",), 100_000, 300, ["ece:"]),
        (("accuracy",), 19, None, ["20 rows"]),
        (("accuracy",), 900, 19, ["20 clusters"]),
    ],
)
def test_an_interval_that_is_too_short_is_named(
    scores: tuple[str, ...], rows: int, clusters: int | None, named: list[str]
) -> None:
    notes = interval_notes(dict.fromkeys(scores, KNOWN), rows=rows, clusters=clusters)
    assert len(notes) == len(named)
    assert all(name in note for name, note in zip(named, notes, strict=True))


def test_a_score_without_an_interval_says_why() -> None:
    intervals = {"evaluate:x": None, "generator_loss": None, "detection_accuracy": None, "pearson": None}
    module, tokens = interval_notes(intervals, rows=100, clusters=None)
    assert module.startswith("evaluate:")
    assert "generator_loss, detection_accuracy" in tokens
    assert interval_notes({"detection_accuracy": KNOWN}, rows=100, clusters=None) == []


@pytest.mark.parametrize(("clusters", "noted"), [(4, True), (5, False)])
def test_so_few_clusters_that_no_test_can_find_a_difference_are_noted(clusters: int, noted: bool) -> None:
    both = of_means({"x": [0.0] * clusters + [1.0] * clusters})
    p_value = randomisation(both, clusters=list(range(clusters)))["x"]
    assert p_value == 0.5**clusters
    assert (p_value >= 0.05) == noted
    assert bool(difference_notes(rows=100, clusters=clusters)) == noted

"""Labels that look wrong: which rows are found, and in which order."""

from __future__ import annotations

import random

from tiny_recipes import WORDS

from llmkit.inspection.suspects import suspects_of, suspects_of_sets


def test_flipped_labels_are_the_suspects() -> None:
    rng = random.Random(0)
    labels = [("food", "sport")[index % 2] for index in range(200)]
    texts = [" ".join(rng.choices(WORDS[label], k=6)) for label in labels]
    flipped = set(range(3, 200, 20))
    for index in flipped:
        labels[index] = "sport" if labels[index] == "food" else "food"
    suspects = {suspect.row: suspect.likely for suspect in suspects_of(texts, labels)}
    assert len(suspects) >= 3
    assert suspects.keys() <= flipped
    assert all(likely != labels[index] for index, likely in suspects.items())


def test_of_several_labels_the_likeliest_mistake_comes_first_and_a_row_once() -> None:
    labels = [[("food", "sport")[index % 2], "all"] for index in range(120)]
    texts = [" ".join(random.Random(index).choices(WORDS[names[0]], k=6)) for index, names in enumerate(labels)]
    for index in range(10, 70, 10):
        labels[index] = ["sport", "all"]
    suspects = suspects_of_sets(texts, labels, ["food", "sport"])
    assert len(suspects) > 3
    assert {suspect.row for suspect in suspects} <= set(range(10, 70, 10))
    assert len({suspect.row for suspect in suspects}) == len(suspects)
    ratios = [suspect.log_ratio for suspect in suspects]
    assert ratios == sorted(ratios)

"""Scores of tags, against counts by hand."""

from __future__ import annotations

import pytest
from facts import facts
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.errors import DataError, UsageError
from llmkit.evaluation.metrics import METRICS, SCORES, score_texts
from llmkit.evaluation.metrics.tagging import entities, tag_accuracy
from llmkit.tasks.token_classification.tags import entities_of, to_bio


def tagged(*rows: str) -> list[list[str]]:
    return [row.split() for row in rows]


def test_an_entity_is_right_if_both_ends_and_its_type_are() -> None:
    wanted = tagged("B-A I-A O B-B", "B-A O B-B I-B", "O O")
    found = tagged("B-A I-A O B-A", "B-A O B-B O", "B-A O")
    scores = entities(found, wanted)
    assert scores.values == {  # 2 of 5 predicted, 2 of 4 wanted
        "entity_precision": pytest.approx(2 / 5),
        "entity_recall": pytest.approx(2 / 4),
        "entity_f1": pytest.approx(2 * 2 / (5 + 4)),
        "entity_f1_macro": pytest.approx((2 * 2 / (4 + 2) + 0) / 2),
    }
    assert scores.details["per_type"] == {
        "A": {"precision": 0.5, "recall": 1.0, "f1": pytest.approx(2 / 3), "support": 2, "predicted": 4},
        "B": {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 2, "predicted": 1},
    }


def test_an_inside_that_goes_on_with_nothing_is_no_entity() -> None:
    assert entities(tagged("O I-A I-A"), tagged("O B-A I-A")).values["entity_recall"] == 0
    scores = entities(tagged("B-A I-B"), tagged("B-A B-B"))
    assert scores.details["per_type"]["B"]["predicted"] == 0
    assert scores.values["entity_precision"] == 1


def test_schemes_with_ends_are_read_as_bio() -> None:
    assert entities(tagged("S-A B-A E-A"), tagged("B-A B-A I-A")).values["entity_f1"] == 1
    assert entities(tagged("B-A B-A I-A"), tagged("U-A B-A L-A")).values["entity_f1"] == 1


@pytest.mark.parametrize("label", ["-", "a-b", "-x-", "_", "a b", "名前", "B-B"])
def test_a_type_may_have_any_name(label: str) -> None:
    rows = [[f"B-{label}", f"I-{label}", "O"]]
    assert entities(rows, rows).values["entity_f1"] == 1
    assert list(entities(rows, rows).details["per_type"]) == [label]


def test_nothing_to_find_and_nothing_found_is_0_and_never_nan() -> None:
    assert set(entities(tagged("O O"), tagged("O O")).values.values()) == {0.0}
    assert entities([[]], [[]]).values["entity_f1"] == 0
    assert entities(tagged("O O"), tagged("B-A I-A")).values["entity_f1_macro"] == 0


tags = st.sampled_from(["O", "B-a", "I-a", "B-b", "I-b"])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.tuples(tags, tags), min_size=1, max_size=8), min_size=1, max_size=5))
def test_figures_are_those_of_the_sets_of_entities(rows: list[list[tuple[str, str]]]) -> None:
    found, wanted = ([to_bio([pair[side] for pair in row]) for row in rows] for side in (0, 1))
    predicted, there = (
        {(i, *one) for i, row in enumerate(side) for one in entities_of(row)} for side in (found, wanted)
    )
    scores = entities(found, wanted).values
    right = len(predicted & there)
    assert scores["entity_precision"] == pytest.approx(right / len(predicted) if predicted else 0)
    assert scores["entity_recall"] == pytest.approx(right / len(there) if there else 0)


def test_tag_accuracy_counts_words_and_has_its_baseline() -> None:
    scores = tag_accuracy(tagged("DET NOUN VERB", "NOUN"), tagged("DET NOUN NOUN", "VERB"))
    assert scores.values == {"tag_accuracy": 0.5, "majority_tag_share": 0.5}


def test_plain_tags_are_no_entities() -> None:
    with pytest.raises(UsageError, match=facts("'NOUN'", "B-", "tag_accuracy")):
        entities(tagged("NOUN"), tagged("NOUN"))


@pytest.mark.parametrize("metric", ["entities", "tag_accuracy"])
def test_rows_of_other_lengths_and_rows_of_text_are_refused(metric: str) -> None:
    with pytest.raises(DataError, match=facts("row 2:", 1, "tags", "2 words")):
        score_texts([metric], tagged("B-A", "B-A"), tagged("B-A", "B-A I-A"))
    with pytest.raises(UsageError, match=facts("row 1:", "text", "tags")):
        score_texts([metric], ["ab"], ["ab"])


def test_a_reference_without_words_has_no_accuracy() -> None:
    with pytest.raises(DataError, match=facts("references", "words")):
        tag_accuracy([[]], [[]])


@pytest.mark.parametrize("metric", ["entities", "tag_accuracy"])
def test_the_tables_name_what_is_given(metric: str) -> None:
    scores = METRICS[metric].compute(tagged("B-A"), tagged("B-A")).values
    assert tuple(scores) == METRICS[metric].scores
    assert scores.keys() <= SCORES.keys()

"""Exact match and F1 of answers, against scores by hand and by the rules of SQuAD and MLQA."""

from __future__ import annotations

import pytest

from llmkit.evaluation.metrics import score_texts
from llmkit.evaluation.metrics.answers import Reference, squad


def scores(prediction: str, reference: Reference) -> tuple[float, float]:
    found = squad([prediction], [reference]).values
    return found["exact_match"], found["answer_f1"]


@pytest.mark.parametrize(
    ("prediction", "reference", "exact", "f1"),
    [
        ("The Eiffel Tower!", ["eiffel  tower"], 1, 1),
        ("in Paris, France", ["Paris"], 0, 2 * 1 / (3 + 1)),
        ("Paris", ["London", "Paris, France", "paris."], 1, 1),  # the best of all
        ("the the cat", ["cat cat"], 0, 2 * 1 / (1 + 2)),  # a word counts as often as it stands there
        ("dog", ["cat"], 0, 0),
        ("", [], 1, 1),
        (" ", [], 1, 1),
        ("cat", [], 0, 0),
        ("", ["cat"], 0, 0),
        ("", "", 1, 1),
        ("cat", "cat", 1, 1),
        ("cat", "", 0, 0),
        ("the", ["the"], 1, 1),
        ("the", ["a"], 0, 0),  # nothing would be left of either
        ("%", ["$"], 0, 0),
        ("$5", ["5"], 1, 1),  # as in string.punctuation, which SQuAD takes away
        ("1,000", ["1000"], 1, 1),
    ],
)
def test_english_answers_are_scored_as_squad_scores_them(
    prediction: str, reference: Reference, exact: float, f1: float
) -> None:
    assert scores(prediction, reference) == pytest.approx((exact, f1))


@pytest.mark.parametrize(
    ("prediction", "reference", "exact", "f1"),
    [
        ("«Война и мир»", ["война и мир"], 1, 1),
        ("北京市", ["北京"], 0, 2 * 2 / (3 + 2)),
        ("（北京）", ["北京"], 1, 1),
        ("東京タワー", ["東京"], 0, 2 * 2 / (5 + 2)),
        ("กรุงเทพ", ["กรุงเทพ"], 1, 1),
        ("ในกรุงเทพ", ["กรุงเทพ"], 0, pytest.approx(0.8, abs=0.1)),
        ("¿Dónde?", ["dónde"], 1, 1),
        ("¿Dónde a?", ["dónde"], 0, 2 * 1 / 3),  # an article of English only
        ("서울 특별시", ["서울"], 0, 2 * 1 / 3),
        ("नई दिल्ली", ["दिल्ली"], 0, 2 * 1 / 3),
    ],
)
def test_answers_in_other_scripts_have_words_and_no_punctuation(
    prediction: str, reference: Reference, exact: float, f1: float
) -> None:
    found = scores(prediction, reference)
    assert found[0] == exact
    assert found[1] == f1 or found[1] == pytest.approx(f1)


def test_means_are_told_apart_for_rows_with_and_without_an_answer() -> None:
    scores = score_texts(["squad"], ["cat", "", "the dog", ""], [["cat"], ["dog"], [], []])
    assert scores.values == {"exact_match": 0.5, "answer_f1": 0.5}
    assert scores.details["squad"] == {
        "has_answer": {"rows": 2, "exact_match": 0.5, "answer_f1": 0.5},
        "no_answer": {"rows": 2, "exact_match": 0.5, "answer_f1": 0.5},
        "articles": "left out",
    }
    assert score_texts(["squad"], ["cat"], [["cat"]]).details["squad"]["no_answer"] == {"rows": 0}

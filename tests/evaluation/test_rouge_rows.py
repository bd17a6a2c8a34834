"""ROUGE against rouge-score itself, digit for digit."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from llmkit.errors import DataError
from llmkit.evaluation.metrics import rouge
from llmkit.evaluation.metrics.rouge import ROUGE_SCORES, UnicodeWords

WORDS = ["run", "running", "runs", "relation", "relational", "flies", "dying", "a1", "2", "the", "-", "é"]


def texts(words: list[str], *, longest_line: int = 12) -> st.SearchStrategy[str]:
    """Lines of words; some are empty, or hold nothing but punctuation."""
    lines = st.lists(st.sampled_from(words), max_size=longest_line).map(" ".join)
    return st.lists(lines, max_size=5).map("\n".join)


def expected(predictions: list[str], references: list[list[str]], **options: Any) -> list[dict[str, float]]:
    scorer = RougeScorer(list(ROUGE_SCORES), **(options or {"use_stemmer": True}))
    rows = [scorer.score_multi(row, text) for text, row in zip(predictions, references, strict=True)]
    return [{name: score.fmeasure for name, score in row.items()} for row in rows]


@given(prediction=texts(["a", "b"]), reference=texts(["a", "b"]))
@settings(max_examples=300, deadline=None)
def test_rouge_equals_rouge_score_where_many_longest_subsequences_exist(prediction: str, reference: str) -> None:
    scores = rouge([prediction], [reference], tokenizer="rouge-score").values
    assert [scores] == expected([prediction], [[reference]])


@given(prediction=texts(list("abcde")), references=st.lists(texts(list("abcde")), min_size=1, max_size=3))
@settings(max_examples=200, deadline=None)
def test_rouge_equals_score_multi_with_several_references(prediction: str, references: list[str]) -> None:
    scores = rouge([prediction], [references], tokenizer="rouge-score").values
    assert [scores] == expected([prediction], [references])


@given(prediction=texts(WORDS), reference=texts(WORDS))
@settings(max_examples=100, deadline=None)
def test_stems_are_those_of_rouge_score(prediction: str, reference: str) -> None:
    scores = rouge([prediction], [reference], tokenizer="rouge-score").values
    assert [scores] == expected([prediction], [[reference]])


@given(prediction=texts(["да", "нет", "木", "ไ"]), reference=texts(["да", "нет", "木", "ไ"]))
@settings(max_examples=100, deadline=None)
def test_the_unicode_tokenizer_is_scored_as_rouge_score_would(prediction: str, reference: str) -> None:
    scores = rouge([prediction], [reference], tokenizer="unicode").values
    assert [scores] == expected([prediction], [[reference]], tokenizer=UnicodeWords())


@pytest.mark.parametrize("words_in_line", [7, 64, 400])
def test_long_texts_in_lines_of_any_length_equal_rouge_score(words_in_line: int) -> None:
    rng = random.Random(words_in_line)
    prediction, reference = (
        "\n".join(" ".join(rng.choices("abcdef", k=words_in_line)) for _ in range(400 // words_in_line))
        for _ in range(2)
    )
    scores = rouge([prediction], [reference], tokenizer="rouge-score").values
    assert [scores] == expected([prediction], [[reference]])


def test_the_rows_of_a_corpus_do_not_mix() -> None:
    rng = random.Random(0)
    lines = [[" ".join(rng.choices("abc", k=rng.randrange(6))) for _ in range(4)] for _ in range(120)]
    predictions = ["\n".join(row[:2]) for row in lines]
    references = [row[2:] for row in lines]
    rows = expected(predictions, references)
    scores = rouge(predictions, references, tokenizer="rouge-score").values
    assert scores == {name: pytest.approx(sum(row[name] for row in rows) / len(rows), abs=1e-15) for name in scores}


def test_a_row_without_a_reference_is_an_error_with_its_number() -> None:
    with pytest.raises(DataError, match="row 2"):
        rouge(["a", "b"], [["a"], []])

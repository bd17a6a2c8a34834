"""Texts are split into the words that the training rows had."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmkit.tasks.token_classification.splitting import WordCount, WordSplitting

NEWS = [
    "Zoë O'Neil-Smith lives in Rome since 1963 . 👍🏽 \u200b don't U.S. Málaga",
    '" I like ( the ) Mr. Brown \'s house , " he said .',
    "He works at Acme Inc. , and AT&T pays $ 5 , 50 % of it . - yes",
    "@ada likes #nlp and #ai , C++ , too .",
]


def learnt(*sentences: str) -> WordSplitting:
    return of_words([sentence.split() for sentence in sentences])


def of_words(sentences: Sequence[Sequence[str]]) -> WordSplitting:
    count = WordCount()
    count.add(sentences)
    return count.splitting()


def split(splitting: WordSplitting, text: str) -> list[str]:
    return [text[start:end] for start, end in splitting.spans(text)]


@pytest.mark.parametrize("sentence", NEWS)
def test_training_words_joined_by_spaces_are_split_into_themselves(sentence: str) -> None:
    assert split(learnt(*NEWS), sentence) == sentence.split()


_word = st.text("ab.'-(\"U#上", min_size=1, max_size=5)


@given(st.lists(st.lists(_word, min_size=1, max_size=6), min_size=1, max_size=8))
def test_no_training_word_is_ever_split(sentences: list[list[str]]) -> None:
    splitting = of_words(sentences)
    for words in sentences:
        assert split(splitting, " ".join(words)) == words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Zoë lives in London.", "Zoë lives in London ."),
        ("Zoë lives in the U.S. and in London.", "Zoë lives in the U.S. and in London ."),
        ('He said: "Mr. Brown\'s house (old), costs $5."', 'He said: " Mr. Brown \'s house ( old ) , costs $ 5 . "'),
        ("It is in the U.K.", "It is in the U.K."),
        ("#nlp at AT&T, C++", "#nlp at AT&T , C++"),
    ],
)
def test_marks_come_off_words_where_they_stood_alone_in_training(text: str, words: str) -> None:
    assert split(learnt(*NEWS), text) == words.split()


def test_a_mark_that_stands_apart_in_a_text_comes_off_no_word_of_it() -> None:
    assert split(learnt(*NEWS), "Bros. and Corp. sold it .") == ["Bros.", "and", "Corp.", "sold", "it", "."]


def test_a_mark_that_no_longer_training_word_contains_splits_words_wherever_it_is() -> None:
    sentences = ["max _ len is x _ y or a - b"] * 3
    assert split(learnt(*sentences), "max_len, read-only") == ["max", "_", "len,", "read-only"]
    assert split(learnt(*sentences, "- - - ( )"), "read-only (x_y)") == ["read", "-", "only", "(", "x", "_", "y", ")"]
    assert split(learnt(*sentences, "snake_case - - -"), "max_len") == ["max_len"]


def test_offsets_are_characters_of_the_text() -> None:
    text = "👍🏽  Ada\tlives, in\u00a0Rome."
    spans = learnt("Ada lives , in Rome .").spans(text)
    assert [text[start:end] for start, end in spans] == ["👍🏽", "Ada", "lives", ",", "in", "Rome", "."]
    assert spans[1] == (4, 7)


@pytest.mark.parametrize(
    ("training", "text", "words", "unsplit"),
    [
        ("李 雷 住 在 London 。", "李雷 London住", ["李", "雷", "London", "住"], False),
        ("李雷 住在 上海市 。", "李雷 住在 上海", ["李雷", "住在", "上海"], False),
        ("李雷 住在 上海市 。", "李雷住在上海", ["李雷住在上海"], True),
        ("Ada lives .", "東京 Ada", ["東", "京", "Ada"], False),
    ],
)
def test_chinese_is_split_into_characters_where_training_had_those(
    training: str, text: str, words: list[str], unsplit: bool
) -> None:
    splitting = learnt(training)
    assert split(splitting, text) == words
    assert splitting.is_unsplit(text) == unsplit


@pytest.mark.parametrize(("texts", "learnt"), [(0, True), (1, True), (2, False)])
def test_the_words_of_most_rows_decide(texts: int, learnt: bool) -> None:
    count = WordCount()
    count.add([], texts=texts)
    assert not count.mostly_words
    count.add([["Ada"]])
    assert count.mostly_words == learnt


def test_what_is_kept_with_a_model_is_read_back() -> None:
    splitting = learnt(*NEWS)
    assert WordSplitting.model_validate(json.loads(json.dumps(splitting.model_dump()))) == splitting
    assert "U.S." in splitting.whole_words

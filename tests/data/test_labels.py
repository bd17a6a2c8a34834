"""The order of labels, labels that are written alike, and equal inputs with different answers."""

from __future__ import annotations

import unicodedata

import pytest
from facts import logged

from llmkit.data.labels import AnswersOfInputs, LabelCount, alike, in_order


@pytest.mark.parametrize(
    ("names", "ordered"),
    [
        (["10", "9", "-1", "0", "2"], ["-1", "0", "2", "9", "10"]),
        (["1.5", "10", "1", "0.5"], ["0.5", "1", "1.5", "10"]),
        (["1", "01", "10", "2"], ["01", "1", "2", "10"]),
        (["9007199254740993", "9007199254740992", "3"], ["3", "9007199254740992", "9007199254740993"]),
        (["10", "9", "none"], ["10", "9", "none"]),
        (["nan", "10", "9"], ["10", "9", "nan"]),
        (["true", "false"], ["false", "true"]),
        ([], []),
    ],
)
def test_labels_are_in_numeric_order_only_if_all_are_numbers(names: list[str], ordered: list[str]) -> None:
    assert in_order(names) == ordered


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("good", "Good"),
        ("good", "good "),
        ("very good", "very\u00a0good"),
        ("very good", "very  good"),
        (unicodedata.normalize("NFC", "café"), unicodedata.normalize("NFD", "café")),
        ("good", "\uff47ood"),
        ("good", "\ufeffgood"),
        ("straße", "STRASSE"),
        ("Ä", "a\u0308"),
    ],
)
def test_names_that_differ_only_in_how_they_are_written_are_alike(first: str, second: str) -> None:
    assert alike([first, "bad", second]) == [[first, second]]


@pytest.mark.parametrize("names", [["good", "goods"], ["a", "ä"], ["1", "01"], ["a-b", "ab"], ["same", "same"]])
def test_names_that_differ_in_letters_are_not_alike(names: list[str]) -> None:
    assert alike(names) == []


def test_alike_labels_are_counted_with_their_first_places(caplog: pytest.LogCaptureFixture) -> None:
    count = LabelCount()
    for line, name in enumerate(["good", "bad", "good", "caf\u00e9", "Good", "cafe\u0301"], 2):
        count.add([name], place=f"a.csv:{line}")
    count.warn_of_alike()
    assert logged(caplog, "WARNING", "'good' (2", "a.csv:2", "'Good' (1", "a.csv:6")
    assert logged(caplog, "WARNING", "'café' (1", "a.csv:5", "'cafe\\u0301' (1", "a.csv:7")
    assert len(caplog.records) == 2


def test_equal_inputs_with_different_answers_are_counted_once_each(caplog: pytest.LogCaptureFixture) -> None:
    answers = AnswersOfInputs()
    for line, (read, answer) in enumerate([("x", "a"), ("y", "a"), ("x", "b"), ("x", "b"), ("y", "a"), ("z", "b")]):
        answers.add(read, answer, place=f"a.csv:{line}")
    answers.warn()
    assert logged(caplog, "WARNING", "1 texts", "2 rows", "a at a.csv:0", "b at a.csv:2")


def test_equal_inputs_with_equal_answers_need_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    answers = AnswersOfInputs()
    for read in ("x", "x", "y"):
        answers.add(read, "a", place="a.csv:1")
    answers.warn()
    assert not caplog.records

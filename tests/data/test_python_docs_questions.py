"""Questions made of docstrings: right by construction, and an answer only where the passage has one."""

from __future__ import annotations

import pytest

from llmkit.data.python_docs_questions import arguments_of, questions_of

GOOGLE = """Give the sum of numbers.

Args:
    numbers (`list[int]`, *optional*):
        What is added up, one
        after another. Defaults to none.
    start: The value that the sum begins with.
    *rest: Anything.

        More about it.

Returns:
    total: The sum of all the numbers.
"""
NUMPY = """Give the sum of numbers.

Parameters
----------
numbers : list of int
    What is added up
    - in order.
start : int, optional
    The value that the sum begins with, if any.

Returns
-------
int
    The sum of all the numbers.
"""


@pytest.mark.parametrize(
    ("docstring", "sentences"),
    [
        (
            GOOGLE,
            {
                "numbers": "What is added up, one\n        after another",
                "start": "The value that the sum begins with",
                "rest": "",  # too short for an answer, yet an argument
            },
        ),
        (NUMPY, {"numbers": "What is added up", "start": "The value that the sum begins with, if any"}),
    ],
)
def test_arguments_have_their_first_sentence_and_offsets(docstring: str, sentences: dict[str, str]) -> None:
    found = arguments_of(docstring)
    assert {one.name: one.sentence for one in found} == sentences
    for one in found:
        assert docstring[one.name_start :].startswith(one.name)
        assert docstring[one.sentence_start :].startswith(one.sentence)


@pytest.mark.parametrize(
    "docstring",
    [
        "No list.",
        "Args:",
        "Args:\n",
        "Parameters\n---",
        "Args:\nflush left: is none.",
        "Args:\n  a: A long text.\n  b, c: Both.",
    ],
)
def test_a_docstring_without_a_list_of_arguments_has_none(docstring: str) -> None:
    assert arguments_of(docstring) == []


def test_a_docstring_is_asked_about_its_arguments_itself_and_an_argument_of_another() -> None:
    other = "Open a file.\n\nArgs:\n    path: The place of the file on the disk.\n    mode: How the file is opened.\n"
    docs = [
        {"docstring": NUMPY, "label": "numpy", "name": "m.total"},
        {"docstring": other, "label": "rich", "name": "m.open"},
    ]
    rows = questions_of(docs)
    assert rows == questions_of(docs)
    texts = {row["question"]: row["answers"]["text"] for row in rows if row["context"] == NUMPY}  # type: ignore[index]
    begins = "The value that the sum begins with, if any"
    [(name, sentence)] = {"numbers": "What is added up", "start": begins}.items() & {
        (question.split()[-1].rstrip("?"), text[0])
        for question, text in texts.items()
        if "is the argument" in question and text
    }
    assert texts[f"Which argument is described as: {sentence}?"] == [name]
    assert texts["Which argument is the first?"] == ["numbers"]
    assert texts["Which argument is the second?"] == ["start"]
    assert texts["What does total do?"] == ["Give the sum of numbers"]
    assert texts["What does total return?"] == ["int\n    The sum of all the numbers"]
    [absent] = [question for question, text in texts.items() if not text]
    assert any(word in absent for word in ("path", "mode", "file"))
    unanswered = [row["question"] for row in rows if row["context"] == other and not row["answers"]["text"]]  # type: ignore[index]
    assert len(unanswered) == 2
    assert "What does open return?" in unanswered


def test_every_answer_stands_where_it_says() -> None:
    docs = [
        {"docstring": text, "label": "python", "name": f"m.{number}"} for number, text in enumerate((GOOGLE, NUMPY))
    ]
    for row in questions_of(docs):
        answers: dict[str, list[object]] = row["answers"]  # type: ignore[assignment]
        for text, start in zip(answers["text"], answers["answer_start"], strict=True):
            assert str(row["context"]).startswith(str(text), start)  # type: ignore[arg-type]

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
total : int
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


@pytest.mark.parametrize("docstring", ["No list.", "Args:", "Args:\n", "Parameters\n---", "Args:\nflush left: is none."])
def test_a_docstring_without_a_list_of_arguments_has_none(docstring: str) -> None:
    assert arguments_of(docstring) == []


def test_both_kinds_of_questions_are_asked_and_one_about_another_function() -> None:
    other = "Open a file.\n\nArgs:\n    path: The place of the file on the disk.\n    mode: How the file is opened.\n"
    docs = [
        {"docstring": NUMPY, "label": "numpy", "name": "m.total"},
        {"docstring": other, "label": "rich", "name": "m.open"},
    ]
    rows = questions_of(docs)
    assert rows == questions_of(docs)
    assert {str(row["question"]).split(" ")[0] for row in rows} == {"What", "Which"}
    for context, foreign in ((NUMPY, ("path", "mode", "file")), (other, ("numbers", "start", "added up", "begins"))):
        absent = [str(row["question"]) for row in rows if row["context"] == context and not row["answers"]["text"]]
        assert [question.split(" ")[0] for question in absent] == ["What", "Which"]
        assert all(any(word in question for word in foreign) for question in absent)

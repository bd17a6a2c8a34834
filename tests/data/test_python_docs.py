"""The built-in data set is deterministic, whole, and honest about what it drops."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from llmkit.data.fields import Fields
from llmkit.data.python_docs import (
    COLUMNS,
    LABELS,
    definitions,
    load_python_docs,
    read_cache,
    row_of,
    without_shared_texts,
)
from llmkit.data.python_docs_questions import QUESTION_COLUMNS
from llmkit.data.sources import open_rows
from llmkit.recipe.blocks import ColumnType

pytestmark = pytest.mark.slow  # the corpus is built twice

Docs = list[dict[str, str]]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def docs(cache: Path) -> Docs:
    """Built in a process of its own, with another hash seed than ours."""
    code = "from llmkit.data.python_docs import load_python_docs; load_python_docs()"
    environment = {**os.environ, "LLMKIT_CACHE": str(cache), "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLMKIT_CACHE", str(cache))
        return load_python_docs()


def test_every_label_has_rows_and_none_has_more_than_a_third(docs: Docs) -> None:
    counts = Counter(row["label"] for row in docs)
    assert set(counts) == set(LABELS)
    assert min(counts.values()) >= 200
    assert max(counts.values()) < sum(counts.values()) / 3
    assert len(docs) > 4000


def test_no_text_stands_there_twice_and_none_is_short(docs: Docs) -> None:
    assert max(Counter(" ".join(row["text"].split()) for row in docs).values()) == 1
    assert all(set(row) == set(COLUMNS) for row in docs)
    assert min(len(row["text"]) for row in docs) >= 40
    assert all(row["summary"] == row["summary"].strip() and row["summary"] for row in docs)


def test_the_first_rows_have_all_labels(docs: Docs) -> None:
    assert {row["label"] for row in docs[:200]} == set(LABELS)


def test_no_row_comes_from_tests_or_copied_code(docs: Docs) -> None:
    parts = {part for row in docs for part in row["name"].split(".")[:-1]}
    assert parts.isdisjoint({"test", "tests", "idlelib", "_vendor", "site-packages"})


def test_a_second_build_gives_the_same_bytes(
    docs: Docs, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path))
    load_python_docs()
    [first] = (cache / "python-docs").iterdir()
    [second] = (tmp_path / "python-docs").iterdir()
    assert first.name == second.name
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("damage", [lambda body: body[:-1], lambda body: body[:500] + b"X" + body[501:], lambda _: b""])
def test_a_damaged_cache_is_noticed(docs: Docs, cache: Path, damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    [whole] = (cache / "python-docs").iterdir()
    assert read_cache(whole) == docs
    path = tmp_path / "damaged.jsonl"
    path.write_bytes(damage(whole.read_bytes()))
    assert read_cache(path) is None


def test_the_source_gives_rows_with_a_fingerprint_of_versions_and_content(
    docs: Docs, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLMKIT_CACHE", str(cache))
    source = open_rows(["builtin:python-docs"], Fields(column_types={"text": "text", "label": "label"}))
    rows = list(source)
    assert [row.fields for row in rows] == [{"text": row["text"], "label": row["label"]} for row in docs]
    assert rows[12].place == "builtin:python-docs[12]"
    [found] = source.fingerprint()
    assert (found["rows"], found["columns"]) == (len(docs), list(COLUMNS))
    assert set(found["versions"]) == set(LABELS)
    assert len(found["sha256"]) == 64


def test_every_answer_of_the_questions_made_of_them_stands_where_it_says(
    docs: Docs, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLMKIT_CACHE", str(cache))
    column_types: dict[str, ColumnType] = {"context": "text", "question": "text", "answers": "answers"}
    source = open_rows(["builtin:python-docs-questions"], Fields(column_types=column_types))
    rows = list(source)
    for row in rows:
        answers = row.fields["answers"]
        for text, start in zip(answers["text"], answers["answer_start"], strict=True):
            assert row.fields["context"].startswith(text, start), row.place
    unanswered = sum(not row.fields["answers"]["text"] for row in rows)
    assert 0.15 < unanswered / len(rows) < 0.4
    assert len(rows) > 3000
    [found] = source.fingerprint()
    assert (found["rows"], found["columns"]) == (len(rows), list(QUESTION_COLUMNS))
    assert set(found["versions"]) == set(LABELS)


def test_a_docstring_is_split_after_its_first_sentence() -> None:
    docstring = """Give the sum of
        all the numbers.
        More about it, at some length, in the body:

            indented code

        and an end.
        """
    row = row_of(docstring)
    assert row is not None
    assert row.pop("docstring").startswith("Give the sum of\nall the numbers.\nMore about it")
    assert row == {
        "summary": "Give the sum of all the numbers.",
        "text": "More about it, at some length, in the body:\n\n    indented code\n\nand an end.",
    }


@pytest.mark.parametrize(
    "docstring",
    [
        "One line only, however long it may be, has no body at all.",
        "A summary of some length.\n\nA short body.",
        "Args:\n    first: a long description of what the first argument is for.",
        "Hm.\n\nA body that is long enough to count as the text of a row, surely.",
        "A summary of some length.\n\nA long enough body, which has a lone surrogate: \ud800 in it.",
    ],
)
def test_a_docstring_without_summary_or_body_is_left_out(docstring: str) -> None:
    assert row_of(docstring) is None


def test_texts_under_several_labels_are_dropped_altogether() -> None:
    rows = [
        {"text": "the same", "label": "numpy"},
        {"text": "the  same\n", "label": "torch"},
        {"text": "another", "label": "torch"},
    ]
    assert without_shared_texts(rows) == [rows[2]]


def test_names_follow_classes_and_conditions_but_not_inner_functions() -> None:
    source = "class A:\n  def f(self):\n    def inner(): ...\n  class B: ...\n"
    source += "if x:\n  def g(): ...\nelse:\n  async def h(): ..."
    names = [name for name, _ in definitions(ast.parse(source), "m")]
    assert names == ["m", "m.A", "m.A.f", "m.A.B", "m.g", "m.h"]

"""Parameter names in docstrings: marked where they are names, and nowhere else."""

from __future__ import annotations

import ast

import pytest
from facts import says

from llmkit.data.fields import Fields
from llmkit.data.python_docs import _sample, _source_folder
from llmkit.data.python_docs_entities import COLUMNS, parameters, prose, row_of, tagged
from llmkit.data.sources import open_rows
from llmkit.errors import DataError
from llmkit.tasks.token_classification.tags import to_bio


def function(source: str) -> ast.FunctionDef:
    node = ast.parse(source).body[0]
    assert isinstance(node, ast.FunctionDef)
    return node


def shown(text: str, *names: str) -> str:
    words, tags = tagged(text, set(names))
    return " ".join(word if tag == "O" else f"{word}/{tag[0]}" for word, tag in zip(words, tags, strict=True))


def test_a_name_is_tagged_piece_by_piece_where_it_stands_whole() -> None:
    assert shown("If max_len is set, max is not.", "max_len") == "If max/B _/I len/I is set , max is not ."
    assert shown("*key* and keys, `key`.", "key") == "* key/B * and keys , ` key/B ` ."
    assert shown("self.key is no key", "key") == "self . key is no key/B"
    assert shown("x y", "x", "y") == "x/B y/B"
    assert shown("x_y x", "x", "x_y") == "x/B _/I y/I x/B"


def test_prose_ends_where_sections_fields_or_examples_begin() -> None:
    docstring = """Find a key.

    If key is given,
    it is used.

        code = key

    - a list of key

    Args:
        key: what to find
    """
    assert prose(docstring) == "Find a key. If key is given, it is used."
    assert prose("Find it.\n:param key: it") == "Find it."
    assert prose("Find it.\n\nMore.\n>>> find(key)\nBehind.\n\nAnd more.") == "Find it. More."
    assert prose("Find it.\n\nParameters\n----------\nkey : str") == "Find it."


def test_parameters_are_all_but_self_and_cls() -> None:
    assert parameters(function("def f(self, a, /, b, *c, d=1, **e): ...")) == set("abcde")


@pytest.mark.parametrize(
    ("source", "docstring"),
    [
        ("def f(): ...", "A long enough description of a function that takes nothing at all."),
        ("def f(self): ...", "A long enough description of a method that takes nothing at all."),
        ("def f(a, of): ...", "A long enough description of a function with a name that is a common word."),
        ("def f(key): ...", "Too short for key."),
        ("class A: ...", "A long enough description of a class, which has no parameters itself."),
    ],
)
def test_what_cannot_be_a_row_is_left_out(source: str, docstring: str) -> None:
    assert row_of(ast.parse(source).body[0], docstring) is None  # type: ignore[arg-type]


def test_rows_of_a_package_are_words_with_valid_tags_and_the_same_at_each_reading() -> None:
    rows = _sample("rich", _source_folder("rich"), row_of, 60)
    assert rows == _sample("rich", _source_folder("rich"), row_of, 60)
    assert len(rows) >= 60
    for row in rows:
        assert set(row) == set(COLUMNS)
        assert len(row["words"]) == len(row["tags"])
        assert "".join(row["words"]) == "".join(row["text"].split())
        assert to_bio(row["tags"]) == row["tags"]
    assert any("I-PARAM" in row["tags"] for row in rows)


def test_a_wrong_name_is_told_all_built_in_sets() -> None:
    with pytest.raises(DataError) as caught:
        open_rows(["builtin:python-docs-entitys"], Fields(column_types={"text": "text"}))
    says(str(caught.value), "'python-docs-entities'", "builtin:python-docs, builtin:python-docs-entities")

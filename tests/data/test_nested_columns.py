"""Columns that are keys of objects, as translations are stored: `translation.en`."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from facts import facts, says

from llmkit.data.fields import Fields
from llmkit.data.sources import open_rows
from llmkit.errors import DataError
from llmkit.recipe.blocks import ColumnType
from llmkit.tasks import RECIPES
from llmkit.tasks.token_classification.recipe import TokenClassificationRecipe

COLUMN_TYPES: dict[str, ColumnType] = {"source": "text", "target": "text"}
COLUMNS = {"source": "translation.en", "target": "translation.de"}
RECORDS = [{"translation": {"en": "a dog", "de": "ein Hund"}}, {"translation": {"en": "a cat", "de": "eine Katze"}}]


def jsonl(folder: Path, *records: object) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def read(path: Path, columns: dict[str, str]) -> list[dict[str, str]]:
    return [row.fields for row in open_rows([str(path)], Fields(column_types=COLUMN_TYPES, columns=columns))]


@pytest.mark.parametrize("extension", ["jsonl", "parquet"])
def test_a_column_may_be_a_key_of_the_objects_in_one(tmp_path: Path, extension: str) -> None:
    path = jsonl(tmp_path, *RECORDS)
    if extension == "parquet":
        path = tmp_path / "rows.parquet"
        pq.write_table(pa.Table.from_pylist(RECORDS), path)
    assert read(path, COLUMNS) == [
        {"source": "a dog", "target": "ein Hund"},
        {"source": "a cat", "target": "eine Katze"},
    ]


def test_a_column_with_a_dot_in_its_name_is_that_column(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("translation.en,translation.de\na,b\n")
    assert read(path, COLUMNS) == [{"source": "a", "target": "b"}]


@pytest.mark.parametrize(
    ("record", "columns", "stated"),
    [
        ({"other": 1}, COLUMNS, ["'translation.en'", "'other'"]),
        ({"translation": {"fr": "x"}}, COLUMNS, [":1:", "'translation.en'", "'translation'", "'fr'"]),
        ({"translation": "x"}, COLUMNS, [":1:", "'translation.en'", "'translation'", "text"]),
        ({"translation": {"en": 7, "de": "x"}}, COLUMNS, [":1:", "'translation.en'", 7]),
        (
            RECORDS[0],
            {"source": "translation", "target": "translation.de"},
            ["'translation'", "'en', 'de'", "translation.en"],
        ),
    ],
)
def test_a_key_that_is_not_there_is_told_with_what_is(
    tmp_path: Path, record: dict[str, object], columns: dict[str, str], stated: list[object]
) -> None:
    with pytest.raises(DataError) as caught:
        read(jsonl(tmp_path, record), columns)
    says(str(caught.value), *stated)


def test_words_and_tags_may_be_keys_of_one_object(tmp_path: Path) -> None:
    column_types = TokenClassificationRecipe.COLUMN_TYPES
    path = jsonl(tmp_path, {"ex": {"tokens": ["Ada"], "tags": ["B-PER"]}})
    columns = {"words": "ex.tokens", "tags": "ex.tags"}
    rows = open_rows(
        [str(path)], Fields(column_types=column_types, columns=columns, groups=TokenClassificationRecipe.FIELD_GROUPS)
    )
    assert [row.fields for row in rows] == [{"words": ["Ada"], "tags": ["B-PER"]}]


def test_of_two_nested_columns_the_one_that_is_missing_is_named(tmp_path: Path) -> None:
    path = jsonl(tmp_path, {"ex": {"tokens": ["Ada"]}})
    columns = {"words": "ex.tokens", "tags": "other.tags"}
    with pytest.raises(DataError, match=facts("'other.tags'", "'ex'")):
        open_rows(
            [str(path)],
            Fields(
                column_types=TokenClassificationRecipe.COLUMN_TYPES,
                columns=columns,
                groups=TokenClassificationRecipe.FIELD_GROUPS,
            ),
        )


@pytest.mark.parametrize(("blank_is_none", "used"), [(True, 2), (False, 1)])
def test_a_row_with_a_blank_optional_text_is_passed_over_where_that_is_not_none(
    tmp_path: Path, blank_is_none: bool, used: int
) -> None:
    """A blank text_pair was trained on without a word."""
    path = jsonl(tmp_path, {"text": "a", "text_pair": " "}, {"text": "b", "text_pair": "c"})
    column_types: dict[str, ColumnType] = {"text": "text", "text_pair": "text"}
    rows = open_rows([str(path)], Fields(column_types=column_types, optional={"text_pair": blank_is_none}))
    assert len(list(rows)) == used
    assert list(rows.skipped.values()) == ([] if blank_is_none else [1])


def test_only_a_second_text_is_more_than_none_where_it_is_blank() -> None:
    found = {role: blank for recipe in RECIPES.values() for role, blank in recipe.OPTIONAL_FIELDS.items()}
    assert {role for role, blank in found.items() if not blank} == {"text_pair"}


def test_an_optional_role_may_be_blank(tmp_path: Path) -> None:
    path = jsonl(tmp_path, {"text": "a", "prefix": ""}, {"text": " ", "prefix": "b"})
    rows = open_rows([str(path)], Fields(column_types={"text": "text", "prefix": "text"}, optional={"prefix": True}))
    assert [row.fields for row in rows] == [{"text": "a", "prefix": ""}]
    assert list(rows.skipped.values()) == [1]

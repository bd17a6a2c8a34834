"""CoNLL files, and tables of which each has one of several sets of columns."""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from facts import facts, logged, says
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.data.fields import Fields
from llmkit.data.rows import Row
from llmkit.data.sources import open_rows
from llmkit.errors import DataError
from llmkit.tasks.token_classification.recipe import TokenClassificationRecipe

SHAPES: dict[str, Any] = {
    "column_types": TokenClassificationRecipe.COLUMN_TYPES,
    "groups": TokenClassificationRecipe.FIELD_GROUPS,
}


def rows_of(path: Path, **columns: str) -> list[Row]:
    return list(open_rows([str(path)], Fields(columns=columns, **SHAPES)))


def written(path: Path, content: str) -> Path:
    path.write_bytes(content.encode())
    return path


# ---- CoNLL

CONLL_2003 = """-DOCSTART- -X- -X- O

EU NNP I-NP I-ORG
rejects VBZ I-VP O


-DOCSTART- -X- -X- O
Peter  NNP I-NP\tI-PER\r
# NN I-NP O
"""


@pytest.mark.parametrize("extension", ["conll", "bio", "iob", "iob2", "CONLL"])
def test_a_sentence_has_the_first_column_as_words_the_last_as_tags_and_the_line_of_its_first_word(
    extension: str, tmp_path: Path
) -> None:
    path = written(tmp_path / f"a.{extension}", CONLL_2003)
    assert rows_of(path) == [
        Row({"words": ["EU", "rejects"], "tags": ["I-ORG", "O"]}, f"{path.as_posix()}:3"),
        Row({"words": ["Peter", "#"], "tags": ["I-PER", "O"]}, f"{path.as_posix()}:8"),
    ]


def test_any_column_can_be_chosen_by_its_number(tmp_path: Path) -> None:
    path = written(tmp_path / "a.conll", CONLL_2003)
    assert rows_of(path, tags="2")[0].fields == {"words": ["EU", "rejects"], "tags": ["NNP", "VBZ"]}
    with pytest.raises(DataError, match=facts("a.conll", "'5'", "'words', 'tags', '1', '2'")):
        rows_of(path, tags="5")


def test_tabs_alone_part_the_columns_of_a_file_that_has_some(tmp_path: Path) -> None:
    path = written(tmp_path / "a.conll", "New York\tLOC\nis\tO\n")
    assert rows_of(path)[0].fields == {"words": ["New York", "is"], "tags": ["LOC", "O"]}


def test_a_no_break_space_is_part_of_a_word(tmp_path: Path) -> None:
    path = written(tmp_path / "a.conll", "10\u00a0000 NUM\nx\u2028y X\n")
    assert rows_of(path)[0].fields["words"] == ["10\u00a0000", "x\u2028y"]


@pytest.mark.parametrize(
    ("content", "stated"),
    [
        ("EU B\nrejects\nx O\n", ["a.conll:2:", "column", 2, "'rejects'"]),
        ("EU B\nre jects O\n", ["a.conll:2:", "3 columns", 2, "'re jects O'"]),
        ("\n\nEU\n", ["a.conll:3:", "column", "'EU'"]),
        ("EU\tB\n\tO\n", ["a.conll:2:", "empty", "O"]),
        ("EU\tNN\tB\nis\t\tO\n", ["a.conll:2:", "empty", "O"]),
        ("EU B\n\u200b\u00a0 O\nx\n", ["a.conll:3:", "column", "'x'"]),
        ("EU B\0\n", ["a.conll:1:", "NUL"]),
        ("\n \n-DOCSTART- O\n", ["a.conll:", 0, "rows"]),
    ],
)
def test_a_broken_line_is_named_by_its_number(content: str, stated: list[object], tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        rows_of(written(tmp_path / "a.conll", content))
    says(str(caught.value), *stated)


def test_a_conll_file_is_read_as_a_stream(tmp_path: Path) -> None:
    path = written(tmp_path / "a.conll", "EU B\n\nrejects O\n\nbroken\n")
    rows = iter(open_rows([str(path)], Fields(**SHAPES)))
    assert next(rows).fields["words"] == ["EU"]
    assert next(rows).fields["words"] == ["rejects"]
    with pytest.raises(DataError, match=r"a\.conll:5"):
        next(rows)


@settings(deadline=None, max_examples=60)
@given(content=st.binary() | st.text("ab \t\n\r-O\u00a0\u200b").map(str.encode))
def test_arbitrary_bytes_give_sentences_or_a_data_error(
    content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.conll"
    path.write_bytes(content)
    with suppress(DataError):
        assert all(len(row.fields["words"]) == len(row.fields["tags"]) > 0 for row in rows_of(path))


# ---- layouts


def test_each_table_has_the_layout_whose_columns_are_there(tmp_path: Path) -> None:
    words = {"words": ["Ada", "sleeps"], "tags": ["B-PER", "O"], "text": "unused"}
    spans = {"text": "Ada sleeps", "spans": [{"start": 0, "end": 3, "label": "PER", "text": "Ada"}]}
    written(tmp_path / "a.jsonl", json.dumps(words))
    written(tmp_path / "b.jsonl", json.dumps(spans))
    found = [row.fields for row in rows_of(tmp_path)]
    assert found == [
        {"words": ["Ada", "sleeps"], "tags": ["B-PER", "O"]},
        {"text": "Ada sleeps", "spans": [{"start": 0, "end": 3, "label": "PER"}]},
    ]


def test_a_mapped_role_chooses_the_layout_that_has_it(tmp_path: Path) -> None:
    both = {"words": ["Ada"], "tags": ["B-PER"], "text": "Ada", "marks": []}
    path = written(tmp_path / "a.jsonl", json.dumps(both))
    assert rows_of(path, spans="marks")[0].fields == {"text": "Ada", "spans": []}


def test_a_table_with_neither_layout_is_told_both(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", '{"tokens": ["Ada"], "tags": ["B-PER"]}')
    with pytest.raises(DataError) as caught:
        rows_of(path)
    says(
        str(caught.value),
        f"{path.as_posix()}:",
        *("'words' and 'tags'", "'text' and 'spans'", "'tokens', 'tags'", 'data.columns: {words: "tokens"}'),
    )
    assert rows_of(path, words="tokens")[0].fields == {"words": ["Ada"], "tags": ["B-PER"]}


@pytest.mark.parametrize(
    ("record", "stated"),
    [
        ({"words": ["Ada", "\u00a0"], "tags": ["O", "O"]}, ["'words'", "list", "empty", "word 2 is '\\xa0'"]),
        ({"words": "Ada", "tags": ["O"]}, ["'words'", "text", "list"]),
        ({"words": ["Ada"], "tags": [None]}, ["'tags'", "list"]),
        ({"words": ["a\ud800"], "tags": ["O"]}, ["'words'", "surrogate"]),
        ({"text": "Ada", "spans": [{"start": 0, "label": "PER"}]}, ["'spans'", "list", '{"start": 0']),
        ({"text": "Ada", "spans": [{"start": 0, "end": "3", "label": "PER"}]}, ["'spans'", "list"]),
        ({"text": "Ada", "spans": [{"start": True, "end": 3, "label": "PER"}]}, ["'spans'", "list"]),
        ({"text": "Ada", "spans": [{"start": 0, "end": 3, "label": ""}]}, ["'spans'", "list"]),
        ({"text": "Ada", "spans": None}, ["'spans'", "null"]),
    ],
)
def test_values_of_another_kind_are_refused_with_their_line(
    record: dict[str, Any], stated: list[str], tmp_path: Path
) -> None:
    path = written(tmp_path / "a.jsonl", "\n" + json.dumps(record))
    with pytest.raises(DataError) as caught:
        rows_of(path)
    assert str(caught.value).startswith(f"{path.as_posix()}:2: ")
    says(str(caught.value), *stated)


def test_a_row_without_words_is_passed_over_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = written(tmp_path / "a.jsonl", '{"words": [], "tags": []}\n{"words": ["a"], "tags": ["O"]}\n')
    with caplog.at_level(logging.WARNING, logger="llmkit"):
        assert len(rows_of(path)) == 1
    assert len(logged(caplog, "WARNING", "a.jsonl", "words", "line 1")) == 1


def test_spans_may_be_written_as_json_in_a_cell(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", 'text,spans\nAda,"[{""start"": 0, ""end"": 3, ""label"": ""PER""}]"\n')
    assert rows_of(path)[0].fields["spans"] == [{"start": 0, "end": 3, "label": "PER"}]

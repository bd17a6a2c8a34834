"""`init` on files that are not what their names say, or that no task is for."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from tiny_recipes import rows, write_conll

import llmkit
from llmkit.errors import DataError, UsageError

SENTENCES = [(row["text"], row["label"]) for row in rows(40)]


def written(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["rows.csv", "rows.tsv"])
def test_cells_that_semicolons_separate_are_refused(name: str, tmp_path: Path) -> None:
    data = written(tmp_path / name, ["text;label", *(f"{text};{label}" for text, label in SENTENCES)])
    with pytest.raises(DataError, match="semicolons"):
        llmkit.draft_recipe(data=data)


def test_a_single_text_column_whose_name_has_a_comma_is_a_text(tmp_path: Path) -> None:
    data = written(tmp_path / "rows.csv", ['"text, cleaned"', *(text for text, _ in SENTENCES)])
    assert llmkit.draft_recipe(data=data).columns == {"text": "text, cleaned"}


def test_a_first_row_in_place_of_names_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = written(tmp_path / "rows.csv", ["goal team score rating coach,food", *(f"{a},{b}" for a, b in SENTENCES)])
    with caplog.at_level(logging.WARNING, logger="llmkit"):
        draft = llmkit.draft_recipe(data=data)
    assert draft.columns == {"text": "goal team score rating coach", "label": "food"}
    assert "'food'" in caplog.text
    assert "rows.csv" in caplog.text


@pytest.mark.parametrize(("name", "line"), [("rows.csv", "text,label"), ("rows.txt", ""), ("rows.jsonl", "")])
def test_a_file_without_rows_is_refused(name: str, line: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=name):
        llmkit.draft_recipe(data=written(tmp_path / name, [line]))


def test_tagged_words_in_a_text_file_are_no_plain_text(tmp_path: Path) -> None:
    write_conll(tmp_path / "words.conll")
    data = (tmp_path / "words.conll").rename(tmp_path / "words.txt")
    with pytest.raises(DataError, match=r"words\.txt.*\.conll"):
        llmkit.draft_recipe(data=data)


def test_no_task_is_proposed_for_numbers_alone(tmp_path: Path) -> None:
    data = written(tmp_path / "rows.csv", ["n,m", *(f"{number * 1.5},{number}" for number in range(40))])
    with pytest.raises(DataError, match=r"rows\.csv.*'n', 'm'.*text"):
        llmkit.draft_recipe(data=data)


def test_a_text_beside_numbers_is_not_taken_for_a_text_alone(tmp_path: Path) -> None:
    lines = [json.dumps({"review": text, "price": number * 1.3}) for number, (text, _) in enumerate(SENTENCES)]
    data = written(tmp_path / "rows.jsonl", lines)
    with pytest.raises(UsageError, match=r"classification.*causal-lm"):
        llmkit.draft_recipe(data=data)
    assert llmkit.draft_recipe("classification", data=data).columns == {"text": "review", "label": "price"}


@pytest.mark.parametrize(("name", "line"), [("rows.txt", "hello"), ("novel.txt", "goal " * 3000), ("rows.csv", "text")])
def test_too_few_rows_for_two_splits_are_told(name: str, line: str, tmp_path: Path) -> None:
    data = written(tmp_path / name, [line, *(["hello"] if name == "rows.csv" else [])])
    assert "data." in llmkit.draft_recipe(data=data).problem

"""`tag`: texts from everywhere, entities in their characters, and what was trained is what is measured."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from facts import says
from tiny_recipes import TAG, llmkit, write_conll, write_jsonl

import llmkit as library

SPANS = """recipe: 1
task: token-classification
model: {architecture: bert, size: tiny, tokenizer: {vocab_size: 120}}
data: {train: spans.jsonl, validation: 30%, columns: {spans: entities}}
train: {steps: 1}
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with rows and a finished run of entities, runs/tag-001."""
    folder = tmp_path_factory.mktemp("tagging")
    write_conll(folder / "rows.conll")
    (folder / "tag.yaml").write_text(TAG)
    before = Path.cwd()
    os.chdir(folder)
    try:
        outcome = llmkit("finetune", "tag.yaml")
        assert outcome.code == 0, outcome.err
        assert "IOB1" in outcome.err
        assert "entity_f1 1.0000" in outcome.out
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def here(trained: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(trained)
    return trained


def test_entities_stand_in_brackets_in_the_text_itself(here: Path) -> None:
    outcome = llmkit("tag", "goal player 7 soup")
    assert (outcome.code, outcome.out) == (0, "[goal player](SPORT) 7 [soup](FOOD)\n")
    says(outcome.err, "model: runs/tag-001")
    assert outcome.err.count("\n") == 1


def test_json_has_entities_in_characters_of_the_text(here: Path) -> None:
    text = "🙂 goal\tplayer 7 soup"
    (record,) = llmkit("tag", "--json", text).records
    assert list(record) == ["row", "text", "entities", "truncated_tokens", "unknown_tokens"]
    assert record["unknown_tokens"] == 1
    entities = {entity["text"]: entity for entity in record["entities"]}  # type: ignore[attr-defined]
    found = entities["goal\tplayer"]
    assert list(found) == ["start", "end", "label", "text", "score"]
    assert text[found["start"] : found["end"]] == "goal\tplayer"
    assert (found["start"], found["label"]) == (2, "SPORT")
    assert 0.5 < found["score"] <= 1


def test_texts_come_from_files_and_pipes_and_keep_their_order(here: Path, tmp_path: Path) -> None:
    lines = ["goal 1 ball", "soup", "oven 2"]
    wanted = "[goal](SPORT) 1 [ball](SPORT)\n[soup](FOOD)\n[oven](FOOD) 2\n"
    assert llmkit("tag", "-", stdin="\n".join(lines).encode()).out == wanted
    file = write_jsonl(tmp_path / "in.jsonl", [{"body": line} for line in lines])
    assert llmkit("tag", str(file), "--column", "body").out == wanted


def test_a_long_text_is_read_in_windows_unless_it_is_to_be_cut(here: Path) -> None:
    text = " ".join(["7"] * 60) + " soup"
    assert llmkit("tag", text).out == " ".join(["7"] * 60) + " [soup](FOOD)\n"
    (record,) = llmkit("tag", text, "--overflow", "truncate", "--json").records
    assert record["entities"] == []
    assert record["truncated_tokens"] == 63 - 24
    refused = llmkit("tag", text, "--overflow", "error")
    assert refused.code == 3
    says(refused.err, "error[data]:", "row 1:", "63 tokens", 24)


@pytest.mark.parametrize(
    ("arguments", "code", "stated"),
    [
        (["tag", ""], 3, ["error[data]: row 1:", "text", "empty"]),
        (["tag", "a\udcffb"], 3, ["error[data]: row 1:", "text", "Unicode"]),
        (["tag", "x", "--overflow", "drop"], 2, ["error[usage]:", "--overflow", "'drop'"]),
        (["classify", "x", "--model", "runs/tag-001"], 4, ["error[model]:", "runs/tag-001", "`llmkit tag`"]),
        (["evaluate", "--metric", "tag_acuracy"], 2, ["error[usage]:", "'tag_acuracy'", "'tag_accuracy'"]),
    ],
)
def test_what_cannot_be_is_told_in_one_line(here: Path, arguments: list[str], code: int, stated: list[str]) -> None:
    outcome = llmkit(*arguments)
    assert (outcome.code, outcome.out) == (code, "")
    says(outcome.err, *stated)
    assert "Traceback" not in outcome.err


def test_without_a_run_tag_asks_for_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = llmkit("tag", "a text")
    assert outcome.code == 2
    says(outcome.err, "error[usage]:", "token-classification", "--model")


def test_evaluation_shows_each_type_and_counts_what_tag_shows(here: Path) -> None:
    outcome = llmkit("evaluate", "--model", "runs/tag-001/model", "--data", "rows.conll", "--metric", "entities")
    assert outcome.code == 0, outcome.err
    assert "entity_f1        1.0000" in outcome.out
    assert "label  precision  recall      f1  entities" in outcome.out
    assert "\n  FOOD " in outcome.out


def test_what_tag_writes_can_be_read_as_spans(here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = write_jsonl(tmp_path / "in.jsonl", [{"text": f"goal player {n} soup {n}"} for n in range(30)])
    assert llmkit("tag", str(texts), "-o", str(tmp_path / "spans.jsonl")).code == 0
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spans.yaml").write_text(SPANS)
    outcome = llmkit("finetune", "spans.yaml")
    assert outcome.code == 0, outcome.err
    labels = json.loads(Path("runs/spans-001/data.json").read_text())["labels"]
    assert labels == ["O", "B-FOOD", "B-SPORT", "I-FOOD", "I-SPORT"]


def test_plain_tags_are_measured_by_accuracy_and_written_behind_their_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    records = [{"words": ["goal", str(n), "soup"], "tags": ["N", "CD", "N"]} for n in range(60)]
    write_jsonl(tmp_path / "rows.jsonl", records)
    (tmp_path / "pos.yaml").write_text(TAG.replace("rows.conll", "rows.jsonl").replace("steps: 40", "steps: 20"))
    outcome = llmkit("finetune", "pos.yaml")
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith("runs/pos-001  tag_accuracy 1.0000")
    for model in ("runs/pos-001", "runs/pos-001/model"):
        baseline = ("--baseline",) if model == "runs/pos-001" else ()
        measured = llmkit("evaluate", "--model", model, "--data", "rows.jsonl", *baseline)
        assert measured.code == 0, measured.err
        assert re.search(r"^  tag_accuracy +1\.0000", measured.out, re.MULTILINE)
    assert llmkit("tag", "goal 7 soup").out == "goal/N 7/CD soup/N\n"
    (record,) = llmkit("tag", "--json", "goal  7").records
    assert (record["words"], record["tags"], record["offsets"]) == (["goal", "7"], ["N", "CD"], [[0, 4], [6, 7]])
    model = library.load("runs/pos-001")
    assert not model.finds_entities

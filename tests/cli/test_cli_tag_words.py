"""Taggers of words: texts are split as in training, words can be given, and tags of all notations mean entities."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from facts import says
from published_models import published_folder
from tiny_recipes import Outcome, llmkit, write_jsonl

import llmkit as library
from llmkit.errors import DataError

NAMES, PLACES = ("Ann", "O'Neil-Smith", "Zoë"), ("Rome", "U.S.", "St.-Denis")
RECIPE = """recipe: 1
task: token-classification
model: {architecture: bert, size: tiny, tokenizer: {vocab_size: 300}}
data: {train: rows.conll, validation: 20%}
max_tokens: 32
train: {steps: 40, batch_size: 16, learning_rate: 3e-3, checks: false}
evaluation: {every: 20 steps}
"""
QUICK_RECIPE = """recipe: 1
task: token-classification
model: tiny-bert
data: {train: rows.conll, validation: 20%}
train: {steps: 1, checks: false}
"""


def sentences(count: int = 60) -> list[tuple[list[str], list[str]]]:
    """Words with tags in BIO; a full stop is a word of its own, and also the end of others."""
    made = []
    for number in range(count):
        name, place = NAMES[number % 3], PLACES[number // 3 % 3]
        words = [name, NAMES[(number + 1) % 3], "can't", "see", place, str(number), "."]
        made.append((words, ["B-PER", "I-PER", "O", "O", "B-LOC", "O", "O"]))
    return made


def write_conll(path: Path, *, spelt: Callable[[str], str] = lambda tag: tag, count: int = 60) -> Path:
    blocks = ("".join(f"{word}\t{spelt(tag)}\n" for word, tag in zip(*pair, strict=True)) for pair in sentences(count))
    path.write_text("\n".join(blocks), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with rows and the finished run runs/tag-001, which has learnt them."""
    folder = tmp_path_factory.mktemp("words")
    write_conll(folder / "rows.conll")
    (folder / "tag.yaml").write_text(RECIPE)
    before = Path.cwd()
    os.chdir(folder)
    try:
        outcome = llmkit("finetune", "tag.yaml")
        assert outcome.code == 0, outcome.err
        assert "entity_f1 1.0000" in outcome.out
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def here(trained: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(trained)
    return trained


@pytest.mark.parametrize(
    ("text", "marked"),
    [
        ("Ann O'Neil-Smith can't see U.S. 7 .", "[Ann O'Neil-Smith](PER) can't see [U.S.](LOC) 7 ."),
        ("Ann O'Neil-Smith can't see Rome.", "[Ann O'Neil-Smith](PER) can't see [Rome](LOC)."),
        ("  Zoë\tAnn can't  see St.-Denis", "  [Zoë\tAnn](PER) can't  see [St.-Denis](LOC)"),
    ],
)
def test_a_text_is_split_into_words_as_the_training_rows_were(here: Path, text: str, marked: str) -> None:
    assert llmkit("tag", text).out == marked + "\n"
    (record,) = llmkit("tag", text, "--json").records
    for entity in record["entities"]:  # type: ignore[attr-defined]
        assert text[entity["start"] : entity["end"]] == entity["text"]


def tagged_words(outcome: Outcome) -> list[tuple[list[str], list[str]]]:
    assert outcome.code == 0, outcome.err
    assert all(list(record) == ["row", "words", "tags", "scores", "truncated_tokens"] for record in outcome.records)
    return [(record["words"], record["tags"]) for record in outcome.records]  # type: ignore[misc]


def test_given_words_are_tagged_as_they_are(here: Path, tmp_path: Path) -> None:
    rows = sentences(4)
    write_conll(tmp_path / "a.conll", count=4)
    write_jsonl(tmp_path / "a.jsonl", [{"words": words} for words, _ in rows])  # type: ignore[dict-item]
    write_jsonl(tmp_path / "b.jsonl", [{"text": "x", "tokens": words} for words, _ in rows])  # type: ignore[dict-item]
    cells = [f"{number},{word}" for number, (words, _) in enumerate(rows) for word in words]
    (tmp_path / "c.csv").write_text("\n".join(["sentence_id,words", *cells]), encoding="utf-8")
    (tmp_path / "d.csv").write_text(
        "words\n" + "\n".join('"' + json.dumps(words).replace('"', '""') + '"' for words, _ in rows)
    )
    for name, *options in (("a.conll",), ("a.jsonl",), ("b.jsonl", "--column", "tokens"), ("c.csv",), ("d.csv",)):
        assert tagged_words(llmkit("tag", tmp_path / name, *options, "--json")) == rows, name
    assert llmkit("tag", tmp_path / "a.conll").out.startswith("[Ann O'Neil-Smith](PER) can't see [Rome](LOC) 0 .\n")


def test_tags_in_rows_are_references_of_given_words(here: Path, tmp_path: Path) -> None:
    cells = [f"{n},{word},{tag}" for n, pair in enumerate(sentences(4)) for word, tag in zip(*pair, strict=True)]
    (tmp_path / "a.csv").write_text("\n".join(["Sentence #,words,tags", *cells]), encoding="utf-8")
    assert llmkit("tag", tmp_path / "a.csv", "-o", tmp_path / "told.jsonl").code == 0
    scored = library.score_files(tmp_path / "told.jsonl", tmp_path / "a.csv", metrics=["entities", "tag_accuracy"])
    assert scored.rows == 4
    assert scored.scores.values["entity_f1"] == scored.scores.values["tag_accuracy"] == 1.0


@pytest.mark.parametrize("column", ["sentence", "body"])
def test_texts_beside_a_sentence_column_are_no_words(here: Path, tmp_path: Path, column: str) -> None:
    write_jsonl(tmp_path / "a.jsonl", [{"sentence": "Ann can't see Rome", "body": "Zoë can't see U.S."}] * 2)
    outcome = llmkit("tag", tmp_path / "a.jsonl", "--column", column)
    assert (outcome.code, outcome.out.count("can't see")) == (0, 2)


def test_words_in_rows_without_sentences_are_refused(here: Path, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("words\nAnn\nRome\n")
    outcome = llmkit("tag", tmp_path / "a.csv")
    assert outcome.code == 3
    says(outcome.err, "a.csv:2:", "'words'", "sentence")


def test_given_words_are_tagged_in_python_too(here: Path) -> None:
    model = library.load("runs/tag-001")
    words, tags = sentences(1)[0]
    given, text = model.tag([words, " ".join(words)])
    assert (given.given_words, text.given_words) == (words, None)
    assert [word.tag for word in given.words] == [word.tag for word in text.words] == tags
    assert given.entities == text.entities
    assert given.text == text.text
    for wrong, stated in (([[]], "row 1"), ([["Ann", " "]], "row 1"), (["Ann", ["Ann", 3]], "row 2")):
        with pytest.raises(DataError, match=stated):
            list(model.tag(wrong))  # type: ignore[arg-type]


def test_words_that_were_truncated_are_outside(here: Path, tmp_path: Path) -> None:
    words = ["see"] * 60
    write_jsonl(tmp_path / "a.jsonl", [{"words": words}])  # type: ignore[dict-item]
    (record,) = llmkit("tag", tmp_path / "a.jsonl", "--json", "--overflow", "truncate").records
    assert (record["words"], record["truncated_tokens"]) == (words, 30)
    assert (record["tags"][30:], record["scores"][30:]) == (["O"] * 30, [None] * 30)  # type: ignore[index]
    assert None not in record["scores"][:30]  # type: ignore[index]


def test_a_file_without_texts_or_words_is_refused(here: Path, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", [{"body": "x"}])
    outcome = llmkit("tag", tmp_path / "a.jsonl")
    assert outcome.code == 3
    says(outcome.err, "a.jsonl", "'text'", "'body'", "--column")


# ---- notations, measured on the run that was trained on B-PER

SPELLINGS: dict[str, Callable[[str], str]] = {
    "type first": lambda tag: tag if tag == "O" else f"{tag[2:]}-{tag[0]}",
    "underscore": lambda tag: tag.replace("-", "_"),
    "type first, underscore": lambda tag: tag if tag == "O" else f"{tag[2:]}_{tag[0]}",
    "colon": lambda tag: tag.replace("-", ":"),
    "lower case": lambda tag: tag if tag == "O" else tag[0].lower() + tag[1:],
    "BMES": lambda tag: {"B-PER": "B-PER", "I-PER": "E-PER", "B-LOC": "S-LOC"}.get(tag, tag),
    "BMEWO": lambda tag: {"B-PER": "B-PER", "I-PER": "E-PER", "B-LOC": "W-LOC"}.get(tag, tag),
    "IOB1": lambda tag: tag.replace("B-", "I-"),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_rows_in_any_notation_have_the_scores_of_the_same_rows(here: Path, tmp_path: Path, spelling: str) -> None:
    rows = write_conll(tmp_path / "a.conll", spelt=SPELLINGS[spelling], count=6)
    measured = library.evaluate_model("runs/tag-001/model", data=[str(rows)], metrics=["entities", "tag_accuracy"])
    assert measured.scores.values["entity_f1"] == measured.scores.values["tag_accuracy"] == 1.0
    assert llmkit("tag", rows, "-o", tmp_path / "told.jsonl").code == 0
    scored = library.score_files(tmp_path / "told.jsonl", rows, metrics=["entities", "tag_accuracy"])
    assert scored.scores.values["entity_f1"] == scored.scores.values["tag_accuracy"] == 1.0


def started(folder: Path, monkeypatch: pytest.MonkeyPatch, **keys: str) -> Outcome:
    """A training of one step."""
    monkeypatch.chdir(folder)
    published_folder(folder / "tiny-bert", "bert")
    (folder / "tag.yaml").write_text(QUICK_RECIPE)
    return llmkit("finetune", "tag.yaml", *(f"--set={key}={value}" for key, value in keys.items()))


def labels_of(outcome: Outcome) -> Any:
    assert outcome.code == 0, outcome.err
    assert "entity_f1" in outcome.out
    return json.loads(Path("runs/tag-001/data.json").read_text())["labels"]


@pytest.mark.parametrize("spelling", ["type first, underscore", "lower case", "BMES"])
def test_tags_in_any_notation_are_trained_as_entities(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spelling: str
) -> None:
    write_conll(tmp_path / "rows.conll", spelt=SPELLINGS[spelling])
    assert labels_of(started(tmp_path, monkeypatch)) == ["O", "B-LOC", "B-PER", "I-LOC", "I-PER"]


@pytest.mark.parametrize(
    "spelt", [lambda tag: tag[0], lambda tag: tag[0].lower(), lambda tag: {"O": "S"}.get(tag, tag[0])]
)
def test_prefixes_without_types_are_trained_as_entities(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spelt: Callable[[str], str]
) -> None:
    write_conll(tmp_path / "rows.conll", spelt=spelt)
    assert labels_of(started(tmp_path, monkeypatch)) == ["O", "B-ENTITY", "I-ENTITY"]
    measured = llmkit("evaluate", "--model", "runs/tag-001", "--data", "rows.conll", "--metric", "entities")
    assert measured.code == 0, measured.err
    assert llmkit("tag", "rows.conll", "-o", "told.jsonl").code == 0
    scored = llmkit("evaluate", "--predictions", "told.jsonl", "--references", "rows.conll", "--metric", "entities")
    figures = [
        [line.split() for line in outcome.out.splitlines() if "entity_" in line] for outcome in (measured, scored)
    ]
    assert len(figures[0]) == 4
    assert figures[0] == figures[1]


@pytest.mark.parametrize(
    ("spelt", "stated"),
    [
        (lambda tag: {"B-LOC": "PLACE"}.get(tag, tag), ["'PLACE'", "scheme: plain"]),
        (lambda tag: {"B-LOC": "LOC-B"}.get(tag, tag), ["'LOC-B'", "scheme: plain"]),
        (lambda tag: str(["O", "B-LOC", "B-PER", "I-PER"].index(tag)), ["numbers", "labels:", "scheme: plain"]),
    ],
)
def test_tags_that_may_be_entities_are_never_plain_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spelt: Callable[[str], str], stated: list[str]
) -> None:
    write_conll(tmp_path / "rows.conll", spelt=spelt)
    refused = started(tmp_path, monkeypatch)
    assert refused.code == 3
    says(refused.err, "error[data]:", *stated)
    accepted = started(tmp_path, monkeypatch, scheme="plain")
    assert accepted.code == 0, accepted.err
    assert "tag_accuracy" in accepted.out


def test_tags_that_are_numbers_are_named_by_the_labels_of_the_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
    write_conll(tmp_path / "rows.conll", spelt=lambda tag: str(names.index(tag)))
    outcome = started(tmp_path, monkeypatch, labels=json.dumps(names))
    assert labels_of(outcome) == names
    says(outcome.err, "tags of 371 words", "B-PER 53")

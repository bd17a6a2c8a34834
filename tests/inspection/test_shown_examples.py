"""`llmkit data show`: the very ids, padding and targets of training, for every task, without weights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from facts import says
from tiny_recipes import (
    ANSWER,
    CHOOSE,
    CLASSIFY,
    INSTRUCT,
    NAME,
    SUMMARIZE,
    TAG,
    WRITE,
    llmkit,
    rows,
    write_conll,
    write_jsonl,
    write_questions,
    write_work,
)

from llmkit.api import show_data
from llmkit.recipe.loading import load_recipe
from llmkit.tasks import RECIPES
from llmkit.tasks.target_counts import count_targets
from llmkit.training.prepare import load_task
from llmkit.training.splits import open_splits

_TRANSLATE = SUMMARIZE.replace("task: summarization", "task: translation").replace(
    "validation: 20%", "validation: 20%, columns: {source: text, target: summary}"
)
_GPT2, _T5 = "{architecture: gpt2, size: tiny, tokenizer: {vocab_size: 300}}", "tiny-t5"
BY_TASK = {
    "classification": CLASSIFY,
    "causal-lm": WRITE,
    "denoising": WRITE.replace("causal-lm", "denoising").replace("gpt2", "bart"),
    "instruction": INSTRUCT,
    "masked-lm": WRITE.replace("causal-lm", "masked-lm").replace("gpt2", "bert"),
    "multiple-choice": CHOOSE,
    "question-answering": ANSWER,
    "replaced-token-detection": WRITE.replace("causal-lm", "replaced-token-detection").replace("gpt2", "electra"),
    "span-corruption": WRITE.replace("causal-lm", "span-corruption").replace(_GPT2, _T5),
    "summarization": SUMMARIZE,
    "text-to-text": NAME,
    "token-classification": TAG,
    "translation": f"{_TRANSLATE}source_language: en\ntarget_language: de\n",
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shown")
    write_work(folder)
    write_conll(folder / "rows.conll")
    write_questions(folder / "questions.json")
    for task, recipe in BY_TASK.items():
        (folder / f"{task}.yaml").write_text(recipe)
    return folder


@pytest.fixture
def here(files: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(files)
    return files


@pytest.mark.parametrize("task", sorted(RECIPES))
def test_the_shown_ids_are_those_of_training_and_as_many_count_in_the_loss(task: str, here: Path) -> None:
    recipe = load_recipe(f"{task}.yaml", kinds=RECIPES).recipe
    splits = open_splits(recipe)
    labels = recipe.class_names(splits["train"].whole())
    trained = load_task(recipe, splits, labels=labels)
    batch = trained.collate(trained.encode(splits["train"]), np.arange(3), epoch=0)
    outcome = llmkit("data", "show", f"{task}.yaml", "--json")
    assert outcome.code == 0, outcome.err
    examples = json.loads(outcome.out)["examples"]
    inputs = [sequence for example in examples for sequence in example["sequences"] if sequence["name"] != "target"]
    assert [sequence["ids"] for sequence in inputs] == batch["input_ids"].tolist()
    if "attention_mask" in batch:
        real = [[int(role != "padding") for role in sequence["roles"]] for sequence in inputs]
        assert real == batch["attention_mask"].tolist()
    counted = sum(sum(sequence["loss_mask"]) for example in examples for sequence in example["sequences"])
    if task in ("classification", "multiple-choice", "question-answering"):
        assert all(example["facts"] for example in examples)
    else:
        assert counted == count_targets(batch)


@pytest.mark.parametrize("task", ["masked-lm", "token-classification", "span-corruption"])
def test_lines_fit_80_columns_and_say_the_same_each_time(task: str, here: Path) -> None:
    outcome = llmkit("data", "show", f"{task}.yaml", "-n", "2")
    assert [line for line in outcome.out.splitlines() if len(line) > 80 or line != line.rstrip()] == []
    says(outcome.out, "counts in the loss")
    assert "\x1b" not in outcome.out
    assert llmkit("data", "show", f"{task}.yaml", "-n", "2").out == outcome.out


def test_what_is_hidden_is_predicted(here: Path) -> None:
    [example] = show_data("masked-lm.yaml", count=1)
    [sequence] = example.sequences
    hidden = [token for token in sequence.tokens if token.in_loss]
    assert hidden
    assert all(token.target for token in hidden)
    assert not any(token.target for token in sequence.tokens if not token.in_loss)


def test_an_answer_and_its_absence_are_shown(here: Path) -> None:
    without, with_answer = show_data("question-answering.yaml", count=2)
    assert "none" in without.facts["answer"]
    assert with_answer.facts["answer"] == "salt"
    assert [token.text for token in with_answer.sequences[0].tokens if token.in_loss] == ["salt"]


def test_one_row_of_another_split_is_shown(here: Path) -> None:
    (example,) = show_data("classification.yaml", split="validation", row=2)
    assert example.number == 2
    second = show_data("classification.yaml", split="validation")[1]
    assert example.place == second.place


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(("--row", "9999"), 2), (("--split", "test"), 2), (("--set", "model=owner/absent"), 5), (("--row", "0"), 2)],
)
def test_what_is_not_there_is_an_error(arguments: tuple[str, str], code: int, here: Path) -> None:
    outcome = llmkit("data", "show", "classification.yaml", *arguments)
    assert (outcome.code, outcome.out) == (code, "")
    assert outcome.err.splitlines()[-1].startswith("error[")


def test_a_truncated_text_has_a_note_and_its_windows_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_jsonl(tmp_path / "rows.jsonl", [{"text": "soup " * 100, "label": "food"}, *rows()])
    (tmp_path / "recipe.yaml").write_text(CLASSIFY)
    (cut,) = show_data("recipe.yaml", row=1)
    says("\n".join(cut.notes), "truncated")
    windows = show_data("recipe.yaml", row=1, overrides=["overflow=window"])
    assert len(windows) > 1
    says(windows[0].notes[0], "window 1 of", len(windows))
    (dropped,) = show_data("recipe.yaml", row=1, overrides=["overflow=drop"])
    assert dropped.sequences == ()
    (refused,) = show_data("recipe.yaml", row=1, overrides=["overflow=error"])
    assert refused.sequences == ()
    assert refused.notes


@pytest.mark.parametrize("text", ["漢字 😀", "שלום עולם", "a\x07b\u202ec\u200b", "x\ty\nz"])
def test_texts_of_any_script_are_shown_in_80_columns_without_control_characters(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_jsonl(tmp_path / "rows.jsonl", [{**row, "text": f"{text} {row['text']}"} for row in rows(8)])
    (tmp_path / "recipe.yaml").write_text(WRITE)
    for arguments in ((), ("--json",)):
        outcome = llmkit("data", "show", "recipe.yaml", "-n", "1", *arguments)
        assert outcome.code == 0, outcome.err
        assert not set(outcome.out) & set("\x07\t")
    tokens = json.loads(outcome.out)["examples"][0]["sequences"][0]["tokens"]
    start = text.split()[0] if text.isprintable() else text[0]
    assert start in "".join(tokens) or "\\x" in "".join(tokens)

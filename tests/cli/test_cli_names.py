"""Names of labels, files, folders and models may hold control characters; no command writes these as they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from adapted import adapted, disturbed, saved
from builders import sentence, tiny_model
from tiny_recipes import Outcome, llmkit

ESCAPE = "\x1b[2J"
LABELS = (f"bad{ESCAPE}", "fair\nerror[bug]: forged", "good\r\x07")
TAGS = ("O", f"B-A{ESCAPE}\n", f"I-A{ESCAPE}\n", "B-PLACE\x9b2J", "I-PLACE\x9b2J")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / f"here{ESCAPE}\nthere"
    folder.mkdir()
    monkeypatch.chdir(folder)
    rows = [{"text": sentence(number), "label": LABELS[number % 3]} for number in range(24)]
    Path(f"rows{ESCAPE}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def is_escaped(outcome: Outcome) -> bool:
    lines = (outcome.out + outcome.err).split("\n")
    return all(line.replace("\t", "").isprintable() and not line.startswith("error[bug]") for line in lines)


def model_folder(labels: tuple[str, ...] = LABELS) -> Path:
    head = "token-classification" if labels == TAGS else "classification"
    loaded = tiny_model("bert", head=head)
    loaded.model.config.id2label = dict(enumerate(labels))
    return saved(loaded, Path(f"model{ESCAPE}"))


def test_a_class_and_a_table_of_scores_are_escaped(place: Path) -> None:
    folder = model_folder()
    classified = llmkit("classify", "--model", folder, "the red cat")
    evaluated = llmkit("evaluate", "--model", folder, "--data", f"rows{ESCAPE}.jsonl")
    assert (classified.code, evaluated.code) == (0, 0), evaluated.err
    assert is_escaped(classified)
    assert is_escaped(evaluated)
    assert "bad\\x1b[2J" in evaluated.out
    assert len(classified.out.splitlines()) == 1


def test_tags_of_words_are_escaped(place: Path) -> None:
    folder = model_folder(TAGS)
    for text in ("the red cat under a tree", "a dog"):
        tagged = llmkit("tag", "--model", folder, text)
        assert tagged.code == 0, tagged.err
        assert is_escaped(tagged)


def test_what_training_and_its_plot_say_is_escaped(place: Path) -> None:
    recipe = {
        "recipe": 1,
        "task": "classification",
        "model": {"architecture": "lstm", "size": "tiny", "tokenizer": {"vocab_size": 100}},
        "data": {"train": f"rows{ESCAPE}.jsonl", "validation": "25%"},
        "train": {"steps": 2, "batch_size": 8},
        "max_tokens": 16,
    }
    Path("r.yaml").write_text(json.dumps(recipe))
    trained = llmkit("finetune", "r.yaml", "--run", f"runs/x{ESCAPE}")
    assert trained.code == 0, trained.err
    assert is_escaped(Outcome(0, "", trained.err))
    plotted = llmkit("plot", f"runs/x{ESCAPE}")
    assert plotted.code == 0, plotted.err
    assert is_escaped(Outcome(0, "", plotted.err))


def test_merging_into_a_folder_of_such_a_name_says_so_escaped(place: Path) -> None:
    adapter = saved(disturbed(adapted("classification", Path("base").absolute(), rank=2)), Path(f"adapter{ESCAPE}"))
    merged = llmkit("merge", adapter, "--output", f"merged{ESCAPE}")
    assert merged.code == 0, merged.err
    assert is_escaped(Outcome(0, "", merged.err))


@pytest.mark.parametrize("verb", ["classify", "tag", "generate", "embed", "fill", "evaluate", "plot"])
def test_the_name_of_a_model_that_is_not_there_is_escaped(verb: str, place: Path) -> None:
    name = f"./no{ESCAPE}\nerror[bug]: x"
    outcome = llmkit(verb, name) if verb == "plot" else llmkit(verb, "--model", name)
    assert outcome.code in (2, 4)
    assert is_escaped(outcome)

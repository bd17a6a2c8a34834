"""Classification from a recipe to its use: many labels, numbers and pairs, with each family; killed and resumed."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from builders import recipe_of
from facts import facts, says
from tiny_recipes import WORDS, save_tiny_t5, write_jsonl
from tiny_recipes import llmkit as command_line

import llmkit
from llmkit.api import Saved
from llmkit.errors import DataError, UsageError
from llmkit.runs.folder import Run
from llmkit.tasks.token_classification.recipe import TokenClassificationRecipe
from llmkit.training.splits import open_splits

RECIPE = """recipe: 1
task: classification
model: {model}
data: {{train: {rows}.jsonl, validation: validation.jsonl}}
max_tokens: {window}
{keys}
train: {{steps: {steps}, batch_size: 16, learning_rate: 2e-3}}
evaluation: {{every: {every} steps}}
"""
VOCAB_SIZE = {"bert": 200, "gpt2": 300}


class Killed(BaseException):
    """Ends a training where it stands."""


def text_about(subjects: list[str], rng: random.Random, *, words: int = 6) -> str:
    kinds = subjects or ["none"]
    return " ".join(rng.choice([*WORDS.get(kind, ["car", "road"])]) for kind in kinds for _ in range(words))


def write_rows(folder: Path, kind: str, *, count: int = 64, long: bool = False) -> None:
    """Training rows of a kind, and validation rows of the same kind. Every seventh is long, where asked for."""
    rng = random.Random(3)
    rows: list[dict[str, Any]] = []
    for number in range(count):
        subjects = [[], ["food"], ["sport"], ["food", "sport"]][number % 4]
        row: dict[str, Any] = {"text": text_about(subjects, rng, words=25 if long and number % 7 == 0 else 6)}
        if kind == "labels":
            row["labels"] = subjects
        elif kind == "number":
            row["label"] = 1.5 * len(subjects)
        else:
            other = ["food", "sport"][number // 4 % 2]
            row.update(text=text_about([["food", "sport"][number % 2]], rng), text_pair=text_about([other], rng))
            row["label"] = "same" if ["food", "sport"][number % 2] == other else "other"
        rows.append(row)
    write_jsonl(folder / f"{kind}.jsonl", rows)
    write_jsonl(folder / "validation.jsonl", rows[:16])


def write_recipe(
    folder: Path, family: str, kind: str, *, keys: str = "", steps: int = 6, every: int = 3, window: int = 32
) -> str:
    file = folder / f"{family}-{kind}.yaml"
    model = family  # a folder
    if family in VOCAB_SIZE:
        model = f"{{architecture: {family}, size: tiny, tokenizer: {{vocab_size: {VOCAB_SIZE[family]}}}}}"
    made = RECIPE.format(model=model, rows=kind, keys=keys, steps=steps, every=every, window=window)
    file.write_text(made)
    return str(file)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_many_labels_are_learnt_measured_and_used_with_one_threshold(folder: Path) -> None:
    write_rows(folder, "labels", long=True)
    recipe = write_recipe(
        folder, "bert", "labels", keys="multilabel: true\noverflow: window", steps=24, every=12, window=24
    )
    finished = llmkit.finetune(recipe, run="run")
    assert finished is not None
    assert finished.best == "f1_micro"
    assert finished.scores["f1_micro"] > 0.9
    config = json.loads((folder / "run/model/config.json").read_text())
    remembered = config["task_specific_params"]["classification"]
    assert config["problem_type"] == "multi_label_classification"
    assert remembered["overflow"] == "window"
    measured = llmkit.evaluate_model("run")
    assert measured.scores.values == pytest.approx(finished.scores)
    again = llmkit.evaluate_model("run/model", data=["validation.jsonl"])
    assert again.scores.values == pytest.approx(measured.scores.values)
    texts = [row["text"] for row in map(json.loads, (folder / "validation.jsonl").read_text().splitlines())]
    results = list(llmkit.load("run").classify(texts))
    assert [result.labels for result in results] == [prediction["labels"] for prediction in measured.predictions]
    for result in results:
        likely = [name for name, share in result.probabilities.items() if share >= remembered["threshold"]]
        assert result.labels == likely
    assert results[0].windows > 1
    outcome = command_line("classify", "validation.jsonl", "--model", "run")
    assert outcome.out.splitlines()[4] == "(none)"
    assert outcome.out.splitlines()[7].split("\t")[::2] == ["food", "sport"]
    says(outcome.err, "texts", "run", "24 tokens", "windows")


def test_a_number_is_learnt_measured_and_used_with_gpt2(folder: Path) -> None:
    write_rows(folder, "number")
    finished = llmkit.finetune(write_recipe(folder, "gpt2", "number", keys="regression: true", steps=16), run="run")
    assert finished is not None
    assert finished.best == "mse"
    assert finished.scores["mse"] == pytest.approx(finished.scores["loss"], rel=1e-4)
    assert finished.scores["pearson"] > 0.5
    [result] = llmkit.load("run").classify(["soup bread salt oven ball goal team match"])
    assert result.value is not None
    assert (result.label, result.labels, result.probabilities) == (None, [], {})
    outcome = command_line("classify", "validation.jsonl", "--model", "run", "--json")
    assert [list(record) for record in outcome.records] == [["row", "text", "value", "truncated_tokens"]] * 16
    measured = llmkit.evaluate_model("run/model", data=["validation.jsonl"], metrics=["spearman"])
    assert measured.scores.values["spearman"] == pytest.approx(finished.scores["spearman"])
    with pytest.raises(UsageError, match=facts("--metric", "accuracy", "mse")):
        llmkit.evaluate_model("run", metrics=["accuracy"])


def test_pairs_are_learnt_measured_and_used_with_the_encoder_of_t5(folder: Path) -> None:
    write_rows(folder, "pair")
    save_tiny_t5(folder / "tiny-t5")  # with a decoder, which stays behind
    recipe = write_recipe(folder, "tiny-t5", "pair", keys="class_weights: auto", window=48)
    finished = llmkit.finetune(recipe, run="run", overrides=["train.learning_rate=1e-4"])
    assert finished is not None
    assert finished.scores["loss"] < 1  # a new head of T5 starts near ln 2
    model = llmkit.load("run")
    assert model.reads_pairs
    results = list(model.classify([("soup bread", "ball goal"), ("soup bread", "oven salt")]))
    assert [result.text_pair for result in results] == ["ball goal", "oven salt"]
    measured = llmkit.evaluate_model("run/model", data=["validation.jsonl"])
    assert measured.scores.values == pytest.approx(finished.scores)  # the weights of the loss included
    outcome = command_line("classify", "validation.jsonl", "--model", "run")
    assert [line.split("\t")[0] for line in outcome.out.splitlines()] == measured.predictions
    with pytest.raises(UsageError, match=facts("pairs", "single texts")):
        list(model.classify(["soup"]))
    with pytest.raises(DataError, match=facts("row 2:", "texts", "pairs")):
        list(model.classify([("soup", "ball"), "soup"]))
    outcome = command_line("classify", "soup", "--model", "run")
    assert outcome.code == 2
    says(outcome.err, "error[usage]:", "columns", "text", "text_pair")


def test_a_pair_column_of_another_name_is_read(folder: Path) -> None:
    write_rows(folder, "pair")
    llmkit.finetune(write_recipe(folder, "bert", "pair"), run="run")
    write_jsonl(folder / "in.jsonl", [{"premise": "soup", "other": "ball"}, {"premise": "goal", "other": ""}])
    named = ("classify", "in.jsonl", "--column", "premise", "--model", "run")
    outcome = command_line(*named, "--pair-column", "other", "--json")
    assert [(record["text"], record["text_pair"]) for record in outcome.records] == [
        ("soup", "ball"),
        ("goal", ""),
    ]
    assert outcome.records[1]["label"] is None
    says(outcome.err, "warning:", 1, "in.jsonl:2")
    outcome = command_line(*named)
    assert outcome.code == 3
    says(outcome.err, "error[data]:", "in.jsonl", "'text_pair'", "'premise', 'other'")


def test_equal_texts_with_other_numbers_are_no_repeats(folder: Path) -> None:
    write_rows(folder, "number")
    rows = [{"text": "soup", "label": 1.0}, {"text": "soup", "label": 2.0}, {"text": "soup", "label": 1.0}]
    write_jsonl(folder / "number.jsonl", rows)
    recipe = write_recipe(folder, "bert", "number", keys="regression: true", steps=1)
    outcome = command_line("finetune", recipe, "--set", "data.deduplicate=true")
    says(outcome.err, "train:", 1, "3 rows")


def test_rows_are_repeats_only_where_all_their_numbers_are_equal(folder: Path) -> None:
    """Whole numbers did not count: the same text with its spans elsewhere was left out."""
    names = [{"start": 0, "end": 3, "label": "PER"}], [{"start": 8, "end": 11, "label": "PER"}]
    rows = [{"text": "Ada met Ada", "spans": spans} for spans in (*names, names[0])]
    write_jsonl(folder / "names.jsonl", rows)
    recipe = recipe_of("token-classification").model_dump()
    recipe["data"] |= {"train": ("names.jsonl",), "deduplicate": True}
    train = open_splits(TokenClassificationRecipe.model_validate(recipe))["train"]
    assert [row.fields["spans"][0]["start"] for row in train] == [0, 8]


def kill_behind(step: int) -> Callable[[Any], None]:
    def report(event: Any) -> None:
        if isinstance(event, Saved) and event.step == step:
            raise Killed

    return report


def test_a_killed_training_of_many_labels_goes_on_to_the_same_threshold_and_bytes(folder: Path) -> None:
    write_rows(folder, "labels", long=True)
    recipe = write_recipe(folder, "bert", "labels", keys="multilabel: true\noverflow: window", steps=9, window=24)
    train = partial(llmkit.finetune, recipe, overrides=["train.save_every=5", "train.keep_checkpoints=9"])
    train(run="whole")
    with pytest.raises(Killed):
        train(run="killed", report=kill_behind(5))
    llmkit.finetune(resume="killed")
    whole, killed = Run(folder / "whole"), Run(folder / "killed")
    for name in ("config.json", "model.safetensors"):
        assert (whole.model / name).read_bytes() == (killed.model / name).read_bytes()
    scores = [
        [{name: value for name, value in line.items() if "seconds" not in name} for line in run.metrics()]
        for run in (whole, killed)
    ]
    assert scores[0] == scores[1]
    thresholds = {
        json.loads((checkpoint / "config.json").read_text())["task_specific_params"]["classification"]["threshold"]
        for checkpoint in whole.checkpoints.iterdir()
    }
    assert len(thresholds) == 3  # of steps 3, 6 and 9; step 5 has that of step 3
    best = whole.manifest()["best"]["step"]
    published = json.loads((whole.model / "config.json").read_text())
    chosen = json.loads((whole.checkpoints / f"step-{best:08d}/config.json").read_text())
    assert published["task_specific_params"] == chosen["task_specific_params"]


BAD_ROWS = {
    "empty label": ([{"text": "soup", "label": ""}], ["'label'", "empty"]),
    "number for a label": ([{"text": "soup", "label": 1.5}], ["'label'", "1.5", "text"]),
    "mixed types": ([{"text": "soup", "label": 1}], ["'label'", 1, "type"]),
    "text for a number": ([{"text": "soup", "label": "much"}], ["'label'", "text", "number"]),
    "no list of labels": ([{"text": "soup", "labels": "a,b"}], ["'labels'", "text", "list"]),
    "one label only": ([], ["classification", "two labels", "same"]),
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_labels_that_cannot_be_are_refused_with_their_place(folder: Path, name: str) -> None:
    bad, stated = BAD_ROWS[name]
    kind = {"text for a number": "number", "no list of labels": "labels"}.get(name, "pair")
    write_rows(folder, kind)
    rows = [json.loads(line) for line in (folder / f"{kind}.jsonl").read_text().splitlines()]
    if not bad:
        rows = [{**row, "label": "same"} for row in rows]
    write_jsonl(
        folder / f"{kind}.jsonl", [*rows, *({"text_pair": "ball", **row} if kind == "pair" else row for row in bad)]
    )
    keys = {"number": "regression: true", "labels": "multilabel: true", "pair": ""}[kind]
    outcome = command_line("finetune", write_recipe(folder, "bert", kind, keys=keys))
    assert outcome.code == 3
    place = f"{kind}.jsonl:65: " if bad else ""
    says(outcome.err, f"error[data]: {place}", *stated)
    assert "Traceback" not in outcome.err

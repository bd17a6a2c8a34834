"""What a training leaves on disk, where, and how the splits were dealt."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from facts import facts, logged
from tiny_recipes import listing, rows, write_jsonl

import llmkit
from llmkit.errors import UsageError
from llmkit.recipe.loading import load_recipe
from llmkit.tasks import RECIPES
from llmkit.training.splits import open_splits


@pytest.mark.parametrize("name", ["classify", "write", "summarize"])
def test_the_manifest_says_what_was_trained_and_how_well(here: Path, name: str) -> None:
    run = Path(f"runs/{name}-001")
    manifest = json.loads((run / "run.json").read_text())
    assert manifest["status"] == "finished"
    assert manifest["error"] is None
    assert manifest["seed"] == 17
    assert manifest["world_size"] == 1
    assert manifest["training_seconds"] > 0
    assert manifest["started"] < manifest["finished"]
    best = manifest["best"]
    assert best["metric"] in best["validation"]
    environment = json.loads((run / "env.json").read_text())
    assert {"torch", "transformers", "llmkit"} <= environment["packages"].keys()


@pytest.mark.parametrize("name", ["classify", "write", "summarize"])
def test_the_kept_recipe_is_complete_and_loads_to_the_same(here: Path, name: str) -> None:
    kept = load_recipe(Path(f"runs/{name}-001/recipe.yaml"), kinds=RECIPES)
    given = load_recipe(f"{name}.yaml", kinds=RECIPES)
    assert kept.recipe == given.recipe
    assert {"train.seed", "train.weight_decay", "evaluation.every"} <= kept.origins.keys()


def test_data_json_has_the_hash_of_every_file_and_the_labels(here: Path) -> None:
    data = json.loads(Path("runs/classify-001/data.json").read_text())
    assert data["labels"] == ["food", "sport"]
    (table,) = data["sources"]["train"]
    assert table["sha256"] == hashlib.sha256(Path("rows.jsonl").read_bytes()).hexdigest()
    assert (table["name"], table["rows"]) == ("rows.jsonl", 80)
    assert data["shares"]["validation"]["validation"] == 0.2


@pytest.mark.parametrize("name", ["classify", "write", "summarize"])
def test_every_line_of_the_metrics_has_a_step_and_the_best_is_among_them(here: Path, name: str) -> None:
    run = Path(f"runs/{name}-001")
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert all(isinstance(line["step"], int) for line in lines)
    steps = [line["step"] for line in lines if "train/loss" in line]
    manifest = json.loads((run / "run.json").read_text())
    assert steps == list(range(1, manifest["total_steps"] + 1))
    best = manifest["best"]
    (line,) = [line for line in lines if line["step"] == best["step"] and f"evaluation/{best['metric']}" in line]
    assert line[f"evaluation/{best['metric']}"] == best["validation"][best["metric"]]


@pytest.mark.parametrize(
    ("name", "verb"), [("classify", "classify"), ("write", "generate"), ("summarize", "summarize")]
)
def test_the_model_card_has_figures_recipe_and_the_command_to_use_it(here: Path, name: str, verb: str) -> None:
    card = Path(f"runs/{name}-001/model/README.md").read_text()
    assert card.startswith("---\n")
    assert f"llmkit {verb} " in card
    assert Path(f"runs/{name}-001/recipe.yaml").read_text().rstrip() in card
    best = json.loads(Path(f"runs/{name}-001/run.json").read_text())["best"]
    assert f"| {best['metric']} | {best['validation'][best['metric']]:.4f} |" in card


def test_a_training_writes_nothing_outside_its_run_folder(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = work / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    before = listing(work)
    llmkit.finetune("summarize.yaml", overrides=["train.steps=2"], run="mine")
    llmkit.evaluate_model("mine")
    after = listing(work)
    assert {name: after[name] for name in before} == before
    new = {Path(name).parts[0] for name in after.keys() - before.keys()}
    assert new == {"mine"}


def test_shares_put_no_text_into_two_splits_and_lose_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_jsonl(tmp_path / "rows.jsonl", rows(300) + rows(300)[:150])  # the first half stands there twice
    (tmp_path / "r.yaml").write_text(
        "recipe: 1\ntask: classification\nmodel: x\ndata: {train: rows.jsonl, validation: 20%, test: 20%}\n"
    )
    splits = open_splits(load_recipe("r.yaml", kinds=RECIPES).recipe)
    texts = {name: [row.fields["text"] for row in split] for name, split in splits.items()}
    assert sum(map(len, texts.values())) == 450
    for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
        assert not set(texts[one]) & set(texts[other])  # type: ignore[index]
    assert 50 < len(texts["validation"]) < 130
    assert 50 < len(texts["test"]) < 130


def test_an_lstm_is_refused_recomputed_activations_before_there_is_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_jsonl(tmp_path / "rows.jsonl", rows(40))
    (tmp_path / "r.yaml").write_text(
        "recipe: 1\ntask: classification\nmodel: {architecture: lstm, size: tiny, tokenizer: {vocab_size: 200}}\n"
        "data: {train: rows.jsonl, validation: 20%}\ntrain: {steps: 1, gradient_checkpointing: true}\n"
    )
    with pytest.raises(UsageError, match=facts("train.gradient_checkpointing", "lstm-tiny")):
        llmkit.finetune("r.yaml", run="mine")
    assert not Path("mine").exists()


def test_held_out_texts_that_stand_in_the_training_rows_are_counted_in_a_warning(
    work: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_jsonl(work / "held.jsonl", [*rows(10), {"text": "new", "label": "food", "summary": "n"}])
    llmkit.finetune("classify.yaml", overrides=["train.steps=1", "data.validation=held.jsonl"], run="mine")
    assert len(logged(caplog, "WARNING", "validation", 10, "11 texts", "training")) == 1


def test_a_new_run_takes_the_next_number_and_never_an_old_one(work: Path) -> None:
    (work / "runs/classify-007").mkdir(parents=True)
    finished = llmkit.finetune("classify.yaml", overrides=["train.steps=1"])
    assert finished is not None
    assert finished.run.folder == Path("runs/classify-008")

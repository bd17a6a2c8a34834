"""A plan says what the training then does, without weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from adapted import saved
from builders import tiny_model
from facts import says
from tiny_recipes import CLASSIFY, SUMMARIZE, WRITE, llmkit, rows, save_tiny_t5, write_jsonl

import llmkit as package
from llmkit.api import Begun
from llmkit.planning.live_memory import LiveBytes


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path / "cache"))
    write_jsonl(tmp_path / "rows.jsonl", rows())
    (tmp_path / "classify.yaml").write_text(CLASSIFY)
    (tmp_path / "write.yaml").write_text(WRITE)
    return tmp_path


def planned(*arguments: str) -> dict[str, Any]:
    outcome = llmkit("plan", *arguments, "--json")
    assert outcome.code == 0, outcome.err
    record: dict[str, Any] = json.loads(outcome.out)
    return record


def test_a_plan_has_the_parameters_examples_and_steps_of_the_training(work: Path) -> None:
    plan = planned("classify.yaml", "--set", "train.steps=2", "--set", "evaluation.every=2 steps")
    found: dict[str, Any] = {}

    def note(event: object) -> None:
        if isinstance(event, Begun):
            found["begun"] = event.prepared

    package.finetune("classify.yaml", overrides=["train.steps=2", "evaluation.every=2 steps"], report=note)
    prepared = found["begun"]
    assert plan["model"]["parameters"] == prepared.parameters
    assert plan["model"]["trainable"] == prepared.trained_parameters
    assert plan["data"]["examples"] == len(prepared.train)
    assert plan["data"]["validation_examples"] == len(prepared.validation)
    assert plan["steps"]["total"] == prepared.plan.total_steps == 2
    assert plan["data"]["tokens"] == int(prepared.train.lengths.sum())
    saved_bytes = sum(file.stat().st_size for file in (work / "runs/classify-001/checkpoints/step-00000002").iterdir())
    assert plan["disk"]["checkpoint"] == pytest.approx(saved_bytes, rel=0.1)


def test_each_value_says_where_it_comes_from(work: Path) -> None:
    (work / "child.yaml").write_text("extends: classify.yaml\nmax_tokens: 16\ntrain: {learning_rate: auto}\n")
    values = {value["key"]: value for value in planned("child.yaml", "--set", "train.steps=3")["values"]}
    assert (values["max_tokens"]["origin"], values["max_tokens"]["place"]) == ("recipe", "child.yaml:2:13")
    assert values["train.batch_size"]["origin"] == "parent recipe"
    assert values["train.batch_size"]["place"].startswith("classify.yaml:6:")
    assert values["train.steps"]["origin"] == "--set"
    assert values["train.schedule"]["origin"] == "default"
    rate = values["train.learning_rate"]
    assert (rate["value"], rate["resolved"]) == ("auto", pytest.approx(1e-3))
    assert "bert" in rate["reason"]
    assert values["evaluation.metrics"]["resolved"] == ["accuracy", "f1", "ece"]
    assert values["labels"]["resolved"] == ["food", "sport"]


def test_texts_over_the_limit_are_counted(work: Path) -> None:
    [lengths] = planned("classify.yaml", "--set", "max_tokens=6")["data"]["lengths"]
    assert (lengths["limit"], lengths["over_limit"]) == (6, 1.0)
    assert lengths["p50"] <= lengths["p90"] <= lengths["p99"] <= lengths["longest"]


def test_lora_trains_few_parameters_of_a_model_whose_weights_are_not_read(work: Path) -> None:
    folder = saved(tiny_model("bert"), work / "model")
    names = f"labels: {json.dumps(['food', 'sport'])}\n"
    recipe = CLASSIFY.replace("{architecture: bert, size: tiny, tokenizer: {vocab_size: 200}}", str(folder))
    (work / "lora.yaml").write_text(recipe + names + "overflow: truncate\n")
    whole = planned("lora.yaml", "--set", "labels=null", *_own_labels(folder, work))
    lora = planned("lora.yaml", "--set", "labels=null", "--set", "train.lora.rank=2", *_own_labels(folder, work))
    assert whole["model"]["trainable"] == whole["model"]["parameters"] == lora["model"]["parameters"]
    assert 0 < lora["model"]["trainable"] < whole["model"]["trainable"]
    assert lora["memory"]["optimizer"] == 2 * lora["memory"]["gradients"] < whole["memory"]["optimizer"]


def _own_labels(folder: Path, work: Path) -> list[str]:
    """Rows with the labels that the model has."""
    labels = json.loads((folder / "config.json").read_text())["id2label"].values()
    named = [{"text": f"{label} {index}", "label": label} for index in range(20) for label in labels]
    write_jsonl(work / "own.jsonl", named)
    return ["--set", "data.train=own.jsonl"]


def test_a_training_that_does_not_fit_exits_with_5_and_says_why(work: Path) -> None:
    many = ("train.keep_checkpoints=1000000000", "train.steps=2000000000", "evaluation.every=1 steps")
    outcome = llmkit("plan", "classify.yaml", *(word for change in many for word in ("--set", change)))
    assert outcome.code == 5
    says(outcome.err, "error[environment]:", "disk of runs", "train.keep_checkpoints")
    assert outcome.out.rstrip().endswith("fits       no")


def test_the_table_fits_into_80_columns_and_ends_with_an_answer(work: Path) -> None:
    outcome = llmkit("plan", "write.yaml")
    assert outcome.code == 0, outcome.err
    assert [line for line in outcome.out.splitlines() if len(line) > 80 or line != line.rstrip()] == []
    assert outcome.out.rstrip().endswith("fits       yes")
    assert "--measure" in outcome.out


def test_timed_steps_give_a_time_and_leave_no_file(work: Path) -> None:
    save_tiny_t5(work / "tiny-t5")
    (work / "summarize.yaml").write_text(SUMMARIZE)
    before = {path.name for path in work.iterdir()}
    time = planned("summarize.yaml", "--measure")["time"]
    assert time["steps"] >= 3
    assert (time["evaluations"], time["saves"]) == (2, 2)
    parts = 6 * time["step_seconds"] + 2 * time["evaluation_seconds"] + 2 * time["save_seconds"]
    assert time["total_seconds"] == pytest.approx(parts)
    assert time["is_upper_limit"]
    assert {path.name for path in work.iterdir()} == before


def test_a_mistake_in_the_rows_is_that_of_the_training(work: Path) -> None:
    outcome = llmkit("plan", "classify.yaml", "--set", "data.train=missing.jsonl")
    assert outcome.code == 3
    says(outcome.err, "missing.jsonl")


def test_live_bytes_are_those_of_tensors_in_use() -> None:
    given = torch.zeros(1000)
    with LiveBytes([given]) as live:
        first = given + 1
        second = first[:10]  # a view: no memory of its own
        assert live.now == 4000
        del first
        assert live.now == 4000
        del second
        assert live.now == 0
        (given + 1) * 2
    assert live.peak == 8000

"""An adapter from recipe to use: as a whole model or as an adapter, stopped and continued, merged on request."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from facts import facts, says
from repetitions import quick_if
from tiny_recipes import SPORT, llmkit

import llmkit as api
from llmkit.errors import ModelError, UsageError

BASES = {"classify": "runs/classify-001", "write": "runs/write-001", "summarize": "tiny-t5"}
LORA = {"classify": "{rank: 4}", "write": "{rank: 2, target: all}", "summarize": "{dropout: 0.1}"}


def adapt(name: str, run: str, *more: str, save: str = "adapter") -> dict[str, Any]:
    sets = [f"model={BASES[name]}", f"train.lora={LORA[name]}", f"train.lora.save={save}", *more]
    finished = api.finetune(f"{name}.yaml", overrides=sets, run=run)
    assert finished is not None
    return manifest_of(run)


def manifest_of(run: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(Path(run, "run.json").read_text())
    return content


@pytest.mark.parametrize("name", quick_if("write".__eq__, BASES))
def test_a_run_saved_as_adapter_measures_and_merges_as_the_merged_one(own_runs: Path, name: str) -> None:
    adapt(name, "thin")
    adapt(name, "whole", save="merged")
    assert {path.name for path in Path("thin/model").glob("*.safetensors")} == {"adapter_model.safetensors"}
    assert {path.name for path in Path("whole/model").glob("*.safetensors")} == {"model.safetensors"}
    assert api.evaluate_model("thin").scores == api.evaluate_model("whole").scores
    outcome = llmkit("merge", "thin", "--output", "folder/merged")
    assert outcome.code == 0, outcome.err
    assert outcome.out == "folder/merged\n"
    assert Path("folder/merged/model.safetensors").read_bytes() == Path("whole/model/model.safetensors").read_bytes()


def test_the_adapter_of_a_t5_classifier_merges_too(own_runs: Path) -> None:
    sets = ["model=tiny-t5", "train.lora={rank: 2, save: adapter}", "train.steps=2"]
    assert api.finetune("classify.yaml", overrides=sets, run="thin") is not None
    api.merge("thin", output="merged")
    texts = [SPORT, "soup bread"]
    merged, thin = (api.load(name, verb="classify").classify(texts) for name in ("merged", "thin"))
    assert [one.label for one in merged] == [one.label for one in thin]


def test_a_run_saved_as_adapter_is_used_by_the_verbs_and_trained_on(own_runs: Path) -> None:
    adapt("classify", "thin")
    (result,) = api.load("thin", verb="classify").classify([SPORT])
    assert result.label == "sport"
    again = api.finetune("classify.yaml", overrides=["model=thin", "train.steps=1"], run="again")
    assert again is not None
    with pytest.raises(UsageError, match=facts("adapter", "`llmkit merge`")):
        adapt("classify", "twice", "model=thin")


def test_the_manifest_and_the_first_lines_say_how_many_parameters_learn(own_runs: Path) -> None:
    outcome = llmkit(
        "finetune", "classify.yaml", "--set", "model=runs/classify-001", "--set", "train.lora.rank=4", "--run", "thin"
    )
    manifest = manifest_of("thin")
    thin = 2 * 2 * (128 * 4 + 4 * 128)  # queries and values of two layers
    assert manifest["trained_parameters"] == thin + 2 * 128 + 2
    assert manifest["parameters"] == manifest_of("runs/classify-001")["parameters"]
    share = manifest["trained_parameters"] / manifest["parameters"]
    says(outcome.err, "parameters", "4,354", f"{share:.1%}")


@pytest.mark.parametrize("save", quick_if("adapter".__eq__, ["merged", "adapter"]))
def test_a_longer_training_of_an_adapter_is_one_planned_so_from_the_start(own_runs: Path, save: str) -> None:
    constant = ["train.schedule=constant", "train.warmup=1", "evaluation.every=3 steps"]
    adapt("summarize", "whole", *constant, save=save)
    adapt("summarize", "short", *constant, "train.steps=3", save=save)
    api.finetune(resume="short", overrides=["train.steps=6"])
    for file in sorted(Path("whole/model").glob("*.safetensors")):
        assert (Path("short/model") / file.name).read_bytes() == file.read_bytes()


def test_merging_what_is_no_adapter_or_into_what_is_there_is_refused(own_runs: Path) -> None:
    with pytest.raises(ModelError, match=facts("runs/classify-001", "adapter")):
        api.merge("runs/classify-001", output="merged")
    with pytest.raises(UsageError, match=facts("--output", "runs", "exists")):
        api.merge("runs/classify-001", output="runs")


def test_an_adapter_whose_base_is_gone_says_so(own_runs: Path) -> None:
    adapt("classify", "thin")
    shutil.rmtree("runs/classify-001")
    outcome = llmkit("classify", SPORT, "--model", "thin")
    assert outcome.code == 4
    says(outcome.err, "error[model]:", "runs/classify-001/model", "folder")


def test_the_card_of_an_adapter_names_its_base_and_peft(own_runs: Path) -> None:
    adapt("write", "thin")
    card = Path("thin/model/README.md").read_text()
    assert "library_name: peft\n" in card
    says(card, "adapter", Path("runs/write-001/model").resolve(), "peft")


# ---- what is not trained, and what is not checked


def test_frozen_layers_are_in_the_finished_model_as_they_were(own_runs: Path) -> None:
    from safetensors.torch import load_file

    api.finetune(
        "classify.yaml",
        overrides=["model=runs/classify-001", "train.freeze={embeddings: true, layers: 1}", "train.layer_decay=0.9"],
        run="frozen",
    )
    before, after = (load_file(f"{run}/model/model.safetensors") for run in ("runs/classify-001", "frozen"))
    same = {name for name in before if bool((before[name] == after[name]).all())}
    assert same == {name for name in before if name.startswith(("bert.embeddings.", "bert.encoder.layer.0."))}


def test_checks_are_kept_in_the_manifest_and_may_be_turned_off(work: Path) -> None:
    on = llmkit("finetune", "classify.yaml", "--set", "train.steps=1", "--run", "on")
    off = llmkit("finetune", "classify.yaml", "--set", "train.steps=1", "--set", "train.checks=false", "--run", "off")
    says(on.err, "checks", "targets, labels, padding, saving")
    assert manifest_of("on")["checks"].keys() == {"targets", "labels", "padding", "saving"}
    says(off.err, "checks", "off")
    assert manifest_of("off")["checks"] == "off"
    models = [Path(run, "model/model.safetensors").read_bytes() for run in ("on", "off")]
    assert models[0] == models[1]

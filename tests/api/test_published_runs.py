"""A training that begins from a model folder of somebody else is killed, goes on, and ends as if nothing had happened."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders import FAMILY_OF, TASK_NAMES, TaskName, rows
from published_models import RECIPE_KEYS, WITHOUT_LORA, PublishedFamily, published_folder
from safetensors.torch import load_file
from tiny_recipes import write_jsonl

import llmkit
from llmkit.api import Finetuned
from llmkit.training.progress import Saved

STEPS, KILLED_AT = 6, 3
QUICK = {("denoising", False), ("replaced-token-detection", False), ("classification", True), ("causal-lm", True)}
"""The tasks that are not in the slow tests, without and with LoRA."""
TRIED = [
    *((name, FAMILY_OF[name]) for name in TASK_NAMES),
    *((name, "distilbert") for name in TASK_NAMES if FAMILY_OF[name] == "bert"),
]


class Killed(BaseException):
    """As sudden as SIGKILL: nothing of llmkit catches it."""


def overrides_of(name: TaskName, *, lora: bool) -> list[str]:
    train = {"steps": STEPS, "batch_size": 8, "save_every": 1, "micro_batch_tokens": 20, "checks": "false"}
    keys = {**RECIPE_KEYS[name], **{f"train.{key}": value for key, value in train.items()}}
    if lora:
        keys["train.lora.rank"] = 2
    keys |= {"evaluation.every": f"{STEPS} steps", "evaluation.max_rows": 4}
    return [f"{key}={value}" for key, value in keys.items()]


def trained(name: TaskName, run: Path, *, lora: bool = False, killed: bool = False) -> Finetuned:
    """A whole training; if `killed`, one that is killed after a checkpoint and goes on."""
    recipe = run.parent / "recipe.yaml"
    recipe.write_text(f"recipe: 1\ntask: {name}\nmodel: published\ndata: {{train: rows.jsonl, validation: 20%}}\n")

    def kill(event: object) -> None:
        if killed and isinstance(event, Saved) and event.step == KILLED_AT:
            raise Killed

    overrides = overrides_of(name, lora=lora)
    if killed:
        with pytest.raises(Killed):
            llmkit.finetune(recipe, overrides=overrides, run=run, report=kill)
        finished = llmkit.finetune(resume=run)
    else:
        finished = llmkit.finetune(recipe, overrides=overrides, run=run)
    assert finished is not None
    return finished


def weights(run: Path) -> dict[str, bytes]:
    files = (run / "model").glob("*.safetensors")
    return {name: tensor.numpy().tobytes() for file in files for name, tensor in load_file(file).items()}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_jsonl(tmp_path / "rows.jsonl", [dict(row.fields) for row in rows()])
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "family", "lora"),
    [
        pytest.param(name, family, lora, marks=() if (name, lora) in QUICK else pytest.mark.slow)
        for name, family in TRIED
        for lora in (False, True)
        if not (lora and name in WITHOUT_LORA)
    ],
)
def test_a_killed_training_of_a_published_model_goes_on_bit_for_bit(
    name: TaskName, family: PublishedFamily, lora: bool, place: Path
) -> None:
    head = "masked-lm" if name == "masked-lm" else None
    published_folder(place / "published", family, head=head, dropout=0.1)
    trained(name, place / "whole", lora=lora)
    trained(name, place / "resumed", lora=lora, killed=True)
    assert weights(place / "resumed") == weights(place / "whole")

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import pytest
import torch
from accelerate import Accelerator
from builders import TASK_NAMES, TaskName, rows, task_of
from facts import facts
from tiny_recipes import write_work

from llmkit.api import evaluate_model, finetune
from llmkit.errors import UsageError
from llmkit.models.families import FAMILIES
from llmkit.training.optimizer import adamw
from llmkit.training.precision import choose_precision
from llmkit.training.step import LossModule

CPU, CUDA, MPS = torch.device("cpu"), torch.device("cuda"), torch.device("mps")


@pytest.mark.parametrize("device", [CPU, CUDA])
def test_t5_is_refused_fp16_on_any_device(device: torch.device) -> None:
    with pytest.raises(UsageError, match=facts("train.precision", "T5", "fp16", "bf16")):
        choose_precision("fp16", family=FAMILIES["t5"], device=device)


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_a_cpu_is_refused_fp16(family: str) -> None:
    with pytest.raises(UsageError, match=facts("fp16", "GPU")):
        choose_precision("fp16", family=FAMILIES[family], device=CPU)


@pytest.mark.parametrize(("wanted", "word"), [("fp32", "no"), ("bf16", "bf16"), ("fp16", "fp16")])
def test_what_the_recipe_says_is_taken(wanted: Literal["fp32", "bf16", "fp16"], word: str) -> None:
    chosen = choose_precision(wanted, family=FAMILIES["bert"], device=CUDA)
    assert chosen.format == wanted
    assert chosen.accelerate == word
    assert "recipe" in chosen.reason


def test_auto_on_a_cpu_is_bf16_only_where_it_multiplies_bf16_matrices() -> None:
    chosen = choose_precision("auto", family=FAMILIES["bert"], device=CPU)
    assert chosen.format == ("bf16" if torch.cpu._is_amx_tile_supported() else "fp32")
    assert "CPU" in chosen.reason


def test_an_lstm_on_a_gpu_is_never_computed_in_unscaled_fp16() -> None:
    """torch's autocast takes cuDNN's LSTM to fp16, also where bf16 is asked for."""
    assert choose_precision("auto", family=FAMILIES["lstm"], device=CUDA).format == "fp32"
    with pytest.raises(UsageError, match=facts("train.precision", "bf16", "LSTM", "auto, fp32, fp16")):
        choose_precision("bf16", family=FAMILIES["lstm"], device=CUDA)
    assert choose_precision("fp16", family=FAMILIES["lstm"], device=CUDA).format == "fp16"  # its loss is scaled
    assert choose_precision("bf16", family=FAMILIES["lstm"], device=CPU).format == "bf16"


def test_auto_on_another_device_is_fp32() -> None:
    assert choose_precision("auto", family=FAMILIES["gpt2"], device=MPS).format == "fp32"


@pytest.mark.parametrize("name", TASK_NAMES)
def test_bf16_keeps_weights_gradients_and_loss_in_float32(name: TaskName) -> None:
    """The weights of a step must not lose the small changes that bf16 cannot hold."""
    exact, rounded = task_of(name), task_of(name)
    accelerator = Accelerator(cpu=True)
    examples = exact.encode(rows(8))
    import numpy as np

    batch = exact.collate(examples, np.arange(len(examples)))
    module, _ = accelerator.prepare(LossModule(rounded), adamw(rounded.loaded.model, weight_decay=0.0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = module(batch)
    loss.backward()
    assert loss.dtype == torch.float32
    for name_of, weight in rounded.loaded.model.named_parameters():
        assert weight.dtype == weight.grad.dtype == torch.float32, name_of
    expected = float(exact.loss_sum(batch).detach())
    assert float(loss.detach()) == pytest.approx(expected, rel=2e-2)
    assert float(loss.detach()) != expected


def test_one_process_trains_and_evaluates_in_one_format_after_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_work(tmp_path)
    monkeypatch.chdir(tmp_path)
    one_step = ["train.steps=1", "evaluation.every=1 steps"]
    finetune("classify.yaml", overrides=[*one_step, "train.precision=fp32"], run="fp32")
    before = evaluate_model("fp32").scores.values
    finetune("classify.yaml", overrides=[*one_step, "train.precision=bf16"], run="bf16")
    assert json.loads(Path("bf16/env.json").read_text())["precision"] == "bf16"
    assert evaluate_model("fp32").scores.values == before

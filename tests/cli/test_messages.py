"""Whole lines of the messages that people meet most. All other tests look at facts, so wording changes here alone."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from tiny_recipes import CLASSIFY, SPORT, llmkit, write_jsonl

from llmkit.runs.lock import locked


def write_faulty_files() -> None:
    """What the cases below name, in the current folder."""
    Path("typo.yaml").write_text(CLASSIFY.replace("steps: 24", "stepz: 24"))
    Path("open.csv").write_text('text,label\n"goal team,sport\nsoup,food\n')
    write_jsonl(Path("odd.jsonl"), [{"text": SPORT, "label": "sports"}] * 2)
    Path("folder").mkdir()
    shutil.copytree("runs/classify-001/model", "pickled")
    Path("pickled/model.safetensors").rename("pickled/pytorch_model.bin")


CASES = {
    "unknown key": (
        "finetune typo.yaml",
        2,
        "error[recipe]: typo.yaml:6:9: train.stepz: unknown key. Did you mean 'steps'? Allowed: epochs, steps, "
        "batch_size, optimizer, learning_rate, schedule, warmup, weight_decay, max_grad_norm, label_smoothing, "
        "layer_decay, freeze, lora, gradient_checkpointing, precision, micro_batch_tokens, save_every, "
        "keep_checkpoints, seed, checks.",
    ),
    "missing file": (
        "classify row.jsonl",
        3,
        "error[data]: row.jsonl: there is no such file in {here}. Did you mean 'rows.jsonl'? To use it as a text, "
        "pipe it in.",
    ),
    "unclosed quote": (
        "classify open.csv",
        3,
        "error[data]: open.csv:2: a quote opened in this row is never closed. Close it, or double a quote that is "
        'part of the text ("").',
    ),
    "unknown label": (
        "evaluate --model runs/classify-001/model --data odd.jsonl",
        3,
        "error[data]: odd.jsonl: 2 of 2 rows cannot be used: 2 with a label that the model does not have. Correct them.",
    ),
    "not a model": (
        "classify --model folder text",
        4,
        "error[model]: folder: not a model, it has no config.json.",
    ),
    "pickled weights": (
        "classify --model pickled text",
        4,
        "error[model]: pickled: only safetensors weights are read; it has pytorch_model.bin, a pickle, which can "
        "run code. docs/models.md (Weights in a pickle) shows how to convert a model that you trust.",
    ),
    "no finished run": (
        "tag text",
        2,
        "error[usage]: no finished token-classification run here. Give --model, a run, a folder or a hub id.",
    ),
    "out of range": (
        "generate --prompt goal --temperature 0",
        2,
        "error[usage]: --temperature 0.0: input should be greater than or equal to 0.01. "
        "For greedy search remove it, or give --beams 1 if the model samples by default.",
    ),
    "long prompt": (
        "generate --prompt goal --max-new-tokens 32",
        2,
        "error[usage]: 1 + 32 > 32: runs/write-001 has 32 positions for a prompt and its new tokens; lower "
        "max_new_tokens to 31 or less",
    ),
}


@pytest.mark.parametrize(("arguments", "code", "message"), CASES.values(), ids=CASES)
def test_a_mistake_is_told_in_these_words(own_runs: Path, arguments: str, code: int, message: str) -> None:
    write_faulty_files()
    outcome = llmkit(*arguments.split())
    assert (outcome.code, outcome.out) == (code, "")
    assert outcome.err.splitlines()[-1] == message.replace("{here}", str(own_runs))


def test_a_run_in_use_is_told_in_these_words(own_runs: Path) -> None:
    with locked(own_runs / "runs/classify-001"):
        outcome = llmkit("finetune", "--resume", "runs/classify-001", "--set", "train.steps=30")
    assert outcome.code == 5
    assert re.fullmatch(
        rf"error\[environment\]: runs/classify-001 is in use by pid {os.getpid()} on \S+ since [\d-]+ [\d:]+\. "
        r"Wait for it, or choose another run\.\n",
        outcome.err,
    )


def test_data_that_changed_are_told_in_these_words(own_runs: Path) -> None:
    run, rows = own_runs / "runs/classify-001", own_runs / "rows.jsonl"
    shutil.rmtree(run / "model")
    (run / "run.json").write_text(json.dumps({**json.loads((run / "run.json").read_text()), "status": "running"}))
    then = hashlib.sha256(rows.read_bytes()).hexdigest()[:12]
    rows.write_bytes(rows.read_bytes().replace(b"soup", b"soap", 1))
    now = hashlib.sha256(rows.read_bytes()).hexdigest()[:12]
    outcome = llmkit("finetune", "--resume", "runs/classify-001")
    assert outcome.code == 3
    assert outcome.err == (
        f"error[data]: rows.jsonl has changed since runs/classify-001 started: sha256 {then} then, {now} now. "
        "Restore the old content, or start a new run.\n"
    )


def test_a_diverged_training_is_told_in_these_words(own_runs: Path) -> None:
    shutil.copytree("runs/classify-001/model", "broken")
    weights = load_file("broken/model.safetensors")
    weights["classifier.weight"] = weights["classifier.weight"].sign() * 3e38
    save_file(weights, "broken/model.safetensors", metadata={"format": "pt"})
    outcome = llmkit("finetune", "classify.yaml", "--set", "model=broken", "--run", "diverged")
    assert outcome.code == 6
    assert re.fullmatch(
        r"error\[diverged\]: step 1: the loss is nan; the step was not taken\. Not finite for (rows\.jsonl:\d+, ){7}rows\.jsonl:\d+ "
        r"and 8 more, of 16 rows\. "
        r"Lower train\.learning_rate, lengthen train\.warmup, or set train\.precision to fp32\.",
        outcome.err.splitlines()[-1],
    )

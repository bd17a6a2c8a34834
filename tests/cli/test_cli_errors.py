"""Every class of error: its exit code, one line on standard error, nothing on standard output, no traceback."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from adapted import saved
from builders import tiny_model
from facts import says
from safetensors.torch import load_file, save_file
from tiny_recipes import Outcome, listing, llmkit

CASES = [
    ("usage", 2, "generate --prompt x --top-p 0", ["--top-p", "0.0"]),
    ("usage", 2, "finetune classify.yaml --run a --resume b", ["--run", "--resume"]),
    ("usage", 2, "classify x --overflow drop", ["--overflow", "'drop'", "'error', 'truncate', 'window'"]),
    ("usage", 2, "finetune classify.yaml --set evaluation.metrics=[rogue]", ["'rogue'", "'rouge'"]),
    ("recipe", 2, "finetune clasify.yaml", ["clasify.yaml:", "file", "'classify.yaml'"]),
    ("recipe", 2, "finetune classify.yaml --set train.stepz=1", ["train.stepz:", "unknown", "'steps'"]),
    ("data", 3, "finetune classify.yaml --set data.train=row.jsonl", ["row.jsonl", "'rows.jsonl'"]),
    ("data", 3, "classify row.jsonl", ["row.jsonl", "'rows.jsonl'", "pipe"]),
    ("data", 3, "classify rows.jsonl --column body", ["'body'", "'text', 'label', 'summary'", '--column "']),
    ("model", 4, "classify --model runs/nothing text", ["runs/nothing:", "folder"]),
    ("model", 4, "classify --model runs/write-001 text", ["runs/write-001", "`llmkit generate`"]),
    ("run", 4, "finetune --resume runs/clasify-001", ["runs/clasify-001", "'classify-001'"]),
    ("environment", 5, "classify text --output nowhere/out.jsonl", ["nowhere/out.jsonl:", "folder"]),
    ("environment", 5, "classify text --output runs", ["runs:", "folder"]),
]


def assert_one_line(outcome: Outcome, *, kind: str, code: int) -> str:
    """The message, of an outcome that is one error and nothing else but notes."""
    assert (outcome.code, outcome.out) == (code, ""), outcome.err
    lines = [line for line in outcome.err.splitlines() if not line.startswith("model: ")]
    assert len(lines) == 1, outcome.err
    assert lines[0].startswith(f"error[{kind}]: ")
    return lines[0].removeprefix(f"error[{kind}]: ")


@pytest.mark.parametrize(("kind", "code", "arguments", "stated"), CASES)
def test_an_error_is_one_line_with_its_kind_and_its_exit_code(
    here: Path, kind: str, code: int, arguments: str, stated: list[str]
) -> None:
    before = listing(here)
    says(assert_one_line(llmkit(*arguments.split()), kind=kind, code=code), *stated)
    assert listing(here) == before


@pytest.mark.parametrize("place", ["before", "after"])
def test_debug_adds_the_traceback_and_keeps_the_line(here: Path, place: str) -> None:
    arguments = ["finetune", "nothing.txt"]
    outcome = llmkit(*["--debug", *arguments] if place == "before" else [*arguments, "--debug"])
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("Traceback (most recent call last):\n")
    assert outcome.err.splitlines()[-1] == llmkit(*arguments).err.rstrip("\n")
    assert outcome.err.splitlines()[-1].startswith("error[recipe]: nothing.txt: ")
    assert "Traceback" not in llmkit(*arguments).err


def test_all_problems_of_a_recipe_are_told_each_on_its_own_line(here: Path) -> None:
    outcome = llmkit("finetune", "classify.yaml", "--set", "train.steps=0", "--set", "max_tokens=many")
    assert outcome.code == 2
    lines = outcome.err.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("error[recipe]: --set ") for line in lines)


def test_a_model_that_is_neither_here_nor_in_the_cache_needs_the_network(here: Path) -> None:
    message = assert_one_line(llmkit("classify", "-m", "no-one/nothing", "text"), kind="environment", code=5)
    assert message.startswith("no-one/nothing: ")
    says(message, "folder", "cache")


def test_a_loss_that_is_no_number_ends_with_6_and_leaves_no_finished_model(own_runs: Path) -> None:
    model = own_runs / "broken"
    shutil.copytree(own_runs / "runs/classify-001/model", model)
    weights = load_file(model / "model.safetensors")
    weights["classifier.weight"] = weights["classifier.weight"].sign() * 3e38
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    outcome = llmkit("finetune", "classify.yaml", "--set", "model=broken", "--run", "diverged")
    assert (outcome.code, outcome.out) == (6, "")
    assert outcome.err.splitlines()[-1].startswith("error[diverged]: ")
    assert json.loads((own_runs / "diverged/run.json").read_text())["status"] == "failed"
    assert not (own_runs / "diverged/model").exists()


def test_a_line_end_in_an_argument_cannot_forge_a_line(here: Path) -> None:
    outcome = llmkit("classify", "--model", "./a\x1b[2J", "text")
    assert outcome.err.startswith("error[model]: ./a\\x1b[2J: ")
    assert outcome.err.count("\n") == 1


def test_a_failed_training_leaves_no_run_behind(work: Path) -> None:
    before = listing(work)
    outcome = llmkit("finetune", "classify.yaml", "--set", "data.validation=0.001%")
    assert outcome.code == 3
    says(outcome.err, "error[data]:", "data.validation", "rows")
    assert listing(work) == before
    assert not (work / "runs").exists()


def test_training_rows_of_which_none_fits_are_refused(work: Path) -> None:
    outcome = llmkit("finetune", "instruct.yaml", "--set", "max_tokens=16", "--set", "overflow=drop")
    assert outcome.code == 3
    says(outcome.err, "error[data]:", "data.train", "rows", "rows.jsonl")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--temperature", "0"], ["--temperature", "greedy", "--beams 1"]),
        (["--top-k", "0"], ["--top-k", "--temperature"]),
        (["--top-p", "0"], ["--top-p", "all tokens"]),
    ],
)
def test_zero_as_a_sampling_option_is_refused_with_what_to_do(arguments: list[str], named: list[str]) -> None:
    line = assert_one_line(llmkit("generate", "-p", "the", *arguments), kind="usage", code=2)
    says(line, *named)


@pytest.mark.parametrize(
    ("arguments", "code", "stated"),
    [
        (["classify", "text", "--output", "a\0b"], 5, [r"'a\x00b'", "NUL"]),
        (["finetune", "classify.yaml", "--run", "a\0b"], 4, [r"'a\x00b'", "NUL"]),
        (["classify", "a\ud800b"], 3, ["row 1", "U+D800"]),
        (["generate", "--prompt", "a\ud800b"], 3, ["row 1", "U+D800"]),
    ],
)
def test_an_argument_that_no_file_or_text_can_be_is_refused(
    here: Path, arguments: list[str], code: int, stated: list[str]
) -> None:
    outcome = llmkit(*arguments)
    assert (outcome.code, outcome.out) == (code, "")
    says(outcome.err, "error[", *stated)


def test_rows_of_a_file_whose_name_is_not_utf_8_are_evaluated(own_runs: Path) -> None:
    name = os.fsdecode(b"\xff.jsonl")
    shutil.copy("rows.jsonl", name)
    outcome = llmkit("evaluate", "--model", "runs/classify-001", "--data", name, "--json")
    assert outcome.code == 0, outcome.err
    saved = json.loads((own_runs / "runs/classify-001/evaluation/data.json").read_text(encoding="utf-8"))
    assert name in json.dumps(saved, ensure_ascii=False)


def test_a_deleted_current_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    outcome = llmkit("classify", "text", "--model", tmp_path)
    assert_one_line(outcome, kind="environment", code=5)
    says(outcome.err, "current folder")


@pytest.mark.slow
def test_a_text_that_does_not_fit_into_memory_is_no_bug(here: Path) -> None:
    model = saved(tiny_model("t5"), here / "t5")  # without a length limit
    Path("long.txt").write_text("a " * 700_000, encoding="utf-8")  # its attention alone needs 4 TB
    outcome = llmkit("summarize", "long.txt", "--model", model)
    assert (outcome.code, outcome.out) == (5, "")
    assert outcome.err.splitlines()[-1].startswith("error[environment]: out of memory")

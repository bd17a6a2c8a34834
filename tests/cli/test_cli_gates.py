"""The gates of `evaluate`: they fail with an exit code of their own, and only on what is significant."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from facts import says
from tiny_recipes import llmkit, rows, write_jsonl


def predictions(folder: Path, name: str, *, wrong: int, count: int = 100) -> Path:
    lines = [{"prediction": "no" if row < wrong else "yes", "reference": "yes"} for row in range(count)]
    return write_jsonl(folder / name, lines)


def evaluate(file: Path, *options: str | Path) -> Any:
    return llmkit("evaluate", "--predictions", file, "--references", file, "--metric", "accuracy", *options)


@pytest.mark.parametrize(
    ("limit", "code", "stated"),
    [("0.95", 7, "under 0.95"), ("0.82", 0, "not significantly"), ("0.5", 0, "limit 0.5")],
)
def test_fail_under_fails_only_if_the_whole_interval_is_under_the_limit(
    tmp_path: Path, limit: str, code: int, stated: str
) -> None:
    outcome = evaluate(predictions(tmp_path, "a.jsonl", wrong=20), "--fail-under", f"accuracy={limit}")
    assert outcome.code == code
    says(outcome.out, "accuracy", "0.8000", stated)
    assert ("error[gate]:" in outcome.err) == (code == 7)


def test_a_significant_loss_fails_and_a_small_one_passes(tmp_path: Path) -> None:
    files = {wrong: predictions(tmp_path, f"{wrong}.jsonl", wrong=wrong) for wrong in (10, 12, 30)}
    assert evaluate(files[12], "--no-worse-than", files[10]).code == 0
    outcome = evaluate(files[30], "--no-worse-than", files[10], "--json")
    (record,) = outcome.records
    assert outcome.code == 7
    assert (record["gates"][0]["score"], record["gates"][0]["passed"]) == ("accuracy", False)
    says(outcome.err, "error[gate]:", "A is better than B")
    assert evaluate(files[10], "--no-worse-than", files[30]).code == 0


def test_a_margin_allows_a_loss_up_to_it(tmp_path: Path) -> None:
    first, second = (predictions(tmp_path, f"{wrong}.jsonl", wrong=wrong) for wrong in (10, 30))
    gate = ("--no-worse-than", first, "--margin")
    assert evaluate(second, *gate, "0.5").code == 0
    assert evaluate(second, *gate, "accuracy=0.05").code == 7


def test_for_an_error_rate_the_limit_is_the_highest_value(tmp_path: Path) -> None:
    lines = [{"prediction": row % 7, "reference": row % 5} for row in range(60)]
    file = write_jsonl(tmp_path / "n.jsonl", lines)  # type: ignore[arg-type]
    files = ("evaluate", "--predictions", file, "--references", file, "--metric", "mse")
    assert llmkit(*files, "--fail-under", "mse=0.1").code == 7
    assert llmkit(*files, "--fail-under", "mse=50").code == 0


def test_markdown_has_the_scores_with_their_intervals_and_the_gates(tmp_path: Path) -> None:
    outcome = evaluate(predictions(tmp_path, "a.jsonl", wrong=20), "--fail-under", "accuracy=0.95", "--markdown")
    assert outcome.code == 7
    says(outcome.out, "| score | value |")
    says(outcome.out, "| accuracy | 0.8000 |")
    says(outcome.out, "| accuracy at least 0.95 |", "failed")


@pytest.mark.parametrize(
    ("options", "stated"),
    [
        (["--fail-under", "0.3"], ["--fail-under 0.3", "SCORE=LIMIT"]),
        (["--fail-under", "accuracy=high"], ["accuracy=high"]),
        (["--fail-under", "acuracy=0.3"], ["'acuracy'", "'accuracy'"]),
        (["--fail-under", "rougeL=0.3"], ["rougeL", "accuracy"]),
        (["--margin", "0.1"], ["--margin", "--no-worse-than"]),
        (["--no-worse-than", "a.jsonl", "--margin", "-0.1"], ["--margin", "below 0"]),
        (["--json", "--markdown"], ["--json", "--markdown"]),
    ],
)
def test_gates_that_cannot_be_checked_are_errors_of_usage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], stated: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = evaluate(predictions(tmp_path, "a.jsonl", wrong=5), *options)
    assert (outcome.code, outcome.out) == (2, "")
    says(outcome.err, "error[usage]:", *stated)


def test_a_run_writes_its_files_before_its_gate_fails(own_runs: Path) -> None:
    run = own_runs / "runs/classify-001"
    outcome = llmkit("evaluate", "--model", run, "--fail-under", "loss=0.0000001", "--fail-under", "accuracy=1e-9")
    assert outcome.code == 7
    [path] = (run / "evaluation").glob("*.predictions.jsonl")
    split = path.name.partition(".")[0]
    assert json.loads((run / f"evaluation/{split}.json").read_text())["scores"]["accuracy"] >= 0
    assert llmkit("evaluate", "--model", run, "--no-worse-than", run).code == 2


@pytest.mark.parametrize(("other", "code"), [("right", 7), ("wrong", 0)])
def test_a_model_is_compared_with_a_run_on_the_same_rows(own_runs: Path, other: str, code: int) -> None:
    """The other run is always right, or always wrong; the model is neither on labels that are the wrong way round."""
    run, data = own_runs / "runs/classify-001", own_runs / "other-way.jsonl"
    swapped = {"food": "sport", "sport": "food"}
    write_jsonl(data, [{**row, "label": swapped[row["label"]]} for row in rows(60, seed=3)])
    evaluated = ("evaluate", "--model", run, "--data", data)
    assert llmkit(*evaluated).code == 0
    shutil.copytree(run, own_runs / "runs/other")
    file = own_runs / "runs/other/evaluation/data.predictions.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    for line in lines:
        line["prediction"] = line["reference"] if other == "right" else swapped[line["reference"]]
    write_jsonl(file, lines)
    outcome = llmkit(*evaluated, "--no-worse-than", own_runs / "runs/other", "--margin", "accuracy=0", "--json")
    (record,) = outcome.records
    [gate] = record["gates"]
    assert (outcome.code, gate["score"], gate["passed"]) == (code, "accuracy", code == 0)
    assert gate["value"] == record["scores"]["accuracy"]  # type: ignore[index]

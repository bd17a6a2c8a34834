"""`data.cluster` and the losses of rows through the commands: what a run records, and what an evaluation writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from facts import says
from tiny_recipes import CLASSIFY, WRITE, rows, write_jsonl
from tiny_recipes import llmkit as command_line

import llmkit

ROWS: list[dict[str, Any]] = [{**row, "author": f"a{index // 4}"} for index, row in enumerate(rows(60, seed=1))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier's run of rows with authors, of which the third is bad."""
    folder = tmp_path_factory.mktemp("clusters")
    bad = {**ROWS[0], "author": ""}
    write_jsonl(folder / "rows.jsonl", [*ROWS[:2], bad, *ROWS[2:]])
    write_jsonl(folder / "more.jsonl", ROWS[:9])
    write_jsonl(folder / "unnamed.jsonl", [{key: row[key] for key in ("text", "label")} for row in ROWS[:3]])
    (folder / "classify.yaml").write_text(CLASSIFY.replace("steps: 24", "steps: 4").replace("every: 12", "every: 4"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        keys = ("data.cluster=author", "data.skip_bad_rows=true")
        options = [part for key in keys for part in ("--set", key)]
        outcome = command_line("finetune", "classify.yaml", "--run", "runs/a", *options)
        assert outcome.code == 0, outcome.err
    return folder


def lines_of(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path("runs/a/evaluation", name).read_text().splitlines()]


def test_predictions_name_the_row_its_cluster_and_its_loss(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert json.loads(Path("runs/a/data.json").read_text())["clusters"] == "author"
    scores = llmkit.evaluate_model("runs/a").scores.values
    lines, source = lines_of("validation.predictions.jsonl"), Path("rows.jsonl").read_text().splitlines()
    assert len(lines) in (8, 12, 16), "whole authors, near to a fifth of sixty rows"
    for line in lines:
        row = json.loads(source[line["row"] - 1])
        assert (row["label"], row["author"]) == (line["reference"], line["cluster"])
        assert line["targets"] == 1
        assert "file" not in line
    assert scores["loss"] == pytest.approx(sum(line["loss"] for line in lines) / len(lines))
    file = Path("runs/a/evaluation/validation.predictions.jsonl")
    assert llmkit.score_files(file, file, metrics=["accuracy"]).scores.values["accuracy"] == scores["accuracy"]
    old = Path("old.jsonl")
    write_jsonl(old, [{key: line[key] for key in ("prediction", "reference")} for line in lines])
    assert llmkit.score_files(old, old, metrics=["accuracy"]).scores.values["accuracy"] == scores["accuracy"]


def test_given_rows_have_the_clusters_of_the_recipe_if_their_file_names_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    arguments = ("evaluate", "--model", "runs/a", "--data", "more.jsonl")
    named = command_line(*arguments)
    assert named.code == 0
    assert "author" not in named.err
    assert [line["cluster"] for line in lines_of("data.predictions.jsonl")] == [row["author"] for row in ROWS[:9]]
    both = command_line(*arguments, "--data", "unnamed.jsonl")
    assert both.code == 0
    says(both.err, "warning:", "unnamed.jsonl", "author")
    lines = lines_of("data.predictions.jsonl")
    assert [(line["file"], line["row"]) for line in lines[8:10]] == [("more.jsonl", 9), ("unnamed.jsonl", 1)]
    assert [line["cluster"] for line in lines[8:]] == ["a2", *(f"unnamed.jsonl:{line}" for line in (1, 2, 3))]
    assert command_line("evaluate", "--model", "runs/a", "--data", "unnamed.jsonl").code == 0
    assert all("cluster" not in line for line in lines_of("data.predictions.jsonl"))


def test_an_unknown_column_stops_a_training_before_it_starts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    refused = command_line("finetune", "classify.yaml", "--run", "runs/b", "--set", "data.cluster=autor")
    assert refused.code == 3
    says(refused.err, "rows.jsonl", "data.cluster", "'autor'", "'author'")
    bad = command_line("finetune", "classify.yaml", "--run", "runs/b", "--set", "data.cluster=author")
    assert bad.code == 3
    says(bad.err, "rows.jsonl:3:", "author")
    assert not Path("runs/b").exists()


def test_a_language_model_has_a_file_of_the_losses_of_its_blocks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    Path("write.yaml").write_text(WRITE.replace("steps: 6", "steps: 2").replace("every: 3", "every: 2"))
    assert command_line("finetune", "write.yaml", "--run", "runs/a-writer").code == 0
    scores = llmkit.evaluate_model("runs/a-writer").scores.values
    lines = [
        json.loads(line) for line in Path("runs/a-writer/evaluation/validation.losses.jsonl").read_text().splitlines()
    ]
    nats, targets = sum(line["loss"] * line["targets"] for line in lines), sum(line["targets"] for line in lines)
    assert [line["row"] for line in lines] == list(range(1, len(lines) + 1))
    assert nats / targets == pytest.approx(scores["loss"])
    bits = nats / sum(line["bytes"] for line in lines) / 0.6931471805599453
    assert bits == pytest.approx(scores["bits_per_byte"])
    assert not Path("runs/a-writer/evaluation/validation.predictions.jsonl").exists()


def test_intervals_are_over_clusters_in_training_in_evaluation_and_in_the_file_of_predictions(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    evaluation = llmkit.evaluate_model("runs/a")
    lines = lines_of("validation.predictions.jsonl")
    assert evaluation.clusters == len({line["cluster"] for line in lines}) == len(lines) / 4
    assert evaluation.intervals.keys() == evaluation.scores.values.keys()
    best = json.loads(Path("runs/a/run.json").read_text())["best"]
    known = {name: list(interval) for name, interval in evaluation.intervals.items() if interval is not None}
    assert best["intervals"].keys() == known.keys()
    assert all(best["intervals"][name] == pytest.approx(interval) for name, interval in known.items())
    file = Path("runs/a/evaluation/validation.predictions.jsonl")
    again = llmkit.score_files(file, file, metrics=["accuracy"])
    assert again.clusters == evaluation.clusters
    assert again.intervals["accuracy"] == evaluation.intervals["accuracy"]
    says(command_line("evaluate", "--model", "runs/a").out, f"over {evaluation.clusters} clusters")

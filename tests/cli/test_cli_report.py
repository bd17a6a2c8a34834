"""`report`, and the page that training and evaluation leave in the run's folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from facts import says
from reported_runs import attacked_run, write_run
from tiny_recipes import listing, llmkit

import llmkit as package


@pytest.fixture
def two_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    attacked_run(tmp_path / "runs" / "a")
    write_run(tmp_path / "runs" / "b")
    return tmp_path


def test_a_report_goes_into_the_folder_of_its_run_and_its_path_to_stdout(two_runs: Path) -> None:
    outcome = llmkit("report", "runs/a")
    assert (outcome.code, outcome.out, outcome.err) == (0, "runs/a/report.html\n", "")
    html = (two_runs / "runs/a/report.html").read_text(encoding="utf-8")
    assert html.startswith("<!doctype html>")
    assert html.endswith("</html>")
    assert package.write_report("runs/a", output="again.html") == Path("again.html")
    assert (two_runs / "again.html").read_text(encoding="utf-8") == html


def test_several_runs_are_compared_in_a_file_here_or_where_output_says(two_runs: Path) -> None:
    before = listing(two_runs / "runs")
    assert llmkit("report", "runs/a", "runs/b").out == "comparison.html\n"
    assert llmkit("report", "runs/a", "runs/b", "-o", "runs/both.html").out == "runs/both.html\n"
    assert "2 runs" in (two_runs / "comparison.html").read_text(encoding="utf-8")
    assert listing(two_runs / "runs").keys() - before.keys() == {"both.html"}


def test_what_cannot_be_reported_is_an_error_and_writes_nothing(two_runs: Path) -> None:
    before = listing(two_runs)
    assert llmkit("report").code == 2
    missing = llmkit("report", "runs/aa")
    assert missing.code == 4
    says(missing.err, "error[run]:", "runs/aa", "'a'")
    twice = llmkit("report", "runs/a", "runs/../runs/a")
    assert twice.code == 2
    says(twice.err, "error[usage]:", "twice")
    nowhere = llmkit("report", "runs/a", "--output", "no/such/folder/x.html")
    assert nowhere.code == 5
    says(nowhere.err, "error[environment]:", "no/such/folder/x.html")
    (two_runs / "runs/b/run.json").write_text("{")
    assert llmkit("report", "runs/a", "runs/b").code == 4
    assert listing(two_runs).keys() == before.keys()


def test_training_and_evaluation_leave_a_report(own_runs: Path) -> None:
    report = own_runs / "runs/classify-001/report.html"
    trained = report.read_text(encoding="utf-8")
    assert "Loss, nats per target" in trained
    assert "classify.yaml:2" in trained
    assert "llmkit evaluate --model runs/classify-001 --data FILE" in trained
    assert "Most confident mistakes" in trained or "Sample of predictions" in trained
    assert trained.count('<h2 id="evaluation-validation-title">Validation rows</h2>') == 1
    outcome = llmkit("evaluate", "--model", "runs/classify-001", "--data", "rows.jsonl")
    assert outcome.code == 0, outcome.err
    evaluated = report.read_text(encoding="utf-8")
    assert "Given rows" in evaluated
    assert "rows.jsonl:" in evaluated
    shown = (own_runs / "runs/classify-001/evaluation/data.shown_rows.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in (own_runs / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
    for line in shown.splitlines():
        record = json.loads(line)
        assert record["place"] == f"rows.jsonl:{record['line'] + 1}"
        assert record["fields"] == {"text": rows[record["line"]]["text"]}


def test_a_report_that_cannot_be_written_fails_no_evaluation(own_runs: Path) -> None:
    run = own_runs / "runs/classify-001"
    (run / "report.html").unlink()
    (run / "report.html").mkdir()
    outcome = llmkit("evaluate", "--model", "runs/classify-001", "--data", "rows.jsonl")
    assert outcome.code == 0
    says(outcome.err, "warning:", "runs/classify-001/report.html", "llmkit report runs/classify-001")
    assert (run / "evaluation/data.json").is_file()


def test_the_run_records_what_was_written_and_what_was_said_about_the_data(work: Path) -> None:
    (work / "classify.yaml").write_text((work / "classify.yaml").read_text().replace("max_tokens: 24", "max_tokens: 6"))
    outcome = llmkit("finetune", "classify.yaml", "--run", "short", "--set", "train.steps=2")
    assert outcome.code == 0, outcome.err
    manifest = json.loads((work / "short/run.json").read_text())
    assert manifest["recipe_origins"]["train.steps"] == "--set"
    assert manifest["recipe_origins"]["data.train"].startswith("classify.yaml:4:")
    assert "train.seed" not in manifest["recipe_origins"]
    assert manifest["rows"]["train"]["rows"] + manifest["rows"]["validation"]["rows"] == 80
    assert manifest["rows"]["train"]["longest"] == 6
    texts = [message["text"] for message in manifest["messages"] if message["level"] == "warning"]
    assert any("truncated" in text for text in texts)
    outcome = llmkit("finetune", "--resume", "short", "--set", "train.keep_checkpoints=1")
    assert outcome.code == 0, outcome.err
    assert (work / "short/report.html").is_file()


def test_origins_of_a_resumed_run_stay_those_that_the_user_wrote(work: Path) -> None:
    steps = ("--set", "train.schedule=constant", "--set", "train.warmup=0")
    assert llmkit("finetune", "classify.yaml", "--run", "long", "--set", "train.epochs=0.5", *steps).code == 0
    outcome = llmkit("finetune", "--resume", "long", "--set", "train.steps=6")
    assert outcome.code == 0, outcome.err
    origins = json.loads((work / "long/run.json").read_text())["recipe_origins"]
    assert origins["train.steps"] == "--set"
    assert "train.epochs" not in origins
    assert origins["task"].startswith("classify.yaml:")
    assert "train.seed" not in origins

"""Several runs side by side: scores, curves, and what differs."""

from __future__ import annotations

from pathlib import Path

from reported_runs import attacked_run, label_lines, write_evaluation, write_run
from test_run_report import Parsed

from llmkit.report.comparison import comparison_report
from llmkit.report.reading import read_content
from llmkit.runs.folder import Run


def compared(*folders: Path) -> Parsed:
    return Parsed(comparison_report([read_content(Run(folder)) for folder in folders]))


def test_scores_of_each_run_stand_in_its_column(tmp_path: Path) -> None:
    for name, value in (("a", 0.25), ("b", 0.75)):
        write_evaluation(write_run(tmp_path / name), label_lines(30), scores={"accuracy": value})
    text = compared(tmp_path / "a", tmp_path / "b").text
    assert "score a b accuracy 0..1, share of rows; higher is better 0.2500 0.7500 rows 30 30" in text
    assert "a ends at" in text


def test_what_differs_is_listed_and_what_is_equal_is_not(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_run(tmp_path / name)
    recipe = tmp_path / "b" / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("steps: 50", "steps: 90").replace("- b.csv", "- c.csv"))
    text = compared(tmp_path / "a", tmp_path / "b").text
    assert "key a b data.train - a.csv - b.csv - a.csv - c.csv train.steps 50 90 Data No difference." in text


def test_evaluations_of_other_rows_are_said_not_to_compare(tmp_path: Path) -> None:
    for name, rows in (("a", 30), ("b", 40)):
        write_evaluation(write_run(tmp_path / name), label_lines(rows))
    assert "different numbers of rows: 30, 40" in compared(tmp_path / "a", tmp_path / "b").text
    write_evaluation(tmp_path / "b", label_lines(30))
    assert "do not compare" not in compared(tmp_path / "a", tmp_path / "b").text
    data = tmp_path / "b" / "data.json"
    data.write_text(data.read_text().replace("0" * 64, "1" * 64))
    assert "different data" in compared(tmp_path / "a", tmp_path / "b").text


def test_the_same_rows_have_the_predictions_of_every_run(tmp_path: Path) -> None:
    for name in ("a", "b"):
        lines = [{"prediction": f"{name} writes {number}", "reference": f"text {number}"} for number in range(30)]
        write_evaluation(write_run(tmp_path / name), lines, scores={"rouge1": 0.5})
    assert "reference text 3 a a writes 3 b b writes 3" in compared(tmp_path / "a", tmp_path / "b").text


def test_runs_of_the_same_name_are_told_apart_and_lack_of_files_is_no_error(tmp_path: Path) -> None:
    for parent in ("first", "second"):
        folder = tmp_path / parent / "run"
        folder.mkdir(parents=True)
        (folder / "run.json").write_text('{"id": "a", "status": "running"}')
    text = compared(tmp_path / "first" / "run", tmp_path / "second" / "run").text
    assert "first/run second/run status running running" in text


def test_texts_that_attack_the_page_are_only_text(tmp_path: Path) -> None:
    page = compared(attacked_run(tmp_path / "<b>a"), attacked_run(tmp_path / "c"))
    assert {"script", "img", "b"}.isdisjoint(page.tags)
    assert page.open_tags == []

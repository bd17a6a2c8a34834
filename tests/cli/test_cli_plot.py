"""`plot`: characters on standard output, the picture in the run's folder; a training leaves the picture by itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from empty_runs import create_run
from facts import says
from tiny_recipes import listing, llmkit, llmkit_process

import llmkit as package

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    run = create_run(tmp_path / "news-001", recipe_name="news")
    for step in range(1, 31):
        run.log(step, {"train/loss": 8 / step})
    run.log(30, {"evaluation/loss": 0.5})
    return run.folder


def test_the_curves_go_to_stdout_and_the_path_of_the_picture_to_stderr(run_folder: Path) -> None:
    outcome = llmkit_process("plot", run_folder)
    assert outcome.code == 0, outcome.err
    says(outcome.err, run_folder / "loss.png")
    assert outcome.err.count("\n") == 1
    says(outcome.out, "loss", "nats", "⠤⠤ training", "o validation")
    says(outcome.out, "validation loss 0.5", "step 30")
    assert (run_folder / "loss.png").read_bytes().startswith(PNG_SIGNATURE)


def test_a_pipe_gets_80_columns_and_no_control_codes(run_folder: Path) -> None:
    outcome = llmkit_process("plot", run_folder, env={"COLUMNS": "200"})
    assert outcome.out.replace("\n", "").isprintable()
    assert max(map(len, outcome.out.splitlines())) == 80


def test_python_has_the_same_verb(run_folder: Path) -> None:
    plotted = package.plot(run_folder)
    assert plotted.path == run_folder / "loss.png"
    assert llmkit("plot", run_folder).out == plotted.text + "\n"
    assert package.plot(run_folder, columns=70).text != plotted.text


def test_what_cannot_be_plotted_is_an_error_and_leaves_no_picture(tmp_path: Path) -> None:
    empty = create_run(tmp_path / "empty", recipe_name="news").folder
    outcome = llmkit("plot", empty)
    assert (outcome.code, outcome.out) == (4, "")
    assert outcome.err.startswith(f"error[run]: {empty}: ")
    says(outcome.err, "losses", f"--resume {empty}")
    assert not (empty / "loss.png").exists()
    says(llmkit("plot", tmp_path / "emtpy").err, "error[run]:", "emtpy", "run.json", "'empty'")
    assert llmkit("plot").code == 2


def test_a_torn_last_line_is_a_warning(run_folder: Path) -> None:
    with (run_folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 31, "tr')
    outcome = llmkit("plot", run_folder)
    assert outcome.code == 0
    warning, written = outcome.err.splitlines()
    says(warning, "warning:", "metrics.jsonl", "last line")
    says(written, run_folder / "loss.png")


def test_a_picture_that_cannot_be_written_is_an_error_with_its_path(run_folder: Path) -> None:
    (run_folder / "loss.png").mkdir()
    outcome = llmkit("plot", run_folder)
    assert outcome.code == 5
    assert outcome.err.startswith(f"error[environment]: {run_folder / 'loss.png'}: ")
    says(outcome.err, "Is a directory")


def test_a_mistake_loads_neither_torch_nor_matplotlib(tmp_path: Path) -> None:
    probe = (
        "import sys; from llmkit.cli import run; run(['plot', 'missing'])\n"
        "print(sorted({'torch', 'numpy', 'matplotlib', 'plotille'} & sys.modules.keys()))"
    )
    assert subprocess.check_output([sys.executable, "-c", probe], text=True, cwd=tmp_path).strip() == "[]"


# ---- after a training


def test_a_finished_training_leaves_its_picture_and_plot_draws_the_same(own_runs: Path) -> None:
    for name in ("classify-001", "write-001", "summarize-001"):
        picture = own_runs / "runs" / name / "loss.png"
        left = picture.read_bytes()
        assert left.startswith(PNG_SIGNATURE)
        picture.unlink()
        assert llmkit("plot", Path("runs", name)).code == 0
        assert picture.read_bytes() == left


def test_a_picture_that_cannot_be_drawn_does_not_fail_the_training(own_runs: Path) -> None:
    """A folder stands in its place; the training is resumed as if it had been killed before its end."""
    run = own_runs / "runs/classify-001"
    manifest = run / "run.json"
    manifest.write_text(manifest.read_text().replace('"status": "finished"', '"status": "running"'))
    (run / "loss.png").unlink()
    (run / "loss.png").mkdir()
    outcome = llmkit("finetune", "--resume", "runs/classify-001")
    assert outcome.code == 0, outcome.err
    says(outcome.err, "warning:", "runs/classify-001/loss.png", "llmkit plot runs/classify-001")
    assert '"status": "finished"' in manifest.read_text()


def test_plotting_changes_nothing_but_the_picture(own_runs: Path) -> None:
    before = listing(own_runs)
    assert llmkit("plot", "runs/write-001").code == 0
    picture = "runs/write-001/loss.png"
    assert {**listing(own_runs), picture: None} == {**before, picture: None}

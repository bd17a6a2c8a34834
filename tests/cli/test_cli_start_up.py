"""What the program does before it needs torch: help, and most mistakes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from facts import says
from tiny_recipes import CLASSIFY, llmkit, llmkit_process

HEAVY = ("torch", "transformers", "datasets", "accelerate", "pandas", "sklearn", "pyarrow", "numpy")
_PROBE = """
import sys
from llmkit.cli import run
code = run(sys.argv[2:])
print("LOADED", *sorted(set(sys.argv[1].split()) & sys.modules.keys()))
sys.exit(code)
"""


QUICK = (
    ("--help", 0),
    ("models", 0),
    ("explain train.schedule", 0),
    ("finetune bad.yaml", 2),
    ("finetune good.yaml --set data.train=missing.jsonl", 3),
    ("evaluate --predictions a.txt --references b.txt --metric rouge", 3),
)
SLOW = (
    ("schema", 0),
    ("models --json", 0),
    ("frobnicate", 2),
    ("finetune missing.yaml", 2),
    ("generate --prompt x --temperature 0", 2),
    ("answer missing.jsonl", 3),
    ("chat --load missing.json", 3),
    ("classify missing.parquet", 3),
    ("embed rows.jsonl -o missing/vectors.npy", 5),
    ("", 0),
    ("--version", 0),
    ("finetune --help", 0),
    ("explain", 0),
    ("explain shedule", 2),
    ("plan bad.yaml", 2),
    ("plan good.yaml --set data.train=missing.jsonl", 3),
    ("models --revision main", 2),
    ("finetune --bogus", 2),
    ("finetune", 2),
    ("finetune good.yaml --set train.steps=0", 2),
    ("finetune good.yaml --set evaluation.best=rougeL", 2),
    ("finetune --resume missing", 4),
    ("finetune good.yaml --processes 0", 2),
    ("generate --prompt x --beams many", 2),
    ("answer", 2),
    ("answer --question x missing.txt", 3),
    ("summarize missing.txt", 3),
    ("chat --top-p 0", 2),
    ("fill missing.txt", 3),
    ("fill [MASK] --top-k 0", 2),
    ("embed missing.txt", 3),
    ("embed rows.jsonl -o vectors.bin", 2),
    ("embed rows.jsonl --search x --top-k 0", 2),
    ("embed rows.jsonl --search x -o found.npy", 2),
    ("evaluate --predictions a.txt", 2),
    ("evaluate --model missing --metric rogue", 2),
)


@pytest.mark.parametrize(
    ("arguments", "code"), [*QUICK, *(pytest.param(*case, marks=pytest.mark.slow) for case in SLOW)]
)
def test_help_and_mistakes_load_no_model_library(tmp_path: Path, arguments: str, code: int) -> None:
    (tmp_path / "good.yaml").write_text(CLASSIFY)
    (tmp_path / "rows.jsonl").write_text('{"text": "a", "label": "b"}\n')
    (tmp_path / "bad.yaml").write_text("recipe: 1\ntask: clasification\n")
    done = subprocess.run(
        [sys.executable, "-c", _PROBE, " ".join(HEAVY), *arguments.split()],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1:] == ["LOADED"], done.stdout + done.stderr
    assert done.returncode == code, done.stderr


def test_importing_the_package_loads_no_model_library() -> None:
    probe = f"import sys, llmkit; print(sorted({set(HEAVY)!r} & sys.modules.keys()))"
    assert subprocess.check_output([sys.executable, "-c", probe], text=True).strip() == "[]"


def test_the_version_is_the_one_that_is_installed() -> None:
    from importlib.metadata import version

    assert llmkit("--version").out == f"llmkit {version('llmkit')}\n"


@pytest.mark.parametrize(
    "command",
    [
        "",
        "finetune",
        "generate",
        "summarize",
        "classify",
        "fill",
        "embed",
        "evaluate",
        "models",
        "schema",
        "plan",
        "explain",
        "doctor",
    ],
)
def test_help_fits_into_80_columns(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    outcome = llmkit(*command.split(), "--help")
    assert outcome.code == 0
    assert "Usage: llmkit" in outcome.out
    assert [line for line in outcome.out.splitlines() if len(line) > 80] == []


def test_no_command_shows_the_commands() -> None:
    assert llmkit().out == llmkit("--debug").out
    assert "finetune" in llmkit().out


def test_an_unknown_command_names_the_nearest() -> None:
    outcome = llmkit("finetun", "recipe.yaml")
    says(outcome.err, "error[usage]:", "'finetun'", "'finetune'", "`llmkit --help`")
    assert outcome.err.count("\n") == 1


def test_the_schema_is_json_that_knows_every_task() -> None:
    (schema,) = [llmkit("schema").out]
    for task in ("classification", "causal-lm", "summarization"):
        assert f'"{task}"' in schema


@pytest.mark.parametrize("arguments", [("schema",), ("--help",)])
def test_a_full_disk_behind_standard_output_is_exit_5(arguments: tuple[str, ...]) -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123  # a device
        command = [sys.executable, "-m", "llmkit", *arguments]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 5
    says(done.stderr, "error[environment]:", "No space left on device")
    assert done.stderr.count("\n") == 1


def test_closed_standard_streams_are_no_crash() -> None:
    for redirection, code in ((">&-", 0), ("2>&-", 0)):
        line = f'"{sys.executable}" -m llmkit schema {redirection}'
        done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (code, "")


def test_a_reader_that_goes_away_is_no_error() -> None:
    line = f'"{sys.executable}" -m llmkit schema | head -n 1'
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("{\n", "")


def test_python_dash_m_is_the_same_program(tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("llmkit")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout == llmkit_process("--version", cwd=tmp_path).out

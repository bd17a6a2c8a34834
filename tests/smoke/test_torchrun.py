"""The line for torchrun in the docs trains one run in two processes, on a CPU."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_recipes import environment, write_work

pytestmark = pytest.mark.slow

DOCS = Path(__file__).parents[2] / "docs"


def test_the_line_of_the_docs_trains_one_run_in_two_processes(tmp_path: Path) -> None:
    (line,) = re.findall(r"^torchrun --.*$", (DOCS / "runs.md").read_text(encoding="utf-8"), re.MULTILINE)
    write_work(tmp_path)
    (tmp_path / "classify.yaml").rename(tmp_path / "recipe.yaml")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        [*shlex.split(line), "--set", "train.steps=2", "--set", "train.checks=false"],
        cwd=tmp_path, env=environment({"PATH": path}), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [folder.name for folder in (tmp_path / "runs").iterdir()] == ["first"]
    assert json.loads((tmp_path / "runs/first/env.json").read_text())["world_size"] == 2
    assert json.loads((tmp_path / "runs/first/run.json").read_text())["status"] == "finished"

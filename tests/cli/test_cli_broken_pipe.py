"""A reader of a pipe that has exited ends every command with 141, and with nothing else on standard error."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import pytest
from tiny_recipes import command, environment

from llmkit.cli import run


@contextmanager
def closed_stdout() -> Iterator[io.BytesIO]:
    """Standard output as a pipe without a reader, and what was written to standard error."""
    read, write = os.pipe()
    os.close(read)
    errors = io.BytesIO()
    stdout = os.fdopen(write, "w", encoding="utf-8")
    with mock.patch.multiple(sys, stdout=stdout, stderr=io.TextIOWrapper(errors, write_through=True)):
        yield errors


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "labels.csv"
    path.write_text("label\na\nb\n")
    return path


@pytest.mark.parametrize("arguments", [["schema"], ["--version"], ["--help"], ["generate", "--help"], []])
def test_a_command_without_a_reader_exits_with_141(arguments: list[str]) -> None:
    with closed_stdout() as errors:
        code = run(arguments)
        assert (code, errors.getvalue()) == (141, b"")


@pytest.mark.parametrize("metrics", [["accuracy"], ["accuracy", "confusion"]])
@pytest.mark.parametrize("json", [[], ["--json"]])
def test_a_table_without_a_reader_exits_with_141(labels: Path, metrics: list[str], json: list[str]) -> None:
    files = ["--predictions", str(labels), "--references", str(labels)]
    with closed_stdout() as errors:
        code = run(["evaluate", *files, *json, *(part for name in metrics for part in ("--metric", name))])
        assert (code, errors.getvalue()) == (141, b"")


def test_an_error_that_nobody_reads_keeps_its_exit_code() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(command("--no-such-option"), stdout=write, stderr=write, env=environment(), check=False)
    os.close(write)
    assert done.returncode == 2

"""Trainings in processes of their own that start in no time: each is forked from one that has imported torch."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.context import ForkProcess
from pathlib import Path

import torch

from llmkit.api import finetune as _imported_once
from llmkit.api import run_training as _imported_too
from llmkit.cli import run

__all__ = ["Forked", "start"]
assert _imported_once
assert _imported_too
torch.set_num_threads(1)  # a pool of threads would not survive the fork


@dataclass(frozen=True)
class Forked:
    process: ForkProcess
    log: Path

    def finish(self) -> int:
        """Wait for its end; returns the exit code, negative for a signal."""
        self.process.join()
        assert self.process.exitcode is not None
        return self.process.exitcode

    @property
    def errors(self) -> str:
        return self.log.read_text(errors="replace")


def start(
    folder: Path,
    arguments: Sequence[str | Path],
    *,
    before: Callable[[], None] = lambda: None,
    after: Callable[[], None] = lambda: None,
) -> Forked:
    """Run a command line of llmkit in another process, in this folder.

    Args:
        before, after: called in that process.
    """
    log = folder / f"{arguments[0]}.log"
    process = get_context("fork").Process(
        target=_main, args=(folder, [str(part) for part in arguments], log, before, after)
    )
    process.start()
    return Forked(process, log)


def _main(folder: Path, arguments: list[str], log: Path, before: Callable[[], None], after: Callable[[], None]) -> None:
    os.chdir(folder)
    os.environ["LLMKIT_CACHE"] = str(folder / "cache")
    for descriptor, path in ((1, Path(os.devnull)), (2, log)):
        with path.open("wb") as file:
            os.dup2(file.fileno(), descriptor)
    before()
    code = run(arguments)
    after()
    sys.exit(code)

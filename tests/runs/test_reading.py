"""A model that is read while its run publishes another one is one of the two, never a mixture."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path

import torch
from builders import tiny_model
from empty_runs import create_run

from llmkit.errors import ModelError
from llmkit.models.export import model_files
from llmkit.models.loading import load_model


def marked_files(number: int) -> dict[str, bytes]:
    """A model with this number in its config and in each of its weights."""
    loaded = tiny_model("bert")
    loaded.model.config.pad_token_id = number
    with torch.no_grad():
        for weight in loaded.model.parameters():
            weight.fill_(number)
    return model_files(loaded)


@contextmanager
def repeating(publish: Callable[[dict[str, bytes]], None], versions: list[dict[str, bytes]]) -> Iterator[None]:
    """Another process that publishes the versions in turn for as long as the block takes."""
    process = os.fork()
    if process == 0:
        try:
            for files in cycle(versions):
                publish(files)
                time.sleep(0.05)
        finally:
            os._exit(1)
    try:
        yield
        assert os.waitpid(process, os.WNOHANG) == (0, 0), "it still publishes"
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)


def read_whole(name: str, *, times: int) -> tuple[int, list[str]]:
    """How often a whole model was read, and the errors of the other times."""
    whole, errors = 0, []
    for _ in range(times):
        try:
            loaded = load_model(name, head="classification")
        except ModelError as error:
            errors.append(str(error))
            continue
        number = loaded.model.config.pad_token_id
        assert number in (1, 2)
        assert all((weight == number).all() for weight in loaded.model.parameters())
        whole += 1
    return whole, errors


def test_a_model_read_while_others_are_published_is_never_a_mixture(tmp_path: Path) -> None:
    run = create_run(tmp_path / "run")
    versions = [marked_files(number) for number in (1, 2)]
    run.publish_model(versions[0], step=0)
    with repeating(lambda files: run.publish_model(files, step=1), versions):
        whole, errors = read_whole(str(run.folder), times=6)
    assert whole > 0
    assert all("replaced" in error for error in errors)

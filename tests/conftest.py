"""What all tests share. Its folder is on sys.path for them: `builders`, `tiny_recipes`, `trained_runs`."""

from __future__ import annotations

import os

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when huggingface_hub is imported: no test reaches for the network


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)  # tiny models: more threads only wait for each other

"""What all tests share. Its folder is on sys.path for them: `builders`, `tiny_recipes`, `trained_runs`."""

from __future__ import annotations

import os

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when huggingface_hub is imported: no test reaches for the network
os.environ["CUDA_VISIBLE_DEVICES"] = ""  # tests compare bits and bytes of the CPU; benchmarks/gpu.py tries a GPU


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nothing that an earlier run encoded hides a fault in this one; the processes of this one share a folder."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    os.environ["LLMKIT_CACHE"] = str(shared / "llmkit-cache")


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)  # tiny models: more threads only wait for each other

"""What a model computes does not depend on where in a file its weights stood."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from adapted import adapted, disturbed, saved
from builders import sentence, tiny_model
from published_models import PublishedFamily, published_folder
from safetensors.torch import load_file, save_file

from llmkit.inference.engines.transformers import TransformersEngine
from llmkit.models.families import Head
from llmkit.models.loaded import LoadedModel
from llmkit.models.loading import load_model

ALIGNMENT = 64
"""Bytes: what torch's own memory on a CPU is aligned to."""


def misaligned(loaded: LoadedModel) -> list[str]:
    tensors = [*loaded.model.named_parameters(), *loaded.model.named_buffers()]
    assert tensors
    return [name for name, tensor in tensors if tensor.data_ptr() % ALIGNMENT]


@pytest.mark.parametrize(
    ("family", "head"),
    [("bert", "classification"), ("lstm", "classification"), ("gpt2", "causal-lm"), ("t5", "seq2seq-lm")],
)
def test_weights_of_a_trained_model_lie_in_memory_of_torch(family: str, head: Head, tmp_path: Path) -> None:
    folder = saved(tiny_model(family, head=head), tmp_path / "model")
    assert misaligned(load_model(str(folder), head=head)) == []


@pytest.mark.parametrize(("family", "head"), [("bert", "embedding"), ("gpt2", "causal-lm"), ("t5", "seq2seq-lm")])
def test_weights_of_a_published_model_lie_in_memory_of_torch(
    family: PublishedFamily, head: Head, tmp_path: Path
) -> None:
    folder = published_folder(tmp_path / "model", family)
    assert misaligned(load_model(str(folder), head=head)) == []


@pytest.mark.parametrize("keep_adapter", [False, True], ids=["merged", "kept"])
def test_weights_of_an_adapter_and_its_base_lie_in_memory_of_torch(keep_adapter: bool, tmp_path: Path) -> None:
    loaded = disturbed(adapted("classification", tmp_path / "base"))
    folder = saved(loaded, tmp_path / "adapter")
    assert misaligned(load_model(str(folder), head="classification", keep_adapter=keep_adapter)) == []


def test_the_length_of_a_files_header_changes_no_logit(tmp_path: Path) -> None:
    loaded = tiny_model("bert", width=64)
    ids = [loaded.tokenizer(sentence(1))["input_ids"]]
    logits = []
    for length in range(1, 64, 8):
        folder = saved(loaded, tmp_path / str(length))
        tensors = load_file(folder / "model.safetensors")
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt", "note": length * "x"})
        opened = load_model(str(folder), head="classification")
        logits.append(TransformersEngine(opened, device=torch.device("cpu")).class_logits(ids))
    assert all(np.array_equal(logits[0], other) for other in logits)

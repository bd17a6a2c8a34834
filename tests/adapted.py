"""Tiny models in folders with a new adapter in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from builders import TaskName, model_for, recipe_of
from torch import nn

from llmkit.models.adapters import add_adapter
from llmkit.models.export import model_files
from llmkit.models.loaded import LoadedModel
from llmkit.models.loading import load_model
from llmkit.recipe.blocks import LoraBlock


def saved(loaded: LoadedModel, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in model_files(loaded).items():
        (folder / name).write_bytes(content)
    return folder


def adapted(
    name: TaskName, folder: Path, *, dropout: float = 0.0, lora_dropout: float = 0.0, layers: int = 2, **keys: Any
) -> LoadedModel:
    """A model for the task, opened from `folder`, which is made if need be, with an adapter in it."""
    head = recipe_of(name).HEAD
    if not folder.exists():
        saved(model_for(name, dropout=dropout, layers=layers), folder)
    loaded = load_model(str(folder), head=head)
    return add_adapter(loaded, LoraBlock(dropout=lora_dropout, **keys), head=head, seed=5)


def disturbed(loaded: LoadedModel) -> LoadedModel:
    """The same, with all that an adapter trains moved by chance: its product is no longer 0."""
    torch.manual_seed(9)
    with torch.no_grad():
        for parameter in trained_parameters(loaded.model):
            parameter += 0.3 * torch.randn_like(parameter)
    return loaded


def trained_parameters(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]

"""Folders as sentence-transformers saves them, around a published model, written by hand."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from published_models import PublishedFamily, published_folder
from safetensors.torch import save_file

WIDTH = 16
"""Hidden units of the published models."""
FLAGS = {"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": False, "pooling_mode_max_tokens": False}
_OLD = "sentence_transformers.models."
_NEW = {
    "Transformer": "sentence_transformers.base.modules.transformer.Transformer",
    "Pooling": "sentence_transformers.sentence_transformer.modules.pooling.Pooling",
    "Dense": "sentence_transformers.base.modules.dense.Dense",
    "Normalize": "sentence_transformers.base.modules.normalize.Normalize",
}


def sentence_folder(
    folder: Path,
    family: PublishedFamily = "bert",
    *,
    pooling: Mapping[str, Any] | None = None,
    after: Sequence[str] = (),
    transformer: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    body: str = "",
    new_names: bool = False,
) -> Path:
    """Write one.

    Args:
        pooling: config of the Pooling; None for the mean.
        after: kinds of the modules after it; a Dense gets a folder without files, see `add_dense`.
        body: folder of the model itself; old versions wrote 0_Transformer.
        new_names: types as version 6 writes them, not as version 2 did.
    """
    shutil.copytree(_body(family), folder / body)
    kinds = ["Transformer", "Pooling", *after]
    paths = [body, *(f"{number}_{kind}" for number, kind in enumerate(kinds[1:], start=1))]
    types = [_NEW[kind] if new_names else _OLD + kind for kind in kinds]
    modules = [
        {"idx": idx, "name": str(idx), "path": path, "type": kind}
        for idx, (path, kind) in enumerate(zip(paths, types, strict=True))
    ]
    for path in paths[1:]:
        (folder / path).mkdir()
    write_json(folder / "modules.json", modules)
    config = pooling or {**FLAGS, "word_embedding_dimension": WIDTH, "pooling_mode_mean_tokens": True}
    write_json(folder / "1_Pooling" / "config.json", config)
    if transformer is not None:
        write_json(folder / body / "sentence_bert_config.json", transformer)
    if settings is not None:
        write_json(folder / "config_sentence_transformers.json", settings)
    return folder


def add_dense(
    folder: Path, *, inputs: int, outputs: int, seed: int, bias: bool = True, **config: Any
) -> torch.nn.Linear:
    """Write config and weights of a Dense; returns its linear map."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        linear = torch.nn.Linear(inputs, outputs, bias=bias)
    write_json(folder / "config.json", {"in_features": inputs, "out_features": outputs, "bias": bias, **config})
    save_file({f"linear.{key}": tensor for key, tensor in linear.state_dict().items()}, folder / "model.safetensors")
    return linear


def write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")


@cache
def _made() -> TemporaryDirectory[str]:
    return TemporaryDirectory(prefix="llmkit-sentence-")


@cache
def _body(family: PublishedFamily) -> Path:
    return published_folder(Path(_made().name) / family, family)

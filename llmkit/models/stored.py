"""The stored weights of a model folder: files, names, shapes and types. Reads headers before tensors.

Only safetensors is read. An index of several files may name only safetensors files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from llmkit.errors import ModelError
from llmkit.models.files import find_file, listed, read_json

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
GENERATOR = "generator.safetensors"
"""Weights that are trained beside a model, see `generator.py`."""
PICKLES = {".bin", ".pt", ".pth", ".ckpt", ".pkl"}


@dataclass(frozen=True)
class StoredTensor:
    file: Path
    name: str
    shape: tuple[int, ...]
    dtype: str
    """safetensors' name: F32, BF16, I64 ..."""


def weight_files(folder: Path, *, name: str) -> dict[str, Path]:
    """File name -> path: `model.safetensors`, else all files in the index.

    Raises:
        ModelError: there are none; one is not a safetensors file of the folder; the index is damaged.
    """
    index = _weight_map(folder, name=name)
    shards = {file: _weight_file(folder, file, name=name) for file in sorted(set(index.values()))}
    if find_file(folder, WEIGHTS, name=name) is not None:  # as in transformers, it takes precedence over the index
        shards = {WEIGHTS: _weight_file(folder, WEIGHTS, name=name)}
    if not shards:
        pickled = [file.name for file in sorted(folder.iterdir()) if file.suffix in PICKLES]
        fault = f"it has {pickled[0]}, a pickle, which can run code" if pickled else f"it has no weights ({WEIGHTS})"
        raise ModelError(
            f"{name}: only safetensors weights are read; {fault}. docs/models.md (Weights in a pickle) shows how to "
            "convert a model that you trust."
        )
    return shards


def stored_tensors(folder: Path, *, name: str) -> dict[str, StoredTensor]:
    """Every tensor of the model by its stored name.

    Raises:
        ModelError: as `weight_files`; a damaged header; a tensor in two files, or not in the file that the index names.
    """
    tensors: dict[str, StoredTensor] = {}
    shards = weight_files(folder, name=name)
    for file, path in shards.items():
        for key, tensor in tensors_of(path, name=name, file=file).items():
            if key in tensors:
                raise ModelError(f"{name}: {listed([key])} is in two files, {tensors[key].file.name} and {file}.")
            tensors[key] = tensor
    for key, file in _weight_map(folder, name=name).items():
        if file in shards and (key not in tensors or tensors[key].file != shards[file]):
            raise ModelError(f"{name}: {INDEX} lists {listed([key])} in {file}, which does not contain it.")
    return tensors


def tensors_of(path: Path, *, name: str, file: str) -> dict[str, StoredTensor]:
    """The tensors in the header of a safetensors file, by name."""
    with _opened(path, name=name, file=file) as content:
        slices = {key: content.get_slice(key) for key in content.keys()}  # noqa: SIM118  # not a mapping
        return {key: StoredTensor(path, key, tuple(part.get_shape()), part.get_dtype()) for key, part in slices.items()}


def read_tensors(tensors: Mapping[str, StoredTensor], *, name: str) -> dict[str, Tensor]:
    """The tensors themselves, under the same keys."""
    read: dict[str, Tensor] = {}
    for path in sorted({tensor.file for tensor in tensors.values()}):
        with _opened(path, name=name, file=path.name) as content:
            keys: Iterable[str] = (key for key, tensor in tensors.items() if tensor.file == path)
            read |= {key: content.get_tensor(tensors[key].name) for key in keys}
    return read


@contextmanager
def _opened(path: Path, *, name: str, file: str) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as content:
            yield content
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:  # the last from torch, which opens it again
        raise ModelError(f"{name}: {file} is damaged ({error}).") from error


def _weight_map(folder: Path, *, name: str) -> dict[str, str]:
    """Stored name -> file, from the index; empty without an index."""
    content = read_json(folder, INDEX, name=name)
    if content is None:
        return {}
    files = content.get("weight_map")
    if not isinstance(files, dict) or not files:
        raise ModelError(f"{name}: {INDEX} has no weight_map from tensors to files.")
    for file in files.values():
        if not isinstance(file, str) or Path(file).name != file or not file.isprintable():
            raise ModelError(f"{name}: the weight index names {file!r}, which is outside the folder.")
        if not file.endswith(".safetensors"):
            raise ModelError(f"{name}: the weight index names {file!r}; only safetensors weights are read.")
    return files


def _weight_file(folder: Path, file: str, *, name: str) -> Path:
    path = find_file(folder, file, name=name)
    if path is None:
        raise ModelError(f"{name}: the weight file {file} is missing.")
    return path

"""From what the user calls a model to a folder on this machine that is safe to open.

A name is a run, a folder, or a hub id; a typo in a path and a typo in a hub id are told apart. Of a hub model only
JSON, text and safetensors are fetched. Nothing here reads weights.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from llmkit.errors import MachineError, ModelError, nearest
from llmkit.models.adapters import ADAPTER_CONFIG, ADAPTER_WEIGHTS, BASE, MODEL_CONFIG, Adapter, read_adapter

_FETCHED = ["*.json", "*.txt", "*.model", "*.jinja", "model*.safetensors", ADAPTER_WEIGHTS]
_CODE_KEYS = ("auto_map", "trust_remote_code")
_ATTENTION_KEYS = ("attn_implementation", "_attn_implementation")
_KNOWN_ATTENTION = (None, "eager", "sdpa")  # no set: what a config names may be anything, a dict too


@dataclass(frozen=True)
class ModelPlace:
    """A checked folder, and what it is a copy of."""

    folder: Path
    name: str
    revision: str | None
    """The commit of a hub model; None for a folder."""
    config: dict[str, Any]
    """What the model's own config says; of an adapter, that of the whole model."""
    base: ModelPlace | None = None
    """What an adapter in the folder changes."""
    adapter: Adapter | None = None


def find_model(name: str, *, revision: str | None = None) -> ModelPlace:
    """Resolve and check a model's name.

    Raises:
        ModelError: no such folder or hub model; a run without a finished model; a folder that is not a model, or
            whose files would load code, pickle, or files from elsewhere.
        MachineError: the hub is needed and cannot be reached.
    """
    folder, commit = _folder_of(name, revision=revision)
    if (folder / ADAPTER_CONFIG).exists():
        return _adapter_place(folder, name=name, commit=commit)
    return ModelPlace(folder=folder, name=name, revision=commit, config=check_folder(folder, name=name))


def _folder_of(name: str, *, revision: str | None) -> tuple[Path, str | None]:
    """Where a model lies, and its commit if that is the hub's cache."""
    path = Path(name)
    if path.is_dir() and revision is not None:
        raise ModelError(f"{name}: a folder has no revision {revision!r}; that is for hub models.")
    if path.is_dir():
        return _of_run_or_folder(path), None
    if _looks_like_path(name):
        raise ModelError(f"{name}: there is no such folder.{_sibling(path)}")
    folder = _fetched_from_hub(name, revision=revision)
    return folder, folder.name


def _adapter_place(folder: Path, *, name: str, commit: str | None) -> ModelPlace:
    """An adapter's folder, and the model that it changes, which is found and checked like any other.

    transformers would load an adapter that it finds beside whole weights, and what that names, unasked.
    """
    if any((folder / file).exists() for file in ("config.json", "model.safetensors", "model.safetensors.index.json")):
        raise ModelError(f"{name}: it is both a model and an adapter ({ADAPTER_CONFIG}). Keep them in two folders.")
    _check_files(folder, name=name)
    _check_inside(folder, ADAPTER_WEIGHTS, name=name)
    content = _read_json(folder / ADAPTER_CONFIG, name=name)
    _check_entries(content, name=name, file=ADAPTER_CONFIG)
    adapter = read_adapter(content, name=name)
    if (folder / BASE).exists():
        adapter = replace(adapter, base_sha256=_read_json(folder / BASE, name=name).get("sha256"))
    folder_of_base, commit_of_base = _folder_of(adapter.base, revision=adapter.revision)
    if (folder_of_base / ADAPTER_CONFIG).exists():
        raise ModelError(f"{name}: its base model {adapter.base} is itself an adapter. Merge that with `llmkit merge`.")
    config = check_folder(folder_of_base, name=adapter.base)
    base = ModelPlace(folder=folder_of_base, name=adapter.base, revision=commit_of_base, config=config)
    if (folder / MODEL_CONFIG).exists():
        config = _read_json(folder / MODEL_CONFIG, name=name)
        _check_entries(config, name=name, file=MODEL_CONFIG)
    return ModelPlace(folder=folder, name=name, revision=commit, config=config, base=base, adapter=adapter)


def check_folder(folder: Path, *, name: str) -> dict[str, Any]:
    """Refuse a folder that is not a plain safetensors model; return its config.

    A config is an attack surface: `auto_map` imports code, an unknown `attn_implementation` reaches a loader of
    kernels, and a weight map with `../` reads files outside the folder.
    """
    _check_files(folder, name=name)
    config = _read_json(folder / "config.json", name=name)
    _check_entries(config, name=name, file="config.json")
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        pickled = [file.name for file in folder.iterdir() if file.suffix in {".bin", ".pt", ".pth", ".ckpt", ".pkl"}]
        found = f"it has {pickled[0]}, a pickle, which can run code" if pickled else "it has no weights"
        raise ModelError(f"{name}: only safetensors weights are read; {found}.")
    index = folder / "model.safetensors.index.json"
    shards = _read_json(index, name=name).get("weight_map", {}).values() if index.exists() else ()
    for file in {*shards, *(file.name for file in weights)}:
        _check_inside(folder, file, name=name)
    return config


def _check_files(folder: Path, *, name: str) -> None:
    for file in folder.iterdir():
        if file.exists() and not file.is_file() and not file.is_dir():
            raise ModelError(f"{name}: {file.name} is no regular file; reading it could wait for ever.")


def _check_entries(config: dict[str, Any], *, name: str, file: str) -> None:
    for key, value in _entries(config):
        if key in _CODE_KEYS and value:
            raise ModelError(f"{name}: {file} asks for code of its own ({key}), which llmkit never runs.")
        if key in _ATTENTION_KEYS and value not in _KNOWN_ATTENTION:
            raise ModelError(f"{name}: {file} names the attention {value!r}; eager and sdpa are allowed.")


def _of_run_or_folder(path: Path) -> Path:
    """A run's finished model, or the folder itself."""
    if not (path / "run.json").exists():
        return path
    if not (path / "model").is_dir():
        raise ModelError(f"{path}: the run has no finished model. Continue it with `llmkit finetune --resume {path}`.")
    return path / "model"


def _looks_like_path(name: str) -> bool:
    return (
        name.startswith((".", "/", "~", "runs/"))
        or name.count("/") > 1
        or (os.sep in name.rstrip("/")[:-1] and (Path(name).parent.is_dir()))
    )


def _sibling(path: Path) -> str:
    parent = path.parent
    if not parent.is_dir():
        return f" Nor is there a folder {parent}."
    return nearest(path.name, (entry.name for entry in parent.iterdir() if entry.is_dir()))


def _fetched_from_hub(name: str, *, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=_FETCHED))
    except HFValidationError as error:
        raise ModelError(f"{name!r} is neither a folder nor a hub id (OWNER/NAME).") from error
    except GatedRepoError as error:
        raise ModelError(f"{name}: the hub model is gated; accept its terms, then set HF_TOKEN.") from error
    except RevisionNotFoundError as error:
        raise ModelError(f"{name}: the hub model has no revision {revision!r}.") from error
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"{name}: the hub has no such model, or it is private. Check the owner and the name; nor is it a folder here."
        ) from error
    except LocalEntryNotFoundError as error:
        raise MachineError(
            f"{name}: not a folder here, not in the hub cache, and the hub cannot be reached. "
            "Connect, or copy the model to a folder and give its path."
        ) from error
    except HfHubHTTPError as error:
        raise MachineError(
            f"{name}: the hub answered with an error ({error.response.status_code}). Try again."
        ) from error


def _read_json(path: Path, *, name: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise ModelError(f"{name}: not a model, it has no {path.name}.") from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{name}: {path.name} is not valid JSON.") from error
    except OSError as error:
        raise ModelError(f"{name}: {path.name} cannot be read ({error.strerror}).") from error
    if not isinstance(content, dict):
        raise ModelError(f"{name}: {path.name} is not a JSON object.")
    return content


def _entries(content: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Keys with their values, at any depth; a stack, since JSON may nest deeper than Python calls."""
    waiting: list[object] = [content]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield from value.items()
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def _check_inside(folder: Path, file: object, *, name: str) -> None:
    """A hub cache links its snapshots to blobs of the same model; no other link, nor a path, may lead elsewhere."""
    if not isinstance(file, str) or not file or Path(file).name != file:
        raise ModelError(f"{name}: the weight index names {file!r}, which is outside the folder.")
    path = folder / file
    cache = folder.resolve().parent.parent
    linked_in_cache = folder.resolve().parent.name == "snapshots" and path.resolve().parent == cache / "blobs"
    if path.is_symlink() and not linked_in_cache:
        raise ModelError(f"{name}: {file} is a link; copy the weights into the folder.")
    if not path.is_file():
        raise ModelError(f"{name}: the weight file {file} is missing.")

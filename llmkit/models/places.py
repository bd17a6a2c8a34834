"""From what the user calls a model to a folder on this machine that is safe to open.

A name is a run, a folder, or a hub id; a typo in a path and a typo in a hub id are told apart. Of a hub model only
JSON, text and safetensors are fetched. Nothing here reads weights.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmkit.errors import MachineError, ModelError, nearest

_FETCHED = ["*.json", "*.txt", "*.model", "model*.safetensors"]
_KNOWN_ATTENTION = {None, "eager", "sdpa"}


@dataclass(frozen=True)
class ModelPlace:
    """A checked folder, and what it is a copy of."""

    folder: Path
    name: str
    revision: str | None
    """The commit of a hub model; None for a folder."""
    config: dict[str, Any]


def find_model(name: str, *, revision: str | None = None) -> ModelPlace:
    """Resolve and check a model's name.

    Raises:
        ModelError: no such folder or hub model; a run without a finished model; a folder that is not a model, or
            whose files would load code, pickle, or files from elsewhere.
        MachineError: the hub is needed and cannot be reached.
    """
    path = Path(name)
    if path.is_dir():
        folder, commit = _of_run_or_folder(path), None
    elif _looks_like_path(name):
        raise ModelError(f"{name}: there is no such folder.{_sibling(path)}")
    else:
        folder = _fetched_from_hub(name, revision=revision)
        commit = folder.name
    return ModelPlace(folder=folder, name=name, revision=commit, config=check_folder(folder, name=name))


def check_folder(folder: Path, *, name: str) -> dict[str, Any]:
    """Refuse a folder that is not a plain safetensors model; return its config.

    A config is an attack surface: `auto_map` imports code, an unknown `attn_implementation` reaches a loader of
    kernels, and a weight map with `../` reads files outside the folder.
    """
    config = _read_json(folder / "config.json", name=name)
    for key in ("auto_map", "trust_remote_code"):
        if _mentions(config, key):
            raise ModelError(f"{name}: config.json asks for code of its own ({key}), which llmkit never runs.")
    for key in ("attn_implementation", "_attn_implementation"):
        if config.get(key) not in _KNOWN_ATTENTION:
            raise ModelError(f"{name}: config.json names the attention {config[key]!r}; eager and sdpa are allowed.")
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
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ModelError(f"{name}: {path.name} is not valid JSON.") from error
    if not isinstance(content, dict):
        raise ModelError(f"{name}: {path.name} is not a JSON object.")
    return content


def _mentions(value: object, key: str) -> bool:
    """True where a truthy `key` stands at any depth."""
    if isinstance(value, dict):
        return bool(value.get(key)) or any(_mentions(inner, key) for inner in value.values())
    if isinstance(value, list):
        return any(_mentions(inner, key) for inner in value)
    return False


def _check_inside(folder: Path, file: object, *, name: str) -> None:
    """Hub caches link to their blobs, so a link is fine there; a path that leaves the folder by name never is."""
    if not isinstance(file, str) or Path(file).name != file:
        raise ModelError(f"{name}: the weight index names {file!r}, which is outside the folder.")
    path = folder / file
    if path.is_symlink() and "snapshots" not in folder.parts:
        raise ModelError(f"{name}: {file} is a link; copy the weights into the folder.")
    if not path.is_file():
        raise ModelError(f"{name}: the weight file {file} is missing.")

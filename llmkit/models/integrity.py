"""Whether a model folder that llmkit saved still has the bytes that were saved, and stays the same while it is read.

The model of a run and its checkpoints have a MANIFEST.json with the SHA-256 of each file, which transformers ignores.
There, other bytes are an error. In a copy elsewhere, which people change on purpose, they are a warning.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from llmkit.atomic import MANIFEST, parse_manifest
from llmkit.errors import ModelError, RunError
from llmkit.models.files import find_file, read_file

logger = logging.getLogger("llmkit")
_CARD = "README.md"
_ATTEMPTS = 5
_CHUNK_BYTES = 2**20
_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def check_saved_files(folder: Path, *, name: str, read: tuple[str, ...]) -> None:
    """Compare the files of a run's model or checkpoint with its manifest; of the weights, only the sizes.

    Args:
        read: files that are read if they exist; one that the manifest does not list is an error.
    Raises:
        ModelError: the manifest is damaged or of a newer llmkit; names the first file that is missing, added or differs.
    """
    entries = _entries(folder, name=name)
    if entries is None or not _is_of_run(folder):
        return
    for file in sorted(entries):
        if file != _CARD:
            _check(folder, file, entries[file], name=name, size_only=file.endswith(".safetensors"))
    added = sorted(file for file in read if file not in entries and os.path.lexists(folder / file))
    if added:
        raise ModelError(f"{name}: {added[0]} was added to the saved model. Delete it, or {_if_intended(folder)}.")


def check_saved_weights(folder: Path, *, name: str) -> None:
    """Compare the weights of a run's model or checkpoint with its manifest.

    A changed model card is a warning, and so is any changed file in a copy of the folder elsewhere.

    Raises:
        ModelError: names the first file of weights that is missing or differs.
    """
    entries = _entries(folder, name=name)
    if entries is None:
        if _is_of_run(folder):
            logger.warning("%s: its model has no %s; whether its files are damaged is unknown", name, MANIFEST)
        return
    if not _is_of_run(folder):
        changed = [file for file in sorted(entries) if _fault(folder, file, entries[file], name=name)]
        if changed:
            listed = ", ".join(changed)
            logger.warning("%s: changed since llmkit saved it: %s. %s", name, listed, _next_step(folder))
        return
    for file in sorted(entries):
        if file.endswith(".safetensors") and file.startswith(("model", "adapter_model", "generator")):
            _check(folder, file, entries[file], name=name)
    if _CARD in entries and _fault(folder, _CARD, entries[_CARD], name=name):
        logger.warning("%s: its %s has changed since it was saved; it does not affect the model", name, _CARD)


def unless_replaced(
    read: Callable[Concatenate[str, _Arguments], _Result],
) -> Callable[Concatenate[str, _Arguments], _Result]:
    """Read again if the folder of the model, the first argument, was replaced or deleted meanwhile, by a training run.

    Raises:
        ModelError: it was replaced every time.
    """

    @wraps(read)
    def reread(name: str, /, *args: _Arguments.args, **keys: _Arguments.kwargs) -> _Result:
        folder = Path(name) / "model" if (Path(name) / "run.json").exists() else Path(name)
        if not _is_of_run(folder):
            return read(name, *args, **keys)
        fault: ModelError | OSError | None = None
        for _ in range(_ATTEMPTS):
            with _opened(folder) as is_same:
                try:
                    result = read(name, *args, **keys)
                except (ModelError, OSError) as error:
                    if is_same():
                        raise
                    fault = error
                else:
                    if is_same():
                        return result
        if isinstance(fault, ModelError) and not folder.is_dir():
            raise fault
        raise ModelError(f"{name}: its folder was replaced {_ATTEMPTS} times while it was read. Try again.") from fault

    return reread


@contextmanager
def _opened(folder: Path) -> Iterator[Callable[[], bool]]:
    """Yields a function that says whether the path still leads to the same folder; false if there was none."""
    descriptor = None
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)

    def is_same() -> bool:
        try:
            return descriptor is not None and os.path.samestat(os.fstat(descriptor), folder.stat())
        except OSError:
            return False

    try:
        yield is_same
    finally:
        if descriptor is not None:  # until now, no other folder could get the same number
            os.close(descriptor)


def _entries(folder: Path, *, name: str) -> Mapping[str, Mapping[str, Any]] | None:
    """File name -> its size and SHA-256; None for a folder that llmkit did not save."""
    content = read_file(folder, MANIFEST, name=name)
    if content is None:
        return None
    try:
        entries: Mapping[str, Mapping[str, Any]] = parse_manifest(content, folder=folder)["files"]
    except RunError as error:
        if not _is_of_run(folder):  # a manifest of another program
            return None
        raise ModelError(f"{name}: {error} {_next_step(folder)}") from error
    return entries


def _is_of_run(folder: Path) -> bool:
    return _is_model_of_run(folder) or (
        re.fullmatch(r"step-\d{8}", folder.name) is not None and (folder.parent.parent / "run.json").exists()
    )


def _is_model_of_run(folder: Path) -> bool:
    return folder.name == "model" and (folder.parent / "run.json").exists()


def _check(folder: Path, file: str, entry: Mapping[str, Any], *, name: str, size_only: bool = False) -> None:
    fault = _fault(folder, file, entry, name=name, size_only=size_only)
    if fault:
        raise ModelError(f"{name}: {folder / file} {fault}. {_next_step(folder)}")


def _fault(folder: Path, file: str, entry: Mapping[str, Any], *, name: str, size_only: bool = False) -> str:
    """How a file differs from the one that was saved; empty if it does not."""
    path = find_file(folder, file, name=name)
    if path is None:
        return "is missing"
    try:
        size = path.stat().st_size
        if size != entry["bytes"]:
            return f"is damaged, it has {size:,} bytes instead of {entry['bytes']:,}"
        if size_only or _sha256(path) == entry["sha256"]:
            return ""
        return f"is damaged, its SHA-256 is not the one in {MANIFEST}"
    except OSError as error:
        return f"cannot be read ({error.strerror})"


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _next_step(folder: Path) -> str:
    resume = f", or from its best checkpoint with --resume {folder.parent}" if _is_model_of_run(folder) else ""
    return f"Restore it from a copy{resume}; or {_if_intended(folder)}."


def _if_intended(folder: Path) -> str:
    return f"if you changed the folder yourself, delete {folder / MANIFEST}"

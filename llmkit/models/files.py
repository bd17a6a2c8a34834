"""The only reader of a model folder's files: regular files inside the folder, and no others.

A folder from elsewhere is untrusted. A link in it could lead to any file of this machine, a pipe could block forever,
and a file of many gigabytes could fill the memory.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from llmkit.errors import ModelError

_MOST_BYTES = 128 * 2**20
"""Maximum size of any file except weights; the largest published tokenizers have about 35 MB."""
_MOST_JSON_BYTES = 32 * 2**20
"""Maximum size of a config or of an index of weights."""
_MOST_DEPTH = 100
"""Of JSON: most functions that read a value call themselves for each level, and fail at about a thousand."""


def find_file(folder: Path, file: str, *, name: str) -> Path | None:
    """The real path of a file of the folder, with links resolved; None if there is no such file.

    Links may lead to other files of the folder. In a hub cache they lead to the blobs of the same model.

    Args:
        file: name, or path from the folder.
        name: the user's name for the model.
    Raises:
        ModelError: it is outside the folder, or is not a regular file.
    """
    path = folder / file
    if not os.path.lexists(path):
        return None
    home, real = Path(os.path.realpath(folder)), Path(os.path.realpath(path))
    snapshot = home if home.parent.name == "snapshots" else home.parent  # a model may be in a subfolder of its own
    in_cache = snapshot.parent.name == "snapshots" and real.parent == snapshot.parent.parent / "blobs"
    if not (real.is_relative_to(home) or in_cache):
        raise ModelError(f"{name}: {file} is a link to a file outside the folder; copy that file into the folder.")
    try:
        mode = real.stat().st_mode
    except OSError as error:
        raise ModelError(f"{name}: {file} cannot be read ({error.strerror}).") from error
    if not stat.S_ISREG(mode):
        raise ModelError(f"{name}: {file} is not a regular file; reading it could block forever.")
    return real


def read_file(folder: Path, file: str, *, name: str, most_bytes: int = _MOST_BYTES) -> bytes | None:
    """The content of a file, located by `find_file`; None if there is no such file.

    Raises:
        ModelError: as `find_file`; the file is too large or cannot be read.
    """
    path = find_file(folder, file, name=name)
    if path is None:
        return None
    size = path.stat().st_size
    if size > most_bytes:
        raise ModelError(f"{name}: {file} has {size:,} bytes; at most {most_bytes:,} are allowed.")
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"{name}: {file} cannot be read ({error.strerror}).") from error


def read_json(folder: Path, file: str, *, name: str) -> dict[str, Any] | None:
    """A JSON object; None if there is no such file.

    Raises:
        ModelError: as `read_file`; not JSON, or not an object.
    """
    parsed = _parsed(folder, file, name=name)
    if not isinstance(parsed, dict | None):
        raise ModelError(f"{name}: {file} is not a JSON object.")
    return parsed


def read_large_json(folder: Path, file: str, *, name: str) -> dict[str, Any] | None:
    """As `read_json`, for a file as large as a tokenizer."""
    parsed = _parsed(folder, file, name=name, most_bytes=_MOST_BYTES)
    if not isinstance(parsed, dict | None):
        raise ModelError(f"{name}: {file} is not a JSON object.")
    return parsed


def read_json_list(folder: Path, file: str, *, name: str) -> list[Any] | None:
    """A JSON list; otherwise as `read_json`."""
    parsed = _parsed(folder, file, name=name)
    if not isinstance(parsed, list | None):
        raise ModelError(f"{name}: {file} is not a JSON list.")
    return parsed


def _parsed(folder: Path, file: str, *, name: str, most_bytes: int = _MOST_JSON_BYTES) -> Any:
    """The content of a JSON file; None if there is no such file."""
    content = read_file(folder, file, name=name, most_bytes=most_bytes)
    if content is None:
        return None
    try:
        parsed = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{name}: {file} is not valid JSON.") from error
    if parsed is None:
        raise ModelError(f"{name}: {file} is null, not a JSON object or list.")
    if _depth(parsed) > _MOST_DEPTH:
        raise ModelError(f"{name}: {file} nests values more than {_MOST_DEPTH} deep.")
    return parsed


def _depth(value: Any) -> int:
    """Levels of lists and mappings, counted up to one more than are allowed."""
    depth, level = 0, [value]
    while depth <= _MOST_DEPTH:
        level = [
            item
            for outer in level
            if isinstance(outer, list | dict)
            for item in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            break
        depth += 1
    return depth


def listed(names: Iterable[str], *, most: int = 5) -> str:
    """The first of these names for a message, escaped to one line."""
    return ", ".join(name if name.isprintable() else repr(name) for name in sorted(names)[:most])

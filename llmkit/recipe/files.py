"""Recipe files on disk: reading a file and the chain of recipes that it extends. Knows no schema."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path

from llmkit.errors import nearest
from llmkit.recipe.nodes import BROKEN, Node, Place, Problem, describe_value
from llmkit.recipe.yaml import decode, read_yaml

MAX_BYTES = 1_000_000
MAX_CHAIN = 20


class _NotReadable(Exception):
    """Why a path cannot be read as a recipe."""


def read_chain(
    path: str, *, below: tuple[str, ...] = (), named_at: Place | None = None
) -> tuple[list[Node], list[Problem]]:
    """The recipe at `path`, then the one that it extends, and so on; empty if one of them is invalid.

    The key `extends` is removed. Its path is relative to the file that contains it.

    Args:
        below: the recipes that extend this one, outermost first.
        named_at: the position of the `extends` key with this path; a fault of the path itself is reported there.
    """
    fault = _chain_fault(path, below)
    if fault:
        return [], [_path_problem(fault, path, named_at)]
    try:
        content = _read_bytes(path)
    except _NotReadable as refusal:
        return [], [_path_problem(str(refusal), path, named_at)]
    root, problems = _read_mapping(content, source=path)
    if root is None:
        return [], problems
    child, parent = _without_extends(root)
    if parent is None:
        return [child], problems
    if not isinstance(parent.value, str):
        wrong_type = Problem(
            parent.place, ("extends",), f"expected the path of a recipe, found {describe_value(parent)}"
        )
        return [], problems if parent.value is BROKEN else [*problems, wrong_type]
    parent_path = str(Path(path).parent / parent.value)
    chain, more = read_chain(parent_path, below=(*below, path), named_at=parent.place)
    return ([child, *chain] if chain else []), [*problems, *more]


def _path_problem(fault: str, path: str, named_at: Place | None) -> Problem:
    return Problem(named_at, ("extends",), f"{path}: {fault}") if named_at else Problem(Place(path), (), fault)


def _chain_fault(path: str, below: tuple[str, ...]) -> str:
    if any(_is_same_file(path, other) for other in below):
        return f"a recipe cannot extend itself: {' -> '.join([*below, path])}"
    return f"more than {MAX_CHAIN} recipes extend each other" if len(below) >= MAX_CHAIN else ""


def _is_same_file(path: str, other: str) -> bool:
    return "\0" not in path and os.path.realpath(path) == os.path.realpath(other)


def _without_extends(root: Node) -> tuple[Node, Node | None]:
    assert isinstance(root.value, dict)
    rest = {key: child for key, child in root.value.items() if key != "extends"}
    return replace(root, value=rest), root.value.get("extends")


def _read_mapping(content: bytes, *, source: str) -> tuple[Node | None, list[Problem]]:
    text, decoding_problems = decode(content, source=source)
    if decoding_problems:
        return None, decoding_problems
    root, problems = read_yaml(text, source=source)
    if root is None:
        empty = Problem(Place(source, 1, 1), (), "the recipe is empty. Start it with `recipe: 1`")
        return None, problems or [empty]
    if not isinstance(root.value, dict):
        not_a_mapping = Problem(
            root.place, (), f"the top level must be a mapping, such as `recipe: 1`, found {describe_value(root)}"
        )
        return None, problems if root.value is BROKEN else [*problems, not_a_mapping]
    return root, problems


def _read_bytes(path: str) -> bytes:
    """The content of a regular file of at most `MAX_BYTES`.

    Raises:
        _NotReadable: it is not such a file, or the system denies access.
    """
    try:
        kind = Path(path).stat().st_mode
        if not stat.S_ISREG(kind):  # before opening: a FIFO would block until it has a writer
            raise _NotReadable(
                f"this is {'a folder' if stat.S_ISDIR(kind) else 'not a regular file'}; give a recipe file"
            )
        with Path(path).open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise _NotReadable(f"no such file.{_nearest_sibling(path)}".rstrip(".")) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise _NotReadable(f"cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if len(content) > MAX_BYTES:
        raise _NotReadable(f"larger than {MAX_BYTES:,} bytes; this is not a recipe")
    return content


def _nearest_sibling(path: str) -> str:
    folder = Path(path).parent
    names = sorted(file.name for pattern in ("*.yaml", "*.yml") for file in folder.glob(pattern))
    return nearest(Path(path).name, names)

"""Plain values with their source positions, and merging of two values. Knows no YAML and no schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

Scalar: TypeAlias = "str | int | float | bool | None"
Key: TypeAlias = "str | int"

RIVALS = {
    "train.epochs": ("steps",),
    "train.steps": ("epochs",),
    "train.freeze": ("lora",),
    "train.lora": ("freeze",),
    "model": ("revision",),
}
"""Key -> sibling keys that it replaces when it comes from a child recipe or from `--set`.

Without this, `steps` could not override `epochs`, and a revision would stay when the model changes. Only keys that
exclude each other or belong together are listed: `beams` is not, because `beams: 1` can be combined with sampling.
"""


class Broken:
    """The value of a node with a problem that was already reported; schema errors about it are ignored."""


BROKEN = Broken()


@dataclass(frozen=True)
class Place:
    """A position in a source. Line and column count from 1; line 0 means a source without lines."""

    source: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


@dataclass(frozen=True)
class Problem:
    """One problem. `str(problem)` is a single printable line."""

    place: Place
    path: tuple[Key, ...]
    text: str

    def __str__(self) -> str:
        sentence = self.text if self.text.endswith((".", "?")) else f"{self.text}."
        return printable(": ".join(filter(None, [str(self.place), dotted(self.path), sentence])))


@dataclass(frozen=True)
class Node:
    """A value, its position, the position of its key, and its spelling if it was written without quotes."""

    value: Scalar | Broken | list[Node] | dict[str, Node]
    place: Place
    key_place: Place | None = None
    spelling: str = ""

    @property
    def children(self) -> list[Node]:
        if isinstance(self.value, dict):
            return list(self.value.values())
        return self.value if isinstance(self.value, list) else []


def dotted(path: tuple[Key, ...]) -> str:
    """`("train", "stop", 0)` as `train.stop[0]`."""
    words = [f"[{key}]" if isinstance(key, int) else f".{key}" for key in path]
    return "".join(words).removeprefix(".")


def printable(text: str) -> str:
    """The same text on one line, with control characters escaped."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def shortened(text: str, *, limit: int = 60) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."


def describe_value(node: Node) -> str:
    """A description of the value for messages."""
    match node.value:
        case None:
            return "null" if node.spelling else "no value"
        case bool():
            return f"the boolean {str(node.value).lower()}"
        case int() | float():
            return f"the number {node.spelling or node.value}"
        case str():
            return f"the text {shortened(node.value)!r}"
        case list():
            return "a list" if node.value else "an empty list"
        case dict():
            return "a mapping"
        case Broken():
            return "an unreadable value"


def plain(node: Node) -> object:
    """The plain value. Broken parts stay `BROKEN`, which no type of the schema accepts."""
    if isinstance(node.value, dict):
        return {key: plain(child) for key, child in node.value.items()}
    if isinstance(node.value, list):
        return [plain(child) for child in node.value]
    return node.value


def child_of(node: Node, key: Key) -> Node | None:
    if isinstance(node.value, dict) and isinstance(key, str):
        return node.value.get(key)
    if isinstance(node.value, list) and isinstance(key, int) and key < len(node.value):
        return node.value[key]
    return None


def node_at(node: Node, path: tuple[Key, ...]) -> Node | None:
    for key in path:
        child = child_of(node, key)
        if child is None:
            return None
        node = child
    return node


def deepest(node: Node, path: tuple[Key, ...]) -> Node:
    """The node at `path`, or its deepest existing ancestor."""
    for key in path:
        child = child_of(node, key)
        if child is None:
            break
        node = child
    return node


def leaves(node: Node, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Node]]:
    """Dotted key and node of everything below that is not a mapping; a list counts as one value."""
    if not isinstance(node.value, dict):
        yield dotted(path), node
        return
    for key, child in node.value.items():
        yield from leaves(child, (*path, key))


def merge(base: Node, over: Node, *, rivals: Mapping[str, tuple[str, ...]], path: tuple[str, ...] = ()) -> Node:
    """Merge `over` into `base`: mappings are merged key by key, everything else is replaced.

    A merged mapping has the position of `over`, or that of `base` if `over` is from `--set`, which has no lines.

    Args:
        rivals: dotted key -> sibling keys in `base` that it replaces.
    """
    if not (isinstance(base.value, dict) and isinstance(over.value, dict)):
        return over
    replaced = _replaced_keys(over.value, rivals, path) - set(over.value)
    merged = {key: child for key, child in base.value.items() if key not in replaced}
    for key, child in over.value.items():
        merged[key] = merge(merged[key], child, rivals=rivals, path=(*path, key)) if key in merged else child
    return replace(over if over.place.line else base, value=merged)


def _replaced_keys(over: dict[str, Node], rivals: Mapping[str, tuple[str, ...]], path: tuple[str, ...]) -> set[str]:
    # A null, as in `steps: null`, replaces nothing.
    present = [key for key, child in over.items() if child.value is not None]
    return {rival for key in present for rival in rivals.get(dotted((*path, key)), ())}

"""The text of a new recipe: YAML with a comment for each key."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from llmkit.recipe.nodes import Scalar, printable
from llmkit.recipe.scalars import write_scalar

_COLUMNS = 100
_COMMENT_COLUMN = 28

Value: TypeAlias = "Scalar | Sequence[Scalar]"


@dataclass(frozen=True)
class Line:
    """A key with its value, or the start of a block, and why it is there."""

    key: str
    value: Value | None = None
    """None for a block."""
    comment: str = ""
    depth: int = 0
    """Number of blocks around it."""


def recipe_text(header: str, lines: Sequence[Line]) -> str:
    """The recipe with its comments: beside a key if there is room, else above it."""
    return "\n".join([*_comment(header, indent=""), *(text for line in lines for text in _written(line))]) + "\n"


def _written(line: Line) -> list[str]:
    indent = "  " * line.depth
    text = f"{indent}{write_scalar(line.key)}:" + ("" if line.value is None else f" {_value(line.value)}")
    if not line.comment:
        return [text]
    comment = printable(line.comment)
    beside = f"{text:<{_COMMENT_COLUMN - 1}} # {comment}"
    return [beside] if len(beside) <= _COLUMNS else [*_comment(comment, indent=indent), text]


def _value(value: Value) -> str:
    if isinstance(value, str) or not isinstance(value, Sequence):
        return write_scalar(value)
    return f"[{', '.join(map(write_scalar, value))}]"


def _comment(text: str, *, indent: str) -> list[str]:
    prefix = f"{indent}# "
    lines = [printable(line) for line in text.splitlines()]
    return [
        part
        for line in lines
        for part in textwrap.wrap(
            line,
            _COLUMNS,
            initial_indent=prefix,
            subsequent_indent=prefix,
            break_long_words=False,
            break_on_hyphens=False,
        )
    ]

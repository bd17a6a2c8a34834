"""Facts on standard output, a name and a wrapped text on each line, and sizes."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from llmkit.cli.output import one_line

_COLUMNS = 80


def print_lines(facts: Iterable[tuple[str, str]]) -> None:
    """Print names and texts, wrapped to 80 columns; a name that is that of the line before is left out."""
    lines = [(name, one_line(value)) for name, value in facts]
    width, before = max(len(name) for name, _ in lines), None
    for name, value in lines:
        indent = " " * (width + 2)
        wrapped = textwrap.wrap(value, _COLUMNS - len(indent), break_long_words=False, break_on_hyphens=False)
        first, rest = wrapped[0], wrapped[1:]
        print("\n".join([f"{'' if name == before else name:<{width}}  {first}", *(indent + line for line in rest)]))
        before = name


def size(count: int) -> str:
    """A number of bytes: 12.3 MiB, 4.0 GiB."""
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20)):
        if count >= factor:
            return f"{count / factor:,.1f} {unit}"
    return f"{count / 2**20:.2g} MiB"

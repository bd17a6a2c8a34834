"""The recipe: the keys that were written, with their places, and the complete one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from llmkit.report.blocks import Block, Code, CodeLine, Details, Section
from llmkit.report.reading import RunContent
from llmkit.report.wording import count, shortened

_MOST_LINES, _MOST_CHARACTERS = 600, 300


def recipe_section(content: RunContent) -> Section | None:
    if not content.recipe:
        return None
    origins = content.manifest.get("recipe_origins")
    written = dict(_of_text(origins)) if isinstance(origins, Mapping) else {}
    lines = list(recipe_lines(content.recipe, written))
    if not written:
        return Section("recipe", "Recipe", [_code("The complete recipe", lines)])
    own = [line for line, is_written in _with_parents(lines) if is_written]
    blocks: list[Block] = [
        _code("The keys that were written, and where", own),
        Details("The complete recipe, with every default", [_code("The complete recipe", lines)]),
    ]
    return Section("recipe", "Recipe", blocks)


def recipe_lines(text: str, origins: Mapping[str, str]) -> Iterator[CodeLine]:
    """The lines of a complete recipe; those of keys that were written are strong and have their place.

    Args:
        origins: dotted key -> `file:line:column` or `--set`.
    """
    for key, line in keyed_lines(text):
        origin = next((origins[part] for part in _with_prefixes(key) if part in origins), None)
        yield CodeLine(shortened(line, _MOST_CHARACTERS), _place(origin) if origin else "", strong=origin is not None)


def keyed_lines(text: str) -> Iterator[tuple[str, str]]:
    """Each line of a recipe that `dump_recipe` wrote, with its dotted key; that of a list is the key of the list."""
    path: list[str] = []
    for line in text.splitlines():
        content = line.lstrip(" ")
        depth = (len(line) - len(content)) // 2
        if content.startswith(("- ", "#")):
            yield ".".join(path[:depth]), line
            continue
        path = [*path[:depth], content.partition(":")[0].strip("'\"")]
        yield ".".join(path), line


def _with_prefixes(key: str) -> Iterator[str]:
    """`a.b.c`, `a.b`, `a`: an item of a list, or a key below a value that was written whole."""
    parts = key.split(".")
    return (".".join(parts[:length]) for length in range(len(parts), 0, -1))


def _with_parents(lines: list[CodeLine]) -> Iterator[tuple[CodeLine, bool]]:
    """Each line with whether it was written, or has one below it that was."""
    for number, line in enumerate(lines):
        depth = _depth(line)
        below = []
        for other in lines[number + 1 :]:
            if _depth(other) <= depth:
                break
            below.append(other.strong)
        yield line, line.strong or any(below)


def _depth(line: CodeLine) -> int:
    return len(line.text) - len(line.text.lstrip(" "))


def _place(origin: str) -> str:
    """A place without the folders of its file and without its column: `news.yaml:7`."""
    name, _, column = origin.rpartition(":")
    shown = name if column.isdecimal() and name else origin
    return shown.rpartition("/")[2]


def _of_text(origins: Mapping[object, object]) -> Iterator[tuple[str, str]]:
    return ((str(key), str(place)) for key, place in origins.items())


def _code(label: str, lines: Iterable[CodeLine]) -> Code:
    shown = list(lines)
    more = [CodeLine(f"# {count(len(shown) - _MOST_LINES)} more lines")] if len(shown) > _MOST_LINES else []
    return Code(label, [*shown[:_MOST_LINES], *more])

"""`llmkit explain`: what a key of recipes means."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from llmkit.cli.tables import print_table

if TYPE_CHECKING:
    from llmkit.api import Explanation

_COLUMNS = 80


def explain(
    key: Annotated[
        str | None, typer.Argument(help="A key of recipes, such as train.schedule. Default: a table of all keys.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object.")] = False,
) -> None:
    """Explain a key of recipes: its meaning, type, default, allowed values and an example."""
    from llmkit.api import explain as explanations_of

    found = explanations_of(key)
    if as_json:
        print(json.dumps({"keys": [asdict(one) for one in found]}, ensure_ascii=False))
    elif key is None:
        _list(found)
    else:
        print("\n\n".join("\n".join(_lines(one, several=len(found) > 1)) for one in found))


COMMANDS = (explain,)


def _lines(one: Explanation, *, several: bool) -> Iterator[str]:
    facts = {
        "key": f"{one.key} (task {', '.join(one.tasks)})" if several else one.key,
        "meaning": one.meaning,
        "type": one.type,
        "default": "required" if one.required else "its keys" if one.keys and one.default else _text(one.default),
        "allowed": ", ".join(one.allowed),
        "keys": ", ".join(one.keys),
        "replaces": f"{', '.join(one.replaces)} of a parent recipe" if one.replaces else "",
        "tasks": "" if several else "all" if one.of_all_tasks else ", ".join(one.tasks),
    }
    for name, value in facts.items():
        if value:
            lines = textwrap.wrap(value, _COLUMNS - 10, break_long_words=False, break_on_hyphens=False)
            yield from (f"{name if number == 0 else '':<10}{line}" for number, line in enumerate(lines))
    yield "example"
    yield from (f"  {line}" for line in one.example.splitlines())


def _list(found: Iterable[Explanation]) -> None:
    """A table of the sections, each with its keys."""
    sections: dict[str, dict[str, None]] = {}
    for one in found:
        if not one.keys:
            section, _, name = one.key.rpartition(".")
            sections.setdefault(section, {})[name] = None
    print_table(("section", "keys"), [(section or "(top)", ", ".join(keys)) for section, keys in sections.items()])


def _text(value: object) -> str:
    return value if isinstance(value, str) else "none" if value is None else json.dumps(value)

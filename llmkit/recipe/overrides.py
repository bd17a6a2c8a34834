"""`--set a.b=value`: one value of a recipe for one run. The value is YAML, parsed like the file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from llmkit.recipe.nodes import BROKEN, Node, Place, Problem, merge, shortened
from llmkit.recipe.yaml import MAX_DEPTH, read_yaml


def read_overrides(overrides: Sequence[str]) -> tuple[Node, list[Problem]]:
    """All overrides merged into one mapping; if a key is given twice, the last value applies."""
    merged, problems = Node({}, Place("--set")), []
    for text in overrides:
        tree, new_problems = _read_override(text)
        problems += new_problems
        merged = merge(merged, tree, rivals={})  # both `train.steps` and `train.epochs`: the schema reports it
    return merged, problems


def override_place(text: str) -> Place:
    return Place(f"--set {shortened(text, limit=100)}")


def _read_override(text: str) -> tuple[Node, list[Problem]]:
    """Never fails: an invalid override becomes an empty mapping, or a broken value under its key."""
    place = override_place(text)
    key, equals, value = text.partition("=")
    path = key.split(".")
    fault = _key_fault(path, equals)
    if fault:
        return Node({}, place), [Problem(place, (), fault)]
    node, problems = read_yaml(value, source=place.source, has_lines=False)
    if node is None and not problems:
        fault = "no value; write null to turn it off, or \"''\" for an empty text"
        problems = [Problem(place, (), fault)]
    problems = [replace(problem, path=(*path, *problem.path)) for problem in problems]
    node = node or Node(BROKEN, place)
    for name in reversed(path):
        node = Node({name: replace(node, key_place=place)}, place)
    return node, problems


def _key_fault(path: list[str], equals: str) -> str:
    if not equals:
        return "no '='; write --set train.epochs=1"
    if "" in path:
        return "an empty key; write --set train.epochs=1"
    return f"more than {MAX_DEPTH} keys" if len(path) > MAX_DEPTH else ""

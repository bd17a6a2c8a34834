"""pydantic's validation errors -> one line per problem, with its position in the file.

pydantic reports a value that matches no member of a union once for each member, under its own names. Here its location
is followed through the types and the nodes together, so that each position gets one problem: that of the member whose
shape the value has, or of the union as a whole.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import get_args

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from llmkit.errors import nearest
from llmkit.recipe.blocks import Block
from llmkit.recipe.documentation import key_docs
from llmkit.recipe.expectations import (
    Type,
    bare,
    describe_type,
    field_type,
    inputs,
    is_block,
    literals,
    members,
    origin,
)
from llmkit.recipe.nodes import BROKEN, Key, Node, Problem, child_of, deepest, describe_value, node_at, shortened
from llmkit.recipe.scalars import is_number

_NAMED_KEY = re.compile(r"([a-z_]+(?:\.[a-z_]+)*): ")
_TRUE, _FALSE = ("true", "yes", "on", "y"), ("false", "no", "off", "n")


@dataclass(frozen=True)
class _Fault:
    """A resolved pydantic location: the keys of its path, and the expected type at its end."""

    path: tuple[Key, ...]
    expected: Type
    block: type[Block] | None = None
    """The block that the last key belongs to."""
    field: FieldInfo | None = None


def problems_of(error: ValidationError, *, root: Node, kind: type[Block]) -> list[Problem]:
    """All problems of a recipe, one per position; none for values that the YAML reader has already reported."""
    by_path: dict[tuple[Key, ...], Problem] = {}
    for details in error.errors(include_url=False):
        fault = _follow(_Fault((), kind), details["loc"], root)
        if fault and deepest(root, fault.path).value is not BROKEN:
            by_path.setdefault(fault.path, _problem(details, fault, root))
    return list(by_path.values())


def _follow(fault: _Fault, location: tuple[Key, ...], node: Node | None) -> _Fault | None:
    """The fault at the end of `location`; None if that is a member of a union whose shape the value does not have."""
    if not location:
        return fault
    branches = [member for member in members(fault.expected) if member is not type(None)]
    if len(branches) > 1:
        return _follow_branch(fault, branches, location, node)
    key, rest = location[0], location[1:]
    inner = bare(branches[0])
    child = child_of(node, key) if node else None
    path = (*fault.path, key)
    if is_block(inner):
        field = inner.model_fields.get(str(key))
        return _follow(_Fault(path, field_type(field) if field else None, inner, field), rest, child)
    if origin(inner) is tuple and isinstance(key, int):
        return _follow(_Fault(path, get_args(inner)[0]), rest, child)
    if origin(inner) is dict and "[key]" not in rest:
        return _follow(_Fault(path, get_args(inner)[1]), rest, child)
    return fault


def _follow_branch(fault: _Fault, branches: list[Type], location: tuple[Key, ...], node: Node | None) -> _Fault | None:
    label, rest = str(location[0]), location[1:]  # pydantic's name for the member, then the location inside it
    matching = next((branch for branch in branches if node and _has_shape_of(branch, node)), None)
    if matching is None:
        return fault
    return _follow(replace(fault, expected=matching), rest, node) if _type_name(matching) in label else None


def _has_shape_of(expected: Type, node: Node) -> bool:
    inner = bare(expected)
    if isinstance(node.value, dict):
        return is_block(inner) or origin(inner) is dict
    return isinstance(node.value, list) and origin(inner) is tuple


def _type_name(expected: Type) -> str:
    inner = bare(expected)
    name: str = (origin(inner) or inner).__name__
    return name


def _problem(details: ErrorDetails, fault: _Fault, root: Node) -> Problem:
    node = deepest(root, fault.path)
    match details["type"]:
        case "missing":
            return Problem(node.place, fault.path, f"missing key. Expected {describe_type(fault.expected)}")
        case "extra_forbidden":
            assert fault.block
            return Problem(node.key_place or node.place, fault.path, _unknown_key(fault.path[-1], fault.block))
        case "value_error":
            return _validator_problem(str(details["ctx"]["error"]), fault, root)
        case "string_pattern_mismatch":
            about = key_docs(fault.block).get(str(fault.path[-1]), "") if fault.block else ""
            return Problem(node.place, fault.path, f"{_wrong_value(fault, node)} {about}".rstrip())
        case _:
            return Problem(node.place, fault.path, _wrong_value(fault, node))


def _unknown_key(key: Key, block: type[Block]) -> str:
    allowed = list(block.model_fields)
    return f"unknown key.{nearest(str(key), allowed)} Allowed: {', '.join(allowed)}"


def _validator_problem(text: str, fault: _Fault, root: Node) -> Problem:
    """A validator of a whole block may start its message with a key; the problem then gets the key's position."""
    match = _NAMED_KEY.match(text)
    path = (*fault.path, *match[1].split(".")) if match else fault.path
    node = node_at(root, path)
    if match and node:
        return Problem(node.place, path, text[match.end() :])
    return Problem(deepest(root, fault.path).place, fault.path, text)


def _wrong_value(fault: _Fault, node: Node) -> str:
    return f"expected {describe_type(fault.expected)}, found {describe_value(node)}.{_advice(fault.expected, node)}"


def _advice(expected: Type, node: Node) -> str:
    """What to write instead, with a leading space; empty if unknown."""
    scalars = {bare(member) for member in inputs(expected)}
    value = node.value
    if isinstance(value, str):
        return _advice_on_text(value, scalars) or nearest(value, map(str, literals(expected)))
    if str in scalars and not {int, float} & scalars and node.spelling and not isinstance(value, list | dict):
        return f' Write "{shortened(node.spelling)}" for the text.'
    if isinstance(value, float) and value.is_integer() and int in scalars:
        return f" Write {int(value)}."
    return ""


def _advice_on_text(text: str, scalars: set[Type]) -> str:
    if bool in scalars and text.lower() in (*_TRUE, *_FALSE):
        return f" Write {str(text.lower() in _TRUE).lower()}."
    if {int, float} & scalars and is_number(text):
        return f" Write {shortened(text)} without quotes."
    return ""

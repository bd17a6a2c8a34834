"""Types of the schema in plain words: `Annotated[int, Field(ge=1)]` as `a whole number of at least 1`."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

Type: TypeAlias = Any
"""A type as written in an annotation, `Annotated[...]` and unions included."""

_SCALARS = {str: "text", bool: "true or false", int: "a whole number", float: "a number", type(None): "null"}


def origin(expected: Type) -> Any:
    """`typing.get_origin`, typed so that its result can be compared with anything."""
    return get_origin(expected)


def field_type(field: FieldInfo) -> Type:
    """The annotation of a field, constraints and validators included."""
    if not field.metadata:
        return field.annotation
    form: Any = Annotated
    parts = (field.annotation, *field.metadata)
    return form[parts]


def bare(expected: Type) -> Type:
    """The type without its constraints and validators."""
    while origin(expected) is Annotated:
        expected = get_args(expected)[0]
    return expected


def members(expected: Type) -> list[Type]:
    """The alternatives of a union, nested ones included; any other type is its only alternative."""
    inner = bare(expected)
    if origin(inner) in (Union, types.UnionType):
        return [leaf for member in get_args(inner) for leaf in members(member)]
    return [expected]


def inputs(expected: Type) -> list[Type]:
    """The alternatives as a recipe may write them: a validator can accept more than its resulting type."""
    if origin(expected) is Annotated:
        for mark in get_args(expected)[1:]:
            if isinstance(mark, BeforeValidator) and mark.json_schema_input_type is not PydanticUndefined:
                return inputs(mark.json_schema_input_type)
    alternatives = members(expected)
    return (
        alternatives
        if alternatives == [expected]
        else [leaf for alternative in alternatives for leaf in inputs(alternative)]
    )


def describe_type(expected: Type) -> str:
    """The allowed values of a type, in plain words."""
    return ", or ".join(_describe_alternative(member) for member in sorted(inputs(expected), key=_is_null))


def literals(expected: Type) -> list[str | int]:
    """The values that a type lists by name."""
    lists = [get_args(bare(member)) for member in inputs(expected) if origin(bare(member)) is Literal]
    return [value for values in lists for value in values]


def is_block(expected: Type) -> bool:
    return isinstance(expected, type) and issubclass(expected, BaseModel)


def _is_null(expected: Type) -> bool:
    return expected is type(None)


def _describe_alternative(expected: Type) -> str:
    inner = bare(expected)
    limits = dict(_limits(expected))
    if origin(inner) is Literal:
        return listed([str(word) for word in get_args(inner)])
    if origin(inner) is tuple:
        return _describe_list(get_args(inner)[0], least=limits.get("min_length", 0))
    if origin(inner) is dict:
        return f"a mapping of {describe_type(get_args(inner)[0])} to {describe_type(get_args(inner)[1])}"
    if is_block(inner):
        return f"a mapping with {', '.join(inner.model_fields)}"
    if inner is str and "pattern" in limits:
        return f"text that matches {limits['pattern']}"
    if inner is str and "max_length" in limits:
        return f"text of at most {limits['max_length']:,} characters"
    return f"{_SCALARS.get(inner, inner)}{_range(limits)}"


def _describe_list(item: Type, *, least: int) -> str:
    content = "of texts" if bare(item) is str else f"with {describe_type(item)} in each place"
    return f"a list {content}" + (f" (at least {least})" if least else "")


def listed(words: list[str]) -> str:
    """`a, b or c`."""
    return " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _range(limits: dict[str, Any]) -> str:
    if "ge" in limits and "le" in limits:
        return f" from {limits['ge']} to {limits['le']}"
    lower = [f"of at least {limits['ge']}"] if "ge" in limits else [f"above {limits['gt']}"] if "gt" in limits else []
    upper = [f"at most {limits['le']}"] if "le" in limits else [f"below {limits['lt']}"] if "lt" in limits else []
    return f" {' and '.join(lower + upper)}" if lower or upper else ""


def _limits(expected: Type) -> Iterator[tuple[str, Any]]:
    """Name and value of every constraint around a type."""
    while origin(expected) is Annotated:
        expected, *metadata = get_args(expected)
        for mark in metadata:
            for constraint in mark.metadata if isinstance(mark, FieldInfo) else [mark]:
                for name in ("ge", "gt", "le", "lt", "min_length", "max_length", "pattern"):
                    value = getattr(constraint, name, None)
                    if value is not None:
                        yield name, value

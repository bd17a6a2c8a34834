"""The docstrings of recipe keys, for the schema and for messages.

pydantic can read them itself, but does so for every class at import: a fifth of the time needed to report a mistake in
a recipe.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from functools import cache
from itertools import pairwise
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from llmkit.recipe.blocks import Block


def key_docs(block: type[Block]) -> dict[str, str]:
    """Key -> the docstring under its definition, in `block` or its base classes."""
    docs: dict[str, str] = {}
    for cls in reversed(block.__mro__):
        if issubclass(cls, Block):
            docs |= _docs_in_source(cls)
    return docs


@cache
def _docs_in_source(cls: type) -> dict[str, str]:
    definition = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(definition, ast.ClassDef)
    return {
        field.target.id: inspect.cleandoc(text.value.value)
        for field, text in pairwise(definition.body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }


class DocumentedSchema(GenerateJsonSchema):
    """pydantic's generator, with each key's docstring as its description."""

    def model_schema(self, schema: Any) -> dict[str, Any]:
        json_schema: dict[str, Any] = super().model_schema(schema)
        docs = key_docs(schema["cls"])
        for key, property_schema in json_schema.get("properties", {}).items():
            if key in docs:
                property_schema["description"] = docs[key]
        return json_schema

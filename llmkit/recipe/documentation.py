"""The docstrings of recipe keys, for the schema and for messages.

pydantic can read them itself, but does so for every class at import, which took a fifth of the time in which a mistake
in a recipe is reported.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from itertools import pairwise
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from llmkit.recipe.blocks import Block


def key_docs(block: type[Block]) -> dict[str, str]:
    """Key -> the docstring under its definition, in `block` or its base classes."""
    docs: dict[str, str] = {}
    for cls in reversed(block.__mro__):
        if issubclass(cls, Block):
            docs |= _own_docs(cls)
    return docs


def _own_docs(cls: type) -> dict[str, str]:
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
    """pydantic's generator, with each key's text as its description."""

    def model_schema(self, schema: Any) -> dict[str, Any]:
        made: dict[str, Any] = super().model_schema(schema)
        docs = key_docs(schema["cls"])
        for key, described in made.get("properties", {}).items():
            if key in docs:
                described["description"] = docs[key]
        return made

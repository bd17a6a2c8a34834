"""`builtin:python-docs-entities`: which words of a docstring's prose are parameters of the function that it describes.

Made from the files of `builtin:python-docs`. Words are runs of letters and digits, or single other characters, so that
`max_length` is three of them; a parameter's name is one entity, PARAM, in BIO. Whether `file` is a parameter or a word
like any other depends on the sentence, and names by themselves do not tell. Prose ends where sections, fields or
examples begin: in those the layout would give the names away.
"""

from __future__ import annotations

import ast
import inspect
import re
from typing import Any

from llmkit.data.python_docs import Documented, load_rows, print_sample

NAME = "python-docs-entities"
COLUMNS = ("words", "tags", "text", "label", "name")
"""`text` is the prose that the words come from, `label` the package, `name` the function."""

_FORMAT = 1  # raise it whenever the rules below change
_ROWS_PER_LABEL = 1500
_SHORTEST_PROSE = 40  # characters
_SELF = {"self", "cls"}
_FUNCTION_WORDS = {"a", "an", "as", "at", "be", "by", "do", "for", "from", "i", "if", "in", "is", "it", "no", "not"}
_FUNCTION_WORDS |= {"of", "on", "or", "other", "out", "so", "the", "this", "to", "with"}
"""Parameters of such a name are left out: in prose they hardly ever are one."""
_WORD = re.compile(r"[^\W_]+|\S")
_SECTION = re.compile(
    r"\s*(args|arguments|parameters|params|other parameters|keyword arg.*|returns?|raises|yields?|warns|warnings?"
    r"|examples?|example usage|usage|notes?|tips?|attributes|see also|shape|references|inputs?|outputs?)\s*:*\s*",
    re.IGNORECASE,
)
_NO_PROSE = (":param", ":return", ":raise", ":type", "@param", ">>>", ".. ")
_LISTED = (" ", "- ", "* ", "|", "+", "=")


def load_python_docs_entities() -> list[dict[str, Any]]:
    """All rows, with the keys of `COLUMNS`, in one fixed order.

    Raises:
        MachineError: as `load_python_docs`.
    """
    return load_rows(NAME, rules=_FORMAT, module="llmkit.data.python_docs_entities")


def row_of(node: Documented, docstring: str) -> dict[str, Any] | None:
    """Words and tags of a function's prose; None for what is no function, has no parameters or says too little."""
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return None
    names = parameters(node) - _FUNCTION_WORDS
    text = prose(docstring)
    if not names or len(text) < _SHORTEST_PROSE:
        return None
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        return None  # they come from escapes such as "\ud800" in the source
    words, tags = tagged(text, names)
    return {"words": words, "tags": tags, "text": text}


def parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    """Names of all parameters but `self` and `cls`."""
    given = node.args
    held = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    return {one.arg for one in held if one is not None} - _SELF


def prose(docstring: str) -> str:
    """The sentences of a docstring up to its first section, without lists, tables and code, on one line."""
    kept: list[str] = []
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(docstring)):
        lines = paragraph.split("\n")
        end = next((index for index, line in enumerate(lines) if _ends_prose(line)), None)
        if not lines[0].startswith(_LISTED):
            kept += lines[:end]
        if end is not None:
            break
    return " ".join(" ".join(kept).split())


def tagged(text: str, names: set[str]) -> tuple[list[str], list[str]]:
    """Words of a text, and their tags: `B-PARAM` and `I-PARAM` where one of the names stands, `O` elsewhere."""
    longest_first = "|".join(re.escape(name) for name in sorted(names, key=lambda name: (-len(name), name)))
    found = [match.span() for match in re.finditer(rf"(?<![\w.])(?:{longest_first})(?!\w)", text)]
    starts = {start for start, _ in found}
    inside = {place for start, end in found for place in range(start, end)}
    words, tags = [], []
    for match in _WORD.finditer(text):
        words.append(match[0])
        tags.append("B-PARAM" if match.start() in starts else "I-PARAM" if match.start() in inside else "O")
    return words, tags


def _ends_prose(line: str) -> bool:
    return bool(_SECTION.fullmatch(line)) or line.lstrip().startswith(_NO_PROSE)


if __name__ == "__main__":
    print_sample(row_of, most_rows=_ROWS_PER_LABEL)

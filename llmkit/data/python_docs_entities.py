"""`builtin:python-docs-entities`: the words of a docstring's prose that are parameters of its function.

Made from the files of `builtin:python-docs`. Words are runs of letters and digits, or single other characters, so that
`max_length` has three words; a parameter's name is an entity, PARAM, in BIO. Whether `file` is a parameter or an
ordinary word depends on the sentence, not on the word alone. Prose ends where sections, fields or examples begin: there
the layout would reveal the names.
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

_FORMAT = 1  # increase it whenever the rules below change
_ROWS_PER_LABEL = 1500
_SHORTEST_PROSE = 40  # characters
_SELF = {"self", "cls"}
_FUNCTION_WORDS = {"a", "an", "as", "at", "be", "by", "do", "for", "from", "i", "if", "in", "is", "it", "no", "not"}
_FUNCTION_WORDS |= {"of", "on", "or", "other", "out", "so", "the", "this", "to", "with"}
"""Parameters with these names are excluded: in prose these words are rarely parameters."""
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
    """Words and tags of a function's prose; None if it is no function, has no parameters, or too little prose."""
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
    """Names of all parameters except `self` and `cls`."""
    signature = node.args
    arguments = [*signature.posonlyargs, *signature.args, *signature.kwonlyargs, signature.vararg, signature.kwarg]
    return {argument.arg for argument in arguments if argument is not None} - _SELF


def prose(docstring: str) -> str:
    """The sentences of a docstring up to its first section, without lists, tables and code, on one line."""
    prose_lines: list[str] = []
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(docstring)):
        lines = paragraph.split("\n")
        end = next((index for index, line in enumerate(lines) if _ends_prose(line)), None)
        if not lines[0].startswith(_LISTED):
            prose_lines += lines[:end]
        if end is not None:
            break
    return " ".join(" ".join(prose_lines).split())


def tagged(text: str, names: set[str]) -> tuple[list[str], list[str]]:
    """Words of a text, and their tags: `B-PARAM` and `I-PARAM` where a name occurs, `O` elsewhere."""
    longest_first = "|".join(re.escape(name) for name in sorted(names, key=lambda name: (-len(name), name)))
    spans = [match.span() for match in re.finditer(rf"(?<![\w.])(?:{longest_first})(?!\w)", text)]
    starts = {start for start, _ in spans}
    inside = {offset for start, end in spans for offset in range(start, end)}
    words, tags = [], []
    for match in _WORD.finditer(text):
        words.append(match[0])
        tags.append("B-PARAM" if match.start() in starts else "I-PARAM" if match.start() in inside else "O")
    return words, tags


def _ends_prose(line: str) -> bool:
    return bool(_SECTION.fullmatch(line)) or line.lstrip().startswith(_NO_PROSE)


if __name__ == "__main__":
    print_sample(row_of, most_rows=_ROWS_PER_LABEL)

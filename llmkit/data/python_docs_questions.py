"""`builtin:python-docs-questions`: questions about functions, answered by a span of their docstring.

Made from the rows of `builtin:python-docs`, so it depends on the installed versions only. The passage is a docstring
that lists arguments. Of an argument two questions are asked: what it is, answered by the first sentence of its
description, and which one is described so, answered by its name. Others ask which argument is the first and which the
second, what the function does, and what it returns. Where the docstring does not say, or the argument is another
function's, there is no answer.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from llmkit.data.python_docs import load_python_docs

QUESTION_COLUMNS = ("context", "question", "answers", "label", "name")

_LONGEST_CONTEXT = 600  # characters: a small model reads most of them in one window
_SHORTEST_SENTENCE, _LONGEST_SENTENCE = 10, 120
_HEADER = re.compile(r"^(?P<indent> *)(?:Args|Arguments|Parameters):? *$", re.MULTILINE)
_RETURNS = re.compile(r"^ *Returns?:? *\n(?: *-{3,} *\n)? *(?=\S)", re.MULTILINE)
_RULE = re.compile(r" *-{3,} *$")
_NAME = r"[`*]{0,2}(?P<name>[A-Za-z_]\w*)[`]{0,2}"
_GOOGLE = re.compile(rf"{_NAME} *(?:\(.*\))? *: *")
_NUMPY = re.compile(rf"{_NAME}(?: *:.*)?$")
_SENTENCE_END = re.compile(r"[.:;](?=\s|$)|\n\s*\n|\n\s*[-*] ")


Answers = dict[str, list[object]]
"""`text` and `answer_start`, as SQuAD has them."""
_NONE: Answers = {"text": [], "answer_start": []}


class Argument(NamedTuple):
    """An argument as its docstring has it; offsets are characters of the docstring."""

    name: str
    name_start: int
    sentence: str
    """The first of its description, line breaks included, without its full stop; empty where it is short or long."""
    sentence_start: int


def load_python_docs_questions() -> list[dict[str, object]]:
    """All rows, with the keys of `QUESTION_COLUMNS`, in one fixed order; made anew each time, which takes a second.

    Raises:
        MachineError: as `load_python_docs`.
    """
    return questions_of(load_python_docs())


def questions_of(docs: Sequence[Mapping[str, str]]) -> list[dict[str, object]]:
    """Questions about rows with the keys `docstring`, `label` and `name`, a docstring's own together."""
    listed = [(doc, arguments_of(doc["docstring"])) for doc in docs if len(doc["docstring"]) <= _LONGEST_CONTEXT]
    found = [(doc, arguments) for doc, arguments in listed if arguments]
    rows: list[dict[str, object]] = []
    for index, (doc, arguments) in enumerate(found):
        context = doc["docstring"]
        asked = [*_asked_of_the_order(arguments), *_asked_of_the_function(context, doc["name"])]
        described = [one for one in arguments if one.sentence]
        if described:
            asked += _answered(min(described, key=lambda one: _hash(f"{doc['name']} {one.name}")))
        other = index + 1 + int(_hash(f"other {doc['name']}")[:8], 16) % max(1, len(found) - 1)  # never itself
        foreign = found[other % len(found)][1]
        absent = [one for one in foreign if one.sentence and not _mentions(context, one)]
        asked += [(list(_answered(argument))[index % 2][0], _NONE) for argument in absent[:1]]
        for question, answers in asked:
            about = {"label": doc["label"], "name": doc["name"]}
            rows.append({"context": context, "question": question, "answers": answers, **about})
    return rows


def arguments_of(docstring: str) -> list[Argument]:
    """The arguments that a docstring in the style of Google or NumPy lists, in its order; none if one is unclear."""
    header = _HEADER.search(docstring)
    if header is None:
        return []
    lines = list(_lines_behind(docstring, header.end() + 1))
    outer = len(header["indent"])
    is_numpy = bool(lines) and bool(_RULE.fullmatch(lines[0][1]))
    filled = [(start, line) for start, line in lines[is_numpy:] if line.strip()]
    inner = outer if is_numpy else _indent(filled[0][1]) if filled else 0
    if not filled or (not is_numpy and inner <= outer):
        return []
    found = []
    for number, (start, line) in enumerate(filled):
        if _indent(line) < inner or (is_numpy and number + 1 < len(filled) and _RULE.fullmatch(filled[number + 1][1])):
            break
        if _indent(line) > inner:
            continue
        match = (_NUMPY if is_numpy else _GOOGLE).match(line.strip())
        if match is None:
            return []
        found.append(_argument(docstring, start + inner, match, filled[number + 1 :], inner))
    return found if len({one.name for one in found}) == len(found) else []


def _lines_behind(text: str, start: int) -> Iterator[tuple[int, str]]:
    """Lines with their offsets in the text."""
    for line in text[start:].split("\n"):
        yield start, line
        start += len(line) + 1


def _argument(
    docstring: str, start: int, match: re.Match[str], following: Sequence[tuple[int, str]], inner: int
) -> Argument:
    """The argument whose entry begins at `start`."""
    end = start + len(match.string)
    first = start + match.end()
    for offset, line in following:
        if _indent(line) <= inner:
            break
        end = offset + len(line.rstrip())
    description = docstring[first:end]
    lead = len(description) - len(description.lstrip())
    stop = _SENTENCE_END.search(description, lead)
    sentence = description[lead : stop.start() if stop else None].rstrip()
    if not _SHORTEST_SENTENCE <= len(sentence) <= _LONGEST_SENTENCE:
        sentence = ""
    return Argument(match["name"], start + match.start("name"), sentence, first + lead)


def _answered(argument: Argument) -> Iterator[tuple[str, Answers]]:
    """Both questions about an argument, each with its answer."""
    name, sentence = argument.name, argument.sentence
    yield f"What is the argument {name}?", {"text": [sentence], "answer_start": [argument.sentence_start]}
    described = f"Which argument is described as: {' '.join(sentence.split())}?"
    yield described, {"text": [name], "answer_start": [argument.name_start]}


def _asked_of_the_order(arguments: Sequence[Argument]) -> Iterator[tuple[str, Answers]]:
    for number, ordinal in enumerate(("first", "second")):
        given = arguments[number : number + 1]
        places: Answers = {"text": [one.name for one in given], "answer_start": [one.name_start for one in given]}
        yield f"Which argument is the {ordinal}?", places


def _asked_of_the_function(docstring: str, name: str) -> Iterator[tuple[str, Answers]]:
    """What it does, and what it returns."""
    short = name.split(".")[-1]
    returns = _RETURNS.search(docstring)
    if first := _sentence(docstring, 0):
        yield f"What does {short} do?", _span(docstring, first)
    if returns is None:
        yield f"What does {short} return?", _NONE
    elif result := _sentence(docstring, returns.end()):
        yield f"What does {short} return?", _span(docstring, result)


def _sentence(docstring: str, start: int) -> tuple[int, int] | None:
    """The stretch of the sentence that begins there; None where it is short or long."""
    stop = _SENTENCE_END.search(docstring, start)
    end = stop.start() if stop else len(docstring)
    return (start, end) if _SHORTEST_SENTENCE <= end - start <= _LONGEST_SENTENCE else None


def _span(docstring: str, span: tuple[int, int]) -> Answers:
    return {"text": [docstring[slice(*span)].rstrip()], "answer_start": [span[0]]}


def _mentions(context: str, argument: Argument) -> bool:
    """Whether the name or the description stands anywhere in the text."""
    levelled = " ".join(context.split()).lower()
    sentence = " ".join(argument.sentence.split()).lower()
    return sentence in levelled or re.search(rf"\b{re.escape(argument.name.lower())}\b", levelled) is not None


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()

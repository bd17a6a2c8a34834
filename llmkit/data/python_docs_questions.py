"""`builtin:python-docs-questions`: questions about functions, answered by a span of their docstring.

Made from the rows of `builtin:python-docs`, so it depends on the installed versions only. The context is a docstring
that lists arguments. An argument has two questions: what it is, answered by the first sentence of its description, and
which argument has this description, answered by its name. Other questions ask for the first and the second argument,
what the function does, and what it returns. There is no answer if the docstring does not contain it, or if the argument
belongs to another function.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from llmkit.data.python_docs import load_python_docs

QUESTION_COLUMNS = ("context", "question", "answers", "label", "name")

_LONGEST_CONTEXT = 600  # characters: most fit in one window of a small model
_SHORTEST_SENTENCE, _LONGEST_SENTENCE = 10, 120
_HEADER = re.compile(r"^(?P<indent> *)(?:Args|Arguments|Parameters):? *$", re.MULTILINE)
_RETURNS = re.compile(r"^ *Returns?:? *\n(?: *-{3,} *\n)? *(?=\S)", re.MULTILINE)
_RULE = re.compile(r" *-{3,} *$")
_NAME = r"[`*]{0,2}(?P<name>[A-Za-z_]\w*)[`]{0,2}"
_GOOGLE = re.compile(rf"{_NAME} *(?:\(.*\))? *: *")
_NUMPY = re.compile(rf"{_NAME}(?: *:.*)?$")
_SENTENCE_END = re.compile(r"[.:;](?=\s|$)|\n\s*\n|\n\s*[-*] ")


Answers = dict[str, list[object]]
"""`text` and `answer_start`, as in SQuAD."""
_NONE: Answers = {"text": [], "answer_start": []}


class Argument(NamedTuple):
    """An argument in a docstring; offsets are in characters of the docstring."""

    name: str
    name_start: int
    sentence: str
    """The first sentence of its description, without full stop; empty if it is too short or too long."""
    sentence_start: int


def load_python_docs_questions() -> list[dict[str, object]]:
    """All rows, with the keys of `QUESTION_COLUMNS`, in one fixed order; computed each time, which takes a second.

    Raises:
        MachineError: as `load_python_docs`.
    """
    return questions_of(load_python_docs())


def questions_of(docs: Sequence[Mapping[str, str]]) -> list[dict[str, object]]:
    """Questions about rows with the keys `docstring`, `label` and `name`, grouped by docstring."""
    parsed = [(doc, arguments_of(doc["docstring"])) for doc in docs if len(doc["docstring"]) <= _LONGEST_CONTEXT]
    documented = [(doc, arguments) for doc, arguments in parsed if arguments]
    rows: list[dict[str, object]] = []
    for index, (doc, arguments) in enumerate(documented):
        context = doc["docstring"]
        questions = [*_order_questions(arguments), *_function_questions(context, doc["name"])]
        described = [argument for argument in arguments if argument.sentence]
        if described:
            questions += _argument_questions(
                min(described, key=lambda argument: _hash(f"{doc['name']} {argument.name}"))
            )
        other = index + 1 + int(_hash(f"other {doc['name']}")[:8], 16) % max(1, len(documented) - 1)  # never itself
        other_arguments = documented[other % len(documented)][1]
        absent = [argument for argument in other_arguments if argument.sentence and not _mentions(context, argument)]
        questions += [(list(_argument_questions(argument))[index % 2][0], _NONE) for argument in absent[:1]]
        for question, answers in questions:
            about = {"label": doc["label"], "name": doc["name"]}
            rows.append({"context": context, "question": question, "answers": answers, **about})
    return rows


def arguments_of(docstring: str) -> list[Argument]:
    """The arguments that a docstring in Google or NumPy style lists, in order; empty if one cannot be parsed."""
    header = _HEADER.search(docstring)
    if header is None:
        return []
    lines = list(_lines_after(docstring, header.end() + 1))
    outer = len(header["indent"])
    is_numpy = bool(lines) and bool(_RULE.fullmatch(lines[0][1]))
    filled = [(start, line) for start, line in lines[is_numpy:] if line.strip()]
    inner = outer if is_numpy else _indent(filled[0][1]) if filled else 0
    if not filled or (not is_numpy and inner <= outer):
        return []
    arguments = []
    for number, (start, line) in enumerate(filled):
        if _indent(line) < inner or (is_numpy and number + 1 < len(filled) and _RULE.fullmatch(filled[number + 1][1])):
            break
        if _indent(line) > inner:
            continue
        match = (_NUMPY if is_numpy else _GOOGLE).match(line.strip())
        if match is None:
            return []
        arguments.append(_argument(docstring, start + inner, match, filled[number + 1 :], inner))
    return arguments if len({argument.name for argument in arguments}) == len(arguments) else []


def _lines_after(text: str, start: int) -> Iterator[tuple[int, str]]:
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


def _argument_questions(argument: Argument) -> Iterator[tuple[str, Answers]]:
    """Both questions about an argument, each with its answer."""
    name, sentence = argument.name, argument.sentence
    yield f"What is the argument {name}?", {"text": [sentence], "answer_start": [argument.sentence_start]}
    described = f"Which argument is described as: {' '.join(sentence.split())}?"
    yield described, {"text": [name], "answer_start": [argument.name_start]}


def _order_questions(arguments: Sequence[Argument]) -> Iterator[tuple[str, Answers]]:
    for number, ordinal in enumerate(("first", "second")):
        answer = arguments[number : number + 1]  # empty if there is only one argument
        names, starts = [argument.name for argument in answer], [argument.name_start for argument in answer]
        yield f"Which argument is the {ordinal}?", {"text": [*names], "answer_start": [*starts]}


def _function_questions(docstring: str, name: str) -> Iterator[tuple[str, Answers]]:
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
    """Start and end of the sentence that begins there; None if it is too short or too long."""
    stop = _SENTENCE_END.search(docstring, start)
    end = stop.start() if stop else len(docstring)
    return (start, end) if _SHORTEST_SENTENCE <= end - start <= _LONGEST_SENTENCE else None


def _span(docstring: str, span: tuple[int, int]) -> Answers:
    return {"text": [docstring[slice(*span)].rstrip()], "answer_start": [span[0]]}


def _mentions(context: str, argument: Argument) -> bool:
    """Whether the name or the description occurs in the text."""
    normalized = " ".join(context.split()).lower()
    sentence = " ".join(argument.sentence.split()).lower()
    return sentence in normalized or re.search(rf"\b{re.escape(argument.name.lower())}\b", normalized) is not None


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()

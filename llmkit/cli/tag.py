"""`llmkit tag`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from llmkit.cli.texts import input_texts, results
from llmkit.cli.use import Column, Json, Lines, ModelName, Output, Quoting, Source, open_model

if TYPE_CHECKING:
    from llmkit.api import Tagging

Overflow = Annotated[
    Literal["error", "truncate", "window"],
    typer.Option(
        help="Texts longer than the model's context window: raise an error, truncate them, or read them in windows."
    ),
]


def tag(
    source: Source = None,
    model: ModelName = None,
    overflow: Overflow = "window",
    column: Column = "text",
    lines: Lines = True,
    quoting: Quoting = "auto",
    as_json: Json = False,
    output: Output = None,
) -> None:
    """Mark the named entities of each text or tag each word, depending on the model."""
    texts = input_texts(source, column=column, by_line=lines, quoting=quoting)
    opened = open_model(model, verb="tag")
    with results(as_json=as_json, output=output) as write:
        for result in opened.tag(texts, overflow=overflow):
            if opened.finds_entities:
                write(_marked(result), _entities_record(result))
            else:
                write(" ".join(f"{word.text}/{word.tag}" for word in result.words), _words_record(result))


COMMANDS = (tag,)


def _marked(result: Tagging) -> str:
    """The text with its entities in brackets: `[Ada Lovelace](PER) was born in [London](LOC).`"""
    parts, end = [], 0
    for entity in result.entities:
        parts.append(f"{result.text[end : entity.start]}[{entity.text}]({entity.label})")
        end = entity.end
    return "".join([*parts, result.text[end:]])


def _entities_record(result: Tagging) -> dict[str, Any]:
    entities = [dataclasses.asdict(entity) for entity in result.entities]
    return {"text": result.text, "entities": entities, "truncated_tokens": result.truncated_tokens}


def _words_record(result: Tagging) -> dict[str, Any]:
    """A record whose `words` and `tags` can be used as training data."""
    return {
        "text": result.text,
        "words": [word.text for word in result.words],
        "tags": [word.tag for word in result.words],
        "offsets": [[word.start, word.end] for word in result.words],
        "scores": [word.score for word in result.words],
        "truncated_tokens": result.truncated_tokens,
    }

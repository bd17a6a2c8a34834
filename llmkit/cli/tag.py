"""`llmkit tag`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from llmkit.cli.output import Target, counts_of, one_line, write_results
from llmkit.cli.shared_options import Json, Lines, ModelName, Output, Quoting, ResumeOutput, open_model
from llmkit.cli.texts import input_words_or_texts

if TYPE_CHECKING:
    from llmkit.api import InputRow, Tagging

Overflow = Annotated[
    Literal["error", "truncate", "window"] | None,
    typer.Option(
        help="Texts longer than the model's context window: raise an error, truncate them, or read them in windows. "
        "Default: as in training, else window."
    ),
]


def tag(
    source: Annotated[
        str | None,
        typer.Argument(
            help="A text, a file (.txt .csv .tsv .jsonl .parquet, or .conll for words), or - for standard input."
        ),
    ] = None,
    model: ModelName = None,
    overflow: Overflow = None,
    column: Annotated[
        str | None,
        typer.Option(
            help="Column that contains the texts or lists of words, in a file with columns. Default: text, else words."
        ),
    ] = None,
    lines: Lines = None,
    quoting: Quoting = "auto",
    as_json: Json = False,
    output: Output = None,
    resume_output: ResumeOutput = False,
) -> None:
    """Mark the named entities of each text or tag each word, depending on the model."""
    rows: Iterator[InputRow[Any]] = input_words_or_texts(
        source, column=column, by_line=lines is not False, quoting=quoting
    )
    target = Target(as_json=as_json, output=output, resume=resume_output)
    opened = open_model(model, verb="tag")

    def show(result: Tagging) -> tuple[str, dict[str, Any]]:
        plain = _marked(result) if opened.finds_entities else _with_tags(result)
        if result.given_words is not None:
            return plain, _given_words_record(result, result.given_words)
        return plain, _entities_record(result) if opened.finds_entities else _words_record(result)

    missing = ("entities",) if opened.finds_entities else ("tags",)
    write_results(
        target, rows, lambda texts: opened.tag(texts, overflow=overflow), verb="tag", show=show, missing=missing
    )


COMMANDS = (tag,)


def _marked(result: Tagging) -> str:
    """The text with its entities in brackets: `[Ada Lovelace](PER) was born in [London](LOC).`"""
    parts, end = [], 0
    for entity in result.entities:
        parts.append(f"{result.text[end : entity.start]}[{entity.text}]({one_line(entity.label)})")
        end = entity.end
    return "".join([*parts, result.text[end:]])


def _with_tags(result: Tagging) -> str:
    return " ".join(f"{word.text}/{one_line(word.tag)}" for word in result.words)


def _given_words_record(result: Tagging, given: list[str]) -> dict[str, Any]:
    """A tag for each of the given words, also for those that were truncated."""
    unread = len(given) - len(result.words)
    return {
        "words": given,
        "tags": [*(word.tag for word in result.words), *["O"] * unread],
        "scores": [*(word.score for word in result.words), *[None] * unread],
        **counts_of(truncated=result.truncated_tokens, unknown=result.unknown_tokens),
    }


def _entities_record(result: Tagging) -> dict[str, Any]:
    entities = [dataclasses.asdict(entity) for entity in result.entities]
    counts = counts_of(truncated=result.truncated_tokens, unknown=result.unknown_tokens)
    return {"text": result.text, "entities": entities, **counts}


def _words_record(result: Tagging) -> dict[str, Any]:
    """A record whose `words` and `tags` can be used as training data."""
    return {
        "text": result.text,
        "words": [word.text for word in result.words],
        "tags": [word.tag for word in result.words],
        "offsets": [[word.start, word.end] for word in result.words],
        "scores": [word.score for word in result.words],
        **counts_of(truncated=result.truncated_tokens, unknown=result.unknown_tokens),
    }

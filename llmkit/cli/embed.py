"""`llmkit embed`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from llmkit.cli.texts import as_text, input_texts, results
from llmkit.cli.use import Column, Json, Lines, ModelName, Quoting, Source, open_model
from llmkit.errors import DataError, UsageError

if TYPE_CHECKING:
    from llmkit.api import Found, SavedVectors

Pooling = Literal["mean", "first"]
Overflow = Literal["error", "truncate", "window"]
_SHOWN_CHARACTERS = 200
"""Characters of a search result shown in plain output."""


def embed(
    source: Source = None,
    model: ModelName = None,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write the vectors to this .npy, .parquet or .jsonl file."),
    ] = None,
    pooling: Annotated[
        Pooling | None, typer.Option(help="Use the mean of a text's token vectors (the default) or its first token.")
    ] = None,
    normalize: Annotated[
        bool, typer.Option("--normalize/--no-normalize", help="Scale each vector to unit length.")
    ] = True,
    overflow: Annotated[
        Overflow,
        typer.Option(
            help="Texts longer than the model's context window: raise an error, truncate them, or average the vectors "
            "of their windows."
        ),
    ] = "truncate",
    search: Annotated[
        list[str] | None,
        typer.Option(metavar="QUERY", help="Show the rows most similar to this text. Can be repeated."),
    ] = None,
    top_k: Annotated[int, typer.Option(help="Number of rows to show for each --search.")] = 5,
    column: Column = "text",
    lines: Lines = True,
    quoting: Quoting = "auto",
    as_json: Json = False,
) -> None:
    """Embed texts as vectors, written as JSONL or to a file, or search texts or saved vectors."""
    if search:
        _search(
            source,
            [as_text(query) for query in search],
            model=model, top_k=top_k, pooling=pooling, overflow=overflow,
            column=column, by_line=lines, quoting=quoting, as_json=as_json, output=output,
        )  # fmt: skip
        return
    from llmkit.api import check_vectors_file, save_vectors, short_numbers

    file = None if output in (None, "-") else output
    if file is not None:
        check_vectors_file(Path(file))
    texts = input_texts(source, column=column, by_line=lines, quoting=quoting)
    opened = open_model(model, verb="embed")
    if file is not None:
        save_vectors(opened, texts, file, pooling=pooling or "mean", normalize=normalize, overflow=overflow)
        return
    with results(as_json=True, output=None) as write:
        for batch in opened.embed_stream(texts, pooling=pooling or "mean", normalize=normalize, overflow=overflow):
            for text, vector in zip(batch.texts, batch.vectors, strict=True):
                write("", {"text": text, "vector": short_numbers(vector)})


COMMANDS = (embed,)


def _search(
    source: str | None,
    queries: list[str],
    *,
    model: str | None,
    top_k: int,
    pooling: Pooling | None,
    overflow: Overflow,
    column: str,
    by_line: bool,
    quoting: Quoting,
    as_json: bool,
    output: str | None,
) -> None:
    from llmkit.api import check_search

    check_search(queries, top_k=top_k)
    if output is not None and Path(output).suffix.lower() in (".npy", ".parquet"):
        raise UsageError(f"{output}: results of --search are written as JSONL. Give a .jsonl file.")
    saved = _saved(source, column=column)
    if saved is not None:
        opened = open_model(model or saved.model, verb="embed")
        results_by_query = saved.search(opened, queries, top_k=top_k, pooling=pooling, overflow=overflow)
    else:
        texts = input_texts(source, column=column, by_line=by_line, quoting=quoting)
        opened = open_model(model, verb="embed")
        results_by_query = opened.search(queries, texts, top_k=top_k, pooling=pooling or "mean", overflow=overflow)
    if not any(results_by_query):
        raise DataError("there are no rows to search.")
    with results(as_json=as_json, output=output) as write:
        for query, rows in zip(queries, results_by_query, strict=True):
            heading = f"query: {_one_line(query)}\n" if len(queries) > 1 else ""
            records = [{"score": row.score, "row": row.row, "text": row.text} for row in rows]
            write(heading + "\n".join(map(_plain, rows)), {"query": query, "results": records})


def _saved(source: str | None, *, column: str) -> SavedVectors | None:
    """The vectors stored in the source file, if it has any."""
    from llmkit.api import saved_vectors

    if source is None or not source.lower().endswith((".npy", ".jsonl", ".ndjson", ".parquet")):
        return None
    return saved_vectors(source, column=column) if Path(source).is_file() else None


def _plain(result: Found) -> str:
    text = _one_line(result.text)
    excerpt = text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."
    return f"{result.score:.4f}\t{result.row}\t{excerpt}"


def _one_line(text: str) -> str:
    return " ".join(text.split())

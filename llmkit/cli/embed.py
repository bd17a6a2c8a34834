"""`llmkit embed`."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from llmkit.cli.output import Target, write_results
from llmkit.cli.shared_options import Column, Json, Lines, ModelName, Quoting, ResumeOutput, Source, open_model
from llmkit.cli.texts import as_text, input_rows
from llmkit.errors import DataError, UsageError

if TYPE_CHECKING:
    from llmkit.api import EmbedOptions, Found, SavedVectors

logger = logging.getLogger("llmkit")
VectorFile = Annotated[
    str | None,
    typer.Option("--output", "-o", metavar="FILE", help="Write the vectors to this .npy, .parquet or .jsonl file."),
]
Pooling = Annotated[
    Literal["mean", "first", "max", "mean_sqrt_len", "weightedmean", "lasttoken"] | None,
    typer.Option(
        help="How the vectors of a text's tokens become one. Default: as the model's sentence-transformers files "
        "say, else mean."
    ),
]
Normalize = Annotated[
    bool | None,
    typer.Option(
        "--normalize/--no-normalize",
        help="Scale each vector to unit length. Default: as the model's sentence-transformers files say, else yes.",
    ),
]
PromptText = Annotated[
    str | None, typer.Option(help="Text to put in front of each text. Default: the model's default prompt.")
]
PromptName = Annotated[str | None, typer.Option(metavar="NAME", help="One of the model's prompts, to use as --prompt.")]
Overflow = Annotated[
    Literal["error", "truncate", "window"],
    typer.Option(
        help="Texts longer than the model's context window: raise an error, truncate them, or average the vectors "
        "of their windows."
    ),
]
Queries = Annotated[
    list[str] | None,
    typer.Option(metavar="QUERY", help="Show the rows most similar to this text. Can be repeated."),
]
QueryPrompt = Annotated[
    str | None,
    typer.Option(help="Text to put in front of each --search query. Default: the model's prompt for queries."),
]
QueryPromptName = Annotated[
    str | None, typer.Option(metavar="NAME", help="One of the model's prompts, to use as --query-prompt.")
]
TopRows = Annotated[int, typer.Option(help="Number of rows to show for each --search.")]
_SHOWN_CHARACTERS = 200
"""Characters of a search result shown in plain output."""


def embed(
    source: Source = None,
    model: ModelName = None,
    output: VectorFile = None,
    pooling: Pooling = None,
    normalize: Normalize = None,
    prompt: PromptText = None,
    prompt_name: PromptName = None,
    overflow: Overflow = "truncate",
    search: Queries = None,
    query_prompt: QueryPrompt = None,
    query_prompt_name: QueryPromptName = None,
    top_k: TopRows = 5,
    column: Column = "text",
    lines: Lines = None,
    quoting: Quoting = "auto",
    as_json: Json = False,
    resume_output: ResumeOutput = False,
) -> None:
    """Embed texts as vectors, written as JSONL or to a file, or search texts or saved vectors."""
    options: EmbedOptions = {"pooling": pooling, "normalize": normalize, "prompt": prompt, "prompt_name": prompt_name}
    if resume_output and (search or (output or "").lower().endswith((".npy", ".parquet"))):
        raise UsageError("--resume-output: only for vectors in a .jsonl file, and without --search. Remove it.")
    if search:
        _search(
            source,
            [as_text(query) for query in search],
            model=model, top_k=top_k, options=options, query_prompt=query_prompt, query_prompt_name=query_prompt_name,
            overflow=overflow, column=column, by_line=lines is not False, quoting=quoting, as_json=as_json,
            output=output,
        )  # fmt: skip
        return
    if query_prompt is not None or query_prompt_name is not None:
        raise UsageError("--query-prompt is for the queries of --search. Use --prompt for the texts.")
    from llmkit.api import check_vectors_file, save_vectors, short_numbers

    target = Target(as_json=True, output=output, resume=resume_output)
    file = None if output in (None, "-") else output
    if file is not None:
        check_vectors_file(Path(file))
    rows = input_rows(source, column=column, by_line=lines is not False, quoting=quoting)
    opened = open_model(model, verb="embed")
    if file is not None and not file.lower().endswith(".jsonl"):
        save_vectors(opened, rows, file, overflow=overflow, **options)
        return

    dimensions: set[int] = set()

    def use(texts: Iterator[str]) -> Iterator[tuple[str, Any]]:
        for batch in opened.embed_stream(texts, overflow=overflow, **options):
            dimensions.add(batch.vectors.shape[1])
            yield from zip(batch.texts, batch.vectors, strict=True)

    def show(result: tuple[str, Any]) -> tuple[str, dict[str, Any]]:
        text, vector = result
        return "", {"text": text, "vector": short_numbers(vector)}

    count = write_results(target, rows, use, verb="embed", show=show, missing=("vector",))
    if file is not None:
        logger.info("%s: %s vectors of %s numbers", file, f"{count:,}", f"{max(dimensions, default=0):,}")


COMMANDS = (embed,)


def _search(
    source: str | None,
    queries: list[str],
    *,
    model: str | None,
    top_k: int,
    options: EmbedOptions,
    query_prompt: str | None,
    query_prompt_name: str | None,
    overflow: Overflow,
    column: str,
    by_line: bool,
    quoting: Quoting,
    as_json: bool,
    output: str | None,
) -> None:
    from llmkit.api import check_search, search_rows

    check_search(queries, top_k=top_k)
    if output is not None and Path(output).suffix.lower() in (".npy", ".parquet"):
        raise UsageError(f"{output}: results of --search are written as JSONL. Give a .jsonl file.")
    asked: dict[str, Any] = {
        "top_k": top_k, "overflow": overflow, "query_prompt": query_prompt, "query_prompt_name": query_prompt_name
    }  # fmt: skip
    saved = _saved(source, column=column)
    if saved is not None:
        _refuse_options_of_texts(options, file=str(source))
        opened = open_model(model or saved.model, verb="embed")
        results_by_query = saved.search(opened, queries, pooling=options["pooling"], **asked)
    else:
        rows = input_rows(source, column=column, by_line=by_line, quoting=quoting)
        opened = open_model(model, verb="embed")
        results_by_query = search_rows(opened, queries, rows, **options, **asked)
    if not any(results_by_query):
        raise DataError("there are no rows to search.")
    with Target(as_json=as_json, output=output).writing() as write:
        for query, found in zip(queries, results_by_query, strict=True):
            heading = f"query: {_one_line(query)}\n" if len(queries) > 1 else ""
            records = [{"score": row.score, "row": row.row, "text": row.text} for row in found]
            record = {"query": query, "similarity": opened.similarity, "results": records}
            write(heading + "\n".join(map(_plain, found)), record)


def _refuse_options_of_texts(options: EmbedOptions, *, file: str) -> None:
    """
    Raises:
        UsageError: an option that changes the vectors of texts that are embedded already.
    """
    for option, value in (
        ("--prompt", options["prompt"]),
        ("--prompt-name", options["prompt_name"]),
        ("--normalize", options["normalize"]),
    ):
        if value is not None:
            hint = "Leave it out" if option == "--normalize" else "Use --query-prompt for the queries"
            raise UsageError(f"{option}: the texts of {file} are embedded already. {hint}, or embed the texts again.")


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

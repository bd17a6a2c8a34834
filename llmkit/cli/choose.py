"""`llmkit choose`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from llmkit.cli.output import Target, counts_of, write_results
from llmkit.cli.shared_options import Json, ModelName, Output, Quoting, ResumeOutput, open_model
from llmkit.cli.texts import as_text, is_file_name
from llmkit.errors import UsageError

if TYPE_CHECKING:
    from llmkit.api import Choice, InputRow


def choose(
    source: Annotated[
        str | None,
        typer.Argument(
            help="A file with columns (.csv .tsv .jsonl .parquet): context, question or both, and choices as a list or "
            "as ending0, ending1 and so on."
        ),
    ] = None,
    context: Annotated[str | None, typer.Option(help="The text to read.")] = None,
    question: Annotated[str | None, typer.Option("--question", "-q", help="The question to answer.")] = None,
    choice: Annotated[list[str] | None, typer.Option(help="One of the choices; give it 2 to 10 times.")] = None,
    model: ModelName = None,
    column: Annotated[
        list[str] | None,
        typer.Option(metavar="ROLE=COLUMN", help="Where a column has another name, such as context=article."),
    ] = None,
    quoting: Quoting = "auto",
    overflow: Annotated[
        Literal["error", "truncate"] | None,
        typer.Option(help="What to do with a context longer than the model's window."),
    ] = None,
    as_json: Json = False,
    output: Output = None,
    resume_output: ResumeOutput = False,
) -> None:
    """Choose the most probable of several texts for a question, a context or both."""
    from llmkit.api import choice_rows, given_rows

    rows: Iterator[InputRow[Any]]
    if source is None:
        if not choice or not (context or question):
            raise UsageError("give a file, or --choice twice or more with --question, --context or both.")
        if column:
            raise UsageError("--column works only with a file. Remove it.")
        row = {
            "context": as_text(context or ""),
            "question": as_text(question or ""),
            "choices": [as_text(text) for text in choice],
        }
        rows = given_rows([row])
    else:
        if choice or context or question:
            raise UsageError(
                "--choice, --context and --question cannot be combined with a file. Remove them or the file."
            )
        if not is_file_name(source):
            raise UsageError(f"{source}: no such file. Give a file with columns.")
        rows = choice_rows(source, columns=_columns(column or ()), quoting=quoting)
    target = Target(as_json=as_json, output=output, resume=resume_output)
    opened = open_model(model, verb="choose")

    def use(questions: Iterator[Any]) -> Iterator[Choice]:
        return opened.choose(questions, overflow=overflow)

    missing = ("choice", "index", "probabilities")
    write_results(target, rows, use, verb="choose", show=_chosen, fields=(), missing=missing)


COMMANDS = (choose,)


def _chosen(result: Choice) -> tuple[str, dict[str, Any]]:
    texts = {key: value for key in ("context", "question") if (value := getattr(result.question, key))}
    return f"{' '.join(result.text.split())}\t{result.probabilities[result.index]:.4f}", {
        **texts,
        "choices": list(result.question.choices),
        "choice": result.text,
        "index": result.index,
        "probabilities": result.probabilities,
        **counts_of(truncated=result.truncated_tokens, unknown=result.unknown_tokens),
    }


def _columns(pairs: list[str] | tuple[str, ...]) -> dict[str, str]:
    invalid = next((pair for pair in pairs if "=" not in pair), None)
    if invalid is not None:
        raise UsageError(f"--column: {invalid!r} is not ROLE=COLUMN, such as context=article.")
    return dict(pair.split("=", 1) for pair in pairs)

"""`llmkit answer`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmkit.cli.output import Target, counts_of, write_results
from llmkit.cli.shared_options import Json, ModelName, Output, Quoting, ResumeOutput, open_model
from llmkit.cli.texts import as_text, input_rows, is_file_name
from llmkit.errors import UsageError

if TYPE_CHECKING:
    from llmkit.api import Answer, InputRow

_NO_ANSWER = "no answer"


def answer(
    source: Annotated[
        str | None,
        typer.Argument(
            help="With --question: the context, a file that contains it, or - for standard input. Otherwise a file "
            "with a context column and a question column (.csv .tsv .jsonl .parquet, or .json in SQuAD format)."
        ),
    ] = None,
    question: Annotated[str | None, typer.Option("--question", "-q", help="Question about the context.")] = None,
    model: ModelName = None,
    column: Annotated[str, typer.Option(help="Column that contains the contexts.")] = "context",
    question_column: Annotated[
        str, typer.Option(help="Column that contains the questions, without --question.")
    ] = "question",
    quoting: Quoting = "auto",
    as_json: Json = False,
    output: Output = None,
    resume_output: ResumeOutput = False,
) -> None:
    """Extract the answer to a question from a context, or report that it has none."""
    pairs = _pairs(source, question, column=column, question_column=question_column, quoting=quoting)
    target = Target(as_json=as_json, output=output, resume=resume_output)
    opened = open_model(model, verb="answer")
    missing = ("answer", "score", "start", "end", "no_answer")
    write_results(
        target, pairs, opened.answer_many, verb="answer", show=_answered, fields=("question",), missing=missing
    )


COMMANDS = (answer,)


def _answered(result: Answer) -> tuple[str, dict[str, Any]]:
    plain = _NO_ANSWER if result.text is None else " ".join(result.text.split())
    return plain, {
        "question": result.question,
        "answer": result.text,
        "score": result.score,
        "start": result.start,
        "end": result.end,
        "no_answer": result.no_answer,
        **counts_of(truncated=result.truncated_tokens, unknown=result.unknown_tokens),
    }


def _pairs(
    source: str | None, question: str | None, *, column: str, question_column: str, quoting: Quoting
) -> Iterator[InputRow[tuple[str, str]]]:
    """Pairs of question and context."""
    if question is None:
        if source is None or not is_file_name(source):
            raise UsageError('give --question "..." and a context, or a file with a column for each.')
        from llmkit.api import question_rows

        return question_rows(source, context_column=column, question_column=question_column, quoting=quoting)
    text = as_text(question)
    if not text.strip():
        raise UsageError("--question is empty. Give a question.")
    from llmkit.api import InputRow

    contexts = input_rows(source, column=column, by_line=False, quoting=quoting)
    return (InputRow(row.row, (text, row.value), row.place, row.id, row.empty) for row in contexts)

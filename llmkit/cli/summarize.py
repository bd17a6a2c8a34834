"""`llmkit summarize`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from llmkit.cli.output import Target, counts_of, write_results
from llmkit.cli.shared_options import (
    Beams,
    Column,
    Json,
    KeepSpecial,
    LengthPenalty,
    MaxNewTokens,
    MinNewTokens,
    ModelName,
    NgramSize,
    Output,
    Penalty,
    Quoting,
    ResumeOutput,
    Source,
    Whole,
    check_generation,
    open_model,
)
from llmkit.cli.texts import input_rows

if TYPE_CHECKING:
    from llmkit.api import Generation


def summarize(
    source: Source = None,
    model: ModelName = None,
    max_new_tokens: MaxNewTokens = None,
    min_new_tokens: MinNewTokens = None,
    beams: Beams = None,
    length_penalty: LengthPenalty = None,
    no_repeat_ngram_size: NgramSize = None,
    repetition_penalty: Penalty = None,
    keep_special: KeepSpecial = False,
    overflow: Annotated[
        Literal["error", "truncate", "window"] | None,
        typer.Option(
            help="Texts longer than the model's context window: raise an error, truncate them, or summarize them "
            "window by window. Default: as in training, else truncate."
        ),
    ] = None,
    column: Column = "text",
    lines: Whole = None,
    quoting: Quoting = "auto",
    as_json: Json = False,
    output: Output = None,
    resume_output: ResumeOutput = False,
) -> None:
    """Summarize texts."""
    rows = input_rows(source, column=column, by_line=bool(lines), quoting=quoting, note=lines is None)
    options: dict[str, Any] = {
        "max_new_tokens": max_new_tokens,
        "min_new_tokens": min_new_tokens,
        "beams": beams,
        "length_penalty": length_penalty,
        "no_repeat_ngram_size": no_repeat_ngram_size,
        "repetition_penalty": repetition_penalty,
        "keep_special": keep_special,
    }
    check_generation(options)
    target = Target(as_json=as_json, output=output, resume=resume_output)
    opened = open_model(model, verb="summarize")

    def use(texts: Iterator[str]) -> Iterator[Generation]:
        return opened.summarize(texts, overflow=overflow, rows_before=target.texts_before, **options)

    def show(result: Generation) -> tuple[str, dict[str, Any]]:
        summary = result.texts[0]
        counts = counts_of(truncated=result.truncated_tokens, unknown=result.unknown_tokens)
        record = {"text": result.prompt, "summary": summary, "finished": result.finished}
        return summary, {**record, **counts, "parts": result.parts}

    write_results(target, rows, use, verb="summarize", show=show, missing=("summary",))


COMMANDS = (summarize,)

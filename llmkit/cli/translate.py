"""`llmkit translate`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from llmkit.cli.texts import counts_of, input_texts, results
from llmkit.cli.use import (
    Beams,
    Column,
    Json,
    KeepSpecial,
    LengthPenalty,
    Lines,
    MaxNewTokens,
    MinNewTokens,
    ModelName,
    NgramSize,
    Output,
    Overflow,
    Penalty,
    Quoting,
    Source,
    check_generation,
    open_model,
)


def translate(
    source: Source = None,
    from_language: Annotated[
        str | None, typer.Option("--from", help="Source language: a code such as en, or its English name.")
    ] = None,
    to_language: Annotated[str | None, typer.Option("--to", help="Target language: a code or an English name.")] = None,
    model: ModelName = None,
    max_new_tokens: MaxNewTokens = None,
    min_new_tokens: MinNewTokens = None,
    beams: Beams = None,
    length_penalty: LengthPenalty = None,
    no_repeat_ngram_size: NgramSize = None,
    repetition_penalty: Penalty = None,
    keep_special: KeepSpecial = False,
    overflow: Overflow = "truncate",
    column: Column = "text",
    lines: Lines = True,
    quoting: Quoting = "auto",
    as_json: Json = False,
    output: Output = None,
) -> None:
    """Translate texts. A model trained on one language pair needs neither --from nor --to."""
    texts = input_texts(source, column=column, by_line=lines, quoting=quoting)
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
    opened = open_model(model, verb="translate")
    languages = {"source_language": from_language, "target_language": to_language}
    with results(as_json=as_json, output=output) as write:
        for result in opened.translate(texts, overflow=overflow, **languages, **options):
            translation = result.texts[0]
            counts = counts_of(truncated=result.truncated_tokens, unknown=result.unknown_tokens)
            record = {"text": result.prompt, "translation": translation, "finished": result.finished}
            write(translation, {**record, **counts})


COMMANDS = (translate,)

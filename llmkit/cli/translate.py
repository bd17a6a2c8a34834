"""`llmkit translate`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from llmkit.cli.output import Target, counts_of, write_results
from llmkit.cli.shared_options import (
    Beams,
    Column,
    FromLanguage,
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
    ResumeOutput,
    Source,
    ToLanguage,
    check_generation,
    open_model,
)
from llmkit.cli.texts import input_rows

if TYPE_CHECKING:
    from llmkit.api import Generation


def translate(
    source: Source = None,
    from_language: FromLanguage = None,
    to_language: ToLanguage = None,
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
    lines: Lines = None,
    quoting: Quoting = "auto",
    as_json: Json = False,
    output: Output = None,
    resume_output: ResumeOutput = False,
) -> None:
    """Translate texts. A model trained on one language pair needs neither --from nor --to."""
    rows = input_rows(source, column=column, by_line=lines is not False, quoting=quoting)
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
    opened = open_model(model, verb="translate")
    languages = {"source_language": from_language, "target_language": to_language}

    def use(texts: Iterator[str]) -> Iterator[Generation]:
        return opened.translate(texts, overflow=overflow, rows_before=target.texts_before, **languages, **options)

    write_results(target, rows, use, verb="translate", show=_translated, missing=("translation",))


COMMANDS = (translate,)


def _translated(result: Generation) -> tuple[str, dict[str, Any]]:
    translation = result.texts[0]
    return translation, {
        "text": result.prompt,
        "translation": translation,
        "finished": result.finished,
        **counts_of(truncated=result.truncated_tokens, unknown=result.unknown_tokens),
    }

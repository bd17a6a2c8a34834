"""`llmkit generate`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from llmkit.cli.output import Target, shown, write_results
from llmkit.cli.shared_options import (
    Beams,
    Json,
    KeepSpecial,
    LengthPenalty,
    Lines,
    MaxNewTokens,
    MinNewTokens,
    ModelName,
    NgramSize,
    Output,
    Penalty,
    Quoting,
    ResumeOutput,
    Seed,
    Stop,
    Temperature,
    TopK,
    TopP,
    check_generation,
    open_model,
)
from llmkit.cli.texts import as_text, input_rows, is_data_file, noted
from llmkit.errors import UsageError

if TYPE_CHECKING:
    from llmkit.api import Generation, InputRow, Model

PromptSource = Annotated[
    str | None, typer.Argument(help="A prompt, a file of prompts, one per line or row, or - for standard input.")
]
PromptText = Annotated[str | None, typer.Option("--prompt", "-p", help="Text to continue.")]
Continuations = Annotated[int | None, typer.Option(help="Number of continuations per prompt.")]
Raw = Annotated[bool, typer.Option("--raw", help="Continue the text as it is; a chat model's template is not applied.")]
PromptOverflow = Annotated[
    Literal["error", "truncate"] | None,
    typer.Option(
        help="Prompts longer than the model's context window: raise an error or truncate them. Default: as in "
        "training for a text-to-text model, else error."
    ),
]
PromptColumn = Annotated[
    str | None,
    typer.Option(
        help="Column that contains the prompts, in a file with columns. Default: text; for a chat model also "
        "prompt, with input, or messages."
    ),
]


def generate(
    source: PromptSource = None,
    prompt: PromptText = None,
    model: ModelName = None,
    max_new_tokens: MaxNewTokens = None,
    temperature: Temperature = None,
    top_k: TopK = None,
    top_p: TopP = None,
    min_new_tokens: MinNewTokens = None,
    beams: Beams = None,
    length_penalty: LengthPenalty = None,
    no_repeat_ngram_size: NgramSize = None,
    repetition_penalty: Penalty = None,
    keep_special: KeepSpecial = False,
    stop: Stop = None,
    num_return_sequences: Continuations = None,
    seed: Seed = None,
    raw: Raw = False,
    overflow: PromptOverflow = None,
    column: PromptColumn = None,
    lines: Lines = None,
    quoting: Quoting = "auto",
    as_json: Json = False,
    output: Output = None,
    resume_output: ResumeOutput = False,
) -> None:
    """Generate text from a prompt. Greedy search, unless --temperature, --top-k or --top-p turns on sampling or the
    model's config has other defaults."""
    rows = _rows(source, prompt, column=column, lines=lines, quoting=quoting)
    options: dict[str, Any] = {
        "max_new_tokens": max_new_tokens,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "min_new_tokens": min_new_tokens,
        "beams": beams,
        "length_penalty": length_penalty,
        "no_repeat_ngram_size": no_repeat_ngram_size,
        "repetition_penalty": repetition_penalty,
        "keep_special": keep_special,
        "stop": tuple(stop) if stop else None,
        "num_return_sequences": num_return_sequences,
        "seed": seed,
    }
    check_generation(options)
    target = Target(as_json=as_json, output=output, resume=resume_output)
    opened = open_model(model, verb="generate")
    on_screen = sys.stdout.isatty() and not as_json and output is None
    if prompt is not None and on_screen and not num_return_sequences and overflow != "truncate":
        _stream(opened, prompt, options, raw=raw)
        return
    if rows is None:
        rows = _file_rows(opened, str(source), column=column, lines=lines, quoting=quoting, raw=raw)

    def use(prompts: Iterator[Any]) -> Iterator[Generation]:
        return opened.generate(prompts, overflow=overflow, raw=raw, rows_before=target.texts_before, **options)

    show = partial(_generated, with_prompt=_shows_prompt(opened, raw=raw))
    write_results(target, rows, use, verb="generate", show=show, fields=("prompt",), missing=("texts",))


COMMANDS = (generate,)


def _rows(
    source: str | None, prompt: str | None, *, column: str | None, lines: bool | None, quoting: Quoting
) -> Iterator[InputRow[Any]] | None:
    """The prompts; None for those of a file, whose reading depends on the model."""
    from llmkit.api import argument_row

    if prompt is None:
        if source is not None and source != "-" and is_data_file(source):
            return None
        by_line = lines is not False
        return input_rows(source, column=column or "text", by_line=by_line, quoting=quoting, note=lines is None)
    if source is not None:
        raise UsageError("give --prompt or a file, not both.")
    return iter([argument_row(as_text(prompt))])


def _file_rows(
    model: Model, source: str, *, column: str | None, lines: bool | None, quoting: Quoting, raw: bool
) -> Iterator[InputRow[Any]]:
    by_line = lines is not False
    rows = model.prompt_rows(source, column=column, by_line=by_line, quoting=quoting, raw=raw)
    return noted(rows, source, by_line=by_line) if lines is None else rows


def _generated(result: Generation, *, with_prompt: bool) -> tuple[str, dict[str, Any]]:
    """A result as text, after its prompt where that is shown, and as a record."""
    lead = result.prompt if with_prompt else ""
    plain = [lead + text for text in result.texts]
    record = {"prompt": result.prompt, "texts": result.texts, "finished": result.finished}
    if len(result.texts) > 1:
        record["texts_finished"] = result.texts_finished
    if result.unknown_tokens:
        record["unknown_tokens"] = result.unknown_tokens
    return "\n---\n".join(plain), record


def _shows_prompt(model: Model, *, raw: bool) -> bool:
    """Whether the prompt is shown before the generated text."""
    return model.continues or (raw and model.chats)


def _stream(model: Model, prompt: str, options: dict[str, Any], *, raw: bool) -> None:
    from llmkit.api import argument_row

    prompt = argument_row(as_text(prompt)).value
    print(shown(prompt) if _shows_prompt(model, raw=raw) else "", end="", flush=True)
    chunks: Iterator[str] = model.stream(prompt, raw=raw, **options)
    for chunk in chunks:
        print(shown(chunk), end="", flush=True)
    print()

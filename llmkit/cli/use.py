"""`llmkit generate`, `summarize` and `classify`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from llmkit.cli.texts import as_text, input_pairs, input_texts, results, shown
from llmkit.errors import UsageError

if TYPE_CHECKING:
    from llmkit.api import Classification, Model, Verb

Source = Annotated[str | None, typer.Argument(help="A text, a file (.txt .csv .tsv .jsonl .parquet), or - for a pipe.")]
ModelName = Annotated[
    str | None, typer.Option("--model", "-m", help="A run, a folder or a hub id; without it, the newest run that fits.")
]
Column = Annotated[str, typer.Option(help="Column of the texts, in a file that has columns.")]
Lines = Annotated[bool, typer.Option("--lines/--whole", help="Is each line of plain text one text, or all of it?")]
Quoting = Annotated[
    Literal["auto", "csv", "none"],
    typer.Option(help="Quotation marks in .csv and .tsv: csv encloses cells in them, none keeps them as text."),
]
Json = Annotated[bool, typer.Option("--json", help="Write JSONL.")]
Output = Annotated[str | None, typer.Option("--output", "-o", metavar="FILE", help="Write JSONL to this file.")]
Overflow = Annotated[
    Literal["error", "truncate"], typer.Option(help="What to do with a text longer than the model's window.")
]
MaxNewTokens = Annotated[int | None, typer.Option(help="Length limit of what is written, in tokens.")]
Beams = Annotated[int | None, typer.Option(help="Width of the beam search; 1 is greedy.")]
Penalty = Annotated[float | None, typer.Option("--repetition-penalty", help="Above 1: repeat less.")]
Temperature = Annotated[float | None, typer.Option(help="Sample; below 1 likelier, above 1 wilder.")]
TopK = Annotated[int | None, typer.Option(help="Sample from the so many likeliest tokens.")]
TopP = Annotated[float | None, typer.Option(help="Sample from the likeliest tokens of this total probability.")]
Stop = Annotated[list[str] | None, typer.Option(help="Stop before this text; may be given again.")]
Seed = Annotated[int | None, typer.Option(help="Of the sampling.")]


def generate(
    source: Annotated[str | None, typer.Argument(help="A prompt, a file of prompts, or - for a pipe.")] = None,
    prompt: Annotated[str | None, typer.Option("--prompt", "-p", help="The text to continue.")] = None,
    model: ModelName = None,
    max_new_tokens: MaxNewTokens = None,
    temperature: Temperature = None,
    top_k: TopK = None,
    top_p: TopP = None,
    beams: Beams = None,
    repetition_penalty: Penalty = None,
    stop: Stop = None,
    num_return_sequences: Annotated[int | None, typer.Option(help="Continuations of each prompt.")] = None,
    seed: Seed = None,
    raw: Annotated[bool, typer.Option("--raw", help="Continue the text as it stands, with a chat model too.")] = False,
    overflow: Overflow = "error",
    column: Column = "text",
    lines: Lines = False,
    quoting: Quoting = "auto",
    as_json: Json = False,
    output: Output = None,
) -> None:
    """Continue a prompt, or answer it with a chat model. Greedy, unless --temperature, --top-k or --top-p samples."""
    if prompt is not None and source is not None:
        raise UsageError("give --prompt or a file, not both.")
    prompts = (
        iter([as_text(prompt)])
        if prompt is not None
        else input_texts(source, column=column, by_line=lines, quoting=quoting)
    )
    options: dict[str, Any] = {
        "max_new_tokens": max_new_tokens,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "beams": beams,
        "repetition_penalty": repetition_penalty,
        "stop": tuple(stop) if stop else None,
        "num_return_sequences": num_return_sequences,
        "seed": seed,
    }
    check_generation(options)
    opened = open_model(model, verb="generate")
    on_screen = sys.stdout.isatty() and not as_json and output is None
    if prompt is not None and on_screen and not num_return_sequences and overflow == "error":
        _stream(opened, as_text(prompt), options, raw=raw)
        return
    with results(as_json=as_json, output=output) as write:
        for result in opened.generate(prompts, overflow=overflow, raw=raw, **options):
            lead = result.prompt if _goes_on(opened, raw=raw) else ""
            plain = [lead + text for text in result.texts]
            write("\n---\n".join(plain), {"prompt": result.prompt, "texts": result.texts})


def summarize(
    source: Source = None,
    model: ModelName = None,
    max_new_tokens: MaxNewTokens = None,
    beams: Beams = None,
    repetition_penalty: Penalty = None,
    overflow: Annotated[
        Literal["error", "truncate", "window"] | None,
        typer.Option(
            help="What to do with a text longer than the model's window; window summarizes it part by part. "
            "Without it, as the model was trained, else truncate."
        ),
    ] = None,
    column: Column = "text",
    lines: Lines = False,
    quoting: Quoting = "auto",
    as_json: Json = False,
    output: Output = None,
) -> None:
    """Write a short text for each long one."""
    texts = input_texts(source, column=column, by_line=lines, quoting=quoting)
    options: dict[str, Any] = {
        "max_new_tokens": max_new_tokens,
        "beams": beams,
        "repetition_penalty": repetition_penalty,
    }
    check_generation(options)
    opened = open_model(model, verb="summarize")
    with results(as_json=as_json, output=output) as write:
        for result in opened.summarize(texts, overflow=overflow, **options):
            summary = result.texts[0]
            cut = {"truncated_tokens": result.truncated_tokens, "parts": result.parts}
            write(summary, {"text": result.prompt, "summary": summary, **cut})


def classify(
    source: Source = None,
    model: ModelName = None,
    overflow: Annotated[
        Literal["error", "truncate", "window"] | None,
        typer.Option(help="What to do with a text longer than the model's window; by default as it was trained."),
    ] = None,
    column: Column = "text",
    pair_column: Annotated[
        str | None, typer.Option(help="Column of the second texts, for a model of pairs.", show_default="text_pair")
    ] = None,
    lines: Lines = True,
    quoting: Quoting = "auto",
    as_json: Json = False,
    output: Output = None,
) -> None:
    """Name the label or labels of each text with their probabilities, or its number."""
    texts: Iterator[str] | Iterator[tuple[str, str]] = input_texts(
        source, column=column, by_line=lines, quoting=quoting
    )
    pairs = (
        None if pair_column is None else input_pairs(source, column=column, pair_column=pair_column, quoting=quoting)
    )
    opened = open_model(model, verb="classify")
    if pairs is None and opened.reads_pairs:
        pairs = input_pairs(source, column=column, pair_column="text_pair", quoting=quoting)
    with results(as_json=as_json, output=output) as write:
        for result in opened.classify(texts if pairs is None else pairs, overflow=overflow):
            write(*_classified(result))


COMMANDS = (generate, summarize, classify)


def check_generation(options: dict[str, Any]) -> None:
    """Refuse impossible options before torch is imported."""
    from llmkit.api import generation_options

    generation_options(options)


def _classified(result: Classification) -> tuple[str, dict[str, Any]]:
    """A result as a line and as a record; a record has the keys of what the model answers, and no others."""
    record: dict[str, Any] = {"text": result.text}
    if result.text_pair is not None:
        record["text_pair"] = result.text_pair
    if result.value is not None:
        plain = f"{result.value:.4f}"
        record["value"] = result.value
    else:
        labels = result.labels if result.label is None else [result.label]
        plain = "\t".join(f"{label}\t{result.probabilities[label]:.4f}" for label in labels) or "(none)"
        record.update({"labels": labels} if result.label is None else {"label": result.label})
        record["probabilities"] = result.probabilities
    record["truncated_tokens"] = result.truncated_tokens
    return plain, {**record, "windows": result.windows} if result.windows > 1 else record


def open_model(name: str | None, *, verb: Verb) -> Model:
    from llmkit.api import load

    return load(name, verb=verb)


def _goes_on(model: Model, *, raw: bool) -> bool:
    """Whether the prompt is shown in front of what is written."""
    return model.continues or (raw and model.chats)


def _stream(model: Model, prompt: str, options: dict[str, Any], *, raw: bool) -> None:
    print(shown(prompt) if _goes_on(model, raw=raw) else "", end="", flush=True)
    pieces: Iterator[str] = model.stream(prompt, raw=raw, **options)
    for piece in pieces:
        print(shown(piece), end="", flush=True)
    print()

"""`llmkit generate`, `summarize` and `classify`."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from llmkit.cli.texts import (
    as_text,
    counts_of,
    input_pairs,
    input_rows,
    is_data_file,
    noted,
    results,
    shown,
    write_results,
)
from llmkit.errors import UsageError

if TYPE_CHECKING:
    from llmkit.api import Classification, Generation, InputRow, Model, Verb

logger = logging.getLogger("llmkit")
Source = Annotated[
    str | None, typer.Argument(help="A text, a file (.txt .csv .tsv .jsonl .parquet), or - for standard input.")
]
ModelName = Annotated[
    str | None,
    typer.Option("--model", "-m", help="A run, a model folder or a hub id. Default: the newest run for this command."),
]
Column = Annotated[str, typer.Option(help="Column that contains the texts, in a file with columns.")]
Lines = Annotated[
    bool | None,
    typer.Option(
        "--lines/--whole",
        show_default="lines",
        help="Treat each line of a plain-text file as a separate input, or the whole file as one.",
    ),
]
Whole = Annotated[
    bool | None,
    typer.Option(
        "--lines/--whole",
        show_default="whole",
        help="Treat each line of a plain-text file as a separate input, or the whole file as one.",
    ),
]
Quoting = Annotated[
    Literal["auto", "csv", "none"],
    typer.Option(help="Quotes in .csv and .tsv files: csv treats them as cell delimiters, none as text."),
]
Json = Annotated[bool, typer.Option("--json", help="Write results as JSONL.")]
Output = Annotated[
    str | None, typer.Option("--output", "-o", metavar="FILE", help="Write results as JSONL to this file.")
]
Overflow = Annotated[
    Literal["error", "truncate"],
    typer.Option(help="Texts longer than the model's context window: raise an error or truncate them."),
]
MaxNewTokens = Annotated[int | None, typer.Option(help="Maximum number of tokens to generate.")]
Beams = Annotated[
    int | None,
    typer.Option(
        help="Number of beams for beam search. 1 means greedy search, also for a model that samples by default."
    ),
]
MinNewTokens = Annotated[int | None, typer.Option(help="Minimum number of tokens to generate.")]
LengthPenalty = Annotated[
    float | None, typer.Option(help="With beams: values above 0 prefer longer texts, below 0 shorter ones.")
]
NgramSize = Annotated[
    int | None,
    typer.Option(
        "--no-repeat-ngram-size", "--no-repeat-ngram", help="No sequence of this many tokens occurs twice. 0 allows it."
    ),
]
Penalty = Annotated[float | None, typer.Option("--repetition-penalty", help="Values above 1 discourage repetition.")]
Temperature = Annotated[
    float | None,
    typer.Option(help="Sampling temperature. Below 1 sharpens the distribution, above 1 flattens it."),
]
TopK = Annotated[int | None, typer.Option(help="Sample from the K most probable tokens.")]
TopP = Annotated[
    float | None,
    typer.Option(
        help="Nucleus sampling: sample from the most probable tokens whose probabilities add up to this value."
    ),
]
Stop = Annotated[list[str] | None, typer.Option(help="Stop before this text. Can be repeated.")]
KeepSpecial = Annotated[
    bool, typer.Option("--keep-special", help="Keep special tokens in the text, such as separators and sentinels.")
]
Seed = Annotated[int | None, typer.Option(help="Random seed for sampling.")]


def generate(
    source: Annotated[
        str | None, typer.Argument(help="A prompt, a file of prompts, one per line or row, or - for standard input.")
    ] = None,
    prompt: Annotated[str | None, typer.Option("--prompt", "-p", help="Text to continue.")] = None,
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
    num_return_sequences: Annotated[int | None, typer.Option(help="Number of continuations per prompt.")] = None,
    seed: Seed = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Continue the text as it is; a chat model's template is not applied.")
    ] = False,
    overflow: Annotated[
        Literal["error", "truncate"] | None,
        typer.Option(
            help="Prompts longer than the model's context window: raise an error or truncate them. Default: as in "
            "training for a text-to-text model, else error."
        ),
    ] = None,
    column: Annotated[
        str | None,
        typer.Option(
            help="Column that contains the prompts, in a file with columns. Default: text; for a chat model also "
            "prompt, with input, or messages."
        ),
    ] = None,
    lines: Lines = None,
    quoting: Quoting = "auto",
    as_json: Json = False,
    output: Output = None,
) -> None:
    """Generate text from a prompt. Greedy search, unless --temperature, --top-k or --top-p turns on sampling or the
    model's config has other defaults."""
    from llmkit.api import argument_row

    if prompt is not None and source is not None:
        raise UsageError("give --prompt or a file, not both.")
    by_line = lines is not False
    is_file = prompt is None and source is not None and source != "-" and is_data_file(source)
    rows: Iterator[InputRow[Any]] = iter(())
    if prompt is not None:
        rows = iter([argument_row(as_text(prompt))])
    elif not is_file:
        rows = input_rows(source, column=column or "text", by_line=by_line, quoting=quoting, note=lines is None)
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
    opened = open_model(model, verb="generate")
    on_screen = sys.stdout.isatty() and not as_json and output is None
    if prompt is not None and on_screen and not num_return_sequences and overflow != "truncate":
        _stream(opened, argument_row(as_text(prompt)).value, options, raw=raw)
        return
    if is_file:
        rows = opened.prompt_rows(str(source), column=column, by_line=by_line, quoting=quoting, raw=raw)
        rows = noted(rows, str(source), by_line=by_line) if lines is None else rows

    def use(prompts: Iterator[Any]) -> Iterator[Generation]:
        return opened.generate(prompts, overflow=overflow, raw=raw, **options)

    def show(result: Generation) -> tuple[str, dict[str, Any]]:
        lead = result.prompt if _shows_prompt(opened, raw=raw) else ""
        plain = [lead + text for text in result.texts]
        record = {"prompt": result.prompt, "texts": result.texts, "finished": result.finished}
        if len(result.texts) > 1:
            record["texts_finished"] = result.texts_finished
        if result.unknown_tokens:
            record["unknown_tokens"] = result.unknown_tokens
        return "\n---\n".join(plain), record

    with results(as_json=as_json, output=output) as write:
        write_results(write, rows, use, show=show, fields=("prompt",), missing=("texts",))


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
    opened = open_model(model, verb="summarize")

    def use(texts: Iterator[str]) -> Iterator[Generation]:
        return opened.summarize(texts, overflow=overflow, **options)

    def show(result: Generation) -> tuple[str, dict[str, Any]]:
        summary = result.texts[0]
        counts = counts_of(truncated=result.truncated_tokens, unknown=result.unknown_tokens)
        record = {"text": result.prompt, "summary": summary, "finished": result.finished}
        return summary, {**record, **counts, "parts": result.parts}

    with results(as_json=as_json, output=output) as write:
        write_results(write, rows, use, show=show, missing=("summary",))


def classify(
    source: Source = None,
    model: ModelName = None,
    overflow: Annotated[
        Literal["error", "truncate", "window"] | None,
        typer.Option(
            help="Texts longer than the model's context window: raise an error, truncate them, or read them in "
            "windows. Default: as in training."
        ),
    ] = None,
    threshold: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[LABEL=]NUMBER",
            help="Least probability of a label, for a model of any number of labels. Can be repeated, such as "
            "--threshold 0.5 --threshold spam=0.3. Default: as tuned in training.",
        ),
    ] = None,
    column: Column = "text",
    pair_column: Annotated[
        str | None,
        typer.Option(
            help="Column that contains the second texts, for a model of text pairs.", show_default="text_pair"
        ),
    ] = None,
    lines: Lines = None,
    quoting: Quoting = "auto",
    as_json: Json = False,
    output: Output = None,
) -> None:
    """Classify texts: the label or labels of each with their probabilities, or a number for a regression."""
    from llmkit.api import parse_thresholds

    parse_thresholds(threshold or ())
    rows: Iterator[InputRow[str]] | Iterator[InputRow[tuple[str, str]]] = input_rows(
        source, column=column, by_line=lines is not False, quoting=quoting
    )
    pairs = (
        None if pair_column is None else input_pairs(source, column=column, pair_column=pair_column, quoting=quoting)
    )
    opened = open_model(model, verb="classify")
    if pairs is None and opened.reads_pairs:
        pairs = input_pairs(source, column=column, pair_column="text_pair", quoting=quoting)

    def use(texts: Iterator[Any]) -> Iterator[Classification]:
        return opened.classify(texts, overflow=overflow, threshold=limit)

    limit = parse_thresholds(threshold or (), opened.loaded.labels)

    missing = _CLASSIFIED_KEYS[opened.problem_type]
    with results(as_json=as_json, output=output) as write:
        inputs: Iterator[InputRow[Any]] = rows if pairs is None else pairs
        write_results(write, inputs, use, show=_classified, fields=("text", "text_pair"), missing=missing)


_CLASSIFIED_KEYS: Mapping[str, Sequence[str]] = {
    "single_label_classification": ("label", "probabilities"),
    "multi_label_classification": ("labels", "probabilities"),
    "regression": ("value",),
}
"""Problem type -> keys of a result."""
COMMANDS = (generate, summarize, classify)


def check_generation(options: dict[str, Any]) -> None:
    """Reject invalid options before torch is imported; point out a stop text that was probably meant otherwise."""
    from llmkit.api import generation_options

    block = generation_options(options)
    for stop in block.stop:
        escapes = [escape for escape in ("\\n", "\\t", "\\r") if escape in stop]
        if escapes:
            logger.warning(
                "--stop %s: %s is a backslash and a letter here. For the control character write --stop $'%s' in the shell",
                *(stop, escapes[0], stop),
            )


def _classified(result: Classification) -> tuple[str, dict[str, Any]]:
    """A result as a line and as a record, which has only the keys that the model's problem type produces."""
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
        if result.threshold is not None:
            record["threshold"] = result.threshold
    record |= counts_of(truncated=result.truncated_tokens, unknown=result.unknown_tokens)
    return plain, {**record, "windows": result.windows} if result.windows > 1 else record


def open_model(name: str | None, *, verb: Verb) -> Model:
    from llmkit.api import load

    return load(name, verb=verb)


def _shows_prompt(model: Model, *, raw: bool) -> bool:
    """Whether the prompt is shown before the generated text."""
    return model.continues or (raw and model.chats)


def _stream(model: Model, prompt: str, options: dict[str, Any], *, raw: bool) -> None:
    print(shown(prompt) if _shows_prompt(model, raw=raw) else "", end="", flush=True)
    chunks: Iterator[str] = model.stream(prompt, raw=raw, **options)
    for chunk in chunks:
        print(shown(chunk), end="", flush=True)
    print()

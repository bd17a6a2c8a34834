"""The options that several commands have, their check, and the model that --model names."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from llmkit.api import Model, Verb

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
FromLanguage = Annotated[
    str | None,
    typer.Option("--from", "--source-language", help="Source language: a code such as en, or its English name."),
]
ToLanguage = Annotated[
    str | None, typer.Option("--to", "--target-language", help="Target language: a code or an English name.")
]
Json = Annotated[bool, typer.Option("--json", help="Write results as JSONL.")]
Output = Annotated[
    str | None, typer.Option("--output", "-o", metavar="FILE", help="Write results as JSONL to this file.")
]
ResumeOutput = Annotated[
    bool,
    typer.Option(
        "--resume-output", help="Continue the --output file after its last row, if an earlier command stopped."
    ),
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


def open_model(name: str | None, *, verb: Verb) -> Model:
    from llmkit.api import load

    return load(name, verb=verb)


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

"""`llmkit fill`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from llmkit.cli.output import Target, one_line, write_results
from llmkit.cli.shared_options import Column, Json, Lines, ModelName, Output, Quoting, ResumeOutput, open_model
from llmkit.cli.texts import input_rows
from llmkit.errors import UsageError

if TYPE_CHECKING:
    from llmkit.api import Candidate, FilledMask, Filling

_SHOWN_CHARACTERS = 60
"""Characters shown on each side of a mask in plain output."""


def fill(
    source: Annotated[
        str | None, typer.Argument(help="A text with [MASK] in it, a file of such texts, or - for standard input.")
    ] = None,
    model: ModelName = None,
    top_k: Annotated[int, typer.Option(help="Number of candidates for each mask.")] = 5,
    overflow: Annotated[
        Literal["error", "window"],
        typer.Option(
            help="Texts longer than the model's context window: raise an error, or read a window around each mask."
        ),
    ] = "window",
    column: Column = "text",
    lines: Lines = None,
    quoting: Quoting = "auto",
    as_json: Json = False,
    output: Output = None,
    resume_output: ResumeOutput = False,
) -> None:
    """Predict the masked tokens of a text: the most probable tokens, their probabilities, the filled text."""
    if top_k < 1:
        raise UsageError(f"--top-k {top_k}: ask for at least 1 candidate.")
    rows = input_rows(source, column=column, by_line=lines is not False, quoting=quoting)
    target = Target(as_json=as_json, output=output, resume=resume_output)
    opened = open_model(model, verb="fill")

    def use(texts: Iterator[str]) -> Iterator[Filling]:
        return opened.fill(texts, top_k=top_k, overflow=overflow)

    write_results(
        target, rows, use, verb="fill", show=lambda result: (_plain(result), _record(result)), missing=("masks",)
    )


COMMANDS = (fill,)


def _record(result: Filling) -> dict[str, Any]:
    masks = [_mask_record(mask) for mask in result.masks]
    record = {"text": result.text, "masks": masks}
    return {**record, "unknown_tokens": result.unknown_tokens} if result.unknown_tokens else record


def _mask_record(mask: FilledMask) -> dict[str, Any]:
    candidates = [
        {"token": option.token, "probability": option.probability, "text": option.text} for option in mask.candidates
    ]
    return {"position": mask.position, "candidates": candidates, "truncated_tokens": mask.truncated_tokens}


def _plain(result: Filling) -> str:
    """One line per candidate. Each mask is filled independently; a text with several masks gets a heading for each."""
    several = len(result.masks) > 1
    lines = []
    for number, mask in enumerate(result.masks, 1):
        if several:
            lines.append(
                f"mask {number} of {len(result.masks)}, at character {mask.position + 1:,}, filled on its own:"
            )
        lines += [_line(result.text, mask, candidate) for candidate in mask.candidates]
    return "\n".join(lines)


def _line(text: str, mask: FilledMask, candidate: Candidate) -> str:
    after = len(text) - mask.position - mask.length
    end = len(candidate.text) - after  # end of the token in the filled text
    first, last = max(mask.position - _SHOWN_CHARACTERS, 0), end + _SHOWN_CHARACTERS
    shown = candidate.text[first:last].replace("\n", " ").replace("\t", " ")
    lead, tail = "..." if first else "", "..." if last < len(candidate.text) else ""
    return f"{one_line(candidate.token)}\t{candidate.probability:.4f}\t{lead}{shown}{tail}"

"""`llmkit merge`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer


def merge(
    model: Annotated[str, typer.Argument(help="A run that was saved as an adapter, or an adapter's folder.")],
    output: Annotated[str, typer.Option("--output", "-o", metavar="FOLDER", help="The new model folder.")],
) -> None:
    """Add a LoRA adapter to its base model, and write a plain model folder."""
    from llmkit.api import merge as merge_into

    merged = merge_into(model, output=output)
    print(f"{model} was added to {merged.base}", file=sys.stderr)
    print(merged.folder)


COMMANDS = (merge,)

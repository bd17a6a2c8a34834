"""`llmkit merge`."""

from __future__ import annotations

from typing import Annotated

import typer

from llmkit.cli.messages import print_note
from llmkit.cli.output import shown


def merge(
    model: Annotated[str, typer.Argument(help="A run that was saved as an adapter, or an adapter folder.")],
    output: Annotated[str, typer.Option("--output", "-o", metavar="FOLDER", help="The new model folder.")],
) -> None:
    """Merge a LoRA adapter into its base model and save the result as a plain model folder."""
    from llmkit.api import merge as merge_into

    merged = merge_into(model, output=output)
    print_note(f"merged {model} into {merged.base}")
    print(shown(str(merged.folder)))


COMMANDS = (merge,)

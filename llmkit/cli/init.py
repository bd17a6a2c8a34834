"""`llmkit init`: a first recipe, from a file of rows or from a task."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmkit.atomic import check_replaceable, replace_file
from llmkit.cli.messages import print_note
from llmkit.cli.output import one_line, shown
from llmkit.cli.shared_options import FromLanguage, Quoting, ToLanguage
from llmkit.errors import UsageError

if TYPE_CHECKING:
    from llmkit.api import Draft


def init(
    task: Annotated[
        str | None, typer.Argument(help="Task, such as classification. Default: what the columns of --data decide.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="Rows to train on: a file, a folder, hub:NAME or builtin:NAME. Default: a built-in data set."
        ),
    ] = None,
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", help="Write the recipe to this file; - is standard output.")
    ] = "recipe.yaml",
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", help="A hub id, a model folder, a run, or a size of random weights, such as tiny."
        ),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(metavar="FIELD=COLUMN", help="Column of a field of the task, such as text=body. Repeatable."),
    ] = None,
    from_language: FromLanguage = None,
    to_language: ToLanguage = None,
    quoting: Quoting = "auto",
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
) -> None:
    """Write a first recipe: look at the data, propose the task and its columns, and explain each key.

    On a terminal it asks what the data leaves open; in a pipe that is an error that names the option.
    """
    path = None if output == "-" else Path(output)
    from llmkit.api import draft_recipe

    def ask(question: str, choices: Sequence[str]) -> str:
        _check_free(path, force=force)  # before the question, whose answer would be lost
        return _ask(question, choices)

    draft = draft_recipe(
        task,
        data=data,
        model=model,
        columns=column or (),
        source_language=from_language,
        target_language=to_language,
        quoting=quoting,
        file=output if path is not None else "recipe.yaml",
        ask=ask if sys.stdin.isatty() and sys.stderr.isatty() else None,
    )
    _check_free(path, force=force)
    for line in _notes(draft):
        print_note(line)
    if path is None:
        print(shown(draft.text), end="")
        return
    replace_file(path, draft.text.encode())
    print(shown(one_line(str(path))))
    print_note(f"next: {draft.command} {shlex.quote(str(path))}")


COMMANDS = (init,)


def _check_free(path: Path | None, *, force: bool) -> None:
    """
    Args:
        path: of the new recipe; None for standard output.
    Raises:
        UsageError: there is a file of this name.
        MachineError: it cannot be written.
    """
    if path is None:
        return
    if path.exists() and not force:
        raise UsageError(f"{path} already exists. Give another name with -o, or --force to replace it.")
    check_replaceable(path)


def _notes(draft: Draft) -> Iterator[str]:
    """What was decided, and what keeps the recipe from running."""
    if draft.reason:
        yield f"task      {draft.task}: {draft.reason}"
    for field, name in draft.columns.items():
        yield f"column    {field}: {name if isinstance(name, str) else ', '.join(name)}"
    yield f"model     {draft.model}"
    if draft.is_placeholder:
        yield f"data      replace {draft.source} in the recipe by your file, and the columns by those of your file"
    if draft.problem:
        yield from (f"warning: {line}" for line in draft.problem.splitlines())
        yield "warning: the recipe does not run on these rows until this is mended"


def _ask(question: str, choices: Sequence[str]) -> str:
    """Ask on the terminal until the answer is one of the choices; any text if there are none."""
    for number, choice in enumerate(choices, 1):
        typer.echo(f"  {number:>2}  {one_line(choice)}", err=True)
    while True:
        answer: str = typer.prompt(one_line(question), err=True).strip()
        if not choices or answer in choices:
            return answer
        if answer.isdecimal() and 1 <= int(answer) <= len(choices):
            return choices[int(answer) - 1]
        typer.echo("Give the number or the name of a line above.", err=True)

"""`llmkit data check` and `llmkit data show`: faults in the rows of a recipe, and its examples as the model gets them."""

from __future__ import annotations

import json
import sys
import textwrap
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from llmkit.cli.output import one_line, shown
from llmkit.cli.repeated import Command
from llmkit.cli.shown_examples import print_examples
from llmkit.errors import DataError

if TYPE_CHECKING:
    from llmkit.api import DataReport, Finding, FoundRow

_COLUMNS = 80
_ROWS_SHOWN = 3
_PLACES_SHOWN = 5
_CHARACTERS_SHOWN = 160
_MARKS = {"error": "bold red", "warning": "yellow", "info": "dim"}

app = typer.Typer(
    name="data",
    help="Check the rows of a recipe before training, and show them as the model gets them.",
    no_args_is_help=True,
)
Recipe = Annotated[str, typer.Argument(help="The recipe, a YAML file.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the recipe. Can be repeated.")
]


@app.command(cls=Command)
def check(
    recipe: Recipe,
    sets: Set = None,
    rows: Annotated[int, typer.Option(min=0, help="Rows to show for each finding.")] = _ROWS_SHOWN,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 3 for warnings too.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write one JSON object with up to 20 rows a finding.")
    ] = False,
) -> None:
    """Look for faults in the data: bad and duplicate rows, test rows in train, labels that look wrong, encodings, lengths.

    Needs no weights and trains nothing. Exits with 3 if there is an error.
    """
    from llmkit.api import check_data
    from llmkit.cli.progress_bar import progress_bar

    with progress_bar() as show:
        found = check_data(
            recipe,
            overrides=tuple(sets or ()),
            report=lambda stage: show(stage.name, stage.number, stage.stages),
        )
    if as_json:
        print(shown(json.dumps({**asdict(found), "counts": found.counts}, ensure_ascii=False)))
    else:
        for finding in found.findings:
            _print(finding, rows=rows)
        print(_summary(found))
    faults = found.counts["error"] + (found.counts["warning"] if strict else 0)
    if faults:
        counted = [_counted(found.counts["error"], "error")]
        if strict:
            counted.append(_counted(found.counts["warning"], "warning"))
        raise DataError(f"{recipe}: {' and '.join(counted)} in the data; see above.")


@app.command(cls=Command)
def show(
    recipe: Recipe,
    sets: Set = None,
    count: Annotated[int, typer.Option("-n", min=1, help="Rows to show, or blocks of running text.")] = 3,
    split: Annotated[Literal["train", "validation", "test"], typer.Option(help="The split to show.")] = "train",
    row: Annotated[int | None, typer.Option(min=1, help="Show only this row of the split, counted from 1.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object, with ids and loss masks.")] = False,
) -> None:
    """Show examples exactly as the model gets them: tokens, what is hidden, what counts in the loss, labels, padding.

    Needs the tokenizer, but no weights.
    """
    from llmkit.api import show_data

    examples = show_data(recipe, count=count, split=split, row=row, overrides=tuple(sets or ()))
    if as_json:
        record = {"split": split, "examples": [example.record() for example in examples]}
        print(shown(json.dumps(record, ensure_ascii=False)))
    else:
        print_examples(examples)


def _print(finding: Finding, *, rows: int) -> None:
    """One line for the finding, and one for each of its first rows; without texts, the places of the rows."""
    shown_rows = [row for row in finding.rows[:rows] if row.text or row.note]
    line = f"{finding.severity}: {finding.check}: {finding.message}"
    if finding.rows and not shown_rows:
        places = ", ".join(row.place for row in finding.rows[:_PLACES_SHOWN])
        line += f" ({places}{', ...' if finding.count > _PLACES_SHOWN else ''})"
    _print_wrapped(one_line(line), style=_MARKS[finding.severity])
    for row in shown_rows:
        _print_wrapped(one_line(f"  {row.place}: {_described(row)}"), indent="    ")


def _described(row: FoundRow) -> str:
    text = json.dumps(row.text, ensure_ascii=False)
    if len(text) > _CHARACTERS_SHOWN:
        text = f'{text[: _CHARACTERS_SHOWN - 4]}..."'
    parts = [text if row.text else "", f"({row.note})" if row.note else ""]
    return " ".join(filter(None, parts))


def _print_wrapped(line: str, *, indent: str = "  ", style: str = "") -> None:
    """Wrapped to the width of the terminal, in a file or a pipe to 80 columns; the severity is coloured on a terminal."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False) if sys.stdout.isatty() else Console(width=_COLUMNS, highlight=False)
    wrapped = textwrap.wrap(
        line, console.width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    text = Text("\n".join(wrapped))
    if style:
        text.stylize(style, 0, line.index(":"))
    with console.capture() as capture:
        console.print(text, soft_wrap=True)
    print(capture.get(), end="")


def _summary(found: DataReport) -> str:
    errors, warnings = _counted(found.counts["error"], "error"), _counted(found.counts["warning"], "warning")
    rows = ", ".join(f"{split} {count:,}" for split, count in found.rows.items())
    return f"{errors}, {warnings}, {found.counts['info']:,} info; rows: {rows}"


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun if count == 1 else noun + 's'}"

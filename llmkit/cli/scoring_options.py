"""The options that `evaluate` and `compare` share: what is read from files of predictions, and the form of the output."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from llmkit.errors import UsageError

Form = Literal["text", "json", "markdown"]
PredictionColumn = Annotated[
    str | None, typer.Option(metavar="COLUMN", help="Column of the predictions, in files of them. Default: detected.")
]
ReferenceColumn = Annotated[
    str | None,
    typer.Option(metavar="COLUMN", help="Column of the references, in files of predictions. Default: detected."),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN",
        help="For files of predictions, the column that says which rows belong together, such as the document of each "
        "question: intervals are by bootstrap over these clusters. none: each row on its own. Default: as evaluate has "
        "written it into the file.",
    ),
]
Quoting = Annotated[
    Literal["auto", "csv", "none"] | None,
    typer.Option(
        help="Quotes in .csv and .tsv files: csv treats them as cell delimiters, none as text. "
        "Default: the run's recipe, else auto."
    ),
]
RougeTokenizer = Annotated[
    Literal["auto", "rouge-score", "unicode", "characters"] | None,
    typer.Option(help="How ROUGE splits texts into words. Default: auto; compare takes that of the runs' evaluations."),
]
Language = Annotated[
    str | None,
    typer.Option(
        metavar="CODE",
        help="For files of predictions, the references' language, such as ja, for BLEU and TER. Default: by their script.",
    ),
]
Labels = Annotated[
    list[str] | None,
    typer.Option(
        metavar="LABEL=NAME",
        help="For files of predictions, the name of a label that the files write differently, such as LABEL_0=negative. "
        "Can be repeated.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Write one JSON object, with all details.")]
Markdown = Annotated[bool, typer.Option("--markdown", help="Write Markdown tables.")]


def output_form(*, as_json: bool, as_markdown: bool) -> Form:
    """
    Raises:
        UsageError: both.
    """
    if as_json and as_markdown:
        raise UsageError("--json and --markdown: choose one.")
    return "json" if as_json else "markdown" if as_markdown else "text"


def label_names(pairs: list[str] | None) -> dict[str, str]:
    names: dict[str, str] = {}
    for pair in pairs or ():
        label, equals, name = pair.partition("=")
        if not (label and equals and name):
            raise UsageError(f"--label {pair}: write LABEL=NAME, such as LABEL_0=negative.")
        if names.setdefault(label, name) != name:
            raise UsageError(f"--label: {label} has two names, {names[label]} and {name}. Give one.")
    return names

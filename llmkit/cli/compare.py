"""`llmkit compare`: differences between runs or files of predictions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from textwrap import fill
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from llmkit.cli.output import one_line, shown
from llmkit.cli.scoring_options import (
    Cluster,
    Json,
    Labels,
    Language,
    Markdown,
    PredictionColumn,
    Quoting,
    ReferenceColumn,
    RougeTokenizer,
    label_names,
    output_form,
)
from llmkit.cli.tables import print_markdown, print_table

if TYPE_CHECKING:
    from llmkit.api import Compared

_COLUMNS = 80
Systems = Annotated[
    list[str],
    typer.Argument(
        metavar="RUN|FILE...",
        help="Two or more runs, or files of predictions. Runs joined by commas are seeds of one recipe.",
    ),
]
References = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FILE", help="References of files of predictions; can be repeated. Default: the column of each file."
    ),
]
Metrics = Annotated[
    list[str] | None,
    typer.Option(help="A metric, such as rouge; can be repeated. Default: those that evaluate measured for the runs."),
]
SplitName = Annotated[
    Literal["test", "validation", "data"] | None,
    typer.Option(help="Rows of runs; data: those of evaluate --data. Default: the first that all runs have."),
]
Seed = Annotated[int, typer.Option(min=0, help="Random seed of the resamples.")]


def compare(
    systems: Systems,
    references: References = None,
    metric: Metrics = None,
    split: SplitName = None,
    prediction_column: PredictionColumn = None,
    reference_column: ReferenceColumn = None,
    cluster: Cluster = None,
    quoting: Quoting = None,
    rouge_tokenizer: RougeTokenizer = None,
    language: Language = None,
    label: Labels = None,
    seed: Seed = 0,
    as_json: Json = False,
    as_markdown: Markdown = False,
) -> None:
    """Compare runs or files of predictions on the same rows: differences with intervals and tests."""
    form = output_form(as_json=as_json, as_markdown=as_markdown)
    from llmkit.api import compare as compared_systems
    from llmkit.api import compared_record

    compared = compared_systems(
        systems,
        references=references or (),
        metrics=metric,
        split=split,
        prediction_column=prediction_column,
        reference_column=reference_column,
        cluster=cluster,
        quoting=quoting or "auto",
        rouge_tokenizer=rouge_tokenizer,
        language=language,
        label_names=label_names(label),
        seed=seed,
    )
    record = compared_record(compared)
    if form == "json":
        print(shown(json.dumps(record, ensure_ascii=False)))
    else:
        _print(compared, record, markdown=form == "markdown")


COMMANDS = (compare,)


def _print(compared: Compared, record: dict[str, Any], *, markdown: bool) -> None:
    print_rows = print_markdown if markdown else print_table
    units = "" if compared.clusters is None else f" in {compared.clusters:,} clusters"
    rows = f" of {compared.split}" if compared.split else ""
    _print_lines([f"{compared.rows:,} rows{rows}{units}"], markdown=markdown)
    _print_lines([f"{system.name}  {', '.join(system.members)}" for system in compared.systems], markdown=markdown)
    print()
    names = [system.name for system in compared.systems]
    print_rows(("score", *names), _score_rows(compared))
    print()
    several = len(compared.systems) > 2
    header = ("difference", "score", "value", "95 % interval", "p (Holm)" if several else "p")
    print_rows(header, _difference_rows(record["differences"]))
    print()
    _print_lines([found["text"] for found in record["differences"]], markdown=markdown)
    for found in record["differences"]:
        if found["standard_error_of_seeds"] is not None:
            noise = (
                f"{found['second']} - {found['first']}, {found['score']}: standard error "
                f"{_number(found['standard_error_of_rows'])} from the rows, {_number(found['standard_error_of_seeds'])} from the seeds."
            )
            _print_lines([noise], markdown=markdown)
    if several:
        _print_lines(["p-values are corrected for the number of pairs by Holm's method."], markdown=markdown)
    _print_lines(record["notes"], markdown=markdown)


def _score_rows(compared: Compared) -> Iterable[Sequence[str]]:
    for score in compared.systems[0].scores:
        cells = []
        for system in compared.systems:
            spread = system.spreads.get(score)
            cells.append(_number(system.scores.get(score)) + ("" if spread is None else f" ± {spread:.4f}"))
        yield (score, *cells)


def _difference_rows(differences: Sequence[dict[str, Any]]) -> Iterable[Sequence[str]]:
    for found in differences:
        low, high = found["interval"]
        interval = "" if low is None else f"{low:+.4f} to {high:+.4f}"
        p_value = found["p_corrected"]
        shown_p = "" if p_value is None else "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"
        value = "" if found["difference"] is None else f"{found['difference']:+.4f}"
        yield (f"{found['second']} - {found['first']}", found["score"], value, interval, shown_p)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _print_lines(lines: Sequence[str], *, markdown: bool) -> None:
    for line in map(one_line, lines):
        print(shown(f"{line}\n" if markdown else fill(line, _COLUMNS, subsequent_indent="  ", break_long_words=False)))

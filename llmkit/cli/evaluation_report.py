"""The printed result of `llmkit evaluate`: scores, details and tables, or one JSON object."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Literal

from llmkit.cli.output import one_line, shown
from llmkit.cli.tables import print_markdown

if TYPE_CHECKING:
    from llmkit.api import Comparison, Evaluation, Gate

_ANY_WIDTH = 1_000_000
"""Terminal columns: wider than any table."""
_CLASSES_SHOWN = 20
_HEADING_WIDTH = 17
"""Characters of a baseline's title in a line: two baselines fit into 80 columns."""


def print_evaluation(
    evaluation: Evaluation, *, gates: Sequence[Gate] = (), form: Literal["text", "json", "markdown"] = "text"
) -> None:
    match form:
        case "json":
            _print_json(evaluation, gates)
        case "markdown":
            _print_markdown(evaluation, gates)
        case "text":
            _print_text(evaluation)
            for gate in gates:
                _print_line(f"  {gate.text}")


def _print_json(evaluation: Evaluation, gates: Sequence[Gate]) -> None:
    from llmkit.api import evaluation_record, gate_records

    record = {"model": evaluation.model, **evaluation_record(evaluation)}
    print(shown(json.dumps({**record, **({"gates": gate_records(gates)} if gates else {})}, ensure_ascii=False)))


def _print_markdown(evaluation: Evaluation, gates: Sequence[Gate]) -> None:
    _print_line(f"{evaluation.rows:,} rows: {evaluation.data}")
    print()
    scores = evaluation.scores.values
    rows = [(one_line(name), f"{value:.4f}", _interval(evaluation, name)) for name, value in scores.items()]
    print_markdown(("score", "value", "95 % interval"), rows)
    for note in evaluation.interval_notes:
        print()
        _print_line(note)
    if gates:
        print()
        print_markdown(("gate", "result"), [(one_line(gate.condition), one_line(gate.text)) for gate in gates])


def _print_text(evaluation: Evaluation) -> None:
    scores = evaluation.scores
    unit = "rows" if evaluation.predictions else "blocks"  # language models have no predictions
    _print_line(f"{evaluation.rows:,} {unit}: {evaluation.data}")
    if evaluation.model is None and evaluation.columns is not None:
        _print_line(f"  columns: {', '.join(_column_texts(evaluation.columns))}")
    if evaluation.comparison is None:
        width = max([16, *map(len, scores.values)])
        for name, value in scores.values.items():
            _print_line(f"  {name:<{width}} {value:.4f}  {_interval(evaluation, name)}".rstrip())
    else:
        _print_comparison(evaluation, evaluation.comparison)
    if any(evaluation.intervals.values()):
        units = f"{evaluation.rows:,} {unit}" if evaluation.clusters is None else f"{evaluation.clusters:,} clusters"
        _print_line(f"  [low, high]: 95 % intervals by bootstrap over {units}")
    for note in evaluation.interval_notes:
        _print_line(f"  {note}")
    for what, totals in scores.details.get("unknown", {}).items():
        _print_unknown(what, totals)
    for name, reason in scores.details.get("undefined", {}).items():
        _print_line(f"  {name} is undefined and reported as 0: {reason}")
    if "rouge" in scores.details:
        rouge = scores.details["rouge"]
        _print_line(f"  rouge tokenizer: {rouge['tokenizer']} ({rouge['why']})")
    if "squad" in scores.details:
        _print_answers(scores.details["squad"])
    _print_text_details(scores.details)
    _print_calibration(scores.details)
    if "per_class" in scores.details:
        _print_classes(scores.details["per_class"], unit="rows")
    if "per_type" in scores.details:
        _print_classes(scores.details["per_type"], unit="entities")
    if "confusion" in scores.details:
        _print_confusion(scores.details["confusion"])


def _print_line(text: str) -> None:
    print(one_line(text))


def _print_unknown(what: str, totals: dict[str, Any]) -> None:
    """The text that the tokenizer cannot represent, with which the scores must be read."""
    if totals["unknown_tokens"]:
        characters = " ".join(totals["characters"])
        _print_line(
            f"  {what}: {totals['unknown_tokens']:,} of {totals['tokens']:,} tokens are unknown, such as {characters}"
        )
    if totals["deleted_characters"]:
        _print_line(
            f"  {what}: {totals['deleted_characters']:,} characters or marks deleted, such as {' '.join(totals['deleted'])}"
        )


def _column_texts(columns: Mapping[str, str | tuple[str, ...] | None]) -> Iterator[str]:
    for name, column in columns.items():
        yield f"{name} {'the lines of the file' if column is None else repr(column)}"


def _print_text_details(details: dict[str, Any]) -> None:
    """BLEU's tokenizer, the signatures of sacrebleu, and how many texts reached the length limit."""
    if "bleu" in details:
        words = details["bleu"]["words"]
        _print_line(f"  bleu tokenizer: {words['tokenizer']} ({words['why']})")
    for name in ("bleu", "chrf", "chrf++", "ter"):
        if name in details:
            _print_line(f"  {name}: {details[name]['signature']}")
    if "written" in details:
        lengths = details["written"]
        count = f"{lengths['reached_limit']:,} of {lengths['texts']:,}"
        _print_line(f"  texts that reached max_new_tokens {lengths['max_new_tokens']:,}: {count}")


def _print_calibration(details: dict[str, Any]) -> None:
    """The temperature and the limit that were chosen on validation rows, and what the ece would be without any error."""
    if "temperature" in details:
        _print_line(f"  probabilities are calibrated with temperature {details['temperature']:.4g}")
    if "reliability" in details:
        table = details["reliability"]
        bins = f"{len(table['bins'])} bin{'s' if len(table['bins']) > 1 else ''}"
        _print_line(f"  ece of {bins}; perfect probabilities would have about {table['ece_if_calibrated']:.4f} here")
    if "abstain_accuracy" in details and "abstain_below" not in details:
        _print_line(
            f"  abstains from every row: no limit reached accuracy {details['abstain_accuracy']:g} on validation rows"
        )
    elif "abstain_below" in details:
        _print_line(f"  abstains where the label's probability is below {details['abstain_below']:.4g}")


def _print_answers(groups: dict[str, dict[str, float]]) -> None:
    for name, description in (("has_answer", "with an answer"), ("no_answer", "no answer")):
        scores = groups[name]
        if scores["rows"]:
            numbers = f"exact_match {scores['exact_match']:.4f}, answer_f1 {scores['answer_f1']:.4f}"
            _print_line(f"  {scores['rows']:,} {description}: {numbers}")


def _interval(evaluation: Evaluation, name: str) -> str:
    """The interval of a score; empty if it has none."""
    interval = evaluation.intervals.get(name)
    return "" if interval is None else f"[{interval.low:.4f}, {interval.high:.4f}]"


def _print_comparison(evaluation: Evaluation, comparison: Comparison) -> None:
    """One metric per line: the model's score with its interval, and each baseline's where it has one."""
    scores = evaluation.scores.values
    columns = [["metric", *scores], ["model", *map(_number, scores.values())]]
    columns += [["", *(_interval(evaluation, name) for name in scores)]]
    headings = [wrap(baseline.title, _HEADING_WIDTH) for baseline in comparison.baselines]
    height = max(map(len, headings))
    padding = [""] * (height - 1)
    columns = [[*padding, *column] for column in columns]
    for heading, baseline in zip(headings, comparison.baselines, strict=True):
        above = [""] * (height - len(heading))
        columns.append([*above, *heading, *(_number(baseline.scores.get(name)) for name in scores)])
    widths = [max(map(len, column)) for column in columns]
    for name, *cells in zip(*columns, strict=True):
        texts = [f"{cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=True)]
        _print_line("  ".join(["", f"{name:<{widths[0]}}", *texts]).rstrip())
    _print_line(f"  {comparison.verdict}")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _print_classes(per_class: dict[str, dict[str, float]], *, unit: str) -> None:
    width = max(map(len, [*map(one_line, per_class), "label"]))
    _print_line(f"  {'label':<{width}}  precision  recall      f1  {unit:>6}")
    for label, row in list(per_class.items())[:_CLASSES_SHOWN]:
        numbers = (
            f"{row['precision']:9.4f}  {row['recall']:6.4f}  {row['f1']:6.4f}  {row['support']:{max(6, len(unit))},.0f}"
        )
        _print_line(f"  {one_line(label):<{width}}  {numbers}")
    if len(per_class) > _CLASSES_SHOWN:
        _print_line(f"  and {len(per_class) - _CLASSES_SHOWN} more labels; --json lists all")


def _print_confusion(confusion: dict[str, list[str] | list[list[int]]]) -> None:
    """One line per label that occurs in the rows; on a terminal, cropped to its width."""
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    names = [Text(one_line(str(label))) for label in confusion["labels"]]  # not as markup: `[neg]` is a label
    table = Table("is \\ predicted", *map(Column, names), box=None)
    for name, row in zip(names, confusion["rows"], strict=True):
        table.add_row(name, *map(str, row))
    console = Console()
    if not console.is_terminal:
        console = Console(width=Console(width=_ANY_WIDTH).measure(table).maximum)
    console.print(table)

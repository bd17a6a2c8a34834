"""The scores of an evaluation, with their intervals, beside those of the baselines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from llmkit.evaluation.metrics import SCORES
from llmkit.report.blocks import Block, Cell, Paragraph, Table, number_cell
from llmkit.report.charts import score_ranges
from llmkit.report.reading import EvaluationRecord, SavedEvaluation
from llmkit.report.wording import count, file_name, interval_of, interval_text, score, shortened, text_of

_MOST_CLASSES = 40
_RANGE_CHARACTERS = 40


def score_blocks(evaluation: SavedEvaluation, *, strong: str | None) -> list[Block]:
    """What was measured, all scores as a table, and the most important one on an axis.

    Args:
        strong: the most important score.
    """
    record = evaluation.record
    rows = f"{count(record.rows)} rows"
    if record.clusters is not None:
        rows += f" in {count(record.clusters)} clusters"
    blocks: list[Block] = [Paragraph(f"{rows}: {_data_of(evaluation)}")]
    header = [Cell("score"), number_cell("model")]
    if record.has_intervals:
        header.append(number_cell("95 % interval"))
    header += [number_cell(baseline.title) for baseline in record.baselines.values()]
    table_rows = [_score_row(name, record, strong=name == strong) for name in record.scores]
    blocks.append(Table("Scores of the model" + (" and its baselines" if record.baselines else ""), header, table_rows))
    if strong is not None and record.baselines:
        blocks += _axis(record, strong)
    return blocks


def _data_of(evaluation: SavedEvaluation) -> str:
    """The rows without the folders that they were in."""
    data = evaluation.record.data
    if evaluation.record.step is not None:
        return f"those that chose the checkpoint of step {count(evaluation.record.step)}, as measured in training"
    if evaluation.name in ("test", "validation"):
        return data.partition(" of ")[0] + " of the recipe"
    return shortened(", ".join(map(file_name, data.split(", "))), 300)


def _score_row(name: str, record: EvaluationRecord, *, strong: bool) -> list[Cell]:
    cells = [Cell(name, note=scale_of(name)), number_cell(score(record.scores[name]), strong=strong)]
    if record.has_intervals:
        cells.append(number_cell(interval_text(record.intervals.get(name))))
    for baseline in record.baselines.values():
        value = baseline.scores.get(name)
        cells.append(
            number_cell("" if value is None else score(value), note=interval_text(baseline.intervals.get(name)))
        )
    return cells


def scale_of(name: str) -> str:
    """`0..1, share of rows; higher is better`."""
    info = SCORES.get(name)
    return "" if info is None else f"{info.scale}; {info.better} is better"


def _axis(record: EvaluationRecord, name: str) -> Iterator[Block]:
    entries = [("model", record.scores[name], record.intervals.get(name))]
    entries += [
        (shortened(baseline.title, _RANGE_CHARACTERS), baseline.scores.get(name), baseline.intervals.get(name))
        for baseline in record.baselines.values()
    ]
    known = [
        (title, float(value), interval_of(bounds), score(value))
        for title, value, bounds in entries
        if value is not None
    ]
    if len(known) > 1:
        yield score_ranges(f"{name} of the model and its baselines", known, strong="model")


def class_blocks(evaluation: SavedEvaluation) -> list[Block]:
    """Precision, recall and F1 of each label or type of entity; the groups of answers."""
    details = evaluation.record.details
    blocks: list[Block] = []
    for key, title, unit in (("per_class", "Each label", "rows"), ("per_type", "Each type of entity", "entities")):
        classes = details.get(key)
        if isinstance(classes, Mapping) and classes:
            blocks.append(_class_table(classes, title=title, unit=unit))
    if isinstance(groups := details.get("squad"), Mapping):
        rows = list(_answer_rows(groups))
        header = [Cell("questions"), *(number_cell(name) for name in ("rows", "exact_match", "answer_f1"))]
        blocks += [Table("Questions with and without an answer", header, rows)] if rows else []
    return blocks


def _class_table(classes: Mapping[str, Any], *, title: str, unit: str) -> Table:
    names = ("precision", "recall", "f1")
    most_frequent = sorted(classes, key=lambda label: -classes[label].get("support", 0))[:_MOST_CLASSES]
    shown = classes if len(classes) <= _MOST_CLASSES else {label: classes[label] for label in most_frequent}
    rows = [
        [
            Cell(shortened(label, 80)),
            *(number_cell(score(row.get(name)), share=row.get(name) if name == "f1" else None) for name in names),
            number_cell(count(row.get("support"))),
        ]
        for label, row in shown.items()
    ]
    more = f"The most frequent {_MOST_CLASSES} of {count(len(classes))}." if len(classes) > len(rows) else ""
    header = [Cell("label"), *(number_cell(name) for name in (*names, unit))]
    return Table(title, header, rows, more)


def _answer_rows(groups: Mapping[str, Any]) -> Iterator[list[Cell]]:
    for key, name in (("has_answer", "with an answer"), ("no_answer", "without an answer")):
        group = groups.get(key)
        if isinstance(group, Mapping) and group.get("rows"):
            numbers = [number_cell(score(group.get(metric))) for metric in ("exact_match", "answer_f1")]
            yield [Cell(name), number_cell(count(group["rows"])), *numbers]


def note_blocks(evaluation: SavedEvaluation) -> list[Block]:
    """What the scores have to be read with: unknown text, texts that were cut, rows left out, undefined scores."""
    warnings = [Paragraph(text, "warning") for text in _warnings(evaluation.record)]
    return [*warnings, *map(Paragraph, _signatures(evaluation.record.details))]


def _warnings(record: EvaluationRecord) -> Iterator[str]:
    details = record.details
    for what, totals in (details.get("unknown") or {}).items():
        if totals.get("unknown_tokens"):
            characters = " ".join(totals.get("characters", ()))
            tokens = f"{count(totals['unknown_tokens'])} of {count(totals.get('tokens'))} tokens"
            yield f"{what}: {tokens} are unknown to the tokenizer, such as {characters}"
        if totals.get("deleted_characters"):
            yield f"{what}: the tokenizer deletes {count(totals['deleted_characters'])} characters"
    written = details.get("written") or {}
    if written.get("reached_limit"):
        share = f"{count(written['reached_limit'])} of {count(written.get('texts'))} generated texts"
        yield f"{share} were cut at the length limit, max_new_tokens {count(written.get('max_new_tokens'))}."
    if record.bad_rows and record.bad_rows.get("rows"):
        yield f"{count(record.bad_rows['rows'])} rows that the task cannot use were left out."
    for name, reason in (details.get("undefined") or {}).items():
        yield f"{name} is undefined and reported as 0: {text_of(reason)}"


def _signatures(details: Mapping[str, Any]) -> Iterator[str]:
    if isinstance(rouge := details.get("rouge"), Mapping) and "tokenizer" in rouge:
        yield f"ROUGE splits words by {rouge['tokenizer']}: {text_of(rouge.get('why'))}"
    for name in ("bleu", "chrf", "chrf++", "ter"):
        if isinstance(details.get(name), Mapping) and "signature" in details[name]:
            yield f"{name}: {details[name]['signature']}"

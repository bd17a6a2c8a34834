"""Which labels are confused with which, and numbers against numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from llmkit.data.labels import in_order
from llmkit.report.blocks import Block, Cell, Chart, Charts, Paragraph, Series, Table, number_cell
from llmkit.report.charts import axis_of, path_of
from llmkit.report.predictions import Digest
from llmkit.report.reading import SavedEvaluation
from llmkit.report.wording import count, percent, shortened

_MOST_LABELS = 16
"""Of a table with a row and a column for each."""
_MOST_PAIRS = 25


def confusion_blocks(evaluation: SavedEvaluation, digest: Digest, *, labels: Sequence[str] | None) -> list[Block]:
    """A table of references and predictions; for many labels the pairs that are confused most often.

    Args:
        labels: the model's classes; without them, as where a choice is predicted by its number, there is nothing to show.
    """
    if not labels or not digest.pairs:
        return []
    unit = "words" if "per_type" in evaluation.record.details else "rows"
    names = in_order({name for pair in digest.pairs for name in pair})
    return [_table(digest.pairs, names, unit=unit)] if len(names) <= _MOST_LABELS else _worst(digest.pairs, unit=unit)


def _table(pairs: Counter[tuple[str, str]], names: Sequence[str], *, unit: str) -> Table:
    totals = Counter[str]()
    for (reference, _), number in pairs.items():
        totals[reference] += number
    rows = []
    for reference in names:
        numbers = [(pairs[reference, prediction], reference == prediction) for prediction in names]
        shares = [(number / max(1, totals[reference]), number, right) for number, right in numbers]
        cells = [
            number_cell(count(number) if number else "·", share=share, strong=right) for share, number, right in shares
        ]
        rows.append([Cell(shortened(reference, 60), f"{count(totals[reference])} {unit}"), *cells])
    header = [Cell("is \\ predicted"), *(number_cell(shortened(name, 40)) for name in names)]
    return Table(f"{unit.capitalize()} with each label, and what was predicted; colour: share of the row", header, rows)


def _worst(pairs: Counter[tuple[str, str]], *, unit: str) -> list[Block]:
    confused = sorted(((-number, pair) for pair, number in pairs.items() if pair[0] != pair[1]))
    if not confused:
        return [Paragraph("No label was confused with another.")]
    totals = Counter[str]()
    for (reference, _), number in pairs.items():
        totals[reference] += number
    rows = [
        [
            Cell(shortened(reference, 60)),
            Cell(shortened(prediction, 60)),
            number_cell(count(-negated)),
            number_cell(percent(-negated / totals[reference]), share=-negated / totals[reference]),
        ]
        for negated, (reference, prediction) in confused[:_MOST_PAIRS]
    ]
    header = [Cell("is"), Cell("predicted"), number_cell(unit), number_cell("share of the label")]
    more = f"{count(len(confused) - len(rows))} more pairs." if len(confused) > len(rows) else ""
    return [Table("The labels that are confused most often", header, rows, more)]


def scatter_blocks(digest: Digest) -> list[Block]:
    """Predicted numbers over those of the rows."""
    if not digest.points:
        return []
    axis = axis_of([value for point in digest.points for value in point])
    sample = f"A sample of {len(digest.points):,} rows; " if len(digest.points) < digest.rows else "All rows; "
    chart = Chart(
        title="Prediction (vertical) over reference (horizontal)",
        summary=f"{sample}a perfect prediction is on the dashed line.",
        series=[Series("rows", "blue", path_of(digest.points, axis, axis, dots=True), dots=True)],
        x_label="reference",
        x_ticks=axis.ticks(most=5),
        y_ticks=axis.ticks(most=5, from_top=True),
        square=True,
        diagonal=True,
    )
    return [Charts([chart])]

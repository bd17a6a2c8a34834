"""Whether probabilities mean what they say: how often the model is right, by its confidence."""

from __future__ import annotations

from llmkit.report.blocks import Block, Cell, Chart, Charts, Details, Series, Table, number_cell
from llmkit.report.charts import Axis, path_of
from llmkit.report.predictions import BINS, Digest
from llmkit.report.wording import count, percent


def reliability_blocks(digest: Digest) -> list[Block]:
    """The share of correct rows over the mean confidence of each bin, as a diagram and as a table."""
    bins = [(number, group) for number, group in enumerate(digest.bins) if group.rows]
    if not bins:
        return []
    axis = Axis(0.0, 1.0)
    points = [(group.confidence / group.rows, group.correct / group.rows) for _, group in bins]
    confidence = sum(group.confidence for _, group in bins) / sum(group.rows for _, group in bins)
    accuracy = sum(group.correct for _, group in bins) / sum(group.rows for _, group in bins)
    tendency = "overconfident" if confidence > accuracy else "underconfident"
    chart = Chart(
        title="Share of correct rows (vertical) over confidence (horizontal)",
        summary=f"Mean confidence {percent(confidence)}, correct {percent(accuracy)}: {tendency} on average. Expected calibration "
        f"error {digest.calibration_error:.4f}, over {BINS} bins. Calibrated probabilities are on the dashed line.",
        series=[
            Series("bins of confidence", "blue", path_of(points, axis, axis, dots=False)),
            Series("bins", "blue", path_of(points, axis, axis, dots=True), dots=True),
        ],
        x_label="confidence",
        x_ticks=axis.ticks(most=6),
        y_ticks=axis.ticks(most=6, from_top=True),
        square=True,
        diagonal=True,
        legend=False,
    )
    rows = [
        [
            Cell(f"{number / BINS:.1f} to {(number + 1) / BINS:.1f}"),
            number_cell(count(group.rows)),
            number_cell(percent(group.confidence / group.rows)),
            number_cell(percent(group.correct / group.rows)),
        ]
        for number, group in bins
    ]
    header = [Cell("confidence"), *(number_cell(name) for name in ("rows", "mean confidence", "correct"))]
    return [Charts([chart]), Details("The numbers of the diagram", [Table("Bins of confidence", header, rows)])]

"""The data of a run: sources, rows of each split, what was left out, and what was said about them before the first step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from llmkit.report.blocks import Block, Cell, Heading, Listing, Paragraph, Section, Table, number_cell
from llmkit.report.reading import RunContent
from llmkit.report.wording import count, file_name, shortened, text_of

_MOST_SOURCES, _MOST_MESSAGES, _MOST_LABELS, _MOST_REASONS = 40, 40, 60, 20


def data_section(content: RunContent) -> Section | None:
    blocks: list[Block] = [*_splits(content), *_sources(content.data), *_labels(content), *_left_out(content)]
    return Section("data", "Data", blocks) if blocks else None


def _splits(content: RunContent) -> Iterator[Block]:
    """Rows that the splits have after they were taken apart, and tokens of their examples."""
    splits = content.manifest.get("rows")
    if not isinstance(splits, Mapping):
        return
    header = [
        Cell("split"),
        *(number_cell(name) for name in ("rows", "examples", "median tokens", "95 %", "longest")),
    ]
    rows = [
        [
            Cell(str(name)),
            *(number_cell(count(split.get(key))) for key in ("rows", "examples", "median", "high", "longest")),
        ]
        for name, split in splits.items()
    ]
    yield Table("Rows that were trained and validated on, and the tokens of their examples", header, rows)


def _sources(data: Mapping[str, Any]) -> Iterator[Block]:
    sources = data.get("sources") or {}
    shares = data.get("shares") or {}
    rows = []
    for split, tables in sources.items():
        for table in tables:
            columns = ", ".join(map(text_of, table.get("columns", ())))
            share = _share(split, shares.get(split) or {})
            name = shortened(file_name(text_of(table.get("name"))), 120)
            sha256 = text_of(table.get("sha256") or table.get("commit") or "")[:12]
            cells = [
                Cell(split),
                Cell(name, note=shortened(columns, 200)),
                Cell(share),
                number_cell(count(table.get("rows"))),
            ]
            rows.append([*cells, Cell(sha256)])
    if rows:
        header = [Cell("split"), Cell("source"), Cell("share"), number_cell("usable rows"), Cell("SHA-256")]
        more = f"{count(len(rows) - _MOST_SOURCES)} more sources." if len(rows) > _MOST_SOURCES else ""
        yield Table("Sources, with their columns", header, rows[:_MOST_SOURCES], more)


def _share(split: str, shares: Mapping[str, Any]) -> str:
    """`5 % of the rows`, where splits are shares of the same source."""
    taken = {name: share for name, share in shares.items() if isinstance(share, int | float) and share}
    if not taken:
        return "all rows"
    share = 1 - sum(taken.values()) if split == "train" else taken.get(split, 0.0)
    return f"{100 * share:.3g} % of the rows"


def _labels(content: RunContent) -> Iterator[Block]:
    labels = content.data.get("labels")
    if isinstance(labels, list) and labels:
        shown = ", ".join(shortened(text_of(label), 60) for label in labels[:_MOST_LABELS])
        more = f" and {count(len(labels) - _MOST_LABELS)} more" if len(labels) > _MOST_LABELS else ""
        yield Paragraph(f"{count(len(labels))} labels: {shown}{more}")
    targets = content.data.get("targets")
    if isinstance(targets, Mapping):
        mean, deviation = text_of(targets.get("mean")), text_of(targets.get("standard_deviation"))
        yield Paragraph(f"Numbers with mean {mean} and standard deviation {deviation} in the training rows.")


def _left_out(content: RunContent) -> Iterator[Block]:
    """Rows that no split has, and the messages about the data."""
    bad_rows = content.data.get("bad_rows")
    if isinstance(bad_rows, Mapping) and bad_rows.get("rows"):
        reasons = list((bad_rows.get("reasons") or {}).items())
        rows = [[Cell(shortened(text_of(reason), 200)), number_cell(count(number))] for reason, number in reasons]
        yield Paragraph(f"{count(bad_rows['rows'])} rows that the task cannot use were left out.", "warning")
        yield Table("Rows left out", [Cell("reason"), number_cell("rows")], rows[:_MOST_REASONS])
    messages = [message for message in content.manifest.get("messages", ()) if isinstance(message, Mapping)]
    for level, title in (("warning", "Warnings before the first step"), ("info", "Notes before the first step")):
        texts = [shortened(text_of(message.get("text")), 400) for message in messages if message.get("level") == level]
        if texts:
            yield Heading(title)
            yield Listing(texts[:_MOST_MESSAGES])

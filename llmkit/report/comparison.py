"""Several runs side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from llmkit.report.blocks import (
    Block,
    Cell,
    Chart,
    Charts,
    Heading,
    Page,
    Paragraph,
    RowCard,
    RowCards,
    Section,
    Table,
    Text,
    Tone,
    number_cell,
)
from llmkit.report.charts import line_chart, score_ranges
from llmkit.report.page import render
from llmkit.report.predictions import Digest, Line
from llmkit.report.reading import RunContent, SavedEvaluation
from llmkit.report.sections.evaluation import digest_of
from llmkit.report.sections.head import best_metric, main_score
from llmkit.report.sections.recipe import keyed_lines
from llmkit.report.sections.rows import inputs_of, written_value
from llmkit.report.sections.scores import scale_of
from llmkit.report.sections.speed import padding_share
from llmkit.report.sections.training import MOST_POINTS, SMOOTHED_FROM, SMOOTHED_POINTS, curve_of
from llmkit.report.wording import count, duration, interval_of, interval_text, percent, score, shortened, text_of
from llmkit.runs.plot import downsampled, smoothed

COLOURS = ("blue", "orange", "green", "purple", "red", "teal", "pink", "olive")
_MOST_DIFFERENCES = 100
Runs = Sequence[RunContent]


def comparison_report(runs: Runs) -> str:
    """HTML of several runs: scores, curves, and what differs in recipe, data and environment."""
    names = _names(runs)
    sections = [
        Section("overview", "Overview", [_overview(runs, names)]),
        *_evaluations(runs, names),
        *_curves(runs, names),
        *_differences(runs, names),
    ]
    chips: list[tuple[str, Tone]] = [(name, "plain") for name in names]
    notes = [
        Paragraph(f"{name}: {fault}", "warning") for name, run in zip(names, runs, strict=True) for fault in run.faults
    ]
    return render(Page(f"{len(runs)} runs", "Comparison", chips, notes=notes, sections=sections))


def _names(runs: Runs) -> list[str]:
    """The names of the folders, with the folder above where two have the same name."""
    names = [run.name for run in runs]
    return [
        f"{run.run.folder.resolve().parent.name}/{name}" if names.count(name) > 1 else name
        for run, name in zip(runs, names, strict=True)
    ]


def _overview(runs: Runs, names: Sequence[str]) -> Table:
    rows = [[Cell(title), *(Cell(value(run)) for run in runs)] for title, value in _FACTS]
    return Table("The runs", [Cell(""), *map(Cell, names)], [row for row in rows if any(cell.text for cell in row[1:])])


def _of_manifest(key: str, write: Callable[[object], str]) -> Callable[[RunContent], str]:
    return lambda run: "" if run.manifest.get(key) is None else write(run.manifest[key])


def _best(run: RunContent) -> str:
    best, metric = run.manifest.get("best"), best_metric(run.manifest)
    return f"{metric} {score(best['validation'].get(metric))}" if best and metric else ""


def _padding(run: RunContent) -> str:
    share = padding_share(run)
    return "" if share is None else percent(share)


_FACTS: tuple[tuple[str, Callable[[RunContent], str]], ...] = (
    ("status", _of_manifest("status", text_of)),
    ("task", _of_manifest("task", text_of)),
    ("model", _of_manifest("model", text_of)),
    ("parameters", _of_manifest("parameters", count)),
    ("steps", _of_manifest("total_steps", count)),
    ("best on validation rows", _best),
    ("training time", _of_manifest("training_seconds", duration)),
    ("tokens per second", _of_manifest("tokens_per_second", lambda rate: f"{rate:,.0f}")),
    ("padding", _padding),
    ("device", _of_manifest("device", text_of)),
    ("seed", _of_manifest("seed", text_of)),
)


# ---- scores


def _evaluations(runs: Runs, names: Sequence[str]) -> Iterator[Section]:
    """A section for each kind of rows that at least one of the runs was evaluated on."""
    kinds = list(dict.fromkeys(evaluation.name for run in runs for evaluation in run.evaluations))
    for kind in kinds:
        found = [next((item for item in run.evaluations if item.name == kind), None) for run in runs]
        present = [item for item in found if item is not None]
        blocks: list[Block] = [
            *_data_warnings(runs, found),
            _score_table(found, names),
            *_main_axis(runs, found, names),
        ]
        samples = _samples(found, names)
        blocks += [Heading("The same rows, predicted by each"), *samples] if samples else []
        yield Section(f"evaluation-{kind}", present[0].title, blocks)


def _data_warnings(runs: Runs, found: Sequence[SavedEvaluation | None]) -> Iterator[Paragraph]:
    pairs = [(run, item) for run, item in zip(runs, found, strict=True) if item is not None]
    if len({item.record.rows for _, item in pairs}) > 1:
        numbers = ", ".join(count(item.record.rows) for _, item in pairs)
        yield Paragraph(
            f"The runs were evaluated on different numbers of rows: {numbers}. Their scores do not compare.", "warning"
        )
    elif len({_hashes(run, item) for run, item in pairs}) > 1:
        yield Paragraph("The runs were evaluated on different data. Their scores do not compare.", "warning")
    elif len(pairs) > 1:
        yield Paragraph(
            "Intervals that overlap do not mean that runs are equal: the runs predict the same rows. A test on pairs of "
            "predictions says whether a difference is more than chance."
        )


def _hashes(run: RunContent, item: SavedEvaluation) -> str:
    """What the rows of an evaluation are identified by."""
    if item.name == "data":
        return item.record.data
    tables = (run.data.get("sources") or {}).get(item.name, ())
    contents = [text_of(table.get("sha256") or table.get("commit")) for table in tables]
    return text_of([*contents, text_of((run.data.get("shares") or {}).get(item.name))])


def _score_table(found: Sequence[SavedEvaluation | None], names: Sequence[str]) -> Table:
    scores = list(dict.fromkeys(name for item in found if item for name in item.record.scores))
    rows = []
    for name in scores:
        cells = [Cell(name, note=scale_of(name))]
        for item in found:
            value = item.record.scores.get(name) if item else None
            interval = interval_text(item.record.intervals.get(name)) if item else ""
            cells.append(number_cell("" if value is None else score(value), note=interval))
        rows.append(cells)
    rows.append([Cell("rows"), *(number_cell(count(item.record.rows) if item else "") for item in found)])
    header = [Cell("score"), *(number_cell(name) for name in names)]
    return Table("Scores, with 95 % intervals where they were measured", header, rows)


def _main_axis(runs: Runs, found: Sequence[SavedEvaluation | None], names: Sequence[str]) -> Iterator[Block]:
    metric = next((main_score(run, item) for run, item in zip(runs, found, strict=True) if item), None)
    entries = []
    for name, item in zip(names, found, strict=True):
        value = item.record.scores.get(metric or "") if item else None
        if item is not None and value is not None:
            entries.append((name, float(value), interval_of(item.record.intervals.get(metric or "")), score(value)))
    if metric is not None and len(entries) > 1:
        yield score_ranges(metric, entries, strong="")


def _samples(found: Sequence[SavedEvaluation | None], names: Sequence[str]) -> list[Block]:
    """A sample of the rows with all predictions; nothing where the references of the runs differ."""
    present = [(name, item) for name, item in zip(names, found, strict=True) if item is not None and item.predictions]
    if len(present) < 2:
        return []
    digests = [digest_of(item) or Digest() for _, item in present]
    samples = [{line.number: line for line in digest.samples} for digest in digests]
    shared = [number for number in samples[0] if all(number in sample for sample in samples)]
    rows = [[sample[number] for sample in samples] for number in shared]
    if not rows or any(line.reference != row[0].reference for row in rows for line in row):
        return []
    return [RowCards([_sample_card(row, present) for row in rows])]


def _sample_card(lines: Sequence[Line], present: Sequence[tuple[str, SavedEvaluation]]) -> RowCard:
    first = present[0][1]
    kind = first.record.value_kind
    texts = [*inputs_of(first, lines[0]), Text("reference", written_value(lines[0].reference, kind=kind))]
    texts += [
        Text(name, written_value(line.prediction, kind=kind)) for line, (name, _) in zip(lines, present, strict=True)
    ]
    return RowCard(f"prediction {count(lines[0].number + 1)}", (), texts)


# ---- curves


def _curves(runs: Runs, names: Sequence[str]) -> Iterator[Section]:
    keys = [("train/loss", "Training loss, nats per target"), ("evaluation/loss", "Validation loss, nats per target")]
    metrics = [name for run in runs if (name := best_metric(run.manifest)) and name != "loss"]
    keys += [(f"evaluation/{name}", f"{name}, validation rows") for name in dict.fromkeys(metrics)]
    keys += [("train/learning_rate", "Learning rate")]
    charts = [chart for key, title in keys for chart in _chart(runs, names, key, title)]
    if charts:
        yield Section("training", "Training", [Charts(charts)])


def _chart(runs: Runs, names: Sequence[str], key: str, title: str) -> Iterator[Chart]:
    curves, parts = [], []
    for number, (name, run) in enumerate(zip(names, runs, strict=True)):
        curve = curve_of(run.metrics, key)
        if not curve:
            continue
        many = len(curve) >= SMOOTHED_FROM and key == "train/loss"
        points = smoothed(curve, points=SMOOTHED_POINTS) if many else downsampled(curve, most=MOST_POINTS)
        curves.append((name, COLOURS[number % len(COLOURS)], points, "line"))
        parts.append(f"{name} ends at {curve[-1][1]:.4g}")
    if curves:
        yield line_chart(title, curves, summary="; ".join(parts), wide=key == "train/loss")


# ---- differences


def _differences(runs: Runs, names: Sequence[str]) -> Iterator[Section]:
    tables = {
        "recipe": ("Recipe", [_recipe_values(run.recipe) for run in runs]),
        "data": ("Data", [_data_values(run.data) for run in runs]),
        "environment": ("Environment", [dict(_flat(run.environment)) for run in runs]),
    }
    for key, (title, values) in tables.items():
        keys = list(dict.fromkeys(name for value in values for name in value))
        different = [name for name in keys if len({value.get(name) for value in values}) > 1]
        rows = [[Cell(name), *(Cell(shortened(value.get(name, ""), 200)) for value in values)] for name in different]
        more = f"{count(len(rows) - _MOST_DIFFERENCES)} more." if len(rows) > _MOST_DIFFERENCES else ""
        table = Table("What differs", [Cell("key"), *map(Cell, names)], rows[:_MOST_DIFFERENCES], more)
        yield Section(key, title, [table if rows else Paragraph("No difference.")])


def _recipe_values(recipe: str) -> dict[str, str]:
    """Dotted key -> its value as it is written; a list is one value."""
    values: dict[str, str] = {}
    for key, line in keyed_lines(recipe):
        content = line.strip()
        if content.startswith("- "):
            values[key] = f"{values.get(key, '')}\n{content}".strip()
        elif (value := content.partition(":")[2].strip()) or key not in values:
            values[key] = value
    return {key: value for key, value in values.items() if value}


def _data_values(data: Mapping[str, Any]) -> dict[str, str]:
    values = {
        f"{split}: {key}": "\n".join(text_of(table.get(key)) for table in tables)
        for split, tables in (data.get("sources") or {}).items()
        for key in ("rows", "sha256")
    }
    return {**values, **{key: text_of(data[key]) for key in ("labels", "shares", "tokenization_sha256") if key in data}}


def _flat(values: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value)
        else:
            yield name, text_of(value)

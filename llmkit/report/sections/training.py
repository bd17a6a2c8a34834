"""The curves of a training: losses, learning rate, gradient, validation scores."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llmkit.report.blocks import Block, Chart, Charts, Facts, Section
from llmkit.report.charts import line_chart
from llmkit.report.reading import RunContent
from llmkit.report.sections.head import best_metric
from llmkit.report.wording import count, interval_text, score, text_of
from llmkit.runs.plot import Curve, downsampled, smoothed

MOST_POINTS = 500
SMOOTHED_FROM, SMOOTHED_POINTS = 200, 100
_VALIDATION_SCORES = 4


def training_section(content: RunContent) -> Section | None:
    charts = list(_charts(content))
    facts = list(_facts(content))
    blocks: list[Block] = [Charts(charts)] if charts else []
    blocks += [Facts(facts)] if facts else []
    return Section("training", "Training", blocks) if blocks else None


def curve_of(metrics: Sequence[Mapping[str, Any]], key: str) -> Curve:
    """The finite values of a key, with their steps."""
    values = ((line["step"], line.get(key)) for line in metrics)
    return [(step, float(value)) for step, value in values if value is not None and math.isfinite(value)]


def _charts(content: RunContent) -> Iterator[Chart]:
    metrics = content.metrics
    if losses := _loss_chart(metrics):
        yield losses
    for name in _validation_scores(content):
        curve = curve_of(metrics, f"evaluation/{name}")
        curves = [(name, "orange", downsampled(curve, most=MOST_POINTS), "line"), ("", "orange", curve, "dots")]
        summary = f"last {score(curve[-1][1])} at step {count(curve[-1][0])}"
        yield line_chart(
            f"{name}, validation rows", curves[: 2 if len(curve) <= 60 else 1], summary=summary, legend=False
        )
    for key, title in (
        ("train/learning_rate", "Learning rate"),
        ("train/gradient_norm", "Gradient norm before clipping"),
    ):
        curve = curve_of(metrics, key)
        if curve:
            yield _single(curve, title, smooth=key.endswith("norm"))


def _loss_chart(metrics: Sequence[Mapping[str, Any]]) -> Chart | None:
    train, validation = curve_of(metrics, "train/loss"), curve_of(metrics, "evaluation/loss")
    curves: list[tuple[str, str, Sequence[tuple[float, float]], str]] = []
    parts = []
    if len(train) >= SMOOTHED_FROM:
        curves.append(("training, each step", "pale", downsampled(train, most=MOST_POINTS), "thin"))
        curves.append(("training, smoothed", "blue", smoothed(train, points=SMOOTHED_POINTS), "line"))
    elif train:
        curves.append(("training", "blue", train, "line"))
    if validation:
        step, lowest = min(validation, key=lambda point: point[1])
        parts.append(f"lowest validation loss {lowest:.4g} at step {step:,}")
        curves.append(("validation", "orange", downsampled(validation, most=MOST_POINTS), "dots"))
    if train:
        parts.append(f"last training loss {train[-1][1]:.4g}")
    title = "Loss, nats per target"
    return line_chart(title, curves, summary="; ".join(parts), wide=True) if curves else None


def _single(curve: Curve, title: str, *, smooth: bool) -> Chart:
    highest = max(curve, key=lambda point: point[1])
    summary = f"highest {highest[1]:.3g} at step {highest[0]:,}, last {curve[-1][1]:.3g}"
    line: Sequence[tuple[float, float]] = downsampled(curve, most=MOST_POINTS)
    curves = [(title, "blue", line, "line")]
    if smooth and len(curve) >= SMOOTHED_FROM:
        curves = [
            ("each step", "pale", line, "thin"),
            ("smoothed", "blue", smoothed(curve, points=SMOOTHED_POINTS), "line"),
        ]
    return line_chart(title, curves, summary=summary)


def _validation_scores(content: RunContent) -> list[str]:
    """The scores that are drawn, the one that selects the checkpoint first; the loss has a chart of its own."""
    counts: dict[str, int] = {}
    for line in content.metrics:
        for key, value in line.items():
            if key.startswith("evaluation/") and value is not None:
                name = key.removeprefix("evaluation/")
                counts[name] = counts.get(name, 0) + 1
    names = [name for name, number in counts.items() if number > 1 and name != "loss" and "majority" not in name]
    best = best_metric(content.manifest)
    return sorted(names, key=lambda name: name != best)[:_VALIDATION_SCORES]


def _facts(content: RunContent) -> Iterator[tuple[str, str]]:
    manifest = content.manifest
    for key, name in (("total_steps", "steps planned"), ("seed", "random seed"), ("resumed_from", "resumed from step")):
        if manifest.get(key) is not None:
            yield name, count(manifest[key]) if key != "seed" else text_of(manifest[key])
    best = manifest.get("best")
    if best:
        yield "best checkpoint", f"step {count(best['step'])}, by {best_metric(manifest)}"
        for name, value in best["validation"].items():
            interval = interval_text((best.get("intervals") or {}).get(name))
            yield f"{name}, validation", f"{score(value)} ({interval})" if interval else score(value)
    checks = manifest.get("checks")
    if isinstance(checks, Mapping):
        for name, result in checks.items():
            yield f"check: {name}", text_of(result)
    elif checks is not None:
        yield "checks", text_of(checks)
    for change in manifest.get("replanned", ()):
        yield "steps changed", f"from {text_of(change.get('from'))} to {text_of(change.get('to'))}"

"""How long the training took, and what its time went into."""

from __future__ import annotations

from collections.abc import Iterator

from llmkit.report.blocks import Block, Chart, Charts, Facts, Section
from llmkit.report.charts import line_chart
from llmkit.report.reading import RunContent
from llmkit.report.sections.training import MOST_POINTS, SMOOTHED_FROM, SMOOTHED_POINTS, curve_of
from llmkit.report.wording import count, duration, percent, short_count, text_of
from llmkit.runs.plot import Curve, downsampled, smoothed


def speed_section(content: RunContent) -> Section | None:
    facts, charts = list(_facts(content)), list(_charts(content))
    blocks: list[Block] = [Charts(charts)] if charts else []
    blocks += [Facts(facts)] if facts else []
    return Section("speed", "Time and throughput", blocks) if blocks else None


def _charts(content: RunContent) -> Iterator[Chart]:
    tokens, seconds = (dict(curve_of(content.metrics, f"train/{key}")) for key in ("tokens", "seconds"))
    speed = [(step, number / seconds[step]) for step, number in tokens.items() if seconds.get(step)]
    if len(speed) > 1:
        median = sorted(value for _, value in speed)[len(speed) // 2]
        yield _chart(speed, "Tokens per second", summary=f"median of the steps {median:,.0f}")
    padding = [(step, 100 * share) for step, share in curve_of(content.metrics, "train/padding_share")]
    if len(padding) > 1 and any(share for _, share in padding):
        yield _chart(
            padding, "Padding, % of the positions", summary=f"{percent(padding_share(content) or 0)} over all steps"
        )


def _chart(curve: Curve, title: str, *, summary: str) -> Chart:
    if len(curve) < SMOOTHED_FROM:
        return line_chart(title, [(title, "teal", curve, "line")], summary=summary)
    curves = [("each step", "grid", downsampled(curve, most=MOST_POINTS), "thin")]
    return line_chart(
        title, [*curves, ("smoothed", "teal", smoothed(curve, points=SMOOTHED_POINTS), "line")], summary=summary
    )


def padding_share(content: RunContent) -> float | None:
    """The share of padding among all positions that were computed; None if the run does not say."""
    tokens, shares = (dict(curve_of(content.metrics, f"train/{key}")) for key in ("tokens", "padding_share"))
    used = [(number, number / (1 - shares[step])) for step, number in tokens.items() if shares.get(step, 1.0) < 1]
    return 1 - sum(number for number, _ in used) / sum(positions for _, positions in used) if used else None


def _facts(content: RunContent) -> Iterator[tuple[str, str]]:
    manifest = content.manifest
    if "training_seconds" in manifest:
        yield "training time", duration(manifest["training_seconds"])
    steps = curve_of(content.metrics, "train/seconds")
    if steps:
        yield "steps", count(len(steps))
        yield "time in steps", duration(sum(seconds for _, seconds in steps))
    if isinstance(rate := manifest.get("tokens_per_second"), int | float):
        yield "tokens per second", f"{rate:,.0f}"
    if "tokens_seen" in manifest:
        yield "tokens seen", count(manifest["tokens_seen"])
    if (padding := padding_share(content)) is not None:
        yield "padding", percent(padding)
    if "model_flops" in manifest:
        yield "floating-point operations", short_count(manifest["model_flops"])
    if isinstance(share := manifest.get("model_flops_utilization"), int | float):
        yield "share of the device's peak", percent(share)
    if manifest.get("micro_batch_tokens") is not None:
        yield "micro-batch", f"{text_of(manifest['micro_batch_tokens'])} tokens, halved for lack of memory"

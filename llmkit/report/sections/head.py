"""The head of a report: status, the most important numbers, verdicts, and what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llmkit.report.blocks import Figure, Paragraph, Tone
from llmkit.report.reading import RunContent, SavedEvaluation
from llmkit.report.wording import count, duration, interval_text, score, short_count, text_of

_TONES: dict[str, Tone] = {"finished": "good", "failed": "bad", "interrupted": "warning", "running": "warning"}


def chips(content: RunContent) -> list[tuple[str, Tone]]:
    """Status, task, model and date."""
    manifest = content.manifest
    status = str(manifest["status"])
    found: list[tuple[str, Tone]] = [(status, _TONES.get(status, "plain"))]
    found += [(text_of(manifest[key]), "plain") for key in ("task", "model") if manifest.get(key)]
    if isinstance(started := manifest.get("started"), str):
        found.append((started[:16].replace("T", " ") + " UTC", "plain"))
    return found


def figures(content: RunContent) -> list[Figure]:
    """The large numbers."""
    return list(_figures(content))


def notes(content: RunContent) -> list[Paragraph]:
    """Verdicts, errors, and files that cannot be read."""
    return list(_notes(content))


def main_score(content: RunContent, evaluation: SavedEvaluation) -> str | None:
    """The score of an evaluation that says most: the one that is compared with baselines, or that selected the model."""
    record = evaluation.record
    names = [record.verdict.metric] if record.verdict else []
    names += [best_metric(content.manifest) or "", *(name for name in record.scores if name != "loss"), *record.scores]
    return next((name for name in names if name in record.scores), None)


def best_metric(manifest: dict[str, Any]) -> str | None:
    """The score that selected the best checkpoint."""
    best = manifest.get("best") or {}
    return best.get("metric") or best.get("figure")


def _figures(content: RunContent) -> Iterator[Figure]:
    manifest = content.manifest
    for evaluation in _given_evaluations(content)[:3]:
        name = main_score(content, evaluation)
        if name is not None:
            record = evaluation.record
            interval = interval_text(record.intervals.get(name))
            rows = f"{count(record.rows)} rows"
            note = f"95 % interval {interval}, {rows}" if interval else rows
            yield Figure(score(record.scores[name]), f"{name}, {evaluation.title.lower()}", note)
    best, metric = manifest.get("best"), best_metric(manifest)
    if best and metric:
        step = f"step {count(best['step'])}"
        total = manifest.get("total_steps")
        note = f"{step} of {count(total)}" if isinstance(total, int) else step
        interval = interval_text((best.get("intervals") or {}).get(metric))
        note = f"95 % interval {interval}, {note}" if interval else note
        yield Figure(score(best["validation"].get(metric)), f"{metric}, best in training", note)
    if "parameters" in manifest:
        trained = manifest.get("trained_parameters")
        note = "all trained" if trained == manifest["parameters"] else f"{short_count(trained)} trained"
        yield Figure(short_count(manifest["parameters"]), "parameters", note)
    if manifest.get("training_seconds"):
        yield Figure(duration(manifest["training_seconds"]), "training time", f"on {text_of(manifest.get('device'))}")


def _notes(content: RunContent) -> Iterator[Paragraph]:
    if error := content.manifest.get("error"):
        yield Paragraph(f"The training ended early: {text_of(error)}", "bad")
    for evaluation in content.evaluations:
        if (verdict := evaluation.record.verdict) is not None:
            yield Paragraph(f"{evaluation.title}: {verdict.text}", "good" if verdict.better else "warning")
    for fault in content.faults:
        yield Paragraph(fault, "warning")
    if not _given_evaluations(content) and content.manifest.get("best"):
        yield Paragraph(_next_step(content))


def _given_evaluations(content: RunContent) -> list[SavedEvaluation]:
    """Those of `llmkit evaluate`, without the training's own."""
    return [evaluation for evaluation in content.evaluations if evaluation.record.step is None]


def _next_step(content: RunContent) -> str:
    folder = content.name if content.run.folder.is_absolute() else content.run.folder
    command = f"llmkit evaluate --model {folder}"
    share = content.data.get("shares", {}).get("train", {}).get("test")
    if share or "test" in content.data.get("sources", {}):
        return f"There are no test scores yet. Add them, with those of baselines: {command} --baseline"
    return (
        "There are no test scores: the recipe has no test rows, and the validation rows chose the checkpoint. Add scores of "
        f"other rows: {command} --data FILE"
    )

"""Run folders that are written by hand, with texts in many scripts and texts that attack an HTML page."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llmkit.report.predictions import digest_predictions
from llmkit.report.shown_rows import shown_lines

ATTACK = "<script>alert(1)</script>"
STYLE_ATTACK = "</style><img src=http://127.0.0.1:9/x.png onerror=alert(2)>"
ARABIC, CHINESE, HINDI = (
    "هذا نص عربي لاختبار الاتجاه، مع رقم 123.",
    "这是一个用来测试的中文文本。" * 20,
    "यह एक परीक्षण वाक्य है।",
)
CONTROLS = "bell \x07 escape \x1b[31m turned \u202e round \ud800 alone \r end"
LABELS = (ATTACK, STYLE_ATTACK, "إيجابي", "负面", "सकारात्मक", "it's \"quoted\" & 'x' " + "x" * 90)
TEXTS = (f"{ATTACK} {STYLE_ATTACK}", ARABIC, CHINESE, HINDI, CONTROLS, "x" * 3000, "{{ 7*7 }} {% raw %}")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content))


def write_run(folder: Path, **manifest: Any) -> Path:
    """A finished run with all of its files, but without evaluations."""
    (folder / "evaluation").mkdir(parents=True)
    validation = {"loss": 0.5, "accuracy": 0.7}
    best = {"metric": "accuracy", "step": 40, "validation": validation, "intervals": {"accuracy": [0.61, 0.79]}}
    origins = {"task": "/home/me/news.yaml:2:7", "data.train": "/home/me/news.yaml:5:5", "train.steps": "--set"}
    write_json(
        folder / "run.json",
        {
            "id": "a",
            "status": "finished",
            "task": "classification",
            "model": ATTACK,
            "started": "2026-11-27T02:13:40+00:00",
            "total_steps": 50,
            "best": best,
            "parameters": 1_500_000,
            "trained_parameters": 1_500_000,
            "training_seconds": 123.4,
            "device": "cpu",
            "checks": {"targets": ATTACK},
            "rows": {"train": {"rows": 850, "examples": 851, "median": 12, "high": 80, "longest": 96}},
            "recipe_origins": origins,
            "messages": [{"level": "warning", "text": f"12 of 850 rows truncated {ATTACK}"}],
            **manifest,
        },
    )
    (folder / "recipe.yaml").write_text(
        f'recipe: 1\ntask: classification\nmodel: "{ATTACK}"\ndata:\n  train:\n    - a.csv\n    - b.csv\n'
        "  validation: 5%\ntrain:\n  epochs: null\n  steps: 50\n"
    )
    write_json(folder / "env.json", {"python": "3.11", "packages": {"torch": "2.13"}, "device": "cpu"})
    source = {"name": f"/home/me/{ATTACK}.csv", "sha256": "0" * 64, "rows": 1000, "columns": [ATTACK, "text"]}
    write_json(
        folder / "data.json",
        {
            "sources": {"train": [source], "test": [source]},
            "shares": {"train": {"validation": 0.05, "test": 0.1}},
            "labels": list(LABELS),
            "bad_rows": {"rows": 3, "reasons": {ATTACK: 3}},
        },
    )
    write_metrics(folder)
    return folder


def write_metrics(folder: Path, *, steps: int = 50) -> None:
    rng = random.Random(0)
    lines = [
        {
            "step": step,
            "train/loss": 2 / step + rng.random() / 5,
            "train/learning_rate": 1e-3 * step / steps,
            "train/gradient_norm": None if step == 3 else rng.random(),
            "train/tokens": 100 + step,
            "train/seconds": 0.1,
            "train/padding_share": 0.2,
        }
        for step in range(1, steps + 1)
    ]
    lines += [
        {"step": step, "evaluation/loss": 1 / step, "evaluation/accuracy": step / 60} for step in range(10, 51, 10)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def write_evaluation(
    folder: Path,
    lines: Sequence[Mapping[str, Any]],
    *,
    inputs: Sequence[Mapping[str, Any]] = (),
    name: str = "test",
    **record: Any,
) -> None:
    """The files of an evaluation, with `record` over scores of labels; `inputs` are what the model read."""
    content = {
        "data": f"{name} rows of {folder}",
        "rows": len(lines),
        "scores": {"loss": 0.5, "accuracy": 0.7},
        **record,
    }
    path = folder / "evaluation" / f"{name}.json"
    write_json(path, content)
    predictions = path.with_suffix(".predictions.jsonl")
    predictions.write_text("".join(json.dumps(line) + "\n" for line in lines))
    if inputs:
        shown = digest_predictions(predictions, kind="text").shown
        rows = ((f"/home/me/rows.csv:{number + 2}", fields) for number, fields in enumerate(inputs))
        content_of_rows = shown_lines(rows, shown, expected_rows=len(lines))
        assert content_of_rows is not None
        path.with_suffix(".shown_rows.jsonl").write_bytes(content_of_rows)


def label_lines(count: int, *, labels: Sequence[str] = LABELS, seed: int = 0) -> list[dict[str, Any]]:
    """Predictions with probabilities and losses, about two in three of them right."""
    rng = random.Random(seed)
    lines = []
    for number in range(count):
        reference = rng.choice(labels)
        prediction = reference if rng.random() < 0.6 else rng.choice(labels)
        share = rng.uniform(0.3, 1)
        others = (1 - share) / (len(labels) - 1)
        probabilities = {label: share if label == prediction else others for label in labels}
        values = {"prediction": prediction, "reference": reference, "probabilities": probabilities}
        lines.append({**values, "row": number + 1, "loss": rng.expovariate(1), "targets": 1})
    return lines


def attacked_run(folder: Path) -> Path:
    """A run whose every text attacks the page, with one evaluation of 300 rows."""
    write_run(folder)
    write_evaluation(
        folder,
        label_lines(300),
        inputs=[{"text": TEXTS[number % len(TEXTS)]} for number in range(300)],
        intervals={"loss": None, "accuracy": [0.66, 0.74]},
        details={"per_class": {label: {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 9} for label in LABELS}},
        baselines={"majority": {"title": ATTACK, "scores": {"accuracy": 0.3}}},
        verdict={"metric": "accuracy", "better": True, "text": f"The model beats {ATTACK}"},
    )
    return folder

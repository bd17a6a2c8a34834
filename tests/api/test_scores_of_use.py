"""What `evaluate` measures is what the commands give: their own results on the same rows have the same scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from builders import FAMILY_OF, TaskName, conversation, rows, sentence
from published_models import RECIPE_KEYS, published_folder
from repetitions import quick_if
from tiny_recipes import llmkit as command_line
from tiny_recipes import write_jsonl

import llmkit


@dataclass(frozen=True)
class Use:
    """A task, how its model is trained, and the command that uses it."""

    task: TaskName
    command: Sequence[str]
    """Without the file."""
    metrics: Sequence[str]
    keys: Mapping[str, Any] = field(default_factory=dict)
    """Of the recipe."""
    columns: Mapping[str, str] = field(default_factory=dict)


SPANS = [{"start": 4, "end": 7, "label": "X"}]
USES: dict[str, Use] = {
    **{
        f"classification, {overflow}": Use(
            "classification", ["classify"], ["accuracy", "f1", "mcc"], {"overflow": overflow, "max_tokens": 8}
        )
        for overflow in ("truncate", "drop", "window")
    },
    "many labels": Use(
        "classification", ["classify"], ["f1", "precision", "map"], {"multilabel": "true", "max_tokens": 8}
    ),
    "numbers": Use(
        "classification",
        ["classify"],
        ["mse", "spearman"],
        {"regression": "true", "max_tokens": 8, "overflow": "window"},
        {"label": "number"},
    ),
    **{
        f"tags of words, {overflow}": Use(
            "token-classification", ["tag", "--column", "words"], ["entities", "tag_accuracy"], {"overflow": overflow}
        )
        for overflow in ("truncate", "drop", "window")
    },
    "plain tags": Use(
        "token-classification", ["tag", "--column", "words"], ["tag_accuracy"], {"scheme": "plain", "max_tokens": 8}
    ),
    "spans": Use("token-classification", ["tag"], ["entities"], {}, {"spans": "marks"}),
    **{
        f"question answering, {overflow}": Use(
            "question-answering", ["answer"], ["squad"], {"overflow": overflow, "max_tokens": 48}
        )
        for overflow in ("truncate", "drop", "window")
    },
    **{
        f"multiple choice, {overflow}": Use(
            "multiple-choice", ["choose"], ["accuracy"], {"overflow": overflow, "max_tokens": 56}
        )
        for overflow in ("truncate", "drop")
    },
    **{
        f"summarization, {overflow}": Use(
            "summarization", ["summarize"], ["rouge"], {"overflow": overflow, "max_source_tokens": 40}
        )
        for overflow in ("truncate", "drop", "window")
    },
    "translation": Use("translation", ["translate", "--column", "source"], ["bleu", "chrf"], {"overflow": "drop"}),
    **{
        f"text to text, {overflow}": Use(
            "text-to-text", ["generate"], ["rouge", "exact_text"], {"overflow": overflow, "max_source_tokens": 40}
        )
        for overflow in ("truncate", "drop")
    },
    "text to text, a prefix in each row": Use(
        "text-to-text", ["generate"], ["rouge", "exact_text"], {}, {"prefix": "label"}
    ),
    "instructions": Use("instruction", ["generate", "--column", "prompt"], ["rouge"], {"max_tokens": 40}),
    "conversations": Use("instruction", ["generate"], ["rouge"], {"max_tokens": 40}),
}


def write_rows(folder: Path, name: str) -> Path:
    if name in ("instructions", "conversations"):
        return write_jsonl(folder / "rows.jsonl", [spoken(number, name) for number in range(24)])
    records: list[dict[str, Any]] = []
    for number, row in enumerate(rows(24)):
        text = f"the {row.fields['text']}"
        spans = [{"start": 4, "end": len(text), "label": "X"}]
        more = {
            "text": text,
            "labels": [row.fields["label"]] if number % 4 else [],
            "number": number / 3,
            "marks": spans,
        }
        records.append({**row.fields, **more})
    return write_jsonl(folder / "rows.jsonl", records)


def spoken(number: int, name: str) -> dict[str, Any]:
    """A row of either form; every third answer is too long to be learnt."""
    answer = sentence(number + 50, most_words=40 if number % 3 == 0 else 4)
    if name == "instructions":
        asked = sentence(number, most_words=3)
        return {"prompt": asked, "input": sentence(number + 90, most_words=3) if number % 2 else "", "response": answer}
    messages = conversation(number)
    return {"messages": [*messages[:-1], {"role": "assistant", "content": answer}]}


@pytest.mark.parametrize("name", quick_if(lambda name: "drop" not in name and "window" not in name, USES))
def test_results_of_a_command_have_the_scores_of_the_evaluation(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use = USES[name]
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path, name)
    published_folder(tmp_path / "model", FAMILY_OF[use.task])  # type: ignore[arg-type]
    (tmp_path / "recipe.yaml").write_text(
        f"recipe: 1\ntask: {use.task}\nmodel: model\ndata: {{train: rows.jsonl, validation: 40%}}\n"
    )
    keys = {
        **RECIPE_KEYS[use.task],
        **use.keys,
        **{f"data.columns.{field}": name for field, name in use.columns.items()},
    }
    keys |= {"train.steps": 4, "train.batch_size": 8, "train.learning_rate": 0.003, "train.checks": "false"}
    llmkit.finetune("recipe.yaml", overrides=[f"{key}={value}" for key, value in keys.items()], run="run")

    measured = llmkit.evaluate_model("run", data=["rows.jsonl"], metrics=use.metrics)
    outcome = command_line(*use.command[:1], "rows.jsonl", *use.command[1:], "--model", "run", "--output", "told.jsonl")
    assert outcome.code == 0, outcome.err
    reference = [] if name != "spans" else ["--reference-column", "marks"]
    reference = ["--reference-column", use.columns["label"]] if "label" in use.columns else reference
    named = [f"--metric={metric}" for metric in use.metrics]
    scored = command_line(
        "evaluate", "--predictions", "told.jsonl", "--references", "rows.jsonl", *named, *reference, "--json"
    )
    assert scored.code == 0, scored.err
    [record] = scored.records
    assert record["rows"] == measured.rows == 24
    scores: Any = record["scores"]
    assert scores == {score: pytest.approx(measured.scores.values[score], abs=1e-9) for score in scores}

"""What a run writes as `*.predictions.jsonl` can be scored again from the file alone, with the same scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from builders import LABELS, TAGS, TaskName, rows, sentence, task_of, tiny_model

import llmkit
from llmkit.api.evaluation_result import Evaluation, save_evaluation
from llmkit.data.rows import Row
from llmkit.evaluation.measure import measure, score_rows
from llmkit.inference.engines.transformers import TransformersEngine
from llmkit.runs.folder import Run
from llmkit.tasks.base import Scores

LABELLED = ("accuracy", "precision", "recall", "f1")
TEXTS = ("rouge", "bleu", "chrf", "chrf++", "ter", "exact_text")


def many_labels(count: int) -> list[Row]:
    return [
        Row({"text": sentence(at), "labels": [name for place, name in enumerate(LABELS) if at % (place + 2) == 0]}, "")
        for at in range(count)
    ]


def numbers(count: int) -> list[Row]:
    return [Row({"text": sentence(at), "label": at / 7}, "") for at in range(count)]


def plain_tags(count: int) -> list[Row]:
    texts = [sentence(at).split() for at in range(count)]
    return [Row({"words": words, "tags": [TAGS[len(word) % 2] for word in words]}, "") for words in texts]


def chinese(count: int) -> list[Row]:
    return [Row({"source": sentence(at), "target": "老石头" * (1 + at % 3)}, "") for at in range(count)]


CASES: dict[str, tuple[TaskName, dict[str, Any], Any, tuple[str, ...], tuple[str, ...] | None]] = {
    "one label": ("classification", {}, rows, (*LABELLED, "mcc", "confusion"), LABELS),
    "labels that are numbers": ("classification", {}, rows, (*LABELLED, "mcc"), ("0", "1", "2")),
    "labels that look like lists": ("classification", {}, rows, ("accuracy", "mcc"), ("[1]", "[]", '["a"]')),
    "many labels": ("classification", {"multilabel": True}, many_labels, (*LABELLED, "map"), LABELS),
    "numbers": ("classification", {"regression": True}, numbers, ("mse", "pearson", "spearman"), ("LABEL_0",)),
    "answers": ("question-answering", {}, rows, ("squad",), None),
    "choices": ("multiple-choice", {}, rows, ("accuracy", "f1"), None),
    "entities": ("token-classification", {}, rows, ("entities", "tag_accuracy"), None),
    "plain tags": ("token-classification", {"scheme": "plain"}, plain_tags, ("tag_accuracy",), None),
    "conversations": ("instruction", {}, rows, TEXTS, None),
    "summaries": ("summarization", {}, rows, TEXTS, None),
    "translations": ("translation", {}, rows, TEXTS, None),
    "Chinese": ("translation", {"target_language": "zh"}, chinese, TEXTS, None),
    "texts": ("text-to-text", {}, rows, TEXTS, None),
}


def half_right(predictions: list[Any], references: list[Any]) -> list[Any]:
    """Every other prediction made right, in the form in which the task predicts."""
    right = []
    for prediction, reference in zip(predictions, references, strict=True):
        if isinstance(prediction, dict):
            right.append({**prediction, "labels": reference})
        elif isinstance(reference, list) and isinstance(prediction, str):
            right.append(reference[0] if reference else "")
        else:
            right.append(reference)
    return [good if at % 2 else found for at, (found, good) in enumerate(zip(predictions, right, strict=True))]


@pytest.mark.parametrize(("name", "keys", "make_rows", "metrics", "labels"), CASES.values(), ids=CASES)
def test_a_file_of_predictions_has_the_scores_of_its_run(
    name: TaskName,
    keys: dict[str, Any],
    make_rows: Any,
    metrics: tuple[str, ...],
    labels: tuple[str, ...] | None,
    tmp_path: Path,
) -> None:
    loaded = None if labels is None else tiny_model("bert", head=task_of(name).recipe.HEAD, labels=labels)
    task = task_of(name, loaded=loaded, **keys)
    named = dict(zip(LABELS, labels or LABELS, strict=False))
    given = [
        {**row.fields, "label": named.get(row.fields.get("label"), row.fields.get("label"))} for row in make_rows(12)
    ]
    examples = task.encode([Row(fields, f"rows.jsonl:{number}") for number, fields in enumerate(given, 1)])
    engine = TransformersEngine(task.loaded, device=torch.device("cpu"))
    _, predictions, _ = measure(task, examples, engine=engine, accelerator=Accelerator(), metrics=metrics)
    predictions = half_right(predictions, list(examples.references))
    expected = score_rows(task, predictions, examples.references, metrics=metrics, rouge_tokenizer="auto")
    evaluation = Evaluation("run", "rows", 12, Scores({}), predictions)
    save_evaluation(Run(tmp_path), evaluation, name="test", references=examples.references)
    file = tmp_path / "evaluation" / "test.predictions.jsonl"
    found = llmkit.score_files(file, file, metrics=metrics).scores
    assert found.values == expected.values
    assert {key: value for key, value in found.details.items() if key != "bleu"} == {
        key: value for key, value in expected.details.items() if key != "bleu"
    }
    assert any(value not in (0, 1) for value in found.values.values())


def test_probabilities_and_abstentions_are_scored_again_from_a_file(tmp_path: Path) -> None:
    loaded = tiny_model("bert", head="classification", labels=LABELS)
    task = task_of("classification", loaded=loaded, calibrate="temperature", abstain={"accuracy": 0.1})
    examples = task.encode(rows(60))
    engine = TransformersEngine(task.loaded, device=torch.device("cpu"))
    metrics = ("accuracy", "ece", "brier", "nll", "selective")
    measured = measure(task, examples, engine=engine, accelerator=Accelerator(), metrics=metrics, tune=True)
    expected, predictions = measured.scores, measured.predictions
    save_evaluation(
        Run(tmp_path), Evaluation("run", "rows", 60, expected, predictions), name="test", references=examples.references
    )
    file = tmp_path / "evaluation" / "test.predictions.jsonl"
    line = json.loads(file.read_text().splitlines()[0])
    assert line["prediction"] == max(line["probabilities"], key=line["probabilities"].get)
    assert line["abstained"] in (True, False)
    found = llmkit.score_files(file, file, metrics=metrics).scores
    assert found.values == pytest.approx({name: expected.values[name] for name in found.values})
    for one, other in zip(found.details["reliability"]["bins"], expected.details["reliability"]["bins"], strict=True):
        assert one == pytest.approx(other)

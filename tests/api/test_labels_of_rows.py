"""Labels from rows to a model: rare ones, numbers, names that are written alike, and texts with several labels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from builders import LABELS, TaskName, recipe_of, task_of, tiny_model
from facts import logged, says
from tiny_recipes import llmkit as command_line
from tiny_recipes import write_jsonl

import llmkit
from llmkit.data.rows import Row
from llmkit.data.splits import split_of
from llmkit.evaluation.baselines import baselines_of
from llmkit.evaluation.metrics import score_texts

RECIPE = """recipe: 1
task: {task}
model: {{architecture: bert, size: tiny, tokenizer: {{vocab_size: 200}}}}
data: {{train: rows.jsonl, validation: 20%{data}}}
train: {{steps: 2, batch_size: 8, checks: false}}
{keys}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(
    folder: Path, rows: Sequence[dict[str, Any]], *, task: str = "classification", keys: str = "", data: str = ""
) -> None:
    write_jsonl(folder / "rows.jsonl", rows)
    (folder / "recipe.yaml").write_text(RECIPE.format(task=task, keys=keys, data=data))


def texts_of(split: str, count: int, *, test: float = 0.0, start: int = 0) -> list[str]:
    """Texts that a share of 20% for validation puts into this split."""
    texts = (f"a sound number {number}" for number in range(start, 10_000))
    fitting = (text for text in texts if split_of(text, validation=0.2, test=test) == split)
    return [next(fitting) for _ in range(count)]


def labels_of(run: Path) -> list[str]:
    names: dict[str, str] = json.loads((run / "model/config.json").read_text())["id2label"]
    return [names[str(index)] for index in range(len(names))]


def rows_of(layout: str, text: str, label: str) -> dict[str, Any]:
    if layout == "tags":
        words = text.split()
        return {"words": words, "tags": [label, *["O"] * (len(words) - 1)]}
    return {"text": text, **({"labels": [label]} if layout == "labels" else {"label": label})}


LAYOUTS: dict[str, tuple[TaskName, str]] = {
    "label": ("classification", ""),
    "labels": ("classification", "multilabel: true"),
    "tags": ("token-classification", ""),
}


def split_text(layout: str, split: str, count: int, *, test: float = 0.0) -> list[str]:
    if layout != "tags":
        return texts_of(split, count, test=test)
    texts = (f"a sound number {number}" for number in range(10_000))
    fitting = (text for text in texts if split_of("\0".join(text.split()), validation=0.2, test=test) == split)
    return [next(fitting) for _ in range(count)]


@pytest.mark.parametrize(("layout", "split"), [("label", "validation"), ("tags", "validation"), ("labels", "test")])
def test_a_label_of_one_share_only_is_known_and_named_as_not_learned(folder: Path, layout: str, split: str) -> None:
    """It stopped the training, or after the training each evaluation."""
    task, keys = LAYOUTS[layout]
    test = 0.2 if split == "test" else 0.0
    train = split_text(layout, "train", 10, test=test)
    rows = [rows_of(layout, text, ("B-good", "B-bad")[index % 2]) for index, text in enumerate(train)]
    rows += [rows_of(layout, text, "B-bad") for text in split_text(layout, "validation", 2, test=test)]
    rows.append(rows_of(layout, split_text(layout, split, 3, test=test)[-1], "B-rare"))
    write(folder, rows, task=task, keys=keys, data=", test: 20%" if test else "")
    outcome = command_line("finetune", "recipe.yaml", "--run", "run")
    assert outcome.code == 0, outcome.err
    name = "rare" if layout == "tags" else "B-rare"
    says(outcome.err, "warning:", "without a training row", f"'{name}'", "labels:")
    assert "B-rare" in labels_of(folder / "run")
    assert command_line("evaluate", "--model", "run").code == 0


@pytest.mark.parametrize("layout", ["label", "tags"])
def test_a_label_that_only_a_test_file_has_is_an_error_before_the_training(folder: Path, layout: str) -> None:
    task, keys = LAYOUTS[layout]
    rows = [rows_of(layout, f"a sound {number}", ("B-good", "B-bad")[number % 2]) for number in range(20)]
    write(folder, rows, task=task, keys=keys, data=", test: test.jsonl")
    write_jsonl(folder / "test.jsonl", [rows_of(layout, "a noise", "B-rare")])
    outcome = command_line("finetune", "recipe.yaml", "--run", "run")
    assert outcome.code == 3
    says(outcome.err, "error[data]:", "test.jsonl:1", "'B-rare'", "labels:")
    assert not (folder / "run").exists()


def numbered(count: int = 36, *, classes: int = 12) -> list[dict[str, Any]]:
    return [{"text": f"item {number}", "label": number % classes} for number in range(count)]


def test_whole_numbers_as_labels_are_in_numeric_order(folder: Path) -> None:
    write(folder, numbered())
    assert command_line("finetune", "recipe.yaml", "--run", "run").code == 0
    assert labels_of(folder / "run") == [str(number) for number in range(12)]
    outcome = command_line("evaluate", "--model", "run", "--metric", "confusion", "--json")
    [record] = outcome.records
    shown: Any = record["details"]
    assert [int(label) for label in shown["confusion"]["labels"]] == sorted(map(int, shown["confusion"]["labels"]))


def test_numbers_as_tags_and_as_types_are_in_numeric_order() -> None:
    plain = Row({"words": ["a", "b", "c"], "tags": ["10", "9", "O"]}, "r:1")
    typed = Row({"words": ["a", "b", "c"], "tags": ["B-10", "B-9", "O"]}, "r:1")
    recipe = recipe_of("token-classification")
    assert recipe.class_names([plain]) == ("O", "9", "10")
    assert recipe.class_names([typed]) == ("O", "B-9", "B-10", "I-9", "I-10")
    scores = score_texts(["entities"], [["B-10", "B-9"]], [["B-10", "B-9"]])
    assert list(scores.details["per_type"]) == ["9", "10"]
    scores = score_texts(["f1"], [["10"], ["9"]], [["10"], ["9"]])
    assert list(scores.details["per_class"]) == ["9", "10"]


def old_run(folder: Path) -> list[str]:
    """A run as the code before this order wrote it: labels as text, and no `labels:` in its recipe."""
    order = sorted(str(number) for number in range(12))
    write(folder, numbered(), keys=f"labels: {json.dumps(order)}\nevaluation: {{every: 1 steps}}")
    outcome = command_line("finetune", "recipe.yaml", "--run", "old", "--set", "train.schedule=constant")
    assert outcome.code == 0, outcome.err
    saved = folder / "old/recipe.yaml"
    text = saved.read_text()
    start, end = text.index("labels:"), text.index("class_weights:")
    saved.write_text(text[:start] + "labels: null\n" + text[end:])
    return order


def test_a_run_with_labels_in_the_order_of_text_resumes_and_serves_with_its_own_order(folder: Path) -> None:
    order = old_run(folder)
    before = command_line("evaluate", "--model", "old", "--json").records[0]["scores"]
    outcome = command_line("finetune", "--resume", "old", "--set", "train.steps=3", "--set", "train.warmup=0")
    assert outcome.code == 0, outcome.err
    assert labels_of(folder / "old") == order
    after: Any = command_line("evaluate", "--model", "old", "--json").records[0]["scores"]
    assert after.keys() == before.keys()  # type: ignore[attr-defined]
    [record] = command_line("classify", "item 3", "--model", "old", "--json").records
    assert list(record["probabilities"]) == order  # type: ignore[call-overload]


def test_a_model_with_labels_in_another_order_is_trained_further_in_its_own_order(folder: Path) -> None:
    order = old_run(folder)
    write(folder, numbered())
    outcome = command_line("finetune", "recipe.yaml", "--set", "model=old", "--run", "new")
    assert outcome.code == 0, outcome.err
    assert labels_of(folder / "new") == order
    numeric = json.dumps([str(number) for number in range(12)])
    outcome = command_line("finetune", "recipe.yaml", "--set", "model=old", "--set", f"labels={numeric}")
    assert outcome.code == 4
    says(outcome.err, "labels", "old")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_labels_that_are_written_alike_are_named_with_counts_and_places(
    layout: str, caplog: pytest.LogCaptureFixture
) -> None:
    task, keys = LAYOUTS[layout]
    names = ["B-good", "B-bad", "B-Good", "B-good "]
    rows = [Row(rows_of(layout, f"a {number}", names[number % 4]), f"r:{number}") for number in range(21)]
    recipe_of(task, **({"multilabel": True} if keys else {})).class_names(rows)
    good, capital = ("good", "Good") if layout == "tags" else ("B-good", "B-Good")
    assert logged(caplog, "WARNING", f"'{good}' (6, first at r:0)", f"'{capital}' (5, first at r:2)", f"'{good} ' (5")
    assert len(caplog.records) == 1


def test_alike_labels_that_the_recipe_names_are_counted_too(caplog: pytest.LogCaptureFixture) -> None:
    rows = [Row({"text": "a", "label": name}, f"r:{line}") for line, name in enumerate(("good", "Good", "bad"))]
    assert recipe_of("classification", labels=("bad", "good", "Good")).class_names(rows) == ("bad", "good", "Good")
    assert logged(caplog, "WARNING", "'good' (1, at r:0)", "'Good' (1, at r:1)")


def question(number: int, *choices: str, answer: str) -> dict[str, Any]:
    return {"question": f"which {number}", "choices": list(choices), "answer": answer}


def test_choices_that_are_written_alike_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    fields = [question(number, "red", "Red " if number == 3 else "blue", answer="red") for number in range(5)]
    task_of("multiple-choice").encode([Row(row, f"r:{line}") for line, row in enumerate(fields)])
    assert logged(caplog, "WARNING", "1 questions", "'red' and 'Red '", "r:3")


TEXT = {"text": "a noise"}
CONFLICTS: dict[str, tuple[TaskName, dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "label": ("classification", {}, {**TEXT, "label": "good"}, {**TEXT, "label": "bad"}),
    "labels": ("classification", {"multilabel": True}, {**TEXT, "labels": ["good"]}, {**TEXT, "labels": ["bad"]}),
    "number": ("classification", {"regression": True}, {**TEXT, "label": 1.0}, {**TEXT, "label": 2.0}),
    "pair": (
        "classification", {},
        {**TEXT, "text_pair": "b", "label": "good"}, {**TEXT, "text_pair": "b", "label": "bad"},
    ),
    "tags": (
        "token-classification", {},
        {"words": ["a", "noise"], "tags": ["O", "O"]}, {"words": ["a", "noise"], "tags": ["O", "B-PLACE"]},
    ),
    "choice": (
        "multiple-choice", {}, question(1, "red", "blue", answer="red"), question(1, "blue", "red", answer="blue"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", CONFLICTS)
def test_one_input_with_two_answers_is_counted_with_both_places(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    name, keys, first, second = CONFLICTS[kind]
    labels = ("LABEL_0",) if kind in ("number", "choice") else LABELS
    loaded = tiny_model("bert", head=recipe_of(name).HEAD, labels=labels)
    task = task_of(name, loaded=loaded, **keys)
    task.encode([Row(first, "r:1"), Row(first, "r:2")])
    assert not logged(caplog, "WARNING", "different")
    task.encode([Row(first, "r:1"), Row(second, "r:2"), Row(second, "r:3")])
    assert logged(caplog, "WARNING", 1, 2, "different", "r:1", "r:2")


def test_the_same_labels_in_another_order_are_no_conflict(caplog: pytest.LogCaptureFixture) -> None:
    rows = [Row({**TEXT, "labels": labels}, "r:1") for labels in (["good", "bad"], ["bad", "good"])]
    task_of("classification", multilabel=True).encode(rows)
    assert not logged(caplog, "WARNING", "different")


def test_texts_with_two_labels_are_reported_in_training_and_in_an_evaluation(folder: Path) -> None:
    rows = [{"text": f"a sound {number % 10}", "label": ("good", "bad")[number // 10]} for number in range(20)]
    write(folder, rows)
    outcome = command_line("finetune", "recipe.yaml", "--run", "run", "--set", "data.deduplicate=true")
    says(outcome.err, "warning:", "texts", "different", "rows.jsonl:1", "rows.jsonl:11")
    outcome = command_line("evaluate", "--model", "run", "--data", "rows.jsonl")
    says(outcome.err, "warning:", "10 texts", "10 rows", "rows.jsonl:1", "rows.jsonl:11")


@pytest.mark.parametrize(
    ("told", "right"),
    [("Good", "good"), (["bad", "Good"], ["bad", "good"]), ({"labels": ["Good"], "probabilities": {}}, ["good"])],
)
def test_labels_of_two_files_that_are_written_alike_are_named_with_their_places(
    folder: Path, told: Any, right: Any, caplog: pytest.LogCaptureFixture
) -> None:
    name = "label" if isinstance(told, str) else "labels"
    row = told if isinstance(told, dict) else {name: told}
    write_jsonl(folder / "told.jsonl", [row, row])
    write_jsonl(folder / "right.jsonl", [{name: right}, {name: right}])
    llmkit.score_files("told.jsonl", "right.jsonl", metrics=["f1", "accuracy"])
    assert len(logged(caplog, "WARNING", "'Good' (2", "told.jsonl:1", "'good' (2", "right.jsonl:1")) == 1


def test_a_baseline_of_many_labels_has_a_probability_for_a_label_that_only_test_rows_have() -> None:
    """Its `map` was a mean over fewer labels than the model's."""
    train, test = (
        [Row({"text": f"a {number}", "labels": labels}, f"r:{number}") for number, labels in enumerate(sets)]
        for sets in ([["x"], ["y"], ["x", "y"]], [["x"], ["rare"]])
    )
    recipe = recipe_of("classification", multilabel=True)
    for baseline in baselines_of(recipe):
        predictions = baseline.predict(recipe, train, test)
        assert all(set(prediction["probabilities"]) == {"x", "y", "rare"} for prediction in predictions)
        assert "rare" in score_texts(["map"], predictions, [["x"], ["rare"]]).details["average_precision"]

"""`score_files`: what is compared is the answer, never the text that was read; or the user is asked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from facts import facts
from tiny_recipes import llmkit as command_line

import llmkit
from llmkit.errors import DataError, UsageError

TEXT = {"text": "a long text"}


def written(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def score(folder: Path, told: Any, right: Any, *metrics: str, **options: Any) -> llmkit.api.Evaluation:
    """Rows as JSONL, a text as plain lines."""
    sides = []
    for name, content in (("told", told), ("right", right)):
        if isinstance(content, str):
            path = folder / f"{name}.txt"
            path.write_text(content)
        else:
            path = content if isinstance(content, Path) else written(folder / f"{name}.jsonl", content)
        sides.append(path)
    return llmkit.score_files(*sides, metrics=metrics, **options)


CLASSIFIED = {"probabilities": {"a": 0.9, "b": 0.1}, "truncated_tokens": 0}
TAGGED = {"words": ["x", "y"], "offsets": [[0, 1], [2, 3]], "scores": [1.0, 1.0], "truncated_tokens": 0}
NO_SPAN = {"score": 0.1, "start": None, "end": None, "no_answer": 0.9, "truncated_tokens": 0}
SPANS = [{"start": 0, "end": 3, "label": "PER"}, {"start": 3, "end": 5, "label": "PER"}]

# What a command wrote, rows of data with the right answers, a metric, its metric, the columns
VERBS: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]], str, str, float, str, str]] = {
    "classify": (
        [{**TEXT, "label": "a", **CLASSIFIED}] * 2,
        [{**TEXT, "label": "a"}, {**TEXT, "label": "b"}],
        "accuracy", "accuracy", 0.5, "label", "label",
    ),
    "classify, whole numbers as labels": (
        [{**TEXT, "label": "1", **CLASSIFIED}] * 2, [{**TEXT, "label": 1}, {**TEXT, "label": 2}],
        "f1", "f1_micro", 0.5, "label", "label",
    ),
    "classify, many labels": (
        [{**TEXT, "labels": ["b", "a"], **CLASSIFIED}, {**TEXT, "labels": [], **CLASSIFIED}],
        [{**TEXT, "labels": ["a", "b"]}, {**TEXT, "labels": ["a"]}],
        "accuracy", "accuracy", 0.5, "labels", "labels",
    ),
    "classify, many labels with their probabilities": (
        [{**TEXT, "labels": ["a"], **CLASSIFIED}, {**TEXT, "labels": [], **CLASSIFIED}],
        [{**TEXT, "labels": ["a"]}, {**TEXT, "labels": ["a"]}],
        "map", "map", 1.0, "labels", "labels",
    ),
    "classify, numbers": (
        [{**TEXT, "value": 1.5, "truncated_tokens": 0}] * 2, [{**TEXT, "label": 1.0}, {**TEXT, "label": "2.0"}],
        "mse", "mse", 0.25, "value", "label",
    ),
    "tag, words": (
        [{**TEXT, **TAGGED, "tags": ["N", "V"]}], [{"words": ["x", "y"], "tags": ["N", "N"]}],
        "tag_accuracy", "tag_accuracy", 0.5, "tags", "tags",
    ),
    "tag, entities": (
        [{**TEXT, "entities": [{**span, "text": "x", "score": 1.0} for span in SPANS], "truncated_tokens": 0}] * 2,
        [{**TEXT, "spans": SPANS[1:]}, {**TEXT, "spans": []}],
        "entities", "entity_precision", 0.25, "entities", "spans",
    ),
    "answer": (
        [{"question": "q", "answer": "Rome", **NO_SPAN}, {"question": "q", "answer": None, **NO_SPAN}] * 2,
        [
            {"context": "c", "question": "q", "answers": {"text": ["Rome", "in Rome"], "answer_start": [0, 0]}},
            {"context": "c", "question": "q", "answers": {"text": [], "answer_start": []}},
            {"context": "c", "question": "q", "answers": [{"text": "Oslo", "answer_start": 3}]},
            {"context": "c", "question": "q", "answers": {"text": [], "answer_start": []}},
        ],
        "squad", "exact_match", 0.75, "answer", "answers",
    ),
    "summarize": (
        [{**TEXT, "summary": "old house", "finished": True, "truncated_tokens": 0, "parts": 1}],
        [{**TEXT, "target": "a", "summary": "old house"}],
        "rouge", "rouge1", 1.0, "summary", "summary",
    ),
    "translate": (
        [{**TEXT, "translation": "near the house", "finished": True, "truncated_tokens": 0}],
        [{"source": "a long text", "target": "near the house", "summary": "near"}],
        "chrf", "chrf", 100.0, "translation", "target",
    ),
    "generate": (
        [{"prompt": "p", "texts": ["yes"], "finished": True}], [{"prompt": "p", "response": "yes"}],
        "exact_text", "exact_text", 1.0, "texts", "response",
    ),
    "chat": (
        [{"prompt": "p", "answer": "yes", "finished": True}], [{"prompt": "p", "input": "", "response": "yes"}],
        "exact_text", "exact_text", 1.0, "answer", "response",
    ),
    "evaluate": (
        [{"prediction": 1.5, "reference": 1.0}], [{"prediction": 1.5, "reference": 1.0}],
        "mse", "mse", 0.25, "prediction", "reference",
    ),
    "evaluate, many labels": (
        [{"prediction": {"labels": ["a"], **CLASSIFIED}, "reference": ["a"]}],
        [{"prediction": {"labels": ["a"], **CLASSIFIED}, "reference": ["a"]}],
        "map", "map", 1.0, "prediction", "reference",
    ),
    "evaluate, answers": (
        [{"prediction": "", "reference": []}, {"prediction": "Rome", "reference": ["in Rome", "Rome"]}],
        [{"prediction": "", "reference": []}, {"prediction": "Rome", "reference": ["in Rome", "Rome"]}],
        "squad", "exact_match", 1.0, "prediction", "reference",
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("told", "right", "metric", "name", "value", "told_column", "right_column"), VERBS.values(), ids=VERBS
)
def test_what_a_command_writes_is_compared_with_the_right_answers(
    tmp_path: Path,
    told: list[dict[str, Any]],
    right: list[dict[str, Any]],
    metric: str,
    name: str,
    value: float,
    told_column: str,
    right_column: str,
) -> None:
    evaluation = score(tmp_path, told, right, metric)
    assert evaluation.columns == {"predictions": told_column, "references": right_column}
    assert evaluation.scores.values[name] == pytest.approx(value)


def test_cells_are_read_as_typed_values_are(tmp_path: Path) -> None:
    rows = [{"text": "t", "labels": ["a", "b"]}, {"text": "t", "labels": []}]
    cells = tmp_path / "right.csv"
    cells.write_text('text,labels\nt,"[""b"", ""a""]"\nt,[]\n')
    assert score(tmp_path, rows, cells, "accuracy").scores.values["accuracy"] == 1.0
    table = tmp_path / "right.parquet"
    pq.write_table(pa.table({"text": ["t", "t"], "labels": [["b", "a"], ["a"]]}), table)
    assert score(tmp_path, rows, table, "accuracy").scores.values["accuracy"] == 0.5
    answers = tmp_path / "answers.tsv"
    answers.write_text('question\tanswers\nq\t{"text": ["Rome"], "answer_start": [3]}\nq\t["Oslo", "1912"]\nq\t\n')
    assert score(tmp_path, "Rome\n1912\nno answer\n", answers, "squad").scores.values["exact_match"] == 1.0
    conll = tmp_path / "right.conll"
    conll.write_text("Ada B-PER\nmet O\n\nBob B-PER\n")
    tags = [{"tags": ["B-PER", "O"]}, {"tags": ["O"]}]
    assert score(tmp_path, tags, conll, "entities").scores.values["entity_recall"] == 0.5


@pytest.mark.parametrize(
    ("right", "column"),
    [
        ({"text": "a long text", "stars": "good"}, "stars"),
        ({"id": 1, "text": "a long text", "stars": "good"}, "stars"),
        ({"text": "good"}, "text"),
        ({"id": 7, "text": "good"}, "text"),
        ({"prediction": "bad", "text": "a long text", "label": "good"}, "label"),
    ],
)
def test_the_text_is_compared_only_where_there_is_nothing_else(
    tmp_path: Path, right: dict[str, Any], column: str
) -> None:
    evaluation = score(tmp_path, "good\n", [right], "accuracy")
    assert evaluation.columns == {"predictions": None, "references": column}
    assert evaluation.scores.values["accuracy"] == 1.0


@pytest.mark.parametrize(
    ("right", "metric", "names"),
    [
        ({"text": "t", "target": "a", "summary": "b"}, "rouge", ("target", "summary")),
        ({"text": "t", "stars": "a", "kind": "b"}, "accuracy", ("stars", "kind")),
        ({"text": "t", "label": "a", "labels": ["b"]}, "f1", ("label", "labels")),
        ({"question": "q", "context": "c"}, "rouge", ("question", "context")),
    ],
)
def test_where_two_columns_fit_the_user_is_asked(
    tmp_path: Path, right: dict[str, Any], metric: str, names: tuple[str, str]
) -> None:
    with pytest.raises(UsageError) as caught:
        score(tmp_path, "a\n", [right], metric)
    message = str(caught.value)
    assert all(repr(name) in message for name in names)
    assert "--reference-column" in message
    if metric != "f1":
        scores = score(tmp_path, "a\n", [right], metric, reference_column=names[0]).scores.values
        assert scores


def test_two_results_in_one_file_of_predictions_are_refused(tmp_path: Path) -> None:
    told = [{**TEXT, "summary": "a", "translation": "b"}]
    with pytest.raises(UsageError, match="--prediction-column"):
        score(tmp_path, told, "a\n", "rouge")
    evaluation = score(tmp_path, told, "b\n", "exact_text", prediction_column="translation")
    assert evaluation.scores.values["exact_text"] == 1.0


@pytest.mark.parametrize(
    ("told", "right", "metric", "place", "found"),
    [
        ([{"prediction": "1"}, {"prediction": "many"}], "1\n2\n", "mse", "told.jsonl:2", "many"),
        ([{"prediction": "a"}, {"prediction": ["a"]}], "a\nb\n", "accuracy", "told.jsonl:1", "text"),
        ([{"prediction": 1.5}], "1\n", "accuracy", "told.jsonl:1", "1.5"),
        ([{"prediction": ["a"]}], "a\n", "accuracy", "told.jsonl:1", "list"),
        ("a\n", [{"label": ["a"]}], "f1", "right.jsonl:1", "list"),
        ([{"prediction": ["a"]}], [{"label": ["a"]}], "mcc", "told.jsonl:1", "list"),
        ([{**TEXT, "value": 1.5, "truncated_tokens": 0}], "1\n", "accuracy", "told.jsonl:1", "1.5"),
        ([{"prediction": "a"}], [{"reference": ["a", 3]}], "rouge", "right.jsonl:1", "list"),
        ([{"prediction": 3}], "3\n", "rouge", "told.jsonl:1", "number 3"),
        ([{"prompt": "p", "texts": ["a", "b"]}], "a\n", "rouge", "told.jsonl:1", "list"),
        ([{**TEXT, "entities": SPANS}], [{"words": ["a"], "tags": ["O"]}], "entities", "right.jsonl:1", "list"),
        ([{**TEXT, "entities": [SPANS[0], SPANS[0]]}], [{"spans": SPANS}], "entities", "told.jsonl:1", "overlaps"),
        ([{**TEXT, "labels": ["a"]}], [{"labels": ["a"]}], "map", "told.jsonl:1", "list"),
        ([{"text": "t", "translation": {"en": "a", "de": "b"}}], "b\n", "bleu", "told.jsonl:1", "object"),
        ([{"label": None}], "b\n", "accuracy", "told.jsonl:1", "null"),
        ("B-X\n", [{"tags": ["B-X"]}], "entities", "told.txt:1", "B-X"),
    ],
)
def test_a_value_that_a_metric_cannot_compare_is_an_error_with_its_place(
    tmp_path: Path, told: Any, right: Any, metric: str, place: str, found: str
) -> None:
    with pytest.raises(DataError) as caught:
        score(tmp_path, told, right, metric)
    assert place in str(caught.value)
    assert found in str(caught.value)


def test_probabilities_of_other_labels_are_refused(tmp_path: Path) -> None:
    told = [{"labels": ["a"], "probabilities": {name: 0.5}} for name in ("a", "b")]
    with pytest.raises(DataError, match=r"told\.jsonl:2"):
        score(tmp_path, told, [{"labels": ["a"]}] * 2, "map")


def test_labels_as_classify_prints_them_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--output"):
        score(tmp_path, "good\t0.9000\nbad\t0.8000\n", "good\nbad\n", "accuracy")
    assert score(tmp_path, "good\nbad\n", "good\nbad\n", "accuracy").scores.values["accuracy"] == 1.0


def test_a_key_of_objects_is_named_as_in_a_recipe(tmp_path: Path) -> None:
    right = [{"translation": {"en": "a b", "de": "c d"}}]
    evaluation = score(tmp_path, "c d\n", right, "exact_text", reference_column="translation.de")
    assert evaluation.scores.values["exact_text"] == 1.0


def test_one_column_can_be_named_for_each_file_or_for_both(tmp_path: Path) -> None:
    told, right = [{"one": "a", "two": "b"}], [{"one": "b", "two": "a"}]
    assert score(tmp_path, told, right, "accuracy", column="one").scores.values["accuracy"] == 0
    each = score(tmp_path, told, right, "accuracy", prediction_column="one", reference_column="two")
    assert each.scores.values["accuracy"] == 1
    assert score(tmp_path, told, right, "accuracy", column="one", reference_column="two").columns == each.columns
    with pytest.raises(UsageError, match=facts("plain text", "--prediction-column")):
        score(tmp_path, "a\n", right, "accuracy", prediction_column="one")
    with pytest.raises(DataError, match=facts("told.jsonl:", "'on'", "'one'", "--prediction-column")):
        score(tmp_path, told, right, "accuracy", prediction_column="on", reference_column="two")


def test_metrics_of_several_kinds_share_the_columns_and_each_reads_them_its_way(tmp_path: Path) -> None:
    scores = score(tmp_path, [{"prediction": "1"}], [{"reference": "1.0"}], "accuracy", "mse").scores.values
    assert scores == {"accuracy": 0.0, "majority_share": 1.0, "mse": 0.0}


def test_quotes_in_a_table_are_read_as_the_option_says(tmp_path: Path) -> None:
    right = tmp_path / "right.tsv"
    right.write_text('text\tsummary\nt\t"All quiet."\n')
    with pytest.raises(DataError, match="--quoting"):
        score(tmp_path, "All quiet.\n", right, "exact_text")
    assert score(tmp_path, "All quiet.\n", right, "exact_text", quoting="csv").scores.values["exact_text"] == 1
    assert score(tmp_path, '"All quiet."\n', right, "exact_text", quoting="none").scores.values["exact_text"] == 1


def test_evaluate_says_which_columns_it_compared(tmp_path: Path) -> None:
    told = written(tmp_path / "told.jsonl", [{**TEXT, "summary": "a b"}])
    right = written(tmp_path / "right.jsonl", [{**TEXT, "target": "a b", "other": "c"}])
    arguments = ("evaluate", "--predictions", told, "--references", right, "--metric", "exact_text")
    (record,) = command_line(*arguments, "--json").records
    assert record["columns"] == {"predictions": "summary", "references": "target"}
    shown = command_line(*arguments).out.splitlines()[1]
    assert "'summary'" in shown
    assert "'target'" in shown
    named = command_line(*arguments, "--prediction-column", "text", "--reference-column", "text", "--json").records[0]
    assert named["scores"] == {"exact_text": 1.0}
    refused = command_line("evaluate", "--model", "x", "--reference-column", "text")
    assert refused.code == 2


def test_all_that_classify_writes_can_be_scored_against_the_rows_it_read(own_runs: Path) -> None:
    assert command_line("classify", "rows.jsonl", "--model", "runs/classify-001", "-o", "told.jsonl").code == 0
    files = llmkit.score_files("told.jsonl", "rows.jsonl", metrics=["accuracy", "f1"])
    model = llmkit.evaluate_model("runs/classify-001", data=["rows.jsonl"], metrics=["accuracy", "f1"])
    assert {name: model.scores.values[name] for name in files.scores.values} == files.scores.values


@pytest.mark.parametrize("unit", ["characters", "utf-16", "bytes"])
def test_spans_of_references_are_compared_whatever_their_offsets_count(tmp_path: Path, unit: str) -> None:
    text = "\N{SMILING FACE WITH SUNGLASSES} Ada met Zoë"
    sizes = {
        "characters": lambda end: end,
        "utf-16": lambda end: len(text[:end].encode("utf-16-le")) // 2,
        "bytes": lambda end: len(text[:end].encode()),
    }
    told, right = ([], [])
    for word in ("Ada", "Zoë"):
        start, end = text.index(word), text.index(word) + len(word)
        told.append({"start": start, "end": end, "label": "X", "text": word, "score": 1.0})
        right.append({"start": sizes[unit](start), "end": sizes[unit](end), "label": "X", "text": word})
    found = score(tmp_path, [{"text": text, "entities": told}], [{"text": text, "spans": right}], "entities")
    assert found.scores.values["entity_f1"] == 1.0

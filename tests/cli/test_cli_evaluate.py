"""`evaluate`: files against files, a run on its own rows, a model folder on given rows."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from encoder_folders import encoder_folders
from facts import says
from tiny_recipes import llmkit, write_jsonl


def test_texts_against_themselves_have_rouge_1_in_every_script(tmp_path: Path) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("the cat sat down\n今天天气很好\nпривет мир\n", encoding="utf-8")
    outcome = llmkit("evaluate", "--predictions", texts, "--references", texts, "--metric", "rouge", "--json")
    (record,) = outcome.records
    assert (outcome.code, record["rows"]) == (0, 3)
    assert record["scores"] == pytest.approx({"rouge1": 1, "rouge2": 1, "rougeL": 1, "rougeLsum": 1})


def test_an_empty_prediction_keeps_its_row_and_costs_its_share(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("yes\n\nno\nyes\n")
    (tmp_path / "r.txt").write_text("yes\nno\nno\nyes\n")
    outcome = llmkit(
        "evaluate", "--predictions", tmp_path / "p.txt", "--references", tmp_path / "r.txt", "--metric", "accuracy"
    )
    assert outcome.code == 0
    assert outcome.out.startswith("4 rows: ")
    assert re.search(r"^  accuracy +0\.7500  \[0\.\d{4}, [01]\.\d{4}\]$", outcome.out, re.MULTILINE)


@pytest.mark.parametrize("name", ["p.jsonl", "p.csv"])
def test_empty_predictions_of_files_with_columns_keep_their_rows_too(tmp_path: Path, name: str) -> None:
    if name == "p.csv":
        (tmp_path / name).write_text('prediction\nyes\n""\nno\n')
    else:
        write_jsonl(tmp_path / name, [{"prediction": text} for text in ("yes", "", "no")])
    write_jsonl(tmp_path / "r.jsonl", [{"reference": text} for text in ("yes", "no", "no")])
    arguments = ("--predictions", tmp_path / name, "--references", tmp_path / "r.jsonl", "--metric", "accuracy")
    (record,) = llmkit("evaluate", *arguments, "--json").records
    assert record["scores"]["accuracy"] == pytest.approx(2 / 3)  # type: ignore[index]


def test_rows_of_a_cluster_count_as_one_and_a_column_that_no_file_has_is_an_error(tmp_path: Path) -> None:
    rows = [{"reference": "yes", "prediction": text, "page": page} for page, text in enumerate(["yes", "no"] * 20)]
    write_jsonl(tmp_path / "rows.jsonl", [row for row in rows for _ in range(4)])
    files = ("--predictions", tmp_path / "rows.jsonl", "--references", tmp_path / "rows.jsonl", "--metric", "accuracy")
    records = [llmkit("evaluate", *files, *extra, "--json").records[0] for extra in ([], ["--cluster", "page"])]
    low, high = np.transpose([record["intervals"]["accuracy"] for record in records])  # type: ignore[index]
    assert low[1] < low[0] - 0.04
    assert high[1] > high[0] + 0.04
    assert [(record["rows"], record["clusters"]) for record in records] == [(160, None), (160, 40)]
    says(llmkit("evaluate", *files, "--cluster", "page").out, "over 40 clusters")
    outcome = llmkit("evaluate", *files, "--cluster", "document")
    assert outcome.code == 2
    says(outcome.err, "error[usage]:", "--cluster", "'document'", "rows.jsonl")


def test_a_row_without_a_cluster_is_an_error_with_its_place(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "p.jsonl", [{"prediction": "yes"}] * 3)
    write_jsonl(tmp_path / "r.jsonl", [{"reference": "yes", "page": page} for page in (1, None, 2)])
    files = ("--predictions", tmp_path / "p.jsonl", "--references", tmp_path / "r.jsonl", "--metric", "accuracy")
    outcome = llmkit("evaluate", *files, "--cluster", "page")
    assert outcome.code == 3
    says(outcome.err, "error[data]:", "r.jsonl:2", "'page'")


def test_the_clusters_in_a_file_that_evaluate_wrote_are_used_without_an_option(tmp_path: Path) -> None:
    pages = ["a", "a", "b", None, None, "b"]
    rows = [
        {"prediction": "yes", "reference": text, "row": row, "cluster": page}
        for row, (text, page) in enumerate(zip(["yes", "no", "no", "yes", "yes", "yes"], pages, strict=True), 1)
    ]
    write_jsonl(tmp_path / "test.predictions.jsonl", rows)
    file = tmp_path / "test.predictions.jsonl"
    (record,) = llmkit(
        "evaluate", "--predictions", file, "--references", file, "--metric", "accuracy", "--json"
    ).records
    assert (record["rows"], record["clusters"]) == (6, 4)
    (record,) = llmkit(
        "evaluate", "--predictions", file, "--references", file, "--metric", "accuracy", "--cluster", "none", "--json"
    ).records
    assert (record["rows"], record["clusters"]) == (6, None)
    write_jsonl(file, [{key: row[key] for key in ("prediction", "reference", "cluster")} for row in rows[:3]])
    (record,) = llmkit(
        "evaluate", "--predictions", file, "--references", file, "--metric", "accuracy", "--json"
    ).records
    assert record["clusters"] is None, "this file may be anyone's"


def test_a_score_without_an_interval_is_null_and_stands_alone(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("1\n1\n1\n")
    (tmp_path / "r.txt").write_text("1\n2\n3\n")
    files = ("--predictions", tmp_path / "p.txt", "--references", tmp_path / "r.txt", "--metric", "pearson")
    (record,) = llmkit("evaluate", *files, "--json").records
    assert record["intervals"] == {"pearson": None}
    outcome = llmkit("evaluate", *files)
    assert "  pearson          0.0000\n" in outcome.out
    assert "95 %" not in outcome.out


def test_files_of_different_lengths_are_refused_with_both_numbers(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("a\nb\n")
    (tmp_path / "r.txt").write_text("a\nb\nc\n")
    outcome = llmkit(
        "evaluate", "--predictions", tmp_path / "p.txt", "--references", tmp_path / "r.txt", "--metric", "rouge"
    )
    assert (outcome.code, outcome.out) == (3, "")
    says(outcome.err, "error[data]:", 2, "predictions", 3, "references")
    assert outcome.err.count("\n") == 1


def test_a_column_can_be_named_and_a_wrong_one_names_those_there_are(tmp_path: Path) -> None:
    rows = write_jsonl(tmp_path / "rows.jsonl", [{"answer": "a", "other": "b"}])
    files = ("--predictions", rows, "--references", rows, "--metric", "accuracy")
    assert llmkit("evaluate", *files, "--column", "answer").code == 0
    wrong = llmkit("evaluate", *files, "--column", "anser")
    assert wrong.code == 3
    says(wrong.err, "'anser'", "'answer', 'other'", '--column "answer"')


@pytest.mark.parametrize(
    ("arguments", "stated"),
    [
        ("--predictions rows.jsonl", ["--predictions and --references"]),
        ("--predictions rows.jsonl --references rows.jsonl", ["--metric", "accuracy", "rouge"]),
        (
            "--predictions rows.jsonl --references rows.jsonl --metric rouge --model x",
            ["model", "--predictions", "--references"],
        ),
        ("--predictions rows.jsonl --references rows.jsonl --metric roug", ["'roug'", "'rouge'"]),
        ("--model runs/classify-001 --metric acuracy", ["'acuracy'", "'accuracy'"]),
        ("--model runs/classify-001 --column body", ["--column", "ROLE=COLUMN"]),
        (
            "--model runs/classify-001 --column texts=body",
            ["'texts'", "classification", "'text'"],
        ),
        ("--model runs/write-001 --metric rouge", ["causal-lm", "predictions"]),
        ("--predictions rows.jsonl --references rows.jsonl --metric rouge --baseline", ["--baseline", "model"]),
        (
            "--predictions rows.jsonl --references rows.jsonl --metric rouge --pooling first",
            ["--pooling", "neighbour_recall"],
        ),
        (
            "--predictions rows.jsonl --references rows.jsonl --metric rouge --column text --column label",
            ["--column", "files"],
        ),
        (
            "--model runs/classify-001 --data rows.jsonl --metric neighbour_recall --baseline",
            ["--baseline", "neighbour_recall"],
        ),
        ("--model runs/classify-001/model --data rows.jsonl --baseline", ["--baseline", "classification", "not a run"]),
        ("--model runs/classify-001/model", ["runs/classify-001/model", "--data"]),
    ],
)
def test_what_cannot_be_measured_is_a_usage_error(here: Path, arguments: str, stated: list[str]) -> None:
    outcome = llmkit("evaluate", *arguments.split())
    assert (outcome.code, outcome.out) == (2, "")
    says(outcome.err, "error[usage]:", *stated)


def test_a_run_is_measured_on_its_own_rows_and_keeps_predictions_beside_references(own_runs: Path) -> None:
    outcome = llmkit("evaluate", "--model", "runs/classify-001")
    assert outcome.code == 0, outcome.err
    says(outcome.err, "warning:", "data.test", "validation")
    folder = own_runs / "runs/classify-001/evaluation"
    kept = json.loads((folder / "validation.json").read_text())
    pairs = [json.loads(line) for line in (folder / "validation.predictions.jsonl").read_text().splitlines()]
    assert len(pairs) == kept["rows"] > 0
    right = sum(pair["prediction"] == pair["reference"] for pair in pairs)
    assert kept["scores"]["accuracy"] == right / len(pairs)
    low, high = kept["intervals"]["accuracy"]
    assert low <= right / len(pairs) <= high
    assert f"  accuracy         {right / len(pairs):.4f}  [{low:.4f}, {high:.4f}]\n" in outcome.out
    says(outcome.out, "95 %", f"over {len(pairs)} rows")
    best = json.loads((own_runs / "runs/classify-001/run.json").read_text())["best"]
    assert kept["scores"] == pytest.approx(best["validation"])
    assert best["intervals"]["accuracy"] == pytest.approx([low, high])


def test_a_model_folder_is_measured_on_given_rows_and_nothing_is_written(here: Path) -> None:
    before = sorted(here.rglob("*"))
    arguments = ("--model", "runs/classify-001/model", "--data", "rows.jsonl", "--metric", "accuracy", "--json")
    (record,) = llmkit("evaluate", *arguments).records
    assert record["rows"] == 80
    assert record["scores"]["accuracy"] > 0.9  # type: ignore[index]
    assert sorted(here.rglob("*")) == before


def test_columns_of_other_names_are_mapped_on_the_command_line(here: Path, tmp_path: Path) -> None:
    rows = write_jsonl(tmp_path / "rows.jsonl", [{"body": "goal team ball", "label": "sport"}] * 3)
    arguments = ("--model", "runs/classify-001/model", "--data", rows, "--json")
    unmapped = llmkit("evaluate", *arguments)
    assert unmapped.code == 3
    assert '--column text="body"' in unmapped.err
    assert llmkit("evaluate", *arguments, "--column", "text=body").records[0]["rows"] == 3


def test_a_language_model_is_measured_by_its_loss(own_runs: Path) -> None:
    (record,) = llmkit("evaluate", "--model", "runs/write-001", "--json").records
    assert list(record["scores"]) == ["loss", "perplexity", "bits_per_byte"]  # type: ignore[call-overload]


def test_rows_that_changed_since_the_training_are_refused_with_the_file_and_both_hashes(own_runs: Path) -> None:
    with (own_runs / "rows.jsonl").open("a") as file:
        file.write('{"text": "a new row", "label": "sport", "summary": "new"}\n')
    outcome = llmkit("evaluate", "--model", "runs/classify-001")
    assert outcome.code == 3
    says(outcome.err, "error[data]:", "rows.jsonl", "runs/classify-001", "sha256")


def test_files_that_came_or_went_since_the_training_are_refused(work: Path) -> None:
    Path("data").mkdir()
    for name in ("a", "b"):
        shutil.copy("rows.jsonl", f"data/{name}.jsonl")
    outcome = llmkit("finetune", "classify.yaml", "--set", "data.train=data", "--set", "train.steps=1")
    assert outcome.code == 0, outcome.err
    shutil.copy("rows.jsonl", "data/c.jsonl")
    added = llmkit("evaluate", "--model", "runs/classify-001")
    assert added.code == 3
    says(added.err, "error[data]:", "data.validation", 3, 2, "runs/classify-001")
    Path("data/c.jsonl").unlink()
    Path("data/b.jsonl").unlink()
    removed = llmkit("evaluate", "--model", "runs/classify-001")
    says(removed.err, "error[data]:", "data.validation", 1, 2, "runs/classify-001")


def test_a_confusion_table_shows_any_label_and_every_count_in_a_pipe(tmp_path: Path) -> None:
    labels = ["[neg]", "[/x]", *(f"a label with a long name {number}" for number in range(30))]
    (tmp_path / "labels.txt").write_text("".join(f"{label}\n" for label in labels for _ in range(1234)))
    files = ("--predictions", tmp_path / "labels.txt", "--references", tmp_path / "labels.txt")
    outcome = llmkit("evaluate", *files, "--metric", "confusion")
    assert outcome.code == 0, outcome.err
    table = outcome.out.split("predicted", 1)[1]
    assert all(table.count(label) == 2 for label in labels[:2])
    assert table.count("1234") == len(labels)
    assert "…" not in table


def test_a_model_folder_is_measured_as_its_run_is(own_runs: Path) -> None:
    sets = ("generation.beams=3", "generation.repetition_penalty=1.5", "max_source_tokens=12")
    outcome = llmkit("finetune", "summarize.yaml", "--run", "own", *(part for key in sets for part in ("--set", key)))
    assert outcome.code == 0, outcome.err
    (by_run,) = llmkit("evaluate", "--model", "own", "--data", "rows.jsonl", "--json").records
    (by_folder,) = llmkit("evaluate", "--model", "own/model", "--data", "rows.jsonl", "--json").records
    assert (by_folder["scores"], by_folder["details"]) == (by_run["scores"], by_run["details"])


def test_a_model_without_a_head_is_sent_to_the_metric_of_vectors(here: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(encoder_folders() / "masked-lm", tmp_path / "encoder")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "architectures": ["BertModel"]}))
    outcome = llmkit("evaluate", "--model", folder, "--data", "rows.jsonl")
    assert outcome.code == 4
    says(outcome.err, "error[model]:", "vectors", "--metric neighbour_recall")


def test_baselines_stand_beside_the_model_in_one_table_in_json_and_in_the_run(own_runs: Path) -> None:
    outcome = llmkit("evaluate", "--model", "runs/classify-001", "--baseline")
    assert outcome.code == 0, outcome.err
    assert re.search(r"^  metric +model +majority class +regression$", outcome.out, re.MULTILINE)
    table = outcome.out[: outcome.out.index("  The model")].splitlines()[1:]
    assert max(map(len, table)) <= 80
    kept = json.loads((own_runs / "runs/classify-001/evaluation/validation.json").read_text())
    assert set(kept["baselines"]) == {"majority", "tfidf-logistic"}
    learnt = kept["baselines"]["tfidf-logistic"]["scores"]["accuracy"]
    assert kept["verdict"]["better"] == (kept["scores"]["accuracy"] > learnt)
    assert f"  {kept['verdict']['text']}\n" in outcome.out
    (record,) = llmkit("evaluate", "--model", "runs/classify-001", "--baseline", "--json").records
    assert record["baselines"] == kept["baselines"]
    assert record["verdict"] == kept["verdict"]


def test_a_baseline_that_learns_nothing_needs_no_run(here: Path) -> None:
    arguments = ("--model", "runs/summarize-001/model", "--data", "rows.jsonl", "--baseline", "--json")
    (record,) = llmkit("evaluate", *arguments).records
    assert list(record["baselines"]) == ["lead-1"]  # type: ignore[call-overload]
    assert record["baseline_train_rows"] == 0


def test_training_rows_that_changed_are_refused_where_a_baseline_would_learn_from_them(own_runs: Path) -> None:
    with (own_runs / "rows.jsonl").open("a") as file:
        file.write('{"text": "a new row", "label": "sport", "summary": "new"}\n')
    write_jsonl(own_runs / "other.jsonl", [{"text": "goal team", "label": "sport"}])
    outcome = llmkit("evaluate", "--model", "runs/classify-001", "--data", "other.jsonl", "--baseline")
    assert outcome.code == 3
    says(outcome.err, "error[data]:", "rows.jsonl", "runs/classify-001", "sha256")

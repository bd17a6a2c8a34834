"""`compare`: runs and files of predictions on the same rows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from facts import says
from tiny_recipes import llmkit, write_jsonl

LABELS = ["pos", "neg"]


def rows(wrong: int, *, count: int = 60, cluster: int | None = None) -> list[dict[str, Any]]:
    """Predictions of which the first so many are wrong."""
    return [
        {
            "prediction": LABELS[(row + (row < wrong)) % 2],
            "reference": LABELS[row % 2],
            "row": row + 1,
            **({"cluster": f"c{row // cluster}"} if cluster else {}),
        }
        for row in range(count)
    ]


def run_with(
    folder: Path, trained: Path, records: list[dict[str, Any]], *, seed: int = 17, steps: int | None = None
) -> Path:
    """A run whose evaluation holds these predictions."""
    (folder / "evaluation").mkdir(parents=True)
    shutil.copy(trained / "runs/classify-001/run.json", folder)
    recipe = (trained / "runs/classify-001/recipe.yaml").read_text()
    lines = [f"  seed: {seed}" if line.startswith("  seed:") else line for line in recipe.splitlines()]
    if steps:
        lines = [f"  batch_size: {steps}" if line.startswith("  batch_size:") else line for line in lines]
    (folder / "recipe.yaml").write_text("\n".join(lines) + "\n")
    write_jsonl(folder / "evaluation/test.predictions.jsonl", records)
    accuracy = sum(row["prediction"] == row["reference"] for row in records) / len(records)
    (folder / "evaluation/test.json").write_text(json.dumps({"scores": {"accuracy": accuracy, "majority_share": 0.5}}))
    return folder


def test_the_better_of_two_runs_is_named_with_its_difference_and_interval(trained: Path, tmp_path: Path) -> None:
    first, second = (
        run_with(tmp_path / name, trained, rows(wrong), seed=wrong) for name, wrong in (("a", 15), ("b", 3))
    )
    (record,) = llmkit("compare", first, second, "--json").records
    [found] = record["differences"]
    assert (record["rows"], record["clusters"], record["split"]) == (60, None, "test")
    assert (found["score"], found["test"], found["significant"]) == ("accuracy", "McNemar", True)
    assert found["difference"] == pytest.approx(0.2)
    assert found["interval"][0] < 0.2 < found["interval"][1]
    outcome = llmkit("compare", first, second)
    says(outcome.out, "accuracy", "B is better than A", "0.2000")
    assert max(map(len, outcome.out.splitlines())) <= 80
    assert "\x1b" not in outcome.out


def test_a_small_difference_is_no_evidence_and_says_what_could_have_been_shown(tmp_path: Path) -> None:
    files = [write_jsonl(tmp_path / f"{wrong}.jsonl", rows(wrong)) for wrong in (6, 7)]
    (record,) = llmkit("compare", *files, "--metric", "accuracy", "--json").records
    [found] = record["differences"]
    assert not found["significant"]
    assert found["smallest_difference"] == pytest.approx(2.8 / 60, rel=0.3)
    says(found["text"], "no evidence of a difference")


def test_files_take_references_from_another_file(tmp_path: Path) -> None:
    gold = write_jsonl(tmp_path / "gold.jsonl", [{"summary": f"the cat sat on {row}"} for row in range(20)])
    first = write_jsonl(tmp_path / "a.jsonl", [{"summary": f"the cat sat on {row}"} for row in range(20)])
    second = write_jsonl(tmp_path / "b.jsonl", [{"summary": f"a dog sat on {row}"} for row in range(20)])
    (record,) = llmkit("compare", first, second, "--references", gold, "--metric", "rouge", "--json").records
    by_score = {found["score"]: found for found in record["differences"]}
    assert set(by_score) == {"rouge1", "rouge2", "rougeL", "rougeLsum"}
    assert by_score["rouge1"]["values"] == [1.0, pytest.approx(0.6)]
    assert by_score["rouge1"]["test"] == "randomisation of rows"


def test_clusters_are_the_units_where_a_file_names_them(tmp_path: Path) -> None:
    files = [write_jsonl(tmp_path / f"{wrong}.jsonl", rows(wrong, cluster=10)) for wrong in (0, 10)]
    (record,) = llmkit("compare", *files, "--metric", "accuracy", "--json").records
    [found] = record["differences"]
    assert record["clusters"] == 6
    assert found["test"] == "randomisation of clusters"
    assert found["p_value"] == 0.5  # one cluster of six differs, which either system could have got right


def test_clusters_of_files_and_runs_can_be_ignored(trained: Path, tmp_path: Path) -> None:
    records = {wrong: rows(wrong, cluster=10) for wrong in (0, 10)}
    files = [write_jsonl(tmp_path / f"{wrong}.jsonl", lines) for wrong, lines in records.items()]
    runs = [run_with(tmp_path / f"r{wrong}", trained, lines, steps=wrong + 1) for wrong, lines in records.items()]
    for systems in ([*files, "--metric", "accuracy"], runs):
        (record,) = llmkit("compare", *systems, "--cluster", "none", "--json").records
        assert record["clusters"] is None
        assert record["differences"][0]["test"] == "McNemar"
    assert llmkit("compare", *runs, "--cluster", "cluster").code == 2


def test_a_column_of_the_references_can_name_the_clusters(tmp_path: Path) -> None:
    gold = write_jsonl(tmp_path / "gold.jsonl", [{"label": "neg", "page": row // 5} for row in range(30)])
    files = [
        write_jsonl(tmp_path / f"{wrong}.jsonl", [{"label": "pos" if row < wrong else "neg"} for row in range(30)])
        for wrong in (3, 9)
    ]
    options = ("--references", gold, "--metric", "accuracy", "--cluster", "page", "--json")
    (record,) = llmkit("compare", *files, *options).records
    assert record["clusters"] == 6
    unknown = llmkit("compare", *files, "--references", gold, "--metric", "accuracy", "--cluster", "pages")
    assert unknown.code == 2
    says(unknown.err, "--cluster", "'pages'")


@pytest.mark.parametrize(
    ("change", "stated"),
    [
        ({"reference": "neg"}, ("row 3", "the reference", "neg")),
        ({"row": 9}, ("row 3", "9")),
        ({"cluster": "other"}, ("row 3", "cluster", "other")),
    ],
)
def test_the_first_row_that_differs_is_named(tmp_path: Path, change: dict[str, Any], stated: tuple[str, ...]) -> None:
    records = rows(2, cluster=5)
    changed = [{**record, **(change if row == 2 else {})} for row, record in enumerate(records)]
    first, second = write_jsonl(tmp_path / "a.jsonl", records), write_jsonl(tmp_path / "b.jsonl", changed)
    outcome = llmkit("compare", first, second, "--metric", "accuracy")
    assert (outcome.code, outcome.out) == (3, "")
    says(outcome.err, "error[data]:", *stated, "same rows")


def test_files_of_different_lengths_are_refused_with_both_numbers(tmp_path: Path) -> None:
    files = [write_jsonl(tmp_path / f"{count}.jsonl", rows(2, count=count)) for count in (20, 21)]
    outcome = llmkit("compare", *files, "--metric", "accuracy")
    assert outcome.code == 3
    says(outcome.err, "20 rows", "21")


def test_seeds_of_a_recipe_are_one_system_with_their_spread(trained: Path, tmp_path: Path) -> None:
    seeds = [run_with(tmp_path / f"a-{seed}", trained, rows(wrong), seed=seed) for seed, wrong in ((1, 4), (2, 8))]
    other = run_with(tmp_path / "b", trained, rows(5), steps=7)
    (joined,) = llmkit("compare", f"{seeds[0]},{seeds[1]}", other, "--json").records
    (detected,) = llmkit("compare", *seeds, other, "--json").records
    assert joined == detected
    assert [len(system["members"]) for system in joined["systems"]] == [2, 1]
    assert joined["systems"][0]["scores"]["accuracy"] == pytest.approx(0.9)
    assert joined["systems"][0]["spread_between_seeds"]["accuracy"] == pytest.approx(4 / 60 / 2**0.5)
    assert joined["differences"][0]["standard_error_of_seeds"] > 0


def test_two_seeds_alone_are_two_systems(trained: Path, tmp_path: Path) -> None:
    seeds = [run_with(tmp_path / f"a-{seed}", trained, rows(seed), seed=seed) for seed in (1, 2)]
    (record,) = llmkit("compare", *seeds, "--json").records
    assert [len(system["members"]) for system in record["systems"]] == [1, 1]


def test_runs_of_other_recipes_cannot_be_joined_as_seeds(trained: Path, tmp_path: Path) -> None:
    runs = [run_with(tmp_path / f"{steps}", trained, rows(3), steps=steps) for steps in (3, 4, 5)]
    outcome = llmkit("compare", f"{runs[0]},{runs[1]}", runs[2])
    assert outcome.code == 2
    says(outcome.err, "error[usage]:", "batch_size")


def test_three_systems_are_corrected_and_markdown_has_their_table(tmp_path: Path) -> None:
    files = [write_jsonl(tmp_path / f"{wrong}.jsonl", rows(wrong)) for wrong in (2, 12, 13)]
    (record,) = llmkit("compare", *files, "--metric", "accuracy", "--json").records
    assert [(found["first"], found["second"]) for found in record["differences"]] == [
        ("A", "B"),
        ("A", "C"),
        ("B", "C"),
    ]
    assert all(found["p_corrected"] >= found["p_value"] for found in record["differences"])
    says(llmkit("compare", *files, "--metric", "accuracy", "--markdown").out, "| difference | score |", "Holm")


@pytest.mark.parametrize(
    ("arguments", "code", "stated"),
    [
        (["a.jsonl"], 2, ("two or more",)),
        (["a.jsonl", "a.jsonl", "--metric", "accuracy"], 2, ("a.jsonl", "twice")),
        (["a.jsonl", "b.jsonl"], 2, ("--metric",)),
        (["a.jsonl", "b.jsonl", "--metric", "acuracy"], 2, ("'acuracy'", "'accuracy'")),
        (["a.jsonl", "b.jsonl", "--metric", "evaluate:wer"], 2, ("evaluate:wer",)),
        (["a.jsonl", "nothing", "--metric", "accuracy"], 4, ("nothing", "neither a run nor a file")),
        (["a.jsonl", "bad.jsonl", "--metric", "accuracy"], 3, ("bad.jsonl:1",)),
        (["one.jsonl", "two.jsonl", "--metric", "accuracy"], 3, ("two rows",)),
    ],
)
def test_what_cannot_be_compared_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, stated: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        write_jsonl(tmp_path / f"{name}.jsonl", rows(2))
    for name in ("one", "two"):
        write_jsonl(tmp_path / f"{name}.jsonl", rows(0, count=1))
    (tmp_path / "bad.jsonl").write_text("{not json}\n")
    outcome = llmkit("compare", *arguments)
    assert (outcome.code, outcome.out) == (code, "")
    says(outcome.err, *stated)


def test_a_run_that_was_not_evaluated_names_the_command(trained: Path, tmp_path: Path) -> None:
    first = run_with(tmp_path / "a", trained, rows(2))
    second = run_with(tmp_path / "b", trained, rows(2), seed=3)
    shutil.rmtree(second / "evaluation")
    outcome = llmkit("compare", first, second)
    assert outcome.code == 4
    says(outcome.err, "error[run]:", f"llmkit evaluate --model {second}")


def test_losses_with_other_targets_are_left_out_and_said(tmp_path: Path) -> None:
    first = [{**row, "loss": 0.5 + row["row"] / 100, "targets": 1} for row in rows(2)]
    second = [{**row, "loss": 0.4 + row["row"] / 100, "targets": 1} for row in rows(2)]
    files = [write_jsonl(tmp_path / f"{name}.jsonl", side) for name, side in (("a", first), ("b", second))]
    (record,) = llmkit("compare", *files, "--metric", "accuracy", "--json").records
    loss = next(found for found in record["differences"] if found["score"] == "loss")
    assert loss["difference"] == pytest.approx(-0.1)
    says(loss["text"], "B is better than A")
    write_jsonl(tmp_path / "b.jsonl", [{**row, "targets": 2} for row in second])
    (record,) = llmkit("compare", *files, "--metric", "accuracy", "--json").records
    assert [found["score"] for found in record["differences"]] == ["accuracy"]
    says(record["notes"][0], "loss")


def test_evaluated_runs_are_compared_with_their_probabilities_and_losses(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(trained / "runs/classify-001", tmp_path / "a")
    monkeypatch.chdir(trained)
    evaluated = llmkit("evaluate", "--model", tmp_path / "a")
    assert evaluated.code == 0, evaluated.err
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    outcome = llmkit("compare", tmp_path / "a", tmp_path / "b", "--json")
    assert outcome.code == 0, outcome.err
    [record] = outcome.records
    assert {"accuracy", "f1_macro", "ece", "loss"} <= {found["score"] for found in record["differences"]}
    assert all(found["difference"] == 0 for found in record["differences"])

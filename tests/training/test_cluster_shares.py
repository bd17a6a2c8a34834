"""Shares of the training rows never split a cluster, and rows without clusters are split as ever."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from llmkit.data.splits import split_of
from llmkit.errors import DataError
from llmkit.runs.folder import Run
from llmkit.tasks import RECIPES
from llmkit.training.cluster_shares import splits_of_clusters
from llmkit.training.row_checks import check_rows
from llmkit.training.splits import Split, SplitRows, open_splits, warn_of_shared_texts
from tests.facts import logged, says

MODEL = {"architecture": "bert", "size": "tiny"}


def splits(path: Path, task: str = "classification", **data: Any) -> dict[Split, SplitRows]:
    data = {"train": (str(path),), "validation": "20%", **data}
    recipe = RECIPES[task].model_validate({"recipe": 1, "task": task, "model": MODEL, "data": data})
    found = open_splits(recipe)
    check_rows(recipe, found)
    return found


def reports(path: Path, *, patients: int = 30, bad: bool = False) -> Path:
    """Patients with one to five reports, some of them with the same text."""
    rows = [
        {"text": f"report {visit} of {patient if visit % 2 else 'all'}", "label": "ab"[visit % 2], "patient": patient}
        for patient in range(patients)
        for visit in range(1 + patient % 5)
    ]
    lines = [json.dumps(row) for row in rows]
    if bad:
        lines[3:3] = ["{", json.dumps({**rows[0], "patient": ""}), json.dumps({**rows[0], "text": ""})]
    path.write_text("\n".join(lines))
    return path


@pytest.mark.parametrize("bad", [False, True])
@pytest.mark.parametrize(("test", "least"), [(None, 60), ("30%", 40)])
def test_no_cluster_is_in_two_splits_and_every_row_is_in_one(
    tmp_path: Path, test: str | None, least: int, bad: bool
) -> None:
    path = reports(tmp_path / "a.jsonl", bad=bad)
    found = splits(path, cluster="patient", test=test, skip_bad_rows=bad)
    rows = {name: list(split) for name, split in found.items()}
    clusters = {name: {row.cluster for row in split} for name, split in rows.items()}
    names = sorted(clusters)
    assert all(not clusters[a] & clusters[b] for a in names for b in names if a < b)
    assert sum(map(len, rows.values())) == len({row.place for split in rows.values() for row in split}) == 90
    assert abs(len(rows["validation"]) - 18) <= 2
    assert len(rows["train"]) >= least
    again = splits(path, cluster="patient", test=test, skip_bad_rows=bad)
    assert {name: list(split) for name, split in again.items()} == rows


def test_rows_without_clusters_are_split_by_their_text_alone(tmp_path: Path) -> None:
    for row in splits(reports(tmp_path / "a.jsonl"))["validation"]:
        assert split_of(row.fields["text"], validation=0.2, test=0) == "validation"
        assert row.cluster is None


def test_questions_on_one_passage_are_split_by_the_passage_as_ever(tmp_path: Path) -> None:
    rows = [
        {"context": f"Passage {number} says {word}.", "question": f"what {word}?", "answers": {"text": [word]}}
        for number in range(40)
        for word in ("red", "blue")
    ]
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(json.dumps(row).replace(" says blue", " says red, blue") for row in rows))
    path.write_text(path.read_text().replace("says red.", "says red, blue."))
    found = {name: list(split) for name, split in splits(path, "question-answering").items()}
    for name, split in found.items():
        assert all(split_of(row.fields["context"], validation=0.2, test=0) == name for row in split)
        assert [row.cluster for row in split] == [row.fields["context"] for row in split]


def test_a_share_of_a_conll_file_takes_whole_documents(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    documents = [
        "-DOCSTART- O\n\n" + "".join(f"w{n}x{k} {'B-X' if k else 'O'}\n\n" for k in range(4)) for n in range(9)
    ]
    path.write_text("".join(documents))
    found = splits(path, "token-classification", validation="25%")
    clusters = {name: {row.cluster for row in split} for name, split in found.items()}
    assert len(clusters["validation"]) == 2
    assert len(clusters["train"]) == 7
    assert not clusters["train"] & clusters["validation"]


def test_clusters_of_the_task_and_of_the_files_can_be_turned_off(tmp_path: Path) -> None:
    documents, questions = tmp_path / "a.conll", tmp_path / "a.jsonl"
    documents.write_text("".join("-DOCSTART- O\n\n" + f"w{n} B-X\n\nv{n} O\n\n" for n in range(40)))
    rows = [
        {"context": f"Red or {n}.", "question": f"{what}?", "answers": {"text": ["Red"]}}
        for n in range(40)
        for what in "ab"
    ]
    questions.write_text("\n".join(map(json.dumps, rows)))
    for path, task in ((documents, "token-classification"), (questions, "question-answering")):
        clustered, plain = (splits(path, task, **keys) for keys in ({}, {"cluster": "none"}))
        assert all(row.cluster is not None for split in clustered.values() for row in split)
        assert all(row.cluster is None for split in plain.values() for row in split)
        assert plain["train"].source.clusters.name is None
    for row in splits(documents, "token-classification", cluster="none")["validation"]:
        assert split_of("\0".join(row.fields["words"]), validation=0.2, test=0) == "validation"


def test_a_run_that_split_documents_keeps_its_splits(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    path.write_text("".join("-DOCSTART- O\n\n" + f"w{n} B-X\n\nv{n} O\n\n" for n in range(20)))
    keys = {"recipe": 1, "task": "token-classification", "model": MODEL}
    data = {"train": (str(path),), "validation": "25%"}
    recipe = RECIPES["token-classification"].model_validate({**keys, "data": data})
    for clusters, whole in (({}, False), ({"clusters": None}, False), ({"clusters": "document"}, True)):
        (tmp_path / "data.json").write_text(json.dumps({"sources": {}, **clusters}))
        for row in open_splits(recipe, run=Run(tmp_path))["validation"]:
            by_text = split_of("\0".join(row.fields["words"]), validation=0.25, test=0) == "validation"
            assert (row.cluster is not None) == whole
            assert by_text or whole


def test_the_rows_of_a_split_are_as_near_to_the_share_as_whole_clusters_allow() -> None:
    sizes = {f"c{number}": size for number, size in enumerate([50, 3, 3, 3, 2, 2, 1, 1, 1, 34])}
    for share in (0.02, 0.05, 0.07):
        splits = splits_of_clusters(sizes, validation=share, test=share)
        for name in ("validation", "test"):
            rows = sum(sizes[cluster] for cluster, split in splits.items() if split == name)
            assert abs(rows - 100 * share) < 1.5
    assert list(splits_of_clusters({"a": 99, "b": 2, "c": 60}, validation=0.001, test=0).values()) == [
        "train", "validation", "train",
    ]  # fmt: skip
    assert sorted(splits_of_clusters({"a": 1, "b": 1, "c": 1}, validation=0.45, test=0.45).values()) == [
        "test", "train", "validation",
    ]  # fmt: skip


def test_fewer_clusters_than_splits_are_an_error(tmp_path: Path) -> None:
    found = splits(reports(tmp_path / "a.jsonl", patients=2), cluster="patient", test="20%")
    with pytest.raises(DataError) as caught:
        list(found["validation"])
    says(str(caught.value), "data.cluster", "2 values", "3 splits")


def test_clusters_and_texts_of_two_splits_are_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="llmkit")
    found = splits(reports(tmp_path / "a.jsonl"), cluster="patient")
    warn_of_shared_texts(found)
    assert logged(caplog, "INFO", "validation", "of 30 clusters", "of 90 rows")
    assert logged(caplog, "WARNING", "validation", "texts", "training rows")
    assert not logged(caplog, "WARNING", "clusters")
    separate = reports(tmp_path / "b.jsonl", patients=3)
    warn_of_shared_texts(splits(tmp_path / "a.jsonl", cluster="patient", validation=(str(separate),)))
    assert logged(caplog, "WARNING", "validation", "6 of 6", "clusters")


def test_other_clusters_are_other_rows_for_the_cache(tmp_path: Path) -> None:
    path = reports(tmp_path / "a.jsonl")
    identities = {splits(path, cluster=column)["train"].identity() for column in (None, "patient", "label")}
    assert len(identities) == 3

"""`data.cluster`: which rows are not independent, as every reader of rows finds it."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llmkit.data.bad_rows import OnBadRow
from llmkit.data.clusters import Clusters
from llmkit.data.fields import Fields
from llmkit.data.rows import RowSource
from llmkit.data.sources import open_rows
from llmkit.errors import DataError
from tests.facts import says

TYPES: Mapping[str, Any] = {"text": "text", "label": "label"}
ROWS = [
    {"text": "one", "label": "a", "ward": "north"},
    {"text": "two", "label": "b", "ward": 7},
    {"text": "", "label": "a", "ward": "north"},
    {"text": "three", "label": "a", "ward": "north"},
]


def source(
    paths: Sequence[Path],
    column: str | None = "ward",
    *,
    types: Mapping[str, Any] = TYPES,
    on_bad_row: OnBadRow = "list",
    **clusters: Any,
) -> RowSource:
    fields = Fields(column_types=types, clusters=Clusters(column, **clusters))
    return open_rows([str(path) for path in paths], fields, on_bad_row=on_bad_row)


def written(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.table({key: [str(row[key]) for row in rows] for key in rows[0]}), path)
    elif path.suffix == ".csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    else:
        lines = [json.dumps(row) for row in rows]
        path.write_text("[" + ",".join(lines) + "]" if path.suffix == ".json" else "\n".join(lines))
    return path


@pytest.mark.parametrize("extension", ["csv", "jsonl", "json", "parquet"])
def test_each_format_gives_the_cluster_and_the_number_of_a_row_beside_its_fields(
    tmp_path: Path, extension: str
) -> None:
    rows = list(source([written(tmp_path / f"a.{extension}", ROWS)]))
    assert [(row.cluster, row.number, row.file) for row in rows] == [("north", 1, ""), ("7", 2, ""), ("north", 4, "")]
    assert all(row.fields.keys() == {"text", "label"} for row in rows)


def test_rows_of_several_files_share_clusters_and_name_their_file(tmp_path: Path) -> None:
    paths = [written(tmp_path / name, ROWS[:2]) for name in ("a.jsonl", "b.csv")]
    rows = list(source(paths))
    assert [row.cluster for row in rows] == ["north", "7", "north", "7"]
    assert [(row.file, row.number) for row in rows] == [
        (path.as_posix(), number) for path in paths for number in (1, 2)
    ]


def test_a_key_of_an_object_and_a_field_of_the_task_can_be_the_cluster(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", [{"text": "t", "label": "x", "meta": {"ward": True}}])
    assert [row.cluster for row in source([path], "meta.ward")] == ["true"]
    assert [(row.cluster, row.fields["label"]) for row in source([path], "label")] == [("x", "x")]


@pytest.mark.parametrize("value", ["", "  ", None, 1.5, {"id": 3}, ["a", "b"], "\0", "\ud800"])
def test_a_row_without_a_usable_cluster_is_a_bad_row_and_can_be_left_out(tmp_path: Path, value: object) -> None:
    path = written(tmp_path / "a.jsonl", [ROWS[0], {**ROWS[1], "ward": value}, ROWS[3]])
    with pytest.raises(DataError) as caught:
        list(source([path]))
    says(str(caught.value), f"{path.as_posix()}:2", "ward")
    rows = list(source([path], on_bad_row="skip"))
    assert [(row.number, row.cluster) for row in rows] == [(1, "north"), (3, "north")]


def test_a_column_that_no_table_has_is_an_error_with_the_nearest_name(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", ROWS)
    with pytest.raises(DataError) as caught:
        source([path], "wards")
    says(str(caught.value), path.as_posix(), "data.cluster", "'wards'", "'ward'")


def test_a_table_may_lack_a_column_that_is_not_required_and_its_rows_are_alone(tmp_path: Path) -> None:
    with_it, without = written(tmp_path / "a.jsonl", ROWS), written(tmp_path / "b.jsonl", [{"text": "t", "label": "x"}])
    rows = source([with_it, without], is_required=False)
    assert rows.tables_without_clusters() == [without.as_posix()]
    assert [row.cluster for row in rows] == ["north", "7", "north", None]
    with pytest.raises(DataError) as caught:
        source([with_it, without])
    says(str(caught.value), without.as_posix(), "ward")


# ---- words and documents

WORDS: Mapping[str, Any] = {"words": "words", "tags": "labels", "sentence": "any"}
TWO_DOCUMENTS = "-DOCSTART- -X- O\n\nAda NN B-PER\nsleeps VB O\n\nShe VB O\n\n-DOCSTART- -X- O\n\nBern NN B-LOC\n"
NEW_DOCUMENTS = "# newdoc id = a\nAda\tB-PER\n\nShe\tO\n\n# newdoc\n# text = x\nBern\tB-LOC\n\nIt\tO\n"


def words_of(*paths: Path, column: str | None = None) -> list[str | None]:
    return [row.cluster for row in source(paths, column, types=WORDS)]


@pytest.mark.parametrize(("text", "sizes"), [(TWO_DOCUMENTS, (2, 1)), (NEW_DOCUMENTS, (2, 2))])
@pytest.mark.parametrize("column", [None, "document"])
def test_documents_that_a_conll_file_marks_are_clusters(
    tmp_path: Path, text: str, sizes: tuple[int, int], column: str | None
) -> None:
    path = tmp_path / "a.conll"
    path.write_text(text)
    clusters = words_of(path, column=column)
    assert len(set(clusters[: sizes[0]])) == 1
    assert len(set(clusters[sizes[0] :])) == 1
    assert len(set(clusters)) == 2
    assert len(clusters) == sum(sizes)


def test_documents_of_two_files_are_different_clusters(tmp_path: Path) -> None:
    paths = [tmp_path / "a.conll", tmp_path / "b.conll"]
    for path in paths:
        path.write_text(TWO_DOCUMENTS.partition("-DOCSTART- -X- O\n\nBern")[0])  # one document each
    clusters = words_of(*paths)
    assert clusters[0] == clusters[1] != clusters[2] == clusters[3]
    assert words_of(paths[0]) == [None, None], "a file with one document has no clusters"


def test_a_file_without_marks_has_no_documents(tmp_path: Path) -> None:
    marked, plain = tmp_path / "a.conll", tmp_path / "b.conll"
    marked.write_text(TWO_DOCUMENTS)
    plain.write_text("Ada NN B-PER\n\nShe VB O\n")
    assert words_of(plain) == [None, None]
    assert set(words_of(marked, plain)) == {None}
    with pytest.raises(DataError) as caught:
        words_of(plain, column="document")
    says(str(caught.value), "data.cluster", "'document'")


def test_a_sentence_belongs_to_the_cluster_that_its_words_name(tmp_path: Path) -> None:
    header, cells = "sentence_id,words,tags,paper\n", ["0,Ada,B-PER,p1\n", "0,sleeps,O,\n", "1,Bern,B-LOC,p2\n"]
    path = tmp_path / "a.csv"
    path.write_text(header + "".join(cells[:1]) + "0,sleeps,O,p1\n" + cells[2])
    assert words_of(path, column="paper") == ["p1", "p2"]
    path.write_text(header + "".join(cells))  # as spreadsheets have it: only in the first row
    assert words_of(path, column="paper") == ["p1", "p2"]
    conll = tmp_path / "b.conll"
    conll.write_text("d1 Ada B-PER\nd1 sleeps O\n\nd2 Bern B-LOC\nd1 sleeps O\n")
    with pytest.raises(DataError) as caught:
        words_of(conll, column="1")
    says(str(caught.value), f"{conll.as_posix()}:4", "2 different values")

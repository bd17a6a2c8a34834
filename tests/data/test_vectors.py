"""Files of vectors: three formats with the same numbers, whole or not there, and damage told with its place."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from builders import full_disk
from facts import facts

from llmkit.data.vector_writing import check_vectors_file, short_numbers, writing_vectors
from llmkit.data.vectors import open_vectors
from llmkit.errors import DataError, MachineError, UsageError

TEXTS = [f"text {number} 🙂\n\x1b" for number in range(25)]
VECTORS = np.random.default_rng(2).normal(size=(25, 3)).astype(np.float32)


def write(path: Path, *, rows: int = 25) -> Path:
    with writing_vectors(path, dimension=3, about={"model": "m"}) as add:
        for start in range(0, rows, 10):
            add(TEXTS[start : min(start + 10, rows)], VECTORS[start : min(start + 10, rows)])
    return path


def test_all_formats_hold_the_same_bits_in_the_same_order(tmp_path: Path) -> None:
    npy = np.load(write(tmp_path / "v.npy"))
    assert (npy.dtype, npy.shape) == (np.float32, (25, 3))
    np.testing.assert_array_equal(npy, VECTORS)
    table = pq.read_table(write(tmp_path / "v.parquet"))
    assert table.column("text").to_pylist() == TEXTS
    np.testing.assert_array_equal(np.array(table.column("vector").to_pylist(), dtype=np.float32), VECTORS)
    lines = [json.loads(line) for line in write(tmp_path / "v.jsonl").read_text(encoding="utf-8").split("\n")[:-1]]
    assert [line["text"] for line in lines] == TEXTS
    np.testing.assert_array_equal(np.array([line["vector"] for line in lines], dtype=np.float32), VECTORS)


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_a_saved_file_reads_back(tmp_path: Path, suffix: str) -> None:
    file = open_vectors(write(tmp_path / f"v{suffix}"))
    assert file is not None
    assert file.about() == ({"model": "m"} if suffix == ".parquet" else None)
    chunks = list(file)
    assert [text for chunk in chunks for text in chunk.texts] == TEXTS
    np.testing.assert_array_equal(np.concatenate([chunk.vectors for chunk in chunks]), VECTORS)


@pytest.mark.parametrize("rows", [0, 1])
def test_few_vectors_are_a_valid_npy(tmp_path: Path, rows: int) -> None:
    assert np.load(write(tmp_path / "v.npy", rows=rows)).shape == (rows, 3)


def test_short_numbers_read_back_as_the_same_float32() -> None:
    vector = np.array([0.1, 1 / 3, 1e-40, -3.4e38, 0], dtype=np.float32)
    assert short_numbers(vector)[0] == 0.1
    np.testing.assert_array_equal(np.array(json.loads(json.dumps(short_numbers(vector))), dtype=np.float32), vector)


def add_and_fail(add: Any) -> None:
    """As an empty text among the rows would."""
    add(TEXTS, VECTORS)
    raise DataError("row 26: the text is empty")


@pytest.mark.parametrize("suffix", [".npy", ".jsonl", ".parquet"])
def test_what_fails_half_way_leaves_the_old_file_and_nothing_else(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"v{suffix}"
    path.write_text("old")
    with pytest.raises(DataError, match="row 26"), writing_vectors(path, dimension=3, about={}) as add:
        add_and_fail(add)
    with pytest.raises(MachineError, match=facts(f"v{suffix}:", "File too large")), full_disk(file_bytes=100):
        write(path)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [(path.name, "old")]


def test_through_a_link_the_file_behind_it_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "link.npy").symlink_to(tmp_path / "real.npy")
    write(tmp_path / "link.npy")
    assert (tmp_path / "link.npy").is_symlink()
    assert np.load(tmp_path / "real.npy").shape == (25, 3)


@pytest.mark.parametrize("name", ["v.bin", "v", "v.npz", "v.txt"])
def test_an_unknown_extension_names_the_known_ones(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=facts(f"{name}:", ".npy, .jsonl, .parquet")):
        check_vectors_file(tmp_path / name)


def test_a_place_that_cannot_be_written_is_told_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "folder.npy").mkdir()
    os.mkfifo(tmp_path / "pipe.npy")
    for name in ("folder.npy", "pipe.npy", "missing/v.npy"):
        with pytest.raises(MachineError, match=facts(f"{name}:", "folder" if "pipe" not in name else "file")):
            check_vectors_file(tmp_path / name)


@pytest.mark.parametrize(
    ("line", "stated"),
    [
        ('{"text": "b", "vector": [1, 2]}', ["2 numbers", 3]),
        ('{"text": "b", "vector": []}', ["'vector'", "finite"]),
        ('{"text": "b", "vector": ["x", 1, 2]}', ["'vector'", "list"]),
        ('{"text": "b", "vector": [[1], [2, 3]]}', ["'vector'", "list"]),
        ('{"text": "b", "vector": [1e99, 1, 2]}', ["'vector'", "finite"]),
        ('{"text": "b"}', ["'vector'", "finite"]),
        ('{"text": 3, "vector": [1, 2, 3]}', ["'text'"]),
    ],
)
def test_a_damaged_row_is_told_with_its_line(tmp_path: Path, line: str, stated: list[object]) -> None:
    path = tmp_path / "v.jsonl"
    path.write_text('{"text": "a", "vector": [1, 2, 3]}\n' + line + "\n")
    file = open_vectors(path)
    assert file is not None
    with pytest.raises(DataError, match=facts("v.jsonl:2:", *stated)):
        list(file)


@pytest.mark.parametrize("vectors", [[[1.0, 2.0], None], [[1.0], [1.0, 2.0]], ["a", "b"], [1.0, 2.0]])
def test_a_damaged_parquet_row_is_told(tmp_path: Path, vectors: list[object]) -> None:
    pq.write_table(pa.table({"text": ["a", "b"], "vector": vectors}), tmp_path / "v.parquet")
    file = open_vectors(tmp_path / "v.parquet")
    assert file is not None
    with pytest.raises(DataError, match=r"v\.parquet\[\d\]"):
        list(file)


def test_a_file_of_texts_alone_has_no_vectors(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n')
    (tmp_path / "a.txt").write_text("vector\n")
    assert open_vectors(tmp_path / "a.jsonl") is None
    assert open_vectors(tmp_path / "a.txt") is None

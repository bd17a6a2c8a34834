"""`fill`, `embed` and `evaluate --metric neighbour_recall`: what a person sees, whole files, one line for bad input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from builders import LABELS, rows, tiny_model
from encoder_folders import encoder_folders, save
from facts import says
from tiny_recipes import Outcome, llmkit

TEXTS = [row.fields["text"] for row in rows(12)]


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("\n".join(TEXTS) + "\n")
    return tmp_path


@pytest.fixture
def bert() -> str:
    return str(encoder_folders() / "masked-lm")


def found(outcome: Outcome) -> list[list[str]]:
    assert outcome.code == 0, outcome.err
    return [line.split("\t") for line in outcome.out.splitlines()]


def refused(outcome: Outcome, code: int) -> str:
    assert (outcome.code, outcome.out) == (code, ""), outcome.err
    (line,) = [line for line in outcome.err.splitlines() if line.startswith("error[")]
    assert "Traceback" not in outcome.err
    return line


# ---- fill


def test_fill_lists_tokens_with_probability_and_text(bert: str) -> None:
    lines = found(llmkit("fill", "the old [MASK] sees", "-m", bert, "--top-k", "3"))
    assert len(lines) == 3
    for token, probability, text in lines:
        assert token.removeprefix("##") in text
        assert 0 < float(probability) < 1
        assert text.endswith(" sees")


def test_fill_says_that_several_masks_are_filled_each_on_its_own(bert: str) -> None:
    outcome = llmkit("fill", "the [MASK] sees a [MASK]", "-m", bert, "--top-k", "1")
    first, _, second, _ = outcome.out.splitlines()
    says(first, "mask 1 of 2", "character 5")
    says(second, "mask 2 of 2", "character 19")


def test_fill_json_has_positions_and_candidates_of_each_text(bert: str, notes: Path) -> None:
    (notes / "masked.txt").write_text("a [MASK]\n[MASK] and [MASK]\n")
    outcome = llmkit("fill", "masked.txt", "-m", bert, "--json", "--top-k", "2")
    masks = [record["masks"] for record in outcome.records]
    assert [[mask["position"] for mask in each] for each in masks] == [[2], [0, 11]]  # type: ignore[attr-defined]
    for mask in (mask for each in masks for mask in each):  # type: ignore[attr-defined]
        assert [list(one) for one in mask["candidates"]] == [["token", "probability", "text"]] * 2
        assert mask["candidates"][0]["probability"] >= mask["candidates"][1]["probability"]


@pytest.mark.parametrize(
    ("text", "stated"),
    [("no mask", ["mask", "[MASK]"]), ("", ["text", "empty"]), ("[MASK] \udce9", ["text", "Unicode"])],
)
def test_fill_refuses_bad_texts_in_one_line(bert: str, text: str, stated: list[str]) -> None:
    says(refused(llmkit("fill", text, "-m", bert), 3), "row 1:", *stated)


def test_fill_shows_a_part_of_a_huge_text(bert: str) -> None:
    outcome = llmkit("fill", "word " * 50_000 + "[MASK]", "-m", bert, "--top-k", "1")
    assert len(found(outcome)[0][2]) < 150
    says(outcome.err, "warning:", 1, "texts")


def test_fill_needs_a_bert() -> None:
    says(refused(llmkit("fill", "a [MASK]", "-m", encoder_folders() / "t5"), 4), "t5", "masked-lm")


# ---- embed


def test_embed_writes_jsonl_to_standard_output_and_the_same_numbers_to_files(bert: str, notes: Path) -> None:
    outcome = llmkit("embed", "notes.txt", "-m", bert)
    assert [record["text"] for record in outcome.records] == TEXTS
    shown = np.array([record["vector"] for record in outcome.records], dtype=np.float32)
    assert np.linalg.norm(shown, axis=1) == pytest.approx(1)
    for name in ("v.npy", "v.parquet", "v.jsonl"):
        done = llmkit("embed", "notes.txt", "-m", bert, "-o", name)
        assert (done.code, done.out, done.err.count("\n")) == (0, "", 1)
        says(done.err, name, "12 vectors", 16)
    np.testing.assert_array_equal(np.load("v.npy"), shown)
    np.testing.assert_array_equal(np.array(pq.read_table("v.parquet").column("vector").to_pylist()), shown)
    assert (notes / "v.jsonl").read_text() == outcome.out


def test_options_of_embed_reach_the_vectors(bert: str, notes: Path) -> None:
    made = {}
    for options in ((), ("--pooling", "first"), ("--no-normalize",)):
        (record,) = llmkit("embed", "the old dog", "-m", bert, *options).records
        made[options] = np.array(record["vector"])
    assert np.linalg.norm(made[()]) == pytest.approx(1)
    assert np.linalg.norm(made[("--no-normalize",)]) != pytest.approx(1, abs=0.1)
    assert not np.allclose(made[()], made[("--pooling", "first")], atol=0.1)
    outcome = llmkit("embed", "the old dog " * 40, "-m", bert, "--overflow", "error")
    says(refused(outcome, 3), "row 1:", "tokens", 64)


def test_search_in_texts_and_in_saved_vectors_finds_the_same_rows(bert: str, notes: Path) -> None:
    search = ("--search", TEXTS[7], "--search", "a quiet river", "--top-k", "3")
    fresh = llmkit("embed", "notes.txt", "-m", bert, *search)
    assert fresh.out.splitlines()[0] == f"query: {TEXTS[7]}"
    score, row, text = fresh.out.splitlines()[1].split("\t")
    assert (score, row, text) == ("1.0000", "8", TEXTS[7])
    assert len(fresh.out.splitlines()) == 8
    for name in ("v.parquet", "v.jsonl"):
        llmkit("embed", "notes.txt", "-m", bert, "-o", name)
        assert llmkit("embed", name, "-m", bert, *search).out == fresh.out
    assert llmkit("embed", "v.parquet", *search).out == fresh.out  # the file names its model
    (record, _) = llmkit("embed", "v.parquet", *search, "--json").records
    assert record["results"][0]["row"] == 8  # type: ignore[index]


def test_search_refuses_vectors_of_other_weights_length_or_pooling(bert: str, notes: Path) -> None:
    llmkit("embed", "notes.txt", "-m", bert, "-o", "v.parquet")
    llmkit("embed", "notes.txt", "-m", bert, "-o", "v.jsonl")
    llmkit("embed", "notes.txt", "-m", bert, "-o", "v.npy")
    other = save(tiny_model("bert", head="masked-lm", seed=9), notes / "other")
    wide = save(tiny_model("bert", head="masked-lm", width=32), notes / "wide")
    line = refused(llmkit("embed", "v.parquet", "-m", other, "--search", "a dog"), 4)
    says(line, "v.parquet", f"{bert} (weights ", "--model")
    line = refused(llmkit("embed", "v.jsonl", "-m", wide, "--search", "a dog"), 4)
    says(line, "v.jsonl", "vectors", 16, wide, 32)
    line = refused(llmkit("embed", "v.parquet", "--search", "a dog", "--pooling", "first"), 2)
    says(line, "v.parquet", "pooling", "mean", "first")
    says(refused(llmkit("embed", "v.npy", "-m", bert, "--search", "a dog"), 2), "v.npy", "texts")
    says(refused(llmkit("embed", "v.parquet", "--search", " "), 2), "query", "empty")


def test_a_classifier_may_search_what_its_pretrained_encoder_embedded(bert: str, notes: Path) -> None:
    llmkit("embed", "notes.txt", "-m", bert, "-o", "v.parquet")
    lines = found(llmkit("embed", "v.parquet", "-m", encoder_folders() / "classifier", "--search", TEXTS[3]))
    assert lines[0] == ["1.0000", "4", TEXTS[3]]


@pytest.mark.parametrize("name", ["v.npy", "v.parquet", "v.jsonl"])
def test_a_bad_row_leaves_the_old_file_and_nothing_half_written(bert: str, notes: Path, name: str) -> None:
    (notes / name).write_text("old")
    (notes / "in.jsonl").write_text('{"text": "a"}\n{"text": "b \\ud800"}\n')
    before = sorted(path.name for path in notes.iterdir())
    line = refused(llmkit("embed", "in.jsonl", "-m", bert, "-o", name), 3)
    says(line, "in.jsonl:2:", "'text'", "surrogate")
    assert ((notes / name).read_text(), sorted(path.name for path in notes.iterdir())) == ("old", before)


def test_embed_refuses_bad_texts_and_places_in_one_line(bert: str, notes: Path) -> None:
    says(refused(llmkit("embed", "", "-m", bert), 3), "row 1:", "text", "empty")
    says(refused(llmkit("embed", "\udce9", "-m", bert), 3), "row 1:", "text", "Unicode")
    says(refused(llmkit("embed", "-", "-m", bert, "--search", "a dog"), 3), "no rows")
    (notes / "folder.npy").mkdir()
    says(refused(llmkit("embed", "notes.txt", "-m", bert, "-o", "folder.npy"), 5), "folder.npy:", "folder.")
    line = refused(llmkit("embed", "notes.txt", "-m", bert, "-o", "vectors.npz"), 2)
    says(line, "vectors.npz", ".npy, .jsonl, .parquet", "'.npy'")
    says(refused(llmkit("embed", "notes.txt", "-m", encoder_folders() / "gpt2"), 4), "gpt2", "BERT", "T5")


# ---- evaluate


def test_neighbour_recall_stands_beside_its_chance_level(bert: str, notes: Path) -> None:
    lines = [json.dumps({"body": row.fields["text"], "label": row.fields["label"]}) for row in rows()]
    (notes / "rows.jsonl").write_text("\n".join([*lines, lines[0]]) + "\n")
    ask = ("evaluate", "-m", bert, "--data", "rows.jsonl", "--metric", "neighbour_recall", "--column", "text=body")
    outcome = llmkit(*ask)
    shown = dict(line.split()[:2] for line in outcome.out.splitlines()[1:] if "neighbour_" in line)
    assert list(shown) == [f"neighbour_{kind}_{size}" for kind in ("recall", "chance") for size in (1, 10)]
    assert outcome.out.startswith("46 rows: rows.jsonl\n")
    assert float(shown["neighbour_chance_1"]) == pytest.approx(1 / len(LABELS), abs=0.03)
    says(outcome.err, "warning:", 1, "46 texts")
    first = json.loads(llmkit(*ask, "--pooling", "first", "--json").out)
    assert first["details"] == {"pooling": "first"}
    assert first["scores"]["neighbour_chance_1"] == pytest.approx(float(shown["neighbour_chance_1"]), abs=1e-4)


def test_neighbour_recall_refuses_what_it_cannot_measure(bert: str, notes: Path) -> None:
    ask = ("evaluate", "-m", bert, "--metric", "neighbour_recall")
    says(refused(llmkit(*ask), 2), "neighbour_recall", "label", "--data")
    says(refused(llmkit(*ask, "--data", "notes.txt"), 3), "notes.txt", "columns")
    says(refused(llmkit(*ask, "--data", "notes.txt", "--column", "body=text"), 2), "'body'", "text")
    for other in ("f1", "evaluate:exact_match", "rogue"):
        says(refused(llmkit(*ask, "--metric", other, "--data", "notes.txt"), 2), "--metric neighbour_recall")
    says(refused(llmkit("evaluate", "-m", bert, "--pooling", "mean"), 2), "--pooling", "neighbour_recall")

"""`embed`, its search, and `neighbour_recall` with a folder that sentence-transformers saved."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from builders import rows
from facts import says
from sentence_folders import FLAGS, WIDTH, add_dense, sentence_folder
from tiny_recipes import Outcome, llmkit

import llmkit as api

TEXTS = [row.fields["text"] for row in rows(12)]
CLS = {**FLAGS, "pooling_mode_cls_token": True, "word_embedding_dimension": WIDTH}
PROMPTS = {"query": "find: ", "document": "a stone is read: "}


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("\n".join(TEXTS) + "\n")
    return tmp_path


def vectors(outcome: Outcome) -> np.ndarray:
    assert outcome.code == 0, outcome.err
    return np.array([record["vector"] for record in outcome.records], dtype=np.float32)


def test_embed_follows_the_folder_and_its_options_go_first(notes: Path) -> None:
    settings = {"prompts": PROMPTS, "default_prompt_name": "document"}
    folder = sentence_folder(notes / "model", pooling=CLS, settings=settings)
    outcome = llmkit("embed", "notes.txt", "-m", folder)
    says(outcome.err, "first", "'a stone is read: '")
    model = api.load(str(folder), verb="embed")
    np.testing.assert_array_equal(vectors(outcome), model.embed(TEXTS))
    for options, keywords in (
        (["--pooling", "max"], {"pooling": "max"}),
        (["--no-normalize"], {"normalize": False}),
        (["--prompt-name", "query"], {"prompt_name": "query"}),
        (["--prompt", ""], {"prompt": ""}),
    ):
        other = vectors(llmkit("embed", TEXTS[0], "-m", folder, *options))
        np.testing.assert_array_equal(other, model.embed(TEXTS[:1], **keywords))
        assert not np.allclose(other, vectors(outcome)[:1], atol=1e-3)


def test_queries_and_texts_of_a_search_have_their_own_prompts(notes: Path) -> None:
    folder = sentence_folder(notes / "model", settings={"prompts": PROMPTS})
    model = api.load(str(folder), verb="embed")
    query, texts = model.embed([TEXTS[3]], prompt="find: "), model.embed(TEXTS, prompt="a stone is read: ")
    expected = [f"{score:.4f}" for score in sorted((texts @ query[0]).tolist(), reverse=True)]
    fresh = llmkit("embed", "notes.txt", "-m", folder, "--search", TEXTS[3], "--top-k", "12")
    assert [line.split("\t")[0] for line in fresh.out.splitlines()] == expected
    says(fresh.err, "'find: '", "'a stone is read: '")
    llmkit("embed", "notes.txt", "-m", folder, "-o", "v.parquet", "--prompt-name", "document")
    saved = llmkit("embed", "v.parquet", "--search", TEXTS[3], "--top-k", "12")
    assert saved.out == fresh.out
    assert "warning" not in saved.err
    other = llmkit("embed", "v.parquet", "--search", TEXTS[3], "--query-prompt", "the ")
    assert other.out.splitlines() != fresh.out.splitlines()[:5]


def test_saved_texts_without_the_prompt_for_documents_are_searched_with_a_warning(notes: Path) -> None:
    folder = sentence_folder(notes / "model", settings={"prompts": PROMPTS})
    llmkit("embed", "notes.txt", "-m", folder, "-o", "v.parquet")
    outcome = llmkit("embed", "v.parquet", "--search", TEXTS[3])
    assert outcome.code == 0
    says(outcome.err, "warning:", "v.parquet", "''", "'a stone is read: '")


def test_a_parquet_file_says_how_its_vectors_were_made_and_a_search_checks_it(notes: Path) -> None:
    pooling = {"pooling_mode": ["cls", "mean"], "embedding_dimension": WIDTH}
    folder = sentence_folder(notes / "model", pooling=pooling, after=["Dense"], settings={"similarity_fn_name": "dot"})
    add_dense(folder / "2_Dense", inputs=2 * WIDTH, outputs=4, seed=1)
    assert llmkit("embed", "notes.txt", "-m", folder, "-o", "v.parquet", "--prompt", "the ").code == 0
    about = json.loads(pq.read_schema("v.parquet").metadata[b"llmkit"])
    expected = {"pooling": "first+mean", "normalized": False, "prompt": "the ", "dimension": 4}
    assert {key: about[key] for key in expected} == expected
    assert llmkit("embed", "v.parquet", "--search", TEXTS[0]).code == 0
    add_dense(folder / "2_Dense", inputs=2 * WIDTH, outputs=4, seed=2)
    outcome = llmkit("embed", "v.parquet", "--search", TEXTS[0])
    assert outcome.code == 4
    says(outcome.err, "v.parquet", "weights")


@pytest.mark.parametrize("similarity", ["cosine", "dot", "euclidean", "manhattan"])
def test_a_search_compares_by_the_similarity_of_the_folder(similarity: str, notes: Path) -> None:
    folder = sentence_folder(notes / "model", settings={"similarity_fn_name": similarity})
    model = api.load(str(folder), verb="embed")
    query, texts = (model.embed(some, normalize=False).astype(float) for some in ([TEXTS[3]], TEXTS))
    scores = {
        "cosine": texts @ query[0] / np.linalg.norm(texts, axis=1) / np.linalg.norm(query),
        "dot": texts @ query[0],
        "euclidean": -np.sqrt(((texts - query) ** 2).sum(axis=1)),
        "manhattan": -np.abs(texts - query).sum(axis=1),
    }[similarity]
    (record,) = llmkit("embed", "notes.txt", "-m", folder, "--search", TEXTS[3], "--top-k", "12", "--json").records
    assert record["similarity"] == similarity
    found = record["results"]
    assert isinstance(found, list)
    assert [row["score"] for row in found] == pytest.approx(sorted(scores, reverse=True), abs=1e-5)
    llmkit("embed", "notes.txt", "-m", folder, "-o", "v.parquet")
    (saved,) = llmkit("embed", "v.parquet", "--search", TEXTS[3], "--top-k", "12", "--json").records
    assert saved == record


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["notes.txt", "--prompt-name", "passage"], ["'passage'", "query", "document"]),
        (["notes.txt", "--prompt-name", "query", "--prompt", "find: "], ["prompt"]),
        (["notes.txt", "--query-prompt", "find: "], ["--query-prompt", "--search"]),
        (["v.parquet", "--search", "a", "--prompt", "find: "], ["--prompt", "v.parquet"]),
        (["v.parquet", "--search", "a", "--normalize"], ["--normalize", "v.parquet"]),
    ],
)
def test_prompts_that_cannot_be_used_are_refused(options: list[str], named: list[str], notes: Path) -> None:
    folder = sentence_folder(notes / "model", settings={"prompts": PROMPTS})
    llmkit("embed", "notes.txt", "-m", folder, "-o", "v.parquet")
    outcome = llmkit("embed", *options, "-m", folder)
    assert (outcome.code, outcome.out) == (2, "")
    says(outcome.err, *named)


@pytest.mark.parametrize("similarity", ["cosine", "dot", "manhattan"])
def test_neighbour_recall_measures_the_vectors_that_the_folder_asks_for(similarity: str, notes: Path) -> None:
    settings = {"prompts": PROMPTS, "default_prompt_name": "query", "similarity_fn_name": similarity}
    folder = sentence_folder(notes / "model", pooling=CLS, settings=settings)
    labelled = rows(40)
    lines = [json.dumps({"text": row.fields["text"], "label": row.fields["label"]}) for row in labelled]
    (notes / "rows.jsonl").write_text("\n".join(lines) + "\n")
    ask = ("evaluate", "-m", folder, "--data", "rows.jsonl", "--metric", "neighbour_recall", "--json")
    record = json.loads(llmkit(*ask).out)
    assert record["details"] == {
        "pooling": "first",
        "normalized": similarity == "cosine",
        "prompt": "find: ",
        "similarity": similarity,
    }
    vectors = api.load(str(folder), verb="embed").embed([row.fields["text"] for row in labelled]).astype(float)
    near = -np.abs(vectors[:, None] - vectors).sum(axis=2) if similarity == "manhattan" else vectors @ vectors.T
    np.fill_diagonal(near, -np.inf)
    labels = [row.fields["label"] for row in labelled]
    same = [labels[nearest] == label for nearest, label in zip(near.argmax(axis=1), labels, strict=True)]
    assert record["scores"]["neighbour_recall_1"] == pytest.approx(np.mean(same), abs=1 / 40)
    assert json.loads(llmkit(*ask, "--pooling", "mean").out)["details"]["pooling"] == "mean"

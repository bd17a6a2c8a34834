"""Vectors of texts: those of plain transformers, whatever stands beside them; and exact search."""

from __future__ import annotations

import json
import logging
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from builders import sentence
from encoder_folders import encoder_folders
from facts import facts, logged
from transformers import AutoTokenizer, BertModel, T5EncoderModel

import llmkit
from llmkit.api import Model
from llmkit.errors import DataError, ModelError, UsageError
from llmkit.inference.engines.transformers import TransformersEngine
from llmkit.inference.nearest_rows import NearestRows
from llmkit.models.loading import load_model

TEXTS = [sentence(number) for number in range(30)]


def opened(name: str, *, folder: Path | None = None, max_batch_tokens: int | None = None) -> Model:
    loaded = load_model(str((folder or encoder_folders()) / name), head="embedding")
    return Model(
        loaded,
        TransformersEngine(loaded, device=torch.device("cpu"), max_batch_tokens=max_batch_tokens),
        head="embedding",
    )


def plain_vector(name: str, text: str, *, pooling: str) -> np.ndarray:
    """What somebody would write with transformers alone, one text at a time."""
    folder = encoder_folders() / name
    model = (T5EncoderModel if name == "t5" else BertModel).from_pretrained(folder).eval()
    ids = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")
    with torch.no_grad():
        states = model(input_ids=ids["input_ids"]).last_hidden_state[0]  # (T, D)
    return (states.mean(dim=0) if pooling == "mean" else states[0]).numpy()


@pytest.mark.parametrize("pooling", ["mean", "first"])
@pytest.mark.parametrize("name", ["masked-lm", "t5"])
def test_vectors_are_those_of_plain_transformers_in_order(name: str, pooling: str) -> None:
    vectors = opened(name).embed(TEXTS[:6], pooling=pooling, normalize=False)  # type: ignore[arg-type]
    assert vectors.dtype == np.float32
    for text, vector in zip(TEXTS, vectors, strict=False):
        np.testing.assert_allclose(vector, plain_vector(name, text, pooling=pooling), atol=2e-6)


@pytest.mark.parametrize("name", ["masked-lm", "t5"])
def test_padding_has_no_influence_on_a_vector(name: str) -> None:
    together = opened(name, max_batch_tokens=10_000).embed(TEXTS)
    alone = np.concatenate([opened(name, max_batch_tokens=1).embed(TEXTS)])
    assert len({len(text.split()) for text in TEXTS}) > 5
    np.testing.assert_allclose(together, alone, atol=2e-6)


def test_normalised_vectors_are_1_long_and_point_the_same_way() -> None:
    model = opened("masked-lm")
    units, raw = model.embed(TEXTS), model.embed(TEXTS, normalize=False)
    lengths = np.linalg.norm(raw, axis=1, keepdims=True)
    assert np.abs(lengths - 1).max() > 0.1
    np.testing.assert_allclose(units, raw / lengths, atol=1e-6)


def test_a_classifier_gives_the_vectors_of_its_encoder_alone() -> None:
    np.testing.assert_array_equal(opened("classifier").embed(TEXTS), opened("masked-lm").embed(TEXTS))


def test_no_pooler_is_made_where_a_checkpoint_has_none(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        model = opened("masked-lm").loaded.model
    assert model.pooler is None
    assert caplog.text == ""


def test_an_mt5_folder_gives_the_vectors_of_its_encoder(tmp_path: Path) -> None:
    folder = shutil.copytree(encoder_folders() / "t5", tmp_path / "mt5")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "mt5"}))
    np.testing.assert_array_equal(opened("mt5", folder=tmp_path).embed(TEXTS), opened("t5").embed(TEXTS))


def test_gpt2_is_refused_with_the_reason() -> None:
    with pytest.raises(ModelError, match=facts("gpt2", "BERT", "T5")):
        opened("gpt2")


def test_a_model_opened_for_another_verb_says_how_to_open_it() -> None:
    model = llmkit.load(str(encoder_folders() / "masked-lm"), verb="fill")
    with pytest.raises(UsageError, match=facts("verb='embed'")):
        model.embed(["a"])


def test_no_texts_are_no_vectors() -> None:
    assert opened("t5").embed([]).shape == (0, 16)


LONG = " ".join(sentence(number) for number in range(40))


def test_windows_of_a_long_text_are_averaged_by_their_tokens(caplog: pytest.LogCaptureFixture) -> None:
    model = opened("masked-lm")
    tokenizer = model.loaded.tokenizer
    ids = tokenizer(LONG, add_special_tokens=False)["input_ids"]
    count = -(-len(ids) // 62)  # of 64 positions two are for [CLS] and [SEP]
    assert count > 2
    edges = [len(ids) * number // count for number in range(count + 1)]
    inner = [ids[start:end] for start, end in pairwise(edges)]
    windows = [[tokenizer.cls_token_id, *part, tokenizer.sep_token_id] for part in inner]
    with torch.inference_mode():
        means = [model.loaded.model(torch.tensor([window])).last_hidden_state[0].mean(dim=0) for window in windows]
    wanted = sum(len(window) * mean for window, mean in zip(windows, means, strict=True)) / sum(map(len, windows))
    with caplog.at_level(logging.INFO):
        vectors = model.embed(["a cat", LONG, "a dog"], overflow="window", normalize=False)
    np.testing.assert_allclose(vectors[1], wanted, atol=2e-6)
    np.testing.assert_allclose(vectors[[0, 2]], model.embed(["a cat", "a dog"], normalize=False), atol=2e-6)
    assert len(logged(caplog, "INFO", 1, "3 texts", "64 tokens", "windows")) == 1


def test_windows_hold_every_token_once_and_fit() -> None:
    from llmkit.inference.embedding import _windows

    loaded = opened("t5").loaded
    (windows,) = _windows(loaded, [LONG], size=20)
    whole = loaded.tokenizer(LONG)["input_ids"]
    assert [token for window in windows for token in window[:-1]] == whole[:-1]
    assert {window[-1] for window in windows} == {loaded.tokenizer.eos_token_id}
    assert max(map(len, windows)) <= 20
    assert max(map(len, windows)) - min(map(len, windows)) <= 1


def test_a_long_text_is_cut_with_a_count_or_refused(caplog: pytest.LogCaptureFixture) -> None:
    model = opened("masked-lm")
    model.embed(["a cat", LONG])
    assert len(logged(caplog, "WARNING", 1, "2 texts")) == 1
    with pytest.raises(DataError, match=facts("row 2:", "tokens", 64)):
        model.embed(["a cat", LONG], overflow="error")


@pytest.mark.parametrize("text", ["", " \n", "half \ud800 pair"])
def test_an_empty_or_broken_text_is_refused_with_its_row(text: str) -> None:
    with pytest.raises(DataError, match="row 2: "):
        opened("masked-lm").embed(["a cat", text])


# ---- search


def test_search_finds_the_planted_neighbour_first() -> None:
    model = opened("masked-lm")
    texts = [*TEXTS[:20], "the quiet river finds a stone", *TEXTS[20:]]
    (found,) = model.search(["the quiet river finds a stone"], iter(texts), top_k=3)
    assert (found[0].row, found[0].text) == (21, texts[20])
    assert found[0].score == pytest.approx(1, abs=1e-6)
    assert found[0].score > found[1].score > found[2].score


@pytest.mark.parametrize("chunk", [1, 7, 100])
def test_search_over_chunks_is_the_full_ranking(chunk: int) -> None:
    rng = np.random.default_rng(4)
    rows, queries = rng.normal(size=(100, 8)).astype(np.float32), rng.normal(size=(3, 8)).astype(np.float32)
    rows[60] = rows[12]  # of equal rows the first one comes first
    rows[7] = 0
    nearest = NearestRows(queries, top_k=100)
    for start in range(0, 100, chunk):
        some = rows[start : start + chunk]
        nearest.add([f"text {start + at}" for at in range(len(some))], some)
    for query, found in zip(queries, nearest.results(), strict=True):
        lengths = np.maximum(np.linalg.norm(rows.astype(float), axis=1), 1e-30)
        cosines = rows.astype(float) @ query / lengths / np.linalg.norm(query.astype(float))
        assert [one.row - 1 for one in found] == np.argsort(-cosines.round(12), kind="stable").tolist()
        assert [one.text for one in found] == [f"text {one.row - 1}" for one in found]
        assert [one.score for one in found] == pytest.approx(sorted(cosines, reverse=True))


@pytest.mark.parametrize(("queries", "top_k"), [([], 5), ([" "], 5), (["a"], 0)])
def test_a_search_for_nothing_is_refused(queries: list[str], top_k: int) -> None:
    with pytest.raises(UsageError):
        opened("masked-lm").search(queries, TEXTS, top_k=top_k)

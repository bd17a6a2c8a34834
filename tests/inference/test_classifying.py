"""From texts and pairs to labels and numbers."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from small_models import SENTENCES, WINDOW, FakeEngine

from llmkit.errors import DataError
from llmkit.inference.classifying import CLASSIFY_CHUNK_ROWS, classify_texts
from llmkit.inference.engines.transformers import TransformersEngine
from llmkit.models.loaded import LoadedModel

LONG = " ".join(SENTENCES[:4] * 3)


def engine_of(loaded: LoadedModel) -> TransformersEngine:
    return TransformersEngine(loaded, device=torch.device("cpu"))


def token_count(loaded: LoadedModel, text: str) -> int:
    return len(loaded.tokenizer(text, verbose=False)["input_ids"])


def test_a_batch_of_texts_gets_the_probabilities_of_each_text_alone(bert: LoadedModel) -> None:
    texts = [*SENTENCES, "dog", "the cat sleeps"]
    together = list(classify_texts(bert, engine_of(bert), texts, overflow="error"))
    assert [result.text for result in together] == texts
    for text, result in zip(texts, together, strict=True):
        [alone] = classify_texts(bert, engine_of(bert), [text], overflow="error")
        assert result.label == alone.label
        assert list(result.probabilities.values()) == pytest.approx(list(alone.probabilities.values()), abs=1e-5)


def test_probabilities_are_the_softmax_by_label_and_add_up_to_1(bert: LoadedModel) -> None:
    engine = FakeEngine(logits=lambda ids: [1000.0, 1001.0, -1000.0])
    [result] = classify_texts(bert, engine, ["dog"], overflow="error")
    assert result.label == "politics"
    assert list(result.probabilities) == ["sport", "politics", "weather"]
    assert sum(result.probabilities.values()) == pytest.approx(1.0, abs=1e-12)
    assert result.probabilities["politics"] == pytest.approx(1 / (1 + np.exp(-1.0)))


@pytest.mark.parametrize("text", ["", "  \n\t"])
def test_an_empty_text_is_an_error_with_its_row(bert: LoadedModel, text: str) -> None:
    with pytest.raises(DataError, match="row 2: the text is empty"):
        list(classify_texts(bert, FakeEngine(), ["dog", text], overflow="truncate"))


def test_a_lone_surrogate_is_an_error_with_its_row(bert: LoadedModel) -> None:
    with pytest.raises(DataError, match=r"row 2: .*U\+D83D at character 3"):
        list(classify_texts(bert, FakeEngine(), ["dog", "ab\ud83d"], overflow="error"))


def test_a_long_text_is_an_error_with_its_row_and_both_numbers(bert: LoadedModel) -> None:
    tokens = token_count(bert, LONG)
    with pytest.raises(DataError, match=rf"row 2: the text has {tokens} tokens, .* takes {WINDOW} at most"):
        list(classify_texts(bert, FakeEngine(), ["dog", LONG], overflow="error"))


def test_a_cut_text_keeps_its_special_tokens_and_one_warning_has_the_counts(
    bert: LoadedModel, caplog: pytest.LogCaptureFixture
) -> None:
    engine = FakeEngine()
    lost = token_count(bert, LONG) - WINDOW
    with caplog.at_level(logging.WARNING, logger="llmkit"):
        results = list(classify_texts(bert, engine, [LONG, "dog", LONG], overflow="truncate"))
    assert [result.truncated_tokens for result in results] == [lost, 0, lost]
    assert [len(ids) for ids in engine.asked] == [WINDOW, len(engine.asked[1]), WINDOW]
    assert engine.asked[0][-1] == bert.tokenizer.sep_token_id
    [message] = caplog.messages
    assert "2 of 3 texts" in message
    assert f"{2 * lost} tokens were not read" in message


def test_nothing_is_logged_when_nothing_is_cut(bert: LoadedModel, caplog: pytest.LogCaptureFixture) -> None:
    list(classify_texts(bert, FakeEngine(), ["dog"], overflow="truncate"))
    assert caplog.messages == []


def test_an_endless_source_is_read_one_chunk_at_a_time(bert: LoadedModel) -> None:
    pulled = 0

    def endless() -> Iterator[str]:
        nonlocal pulled
        while True:
            pulled += 1
            yield "dog"

    classified = classify_texts(bert, FakeEngine(), endless(), overflow="error")
    for _ in range(CLASSIFY_CHUNK_ROWS):
        next(classified)
    assert pulled == CLASSIFY_CHUNK_ROWS
    next(classified)
    assert pulled == 2 * CLASSIFY_CHUNK_ROWS


def test_rows_are_counted_on_over_chunks(bert: LoadedModel) -> None:
    texts = ["dog"] * CLASSIFY_CHUNK_ROWS + ["cat", ""]
    with pytest.raises(DataError, match=f"row {CLASSIFY_CHUNK_ROWS + 2:,}:"):
        list(classify_texts(bert, FakeEngine(), texts, overflow="error"))

"""From texts and pairs to labels and numbers."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Literal

import numpy as np
import pytest
import torch
from facts import facts, logged
from small_models import SENTENCES, WINDOW, FakeEngine

from llmkit.errors import DataError, ModelError, UsageError
from llmkit.inference.engines.transformers import TransformersEngine
from llmkit.models.loaded import LoadedModel
from llmkit.tasks.classification.inputs import TextInputs
from llmkit.tasks.classification.predict import CLASSIFY_CHUNK_ROWS, classify_texts
from llmkit.tasks.classification.saved import SavedClassification
from llmkit.tasks.classification.scores import scores_of_rows

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
    with pytest.raises(DataError, match=facts("row 2:", "text", "empty")):
        list(classify_texts(bert, FakeEngine(), ["dog", text], overflow="truncate"))


def test_a_lone_surrogate_is_an_error_with_its_row(bert: LoadedModel) -> None:
    with pytest.raises(DataError, match=facts("row 2:", "U+D83D", "character 3")):
        list(classify_texts(bert, FakeEngine(), ["dog", "ab\ud83d"], overflow="error"))


def test_a_long_text_is_an_error_with_its_row_and_both_numbers(bert: LoadedModel) -> None:
    tokens = token_count(bert, LONG)
    with pytest.raises(DataError, match=facts("row 2:", f"{tokens} tokens", WINDOW)):
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
    assert len(caplog.messages) == len(logged(caplog, "WARNING", 2, "3 texts", f"{2 * lost} tokens")) == 1


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


# ---- pairs, windows and other answers


def windows_of(loaded: LoadedModel, text: str, *, overlap: int) -> list[list[int]]:
    return TextInputs(loaded, pairs=False, overlap=overlap).windows(
        TextInputs(loaded, pairs=False).read([text])[0], place="row 1"
    )


def test_windows_are_averaged_by_their_tokens_and_told_once(
    bert: LoadedModel, caplog: pytest.LogCaptureFixture
) -> None:
    SavedClassification(window_overlap=8).save(bert)
    windows = windows_of(bert, LONG, overlap=8)
    engine = FakeEngine(logits=lambda ids: [float(windows.index(list(ids)) if list(ids) in windows else 9), 0.0, 0.0])
    with caplog.at_level(logging.INFO, logger="llmkit"):
        results = list(classify_texts(bert, engine, ["dog", LONG], overflow="window"))
    assert [result.windows for result in results] == [1, len(windows)]
    assert [result.truncated_tokens for result in results] == [0, 0]
    first = [np.exp(number) / (np.exp(number) + 2) for number in range(len(windows))]
    assert results[1].probabilities["sport"] == pytest.approx(float(np.mean(first)))
    assert sum(results[1].probabilities.values()) == pytest.approx(1)
    told = logged(caplog, "INFO", 1, "2 texts", "small-bert", f"{WINDOW} tokens", f"{len(windows)} windows")
    assert len(caplog.messages) == len(told) == 1


def test_uneven_windows_weigh_what_they_hold() -> None:
    scores = np.array([[1.0, 0.0], [0.0, 1.0], [0.25, 0.75]])
    rows = scores_of_rows(scores, [30, 10, 7], [range(2), range(2, 3)])
    np.testing.assert_allclose(rows, [[0.75, 0.25], [0.25, 0.75]])


@pytest.mark.parametrize("policy", ["window", "error", "truncate"])
def test_without_a_choice_long_texts_are_treated_as_in_training(
    bert: LoadedModel, policy: Literal["window", "error", "truncate"]
) -> None:
    SavedClassification(overflow=policy).save(bert)
    if policy == "error":
        with pytest.raises(DataError, match=facts("row 1:", f"{token_count(bert, LONG)} tokens", WINDOW)):
            list(classify_texts(bert, FakeEngine(), [LONG]))
        return
    [result] = classify_texts(bert, FakeEngine(), [LONG])
    assert (result.windows > 1, result.truncated_tokens > 0) == (policy == "window", policy == "truncate")
    [cut] = classify_texts(bert, FakeEngine(), [LONG], overflow="truncate")
    assert cut.truncated_tokens > 0


def test_labels_reach_the_models_threshold_and_keep_its_order(bert: LoadedModel) -> None:
    bert.model.config.problem_type = "multi_label_classification"
    engine = FakeEngine(logits=lambda ids: [800.0, -800.0, 0.0])
    [result] = classify_texts(bert, engine, ["dog"])
    assert (result.label, result.labels) == (None, ["sport", "weather"])
    assert result.probabilities == {"sport": 1.0, "politics": 0.0, "weather": 0.5}
    SavedClassification(threshold=0.6).save(bert)
    [result] = classify_texts(bert, engine, ["dog"])
    assert result.labels == ["sport"]


def test_a_model_of_one_output_gives_a_number(bert: LoadedModel) -> None:
    bert.model.config.id2label = {0: "LABEL_0"}
    [result] = classify_texts(bert, FakeEngine(logits=lambda ids: [-3.5]), ["dog"])
    assert (result.value, result.label, result.probabilities) == (-3.5, None, {})


def test_pairs_are_read_together_and_both_are_checked(bert: LoadedModel) -> None:
    engine = FakeEngine()
    [result] = classify_texts(bert, engine, [("dog", "cat")])
    assert (result.text, result.text_pair) == ("dog", "cat")
    ids = {word: bert.tokenizer(word)["input_ids"][1:-1] for word in ("dog", "cat")}
    start, end = bert.tokenizer.cls_token_id, bert.tokenizer.sep_token_id
    assert engine.asked == [[start, *ids["dog"], end, *ids["cat"], end]]
    with pytest.raises(DataError, match=facts("row 2:", "text", "empty")):
        list(classify_texts(bert, engine, [("dog", "cat"), ("dog", " ")]))


def test_a_model_of_single_texts_refuses_pairs_and_one_that_says_nothing_takes_both(bert: LoadedModel) -> None:
    assert len(list(classify_texts(bert, FakeEngine(), ["dog"]))) == 1
    SavedClassification(pairs=False).save(bert)
    with pytest.raises(UsageError, match=facts("single texts", "pairs")):
        list(classify_texts(bert, FakeEngine(), [("dog", "cat")]))
    bert.model.config.type_vocab_size = 1
    with pytest.raises(ModelError, match=facts("segment")):
        TextInputs(bert, pairs=True)


def test_a_model_whose_outputs_contradict_its_problem_type_is_refused(bert: LoadedModel) -> None:
    bert.model.config.problem_type = "regression"
    with pytest.raises(ModelError, match=facts("small-bert:", "config.json", "regression", 3)):
        list(classify_texts(bert, FakeEngine(), ["dog"]))

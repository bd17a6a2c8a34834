"""Answers to questions by an engine: in order, however many at once, with nothing of a context left out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from builders import sentence, tiny_model
from facts import facts, logged

from llmkit.errors import DataError
from llmkit.inference.engines.transformers import TransformersEngine
from llmkit.models.loaded import LoadedModel
from llmkit.tasks.question_answering import predict as answering
from llmkit.tasks.question_answering.predict import Answer, answer_options, answer_questions

PAIRS = [(sentence(number, most_words=5), sentence(50 + number, most_words=9 * number + 2)) for number in range(6)]


@pytest.fixture(scope="module")
def reader() -> LoadedModel:
    """Reads 24 tokens at once: the longer contexts are cut into windows."""
    loaded = tiny_model("bert", head="question-answering")
    loaded.tokenizer.model_max_length = 24
    return loaded


def answers(loaded: LoadedModel, pairs: list[tuple[str, str]], *, max_batch_tokens: int = 60) -> list[Answer]:
    engine = TransformersEngine(loaded, device=torch.device("cpu"), max_batch_tokens=max_batch_tokens)
    return list(answer_questions(loaded, engine, pairs, options=answer_options(loaded)))


def test_answers_of_many_are_those_of_each_alone_in_order(reader: LoadedModel) -> None:
    together = answers(reader, PAIRS)
    alone = [answers(reader, [pair])[0] for pair in PAIRS]
    for one, other, (question, context) in zip(together, alone, PAIRS, strict=True):
        assert (one.question, one.text, one.start, one.end) == (question, other.text, other.start, other.end)
        assert one.score == pytest.approx(other.score, rel=1e-5)
        assert one.text is None or context[one.start : one.end] == one.text
    assert any(one.text for one in together)


def test_logits_of_pairs_are_those_of_plain_transformers(reader: LoadedModel) -> None:
    question, context = "the red dog", "a cat walks under the tree"
    inputs = reader.tokenizer(question, context, return_tensors="pt")
    with torch.inference_mode():
        output = reader.model.eval()(**inputs)
    engine = TransformersEngine(reader, device=torch.device("cpu"))
    [logits] = engine.token_logits([inputs["input_ids"][0].tolist()], pairs=True)
    plain = torch.stack([output.start_logits[0], output.end_logits[0]], dim=-1).numpy()
    assert np.allclose(logits, plain, atol=1e-5)


@pytest.mark.parametrize(
    ("pair", "stated"),
    [
        (("", "a cat"), ["question", "empty"]),
        ((" \n", "a cat"), ["question", "empty"]),
        (("who", "\t"), ["context", "empty"]),
        (("who \ud800", "a cat"), ["question", "Unicode", "U+D800", "character 5"]),
        (("who", "\udc00"), ["context", "Unicode", "U+DC00", "character 1"]),
    ],
)
def test_an_empty_or_broken_text_is_an_error_with_its_row(
    pair: tuple[str, str], stated: list[str], reader: LoadedModel
) -> None:
    with pytest.raises(DataError, match=facts("row 2:", *stated)):
        answers(reader, [("who", "a cat"), pair])


def test_rows_are_counted_on_over_chunks_and_cut_questions_told_once(
    reader: LoadedModel, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answering, "ANSWER_CHUNK_ROWS", 2)
    pairs = [("the cat " * 20, "a dog sees the tree"), ("who", "a dog"), ("the cat " * 20, "a bird"), ("who", "")]
    with pytest.raises(DataError, match=facts("row 4:", "context", "empty")):
        answers(reader, pairs)
    assert len(logged(caplog, "WARNING", 1, "2 questions", "tokens")) == 1
    assert answers(reader, pairs[:1])[0].truncated_tokens > 0

"""A conversation in use: what is read of it, and the answer, whole and in pieces."""

from __future__ import annotations

import logging

import pytest
import torch
from builders import tiny_model
from facts import facts, logged

from llmkit.errors import DataError
from llmkit.inference.engines.transformers import TransformersEngine
from llmkit.inference.text import generate_texts, stream_text
from llmkit.models.chat import TEMPLATE, Messages, encode_prompts
from llmkit.models.loaded import LoadedModel
from llmkit.recipe.generation import GenerationBlock
from llmkit.tasks.decoding import stripped
from llmkit.tasks.instruction.predict import answer_chat, stream_chat

OPTIONS = GenerationBlock(max_new_tokens=8)


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    model = tiny_model("gpt2")
    model.tokenizer.chat_template = TEMPLATE
    return model


@pytest.fixture(scope="module")
def engine(loaded: LoadedModel) -> TransformersEngine:
    return TransformersEngine(loaded, device=torch.device("cpu"))


def talk(*contents: str, system: str | None = None) -> Messages:
    turns = [{"role": ("user", "assistant")[number % 2], "content": text} for number, text in enumerate(contents)]
    return turns if system is None else [{"role": "system", "content": system}, *turns]


def test_an_answer_is_what_the_model_writes_behind_the_prompt(loaded: LoadedModel, engine: TransformersEngine) -> None:
    messages = talk("the cat", "a dog", "why", system="be old")
    answer = answer_chat(loaded, engine, messages, options=OPTIONS)
    ids = engine.generate(encode_prompts(loaded, [messages]), OPTIONS)[0][0]
    assert answer.text == loaded.tokenizer.decode(ids).rstrip("\N{REPLACEMENT CHARACTER}").strip()
    assert answer.text
    assert answer.unread_messages == 0


def test_the_pieces_of_an_answer_are_the_whole_of_it(loaded: LoadedModel, engine: TransformersEngine) -> None:
    messages = talk("the cat", "a dog", "why")
    pieces = list(stream_chat(loaded, engine, messages, options=OPTIONS))
    assert "".join(pieces) == answer_chat(loaded, engine, messages, options=OPTIONS).text
    assert len(pieces) > 1


def test_the_oldest_turns_give_way_and_the_system_message_stays(
    loaded: LoadedModel, engine: TransformersEngine, caplog: pytest.LogCaptureFixture
) -> None:
    messages = talk("cat 0", "dog 0", "cat 1", "dog 1", "cat 2", system="old")
    with caplog.at_level(logging.WARNING, logger="llmkit"):
        answer = answer_chat(loaded, engine, messages, options=OPTIONS)
    assert answer.unread_messages == 2
    assert len(caplog.messages) == len(logged(caplog, "WARNING", "2 messages", "tiny-gpt2", "64 tokens")) == 1
    kept = talk("cat 1", "dog 1", "cat 2", system="old")
    assert answer.text == answer_chat(loaded, engine, kept, options=OPTIONS).text


def test_a_limit_as_long_as_the_window_takes_no_more_than_half_of_it_from_the_history(
    loaded: LoadedModel, engine: TransformersEngine
) -> None:
    """GPT-2 has no positions behind its window, so the answer ends there at the latest."""
    messages = talk("the cat")
    answer = answer_chat(loaded, engine, messages, options=GenerationBlock(max_new_tokens=64))
    assert answer.unread_messages == 0


def test_a_message_that_alone_is_too_long_is_refused_with_its_length(
    loaded: LoadedModel, engine: TransformersEngine
) -> None:
    with pytest.raises(DataError, match=facts("message", "tokens", "tiny-gpt2", 64)):
        answer_chat(loaded, engine, talk("cat " * 70), options=OPTIONS)


def test_a_prompt_to_a_chat_model_is_a_turn_and_its_answer_comes_alone(
    loaded: LoadedModel, engine: TransformersEngine
) -> None:
    prompts = ["the cat", "a <|endoftext|> dog"]
    results = list(generate_texts(loaded, engine, prompts, options=OPTIONS, overflow="error", as_turns=True))
    answers = [answer_chat(loaded, engine, talk(prompt), options=OPTIONS).text for prompt in prompts]
    assert [result.texts for result in results] == [[answer] for answer in answers]
    assert "".join(stream_text(loaded, engine, prompts[1], options=OPTIONS, as_turn=True)) == answers[1]


def test_an_empty_turn_is_refused(loaded: LoadedModel, engine: TransformersEngine) -> None:
    with pytest.raises(DataError, match=facts("row 1:", "text", "empty")):
        list(generate_texts(loaded, engine, [" "], options=OPTIONS, overflow="error", as_turns=True))


@pytest.mark.parametrize("pieces", [[" ", " a", " ", "\n", "b ", " "], ["a  \nb"], [" "], []])
def test_stripped_pieces_are_the_stripped_text(pieces: list[str]) -> None:
    assert "".join(stripped(iter(pieces))) == "".join(pieces).strip()

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from facts import facts
from small_models import SENTENCES, WINDOW, FakeEngine, small_t5

from llmkit.errors import DataError, UsageError
from llmkit.inference.engines.transformers import TransformersEngine
from llmkit.inference.text import (
    GENERATE_CHUNK_ROWS,
    generate_texts,
    stream_text,
    summarize_in_parts,
    summarize_texts,
)
from llmkit.models.loaded import LoadedModel
from llmkit.recipe.generation import GenerationBlock

GREEDY = GenerationBlock(max_new_tokens=12)
SAMPLED = GenerationBlock(max_new_tokens=12, temperature=1.0)
LONG = " ".join(SENTENCES[:4] * 3)


def engine_of(loaded: LoadedModel) -> TransformersEngine:
    return TransformersEngine(loaded, device=torch.device("cpu"))


def token_count(loaded: LoadedModel, text: str) -> int:
    return len(loaded.tokenizer(text, verbose=False)["input_ids"])


@pytest.mark.parametrize("text", ["", "  \n\t"])
def test_an_empty_text_is_an_error_with_its_row(t5: LoadedModel, text: str) -> None:
    with pytest.raises(DataError, match=facts("row 2:", "text", "empty")):
        list(summarize_texts(t5, FakeEngine(), ["dog", text], options=GREEDY, prefix="a: ", overflow="truncate"))


def test_a_lone_surrogate_is_an_error_with_its_row(gpt2: LoadedModel) -> None:
    with pytest.raises(DataError, match=facts("row 1:", "text", "Unicode", "U+DC00")):
        list(generate_texts(gpt2, FakeEngine(), ["\udc00"], options=GREEDY, overflow="error"))
    with pytest.raises(DataError, match=facts("row 1:", "text", "Unicode", "U+DC00")):
        list(stream_text(gpt2, FakeEngine(), "\udc00", options=GREEDY))


def test_parts_get_no_sampled_summaries_since_their_draws_would_hang_on_the_texts_before(t5: LoadedModel) -> None:
    with pytest.raises(UsageError, match=facts("temperature", "top_k", "top_p")):
        next(summarize_in_parts(t5, FakeEngine(), ["dog"], options=SAMPLED, prefix="", overlap_tokens=None))


def test_an_endless_source_of_prompts_is_read_one_chunk_at_a_time(gpt2: LoadedModel) -> None:
    pulled = 0

    def endless() -> Iterator[str]:
        nonlocal pulled
        while True:
            pulled += 1
            yield "dog"

    next(generate_texts(gpt2, FakeEngine(), endless(), options=GREEDY, overflow="error"))
    assert pulled == GENERATE_CHUNK_ROWS


# ---------------------------------------------------------------- generate and summarize


def test_texts_written_together_are_those_written_alone_in_order(writer: LoadedModel) -> None:
    prompts = ["The", "A letter came", SENTENCES[2][:20], "dog"]
    together = list(generate_texts(writer, engine_of(writer), prompts, options=GREEDY, overflow="error"))
    assert [result.prompt for result in together] == prompts
    assert len({result.texts[0] for result in together}) > 2
    for prompt, result in zip(prompts, together, strict=True):
        assert [result] == list(generate_texts(writer, engine_of(writer), [prompt], options=GREEDY, overflow="error"))


def test_the_prefix_stands_before_each_text_and_not_in_the_result(t5: LoadedModel) -> None:
    engine = FakeEngine(continuation=lambda ids: t5.tokenizer("green hill", add_special_tokens=False)["input_ids"])
    [result] = summarize_texts(t5, engine, ["the dog"], options=GREEDY, prefix="summarize: ", overflow="error")
    assert engine.asked == [t5.tokenizer("summarize: the dog")["input_ids"]]
    assert result.prompt == "the dog"
    assert result.texts == ["green hill"]


def test_a_long_text_to_summarize_is_an_error_or_cut_with_its_end_token(t5: LoadedModel) -> None:
    with pytest.raises(DataError, match=facts("row 1:", f"{token_count(t5, LONG)} tokens", WINDOW)):
        list(summarize_texts(t5, FakeEngine(), [LONG], options=GREEDY, prefix="", overflow="error"))
    engine = FakeEngine()
    [result] = summarize_texts(t5, engine, [LONG], options=GREEDY, prefix="", overflow="truncate")
    assert result.truncated_tokens == token_count(t5, LONG) - WINDOW
    assert engine.asked[0][-1] == t5.tokenizer.eos_token_id


def test_an_empty_prompt_begins_a_new_text(gpt2: LoadedModel, t5: LoadedModel) -> None:
    [result] = generate_texts(gpt2, engine_of(gpt2), [""], options=GREEDY, overflow="error")
    [ids] = engine_of(gpt2).generate([[gpt2.tokenizer.eos_token_id]], GREEDY)[0]
    assert result.texts == [str(gpt2.tokenizer.decode(ids)).rstrip("\N{REPLACEMENT CHARACTER}")]
    assert "".join(stream_text(gpt2, engine_of(gpt2), "", options=GREEDY)) == result.texts[0]
    assert len(list(generate_texts(t5, engine_of(t5), [""], options=GREEDY, overflow="error"))) == 1


def test_a_prompt_without_room_for_new_tokens_is_an_error_with_the_sum(gpt2: LoadedModel) -> None:
    tokens = token_count(gpt2, SENTENCES[0])
    options = GenerationBlock(max_new_tokens=WINDOW - tokens + 1)
    with pytest.raises(UsageError, match=rf"row 1: {tokens} \+ {options.max_new_tokens} > {WINDOW}"):
        list(generate_texts(gpt2, FakeEngine(), [SENTENCES[0]], options=options, overflow="error"))
    with pytest.raises(UsageError, match=rf"{tokens} \+ {options.max_new_tokens} > {WINDOW}"):
        list(stream_text(gpt2, FakeEngine(), SENTENCES[0], options=options))
    fits = GenerationBlock(max_new_tokens=WINDOW - tokens)
    assert len(list(generate_texts(gpt2, engine_of(gpt2), [SENTENCES[0]], options=fits, overflow="error"))) == 1


def test_more_new_tokens_than_positions_are_an_error_under_truncate_too(gpt2: LoadedModel) -> None:
    options = GenerationBlock(max_new_tokens=WINDOW)
    with pytest.raises(UsageError, match=rf"1 \+ {WINDOW} > {WINDOW}"):
        list(generate_texts(gpt2, FakeEngine(), ["dog"], options=options, overflow="truncate"))


def test_a_prompt_that_is_cut_keeps_its_end(gpt2: LoadedModel, caplog: pytest.LogCaptureFixture) -> None:
    engine = FakeEngine()
    ids = gpt2.tokenizer(LONG, verbose=False)["input_ids"]
    [result] = generate_texts(gpt2, engine, [LONG], options=GREEDY, overflow="truncate")
    assert engine.asked == [ids[-(WINDOW - 12) :]]
    assert result.truncated_tokens == len(ids) - (WINDOW - 12)
    assert len(caplog.messages) == 1


def test_samples_differ_between_rows_and_between_chunks(gpt2: LoadedModel) -> None:
    engine = FakeEngine()
    list(generate_texts(gpt2, engine, ["dog"] * (GENERATE_CHUNK_ROWS + 1), options=SAMPLED, overflow="error"))
    assert engine.seeds[0] == SAMPLED.seed
    assert engine.seeds[1] != SAMPLED.seed
    results = list(generate_texts(gpt2, engine_of(gpt2), ["dog"] * 4, options=SAMPLED, overflow="error"))
    assert len({result.texts[0] for result in results}) == 4


# ---------------------------------------------------------------- stop texts and streaming


def spelled(loaded: LoadedModel, text: str) -> FakeEngine:
    ids = loaded.tokenizer(text, add_special_tokens=False)["input_ids"]
    return FakeEngine(continuation=lambda _: ids)


@pytest.mark.parametrize(
    ("stop", "expected"),
    [
        (("green",), "The dog runs over the "),
        (("over the green",), "The dog runs "),
        (("hill", "runs"), "The dog "),
        (("The",), ""),
        (("e green cat",), "The dog runs over the green hill"),  # begins, and does not come
        ((" hill.",), "The dog runs over the green hill"),
    ],
)
def test_a_stop_text_is_never_part_of_a_result_nor_of_a_piece(
    gpt2: LoadedModel, stop: tuple[str, ...], expected: str
) -> None:
    options = GREEDY.model_copy(update={"stop": stop})
    engine = spelled(gpt2, "The dog runs over the green hill")
    [result] = generate_texts(gpt2, engine, ["A"], options=options, overflow="error")
    assert result.texts == [expected]
    pieces = list(stream_text(gpt2, engine, "A", options=options))
    assert "".join(pieces) == expected
    assert "" not in pieces


def test_a_found_stop_text_ends_the_stream_of_the_engine(gpt2: LoadedModel) -> None:
    engine = spelled(gpt2, "The dog runs over the green hill")
    list(stream_text(gpt2, engine, "A", options=GREEDY.model_copy(update={"stop": ("dog",)})))
    assert engine.streamed_tokens < len(engine.continuation([]))
    assert engine.closed


def test_closing_the_pieces_closes_the_engine(gpt2: LoadedModel) -> None:
    engine = spelled(gpt2, "The dog runs over the green hill")
    pieces = stream_text(gpt2, engine, "A", options=GREEDY)
    next(pieces)
    assert not engine.closed
    pieces.close()  # type: ignore[attr-defined]
    assert engine.closed


def test_pieces_are_whole_characters(gpt2: LoadedModel) -> None:
    text = "日本語 🙂 ż"
    engine = spelled(gpt2, text)
    assert len(engine.continuation([])) > len(text), "characters must be split over tokens"
    pieces = list(stream_text(gpt2, engine, "A", options=GREEDY))
    assert "".join(pieces) == text
    assert len(pieces) > 3
    assert not any("\N{REPLACEMENT CHARACTER}" in piece for piece in pieces)


def test_half_a_character_at_the_limit_is_dropped(gpt2: LoadedModel) -> None:
    ids = gpt2.tokenizer("dog ż")["input_ids"][:-1]
    engine = FakeEngine(continuation=lambda _: ids)
    [result] = generate_texts(gpt2, engine, ["A"], options=GREEDY, overflow="error")
    assert result.texts == ["dog "]
    assert "".join(stream_text(gpt2, engine, "A", options=GREEDY)) == "dog "


@pytest.mark.parametrize("stop", [(), ("e",), ("th", "ing")])
@pytest.mark.parametrize("options", [GREEDY, SAMPLED])
def test_joined_pieces_are_the_text_of_generate(
    writer: LoadedModel, options: GenerationBlock, stop: tuple[str, ...]
) -> None:
    options = options.model_copy(update={"stop": stop, "max_new_tokens": 25})
    engine = engine_of(writer)
    for prompt in ["The", "A letter", "日本"]:
        [result] = generate_texts(writer, engine, [prompt], options=options, overflow="error")
        assert "".join(stream_text(writer, engine, prompt, options=options)) == result.texts[0]
        assert not any(text in result.texts[0] for text in stop)


def test_pieces_of_a_tokenizer_that_cleans_up_are_those_of_the_whole_text() -> None:
    loaded = small_t5(cleans_up=True)
    ids = loaded.tokenizer("the do n 't hill , and the cat . I 's", add_special_tokens=False)["input_ids"]
    engine = FakeEngine(continuation=lambda _: ids)
    [result] = generate_texts(loaded, engine, ["A"], options=GREEDY, overflow="error")
    assert " ," not in result.texts[0], "the tokenizer must have cleaned up"
    assert "".join(stream_text(loaded, engine, "A", options=GREEDY)) == result.texts[0]

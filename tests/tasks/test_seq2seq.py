"""Summarization, translation and text-to-text: prefixes, length limits, long texts in parts, mT5."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from builders import recipe_of, rows, sentence, task_of, tokenizer_of
from facts import facts, logged, says
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from transformers import AutoModelForSeq2SeqLM, MT5Config, MT5ForConditionalGeneration

from llmkit.data.rows import Row
from llmkit.errors import DataError, UsageError
from llmkit.evaluation.measure import measure
from llmkit.inference.engines.transformers import TransformersEngine
from llmkit.models.export import model_files
from llmkit.models.loaded import LoadedModel
from llmkit.models.loading import load_model
from llmkit.models.losses import IGNORED
from llmkit.recipe.generation import GenerationBlock
from llmkit.recipe.languages import english_name, language_code
from llmkit.tasks.decoding import Written
from llmkit.tasks.seq2seq.chunks import split_text, write_in_rounds
from llmkit.training.precision import choose_precision


def tiny_mt5(folder: Path) -> Path:
    """A folder as Google publishes mT5: a head of its own, gated, untied."""
    tokenizer = tokenizer_of("t5")
    torch.manual_seed(4)
    config = MT5Config(
        vocab_size=len(tokenizer), d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2, decoder_start_token_id=0
    )
    model = MT5ForConditionalGeneration(config)
    model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.shared.weight))
    model.all_tied_weights_keys.pop("lm_head.weight")
    for name, content in model_files(LoadedModel(model, tokenizer, "t5", "mt5")).items():
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def mt5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_mt5(tmp_path_factory.mktemp("mt5"))


class Writer:
    """An engine that answers each sequence by rule, and remembers what it read."""

    def __init__(self, answer: Callable[[Sequence[int]], list[int]]) -> None:
        self.answer = answer
        self.read: list[list[int]] = []

    def class_logits(self, sequences: Sequence[Sequence[int]], *, pairs: bool = False) -> np.ndarray:
        raise NotImplementedError

    def token_logits(self, sequences: Sequence[Sequence[int]], *, pairs: bool = False) -> list[np.ndarray]:
        raise NotImplementedError

    def generate(self, sequences: Sequence[Sequence[int]], options: GenerationBlock) -> list[list[list[int]]]:
        self.read += [list(ids) for ids in sequences]
        return [[self.answer(ids)[: options.max_new_tokens]] for ids in sequences]


# ---- prefixes


@pytest.mark.parametrize(("source", "target"), [("en", "de"), ("English", "german"), ("en-GB", "de_AT")])
def test_the_prefix_of_translation_is_t5s_own(source: str, target: str) -> None:
    task: Any = task_of("translation", source_language=source, target_language=target)
    assert task.prefix == "translate English to German: "
    examples = task.encode(rows(2))
    wanted = task.loaded.tokenizer("translate English to German: " + rows(2)[1].fields["source"])["input_ids"]
    assert examples.columns["input_ids"][1].tolist() == wanted
    assert examples.references == [row.fields["target"] for row in rows(2)]


@pytest.mark.parametrize("name", ["summarization", "translation", "text-to-text"])
def test_mt5_has_no_prefix_unless_the_recipe_gives_one(mt5: Path, name: Any) -> None:
    loaded = load_model(str(mt5), head="seq2seq-lm")
    without: Any = task_of(name, loaded=loaded)
    given: Any = task_of(name, loaded=loaded, prefix="do: ")
    assert (without.prefix, given.prefix) == ("", "do: ")
    task: Any = task_of(name)
    own = {"summarization": "summarize: ", "translation": "translate English to German: ", "text-to-text": ""}
    assert task.prefix == own[name]


def test_a_row_of_text_to_text_may_bring_its_own_prefix() -> None:
    task: Any = task_of("text-to-text", prefix="all: ")
    given = [
        Row({"text": "a cat", "target": "x", "prefix": "this: "}, "a:1"),
        Row({"text": "a cat", "target": "x"}, "a:2"),
    ]
    read = task.encode(given).columns["input_ids"]
    tokenizer = task.loaded.tokenizer
    assert read[0].tolist() == tokenizer("this: a cat")["input_ids"]
    assert read[1].tolist() == tokenizer("all: a cat")["input_ids"]


@pytest.mark.parametrize(
    ("keys", "stated"),
    [
        ({"source_language": "Germn"}, ["language", "'Germn'", "'german'"]),
        ({"target_language": "xx"}, ["language", "'xx'"]),
        ({"source_language": "de"}, ["target_language", "source_language", " de"]),
        ({"source_language": "German"}, ["target_language", "source_language", " German"]),
        (
            {"source_language": "pt-BR", "target_language": "pt_br"},
            ["target_language", "source_language", " pt-BR"],
        ),
    ],
)
def test_languages_that_cannot_be_are_refused(keys: dict[str, str], stated: list[str]) -> None:
    with pytest.raises(ValidationError) as caught:
        recipe_of("translation", **keys)
    (error,) = caught.value.errors()
    says(f"{error['loc']} {error['msg']}", *stated)


@pytest.mark.parametrize(
    ("written", "code"),
    [("de", "de"), ("DE", "de"), ("pt-BR", "pt"), ("zh_Hant_TW", "zh"), ("scottish gaelic", "gd"), ("yue", "yue")],
)
def test_a_language_is_known_by_its_code_or_name(written: str, code: str) -> None:
    assert language_code(written) == code
    assert language_code(english_name(code)) == code


# ---- how much is written


def targets_of(*lengths: int) -> list[Row]:
    """Rows whose targets have so many tokens, end of text included; a letter that no token holds is a byte."""
    tokenizer = tokenizer_of("t5")
    around = len(tokenizer("q")["input_ids"]) - 1
    targets = ["q" * (length - around) for length in lengths]
    assert [len(tokenizer(target)["input_ids"]) for target in targets] == list(lengths)
    return [Row({"source": "a cat", "target": target}, f"a:{place}") for place, target in enumerate(targets)]


def test_the_length_limit_is_what_99_percent_of_the_training_targets_need(caplog: pytest.LogCaptureFixture) -> None:
    task: Any = task_of("translation")
    examples = task.encode(targets_of(*[5] * 150, *[9] * 49, 40))
    assert task.options.max_new_tokens == 256
    with caplog.at_level(logging.INFO, logger="llmkit"):
        task.prepare_training(examples)
    assert task.options.max_new_tokens == 9
    assert len(logged(caplog, "INFO", "generation.max_new_tokens", 9)) == 1
    assert task.loaded.model.generation_config.max_new_tokens == 9
    later: Any = task_of("translation", loaded=task.loaded)
    assert later.options.max_new_tokens == 9  # as evaluation opens it


def test_the_length_limit_of_the_recipe_stays() -> None:
    task: Any = task_of("translation", generation={"max_new_tokens": 7})
    task.prepare_training(task.encode(targets_of(5, 9, 40)))
    assert task.options.max_new_tokens == 7


def test_the_length_limit_never_exceeds_the_longest_target_that_the_recipe_allows() -> None:
    task: Any = task_of("translation", max_target_tokens=6)
    task.prepare_training(task.encode(targets_of(5, 9, 40)))
    assert task.options.max_new_tokens == 6


def test_texts_that_were_stopped_by_the_limit_are_counted() -> None:
    task: Any = task_of("translation", generation={"max_new_tokens": 3})
    examples = task.encode(targets_of(5, 5, 5, 5))
    answers = iter([[4, 5], [4, 5, 6], [4, 5, 6, 7], []])
    scores, *_ = measure(task, examples, engine=Writer(lambda ids: next(answers)), accelerator=Accelerator(cpu=True))
    assert scores.details["written"] == {"texts": 4, "reached_limit": 2, "max_new_tokens": 3, "cut_texts": [1, 2]}
    assert {"loss", "bleu", "chrf", "ter"} <= set(scores.values)


# ---- long texts in parts

LONG = " ".join(sentence(number) + "." for number in range(12))


def in_parts(**keys: Any) -> Any:
    return task_of("summarization", overflow="window", max_source_tokens=24, **keys)


def long_rows() -> list[Row]:
    texts = ["the cat", LONG, "a dog"]
    return [Row({"text": text, "summary": "the bird"}, f"a:{place}") for place, text in enumerate(texts)]


def test_a_long_text_is_read_in_parts_that_fit_and_together_hold_all_of_it() -> None:
    task = in_parts()
    examples = task.encode(long_rows())
    own = examples.examples_of()
    assert [len(own[0]), len(own[2])] == [1, 1]
    assert len(own[1]) > 3
    inputs = examples.columns["input_ids"]
    tokenizer = task.loaded.tokenizer
    read = [tokenizer.decode(inputs[index], skip_special_tokens=True) for index in own[1]]
    assert all(text.startswith("summarize: ") for text in read)
    assert all(len(inputs[index]) <= 24 for index in own[1])
    missing = set(LONG.split()) - set(" ".join(read).split())
    assert not missing
    assert examples.rows == len(examples.references) == 3


def test_rows_in_parts_are_left_out_of_training_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    task = in_parts()
    examples = task.prepare_training(task.encode(long_rows()))
    assert (len(examples), examples.rows) == (2, 2)
    assert len(logged(caplog, "WARNING", 1, 3, "max_source_tokens", 24)) == 1


def test_parts_have_no_targets_and_no_loss() -> None:
    task = in_parts()
    examples = task.encode(long_rows())
    batch = task.collate(examples, np.array(examples.examples_of()[1]))
    assert (batch["labels"] == IGNORED).all()
    assert float(task.loss_sum(batch).detach()) == 0.0


def test_only_long_texts_are_measured_without_a_loss() -> None:
    task = in_parts()
    scores, predictions, _ = measure(
        task,
        task.encode(long_rows()[1:2]),
        engine=Writer(lambda ids: [4]),
        accelerator=Accelerator(cpu=True),
        metrics=["exact_text"],
    )
    assert "exact_text" in scores.values
    assert "loss" not in scores.values
    assert len(predictions) == 1


def test_one_summary_a_row_comes_from_those_of_its_parts() -> None:
    task = in_parts(prefix="")
    examples = task.encode(long_rows())
    words = task.loaded.tokenizer("a cat", add_special_tokens=False)["input_ids"]
    engine = Writer(lambda ids: words)
    written = task.predict(examples, engine)
    assert written == ["a cat"] * 3
    assert len(engine.read) > len(examples)  # the parts' summaries were read again
    assert any(task.loaded.tokenizer.decode(ids).startswith("a cat a cat") for ids in engine.read)


def test_a_summary_too_long_to_learn_is_refused_under_window() -> None:
    task = in_parts(max_target_tokens=4)
    with pytest.raises(DataError, match=facts("a:0:", 1, "100.0%", "max_target_tokens", 4)):
        task.encode([Row({"text": "a cat", "summary": LONG}, "a:0")])


def test_a_part_without_room_beside_the_prefix_is_refused() -> None:
    task = task_of("summarization", overflow="window", max_source_tokens=9, prefix="translate this to that: ")
    with pytest.raises(UsageError, match=facts("9 tokens", 0, "prefix", "'translate this")):
        task.encode(long_rows())


@pytest.mark.parametrize("text", ["\U0001f600" * 40, "cat" * 40, "的" * 40 + " a" * 20])
def test_a_text_of_letters_that_are_several_tokens_is_still_read_in_parts_that_fit(text: str) -> None:
    task = in_parts(prefix="")
    inputs = task.encode([Row({"text": text, "summary": "the bird"}, "a:0")]).columns["input_ids"]
    assert len(inputs) > 1
    assert all(len(inputs[index]) <= 24 for index in range(len(inputs)))
    tokenizer = task.loaded.tokenizer
    read = "".join(tokenizer.decode(inputs[index], skip_special_tokens=True) for index in range(len(inputs)))
    assert read.replace(" ", "").count(text[0]) >= text.count(text[0])


@pytest.mark.parametrize(
    ("keys", "stated"),
    [
        ({"window_overlap": 3}, ["window_overlap", "overflow: window"]),
        ({"overflow": "window", "window_overlap": 300}, ["window_overlap", 300, "max_source_tokens"]),
    ],
)
def test_an_overlap_that_cannot_be_is_refused(keys: dict[str, Any], stated: list[object]) -> None:
    with pytest.raises(ValidationError) as caught:
        recipe_of("summarization", **keys)
    (error,) = caught.value.errors()
    says(f"{error['loc']} {error['msg']}", *stated)


def test_how_long_texts_are_used_is_left_with_the_model() -> None:
    assert in_parts().loaded.model.config.task_specific_params == {
        "summarization": {"prefix": "summarize: ", "overflow": "window", "window_overlap": 6}
    }


def starts(text: str) -> list[int]:
    """A token for each word, and one more for each full stop."""
    return [place for place, char in enumerate(text) if char == "." or (char != " " and text[:place][-1:] in ("", " "))]


def test_a_part_ends_with_a_sentence_where_it_can() -> None:
    text = "One two three four. Five six seven eight nine ten eleven twelve."
    parts = list(split_text(text, starts(text), size=8, overlap=0))
    assert parts == ["One two three four.", "Five six seven eight nine ten eleven", "twelve."]


def test_parts_without_a_sentence_end_between_words() -> None:
    text = "one two three four five six seven"
    assert [*split_text(text, starts(text), size=3, overlap=1)] == [
        "one two three",
        "three four five",
        "five six seven",
    ]


def test_a_word_longer_than_a_part_is_cut_inside() -> None:
    assert [*split_text("abcdefgh", list(range(8)), size=3, overlap=0)] == ["abc", "def", "gh"]


@given(st.lists(st.sampled_from("xxx .\n。"), max_size=60), st.integers(1, 9), st.data())
def test_parts_hold_every_letter_and_are_never_too_long(shape: list[str], size: int, data: st.DataObject) -> None:
    text = "".join(chr(0x4E00 + place) if kind == "x" else kind for place, kind in enumerate(shape))  # each but once
    overlap = data.draw(st.integers(0, size - 1))
    parts = list(split_text(text, list(range(len(text))), size=size, overlap=overlap))
    assert all(0 < len(part) <= size and part in text for part in parts)
    assert set("".join(parts)) >= set(text) - set(" \n")
    if overlap == 0:
        assert [letter for letter in "".join(parts) if not letter.isspace()] == [
            letter for letter in text if not letter.isspace()
        ]


def test_rounds_end_where_joining_gives_nothing_shorter(caplog: pytest.LogCaptureFixture) -> None:
    def cut(text: str) -> list[Sequence[int]]:
        ids = [ord(letter) for letter in text]
        return [ids[place : place + 4] for place in range(0, len(ids), 4)]

    def write(sequences: list[Sequence[int]]) -> list[Written]:
        texts = ["".join(map(chr, ids)) for ids in sequences]
        return [Written(text, finished=text != "abcd") for text in texts]

    results = write_in_rounds([cut("abcdefgh"), cut("xyz")], write=write, split=cut)
    assert results == [Written("abcd efgh", finished=False), Written("xyz", finished=True)]
    assert len(logged(caplog, "WARNING", 1, 2, "texts")) == 1


# ---- mT5


def test_mt5_is_saved_and_opened_with_the_same_logits_here_and_in_transformers(mt5: Path, tmp_path: Path) -> None:
    loaded = load_model(str(mt5), head="seq2seq-lm")
    assert loaded.family.name == "t5"
    assert loaded.model.lm_head.weight is not loaded.model.shared.weight
    for name, content in model_files(loaded).items():
        (tmp_path / name).write_bytes(content)
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["model_type"], config["architectures"]) == ("mt5", ["MT5ForConditionalGeneration"])
    other = AutoModelForSeq2SeqLM.from_pretrained(tmp_path).eval()
    inputs = {"input_ids": torch.tensor([[5, 6, 7, 1]]), "decoder_input_ids": torch.tensor([[0, 8, 9]])}
    with torch.inference_mode():
        assert torch.equal(loaded.model.eval()(**inputs).logits, other(**inputs).logits)


def test_the_loss_of_mt5_is_that_of_transformers(mt5: Path) -> None:
    task: Any = task_of("translation", loaded=load_model(str(mt5), head="seq2seq-lm"))
    task.loaded.model.eval()
    batch = task.collate(task.encode(rows(4)), np.arange(4))
    targets = int((batch["labels"] != IGNORED).sum())
    with torch.inference_mode():
        theirs = float(task.loaded.model(**batch).loss)
        assert float(task.loss_sum(batch)) / targets == pytest.approx(theirs, rel=1e-5)


@pytest.mark.parametrize("beams", [1, 3])
def test_mt5_writes_what_transformers_writes(mt5: Path, beams: int) -> None:
    loaded = load_model(str(mt5), head="seq2seq-lm")
    engine = TransformersEngine(loaded, device=torch.device("cpu"))
    sequences = [[5, 6, 7, 1], [9, 1], [11, 12, 13, 14, 15, 1]]
    ours = engine.generate(sequences, GenerationBlock(max_new_tokens=6, beams=beams))
    for ids, lists in zip(sequences, ours, strict=True):
        theirs = loaded.model.generate(
            input_ids=torch.tensor([ids]), max_new_tokens=6, num_beams=beams, do_sample=False
        )[0, 1:].tolist()
        until = theirs.index(1) if 1 in theirs else len(theirs)
        assert lists[0] == [token for token in theirs[:until] if token != 0]


def test_mt5_refuses_fp16_as_t5_does(mt5: Path) -> None:
    family = load_model(str(mt5), head="seq2seq-lm").family
    with pytest.raises(UsageError, match="T5"):
        choose_precision("fp16", family=family, device=torch.device("cpu"))

"""Texts that their length limit ends are reported: in results, in JSON, and once in the log."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from adapted import saved
from builders import task_of, tiny_model
from published_models import published_folder
from tiny_recipes import Outcome
from tiny_recipes import llmkit as program

import llmkit

TEXTS = "the small dog runs\nover the green hill\n"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A T5 that translates one pair, a GPT-2, and a chat model; with random weights none of them ends a text."""
    folder = tmp_path_factory.mktemp("models")
    published_folder(folder / "t5", "t5")
    config = json.loads((folder / "t5" / "config.json").read_text())
    pair = {"translation_en_to_de": {"prefix": "translate English to German: "}}
    (folder / "t5" / "config.json").write_text(json.dumps({**config, "task_specific_params": pair}))
    published_folder(folder / "gpt2", "gpt2")
    saved(task_of("instruction", loaded=tiny_model("gpt2")).loaded, folder / "chat")
    return folder


def ends_at_once(folder: Path) -> dict[str, Any]:
    """Options with which the model ends each text before its limit: all other tokens are suppressed."""
    loaded = llmkit.load(str(folder), verb="generate").loaded
    end = loaded.tokenizer.eos_token_id
    return {"suppress_tokens": [token for token in range(loaded.model.config.vocab_size) if token != end]}


VERBS = {"summarize": "t5", "translate": "t5", "generate": "gpt2", "chat": "chat"}


def run(folders: Path, verb: str, *arguments: str) -> Outcome:
    lines = [] if verb == "chat" else ["--lines"]
    folder = folders / VERBS[verb]
    return program(verb, "-m", folder, "--max-new-tokens", "3", *lines, *arguments, stdin=TEXTS.encode())


def warnings_in(outcome: Outcome) -> list[str]:
    return [line for line in outcome.err.splitlines() if "limit" in line and line.startswith("warning: ")]


@pytest.mark.parametrize("verb", VERBS)
def test_each_record_says_that_its_text_is_cut_and_one_warning_counts_them(folders: Path, verb: str) -> None:
    outcome = run(folders, verb, "--json")
    assert outcome.code == 0, outcome.err
    assert [record["finished"] for record in outcome.records] == [False, False]
    (warning,) = warnings_in(outcome)
    assert "2 of 2" in warning
    assert "--max-new-tokens" in warning
    assert len(warnings_in(run(folders, verb))) == 1


def test_each_of_several_texts_says_whether_it_is_cut(folders: Path) -> None:
    outcome = run(folders, "generate", "--json", "--beams", "2", "--num-return-sequences", "2")
    assert [record["texts_finished"] for record in outcome.records] == [[False, False]] * 2
    assert "4 of 4" in warnings_in(outcome)[0]


@pytest.mark.parametrize("name", ["t5", "gpt2", "chat"])
def test_a_text_that_ends_by_itself_is_finished(folders: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    model = llmkit.load(str(folders / name), verb="generate")
    options = ends_at_once(folders / name)
    with caplog.at_level(logging.WARNING, logger="llmkit"):
        (result,) = model.generate(["the dog"], max_new_tokens=3, **options)
        list(model.stream("the dog", max_new_tokens=3, **options))
    assert (result.finished, result.texts_finished) == (True, [True])
    assert "limit" not in caplog.text


def test_a_stop_text_finishes_a_text_at_its_limit(folders: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = llmkit.load(str(folders / "gpt2"), verb="generate")
    (cut,) = model.generate(["the dog"], max_new_tokens=2)
    assert not cut.finished
    caplog.clear()
    (stopped,) = model.generate(["the dog"], max_new_tokens=2, stop=(cut.texts[0][-1],))
    assert stopped.finished
    assert "limit" not in caplog.text


def test_a_forced_end_at_the_limit_is_a_cut(folders: Path) -> None:
    model = llmkit.load(str(folders / "t5"), verb="generate")
    (result,) = model.generate(["the dog"], max_new_tokens=4, forced_eos_token_id=1)
    assert not result.finished


def test_a_stream_logs_that_its_text_is_cut(folders: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="llmkit"):
        list(llmkit.load(str(folders / "gpt2"), verb="generate").stream("the dog", max_new_tokens=2))
    assert [record.getMessage()[:6] for record in caplog.records] == ["1 of 1"]


def test_an_answer_in_a_conversation_says_whether_it_is_cut(folders: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = llmkit.load(str(folders / "chat"), verb="chat")
    messages = [{"role": "user", "content": "the dog"}]
    assert model.chat(messages, max_new_tokens=3, **ends_at_once(folders / "chat")).finished
    with caplog.at_level(logging.WARNING, logger="llmkit"):
        assert not model.chat(messages, max_new_tokens=3).finished
        list(model.stream_chat(messages, max_new_tokens=3))
    assert len([one for one in caplog.records if "max_new_tokens 3" in one.getMessage()]) == 2
    ends: list[bool] = []
    list(model.stream_chat(messages, max_new_tokens=3, on_end=ends.append))
    assert ends == [False]


def test_a_summary_in_chunks_says_whether_it_is_cut(folders: Path) -> None:
    model = llmkit.load(str(folders / "t5"), verb="summarize")
    long = "the small dog runs over the green hill " * 12
    (cut,) = model.summarize([long], overflow="window", max_new_tokens=2)
    assert cut.parts > 1
    assert not cut.finished
    (whole,) = model.summarize([long], overflow="window", max_new_tokens=2, **ends_at_once(folders / "t5"))
    assert whole.finished


@pytest.mark.parametrize(("stop", "warned"), [("\\n", True), ("a\\tb", True), ("\n", False), ("back\\slash", False)])
def test_an_escape_in_a_stop_text_is_pointed_out(folders: Path, stop: str, warned: bool) -> None:
    outcome = run(folders, "generate", "--stop", stop)
    assert outcome.code == 0
    assert ("--stop" in outcome.err) == warned

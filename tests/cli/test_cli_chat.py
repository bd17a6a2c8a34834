"""`llmkit chat`: in a pipe, at a terminal, with conversations from files."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import subprocess
import termios
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from facts import facts, says
from tiny_recipes import SPORT, command, environment, llmkit

from llmkit.api import Model, load, load_conversation, save_conversation
from llmkit.cli.chat import _answer, _Conversation
from llmkit.errors import MachineError, ModelError, UsageError

CHAT = ("chat", "--model", "runs/instruct-001", "--repetition-penalty", "1")


@pytest.fixture(scope="module")
def model(trained: Path) -> Model:
    return load(str(trained / "runs/instruct-001"))


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


# ---- in a pipe


def test_each_line_of_a_pipe_is_a_turn_and_its_answer_a_line(here: Path, model: Model) -> None:
    outcome = llmkit(*CHAT, "--json", stdin=f"{SPORT}\n\nsoup bread\n".encode())
    assert outcome.code == 0, outcome.err
    assert [record["prompt"] for record in outcome.records] == [SPORT, "soup bread"]
    first = model.chat([user(SPORT)]).text
    second = model.chat([user(SPORT), {"role": "assistant", "content": first}, user("soup bread")]).text
    assert first
    assert [record["answer"] for record in outcome.records] == [first, second]
    assert llmkit(*CHAT, stdin=f"{SPORT}\nsoup bread\n".encode()).out == f"{first}\n{second}\n"


def test_a_conversation_is_kept_and_gone_on_with(here: Path, tmp_path: Path, model: Model) -> None:
    file = tmp_path / "talk.jsonl"
    for lines in (f"{SPORT}\nsoup bread\n", "butter plate\n"):
        known = ("--load", file) if file.exists() else ("--system", "be kind")
        outcome = llmkit(*CHAT, *known, "--save", file, stdin=lines.encode())
        assert outcome.code == 0, outcome.err
    kept = load_conversation(file)
    assert [message["role"] for message in kept] == ["system", *["user", "assistant"] * 3]
    assert [message["content"] for message in kept if message["role"] == "user"] == [
        SPORT,
        "soup bread",
        "butter plate",
    ]
    assert kept[-1]["content"] == model.chat(kept[:-1]).text
    assert len(file.read_text().splitlines()) == 1  # a row of training data
    assert [path.name for path in tmp_path.iterdir()] == ["talk.jsonl"]


def test_without_a_model_the_newest_instruction_run_is_taken(here: Path) -> None:
    outcome = llmkit("chat", stdin=b"soup\n")
    assert outcome.code == 0
    says(outcome.err, "model: runs/instruct-001")


def test_a_message_with_other_line_ends_is_kept(tmp_path: Path) -> None:
    talk = [user("one\u2028two\u2029three\x85four\x0bfive"), {"role": "assistant", "content": "yes\nno"}]
    save_conversation(tmp_path / "talk.jsonl", talk)
    assert load_conversation(tmp_path / "talk.jsonl") == talk


def test_a_place_below_a_file_cannot_be_saved_to(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(MachineError, match=facts("notes.txt/talk.json:", "notes.txt")):
        save_conversation(tmp_path / "notes.txt/talk.json", [user("a")])


@pytest.mark.parametrize(
    ("content", "stated"),
    [
        ("", [0, "conversations"]),
        ('{"messages": []}\n{"messages": []}\n', [2, "conversations"]),
        ('{"messages": [', ["JSON"]),
        ('{"text": "a"}', ['"messages"']),
        ('[{"role": "user", "content": "a"}]', ["assistant"]),
    ],
)
def test_a_file_that_is_no_conversation_is_refused_before_the_model_is_opened(
    here: Path, tmp_path: Path, content: str, stated: list[object]
) -> None:
    (tmp_path / "c.jsonl").write_text(content)
    outcome = llmkit("chat", "--model", "missing", "--load", tmp_path / "c.jsonl", stdin=b"a\n")
    assert outcome.code == 3
    assert outcome.err.startswith(f"error[data]: {tmp_path}/c.jsonl: ")
    says(outcome.err, *stated)
    assert outcome.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "code", "stated"),
    [
        (("--model", "runs/write-001"), 4, ["runs/write-001:", "chat template"]),
        (("--model", "runs/classify-001"), 4, ["bert", "causal-lm"]),
        (("--temperature", "0"), 2, ["--temperature", "0.0"]),
        (("--load", "missing.json"), 3, ["missing.json: "]),
        (("--save", "runs"), 5, ["runs:", "folder"]),
    ],
)
def test_what_cannot_chat_is_told_in_one_line(
    here: Path, arguments: Sequence[str], code: int, stated: list[str]
) -> None:
    outcome = llmkit("chat", *arguments, stdin=b"soup\n")
    assert outcome.code == code
    errors = [line for line in outcome.err.splitlines() if line.startswith("error[")]
    assert len(errors) == 1
    says(errors[0], *stated)
    assert "Traceback" not in outcome.err


# ---- generate with a chat model


def test_generate_answers_with_a_chat_model_and_continues_the_text_under_raw(here: Path, model: Model) -> None:
    base = ("generate", "--model", "runs/instruct-001", "--prompt", SPORT)
    assert llmkit(*base).out == model.chat([user(SPORT)]).text + "\n"
    assert llmkit(*base, "--raw", "--max-new-tokens", "3").out.startswith(SPORT)
    assert not model.continues


# ---- Python


def test_what_is_no_conversation_is_refused(model: Model) -> None:
    with pytest.raises(UsageError, match=facts("messages:", '{"role": "user"')):
        model.chat([{"role": "user"}])
    with pytest.raises(UsageError, match=facts("last message", "assistant", "user")):
        model.chat([user("a"), {"role": "assistant", "content": "b"}])
    with pytest.raises(UsageError, match=facts("num_return_sequences")):
        model.chat([user("a")], temperature=1.0, num_return_sequences=2)
    with pytest.raises(UsageError, match=facts("surrogate")):
        model.chat([user("a\ud800")])


def test_a_model_that_continues_texts_cannot_chat(trained: Path) -> None:
    with pytest.raises(ModelError, match=facts("runs/write-001", "`task: instruction`")):
        load(str(trained / "runs/write-001")).chat([user("a")])


# ---- at a terminal


class Terminal:
    """The program on a terminal of its own: what it writes is waited for, lines and keys are typed."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.screen = ""

    def until(self, words: str, *, deadline_seconds: float = 90) -> str:
        """Everything new up to these words."""
        deadline = time.monotonic() + deadline_seconds
        new = ""
        while words not in new:
            assert time.monotonic() < deadline, self.screen + new
            if select.select([self.descriptor], [], [], 1)[0]:
                new += os.read(self.descriptor, 65536).decode(errors="replace")
        self.screen += new
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", new)

    def type(self, keys: str) -> None:
        os.write(self.descriptor, keys.encode())


@contextmanager
def chatting(*arguments: str | Path, cwd: Path) -> Iterator[tuple[Terminal, subprocess.Popen[bytes]]]:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command(*CHAT, *arguments),
        cwd=cwd,
        env=environment({"TERM": "dumb"}),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # Ctrl-C reaches the owner of the terminal
    )
    os.close(theirs)
    try:
        yield Terminal(ours), process
    finally:
        process.kill()
        process.wait(timeout=30)
        os.close(ours)


@pytest.mark.slow
def test_two_turns_with_a_reset_between_them_and_a_file_at_the_end(here: Path, tmp_path: Path, model: Model) -> None:
    file = tmp_path / "talk.json"
    with chatting(cwd=here) as (terminal, process):
        assert "/reset" in terminal.until("> ")
        terminal.type(f"{SPORT}\n")
        first = model.chat([user(SPORT)]).text
        assert f"{first}\r\n> " in terminal.until("\r\n> ")
        terminal.type("/reset\n")
        assert "conversation" in terminal.until("\r\n> ")
        terminal.type("abc")
        terminal.until("abc")
        time.sleep(0.5)  # readline looks for signals only once it waits for a key, a moment after it shows the last one
        terminal.type("\x03")
        says(terminal.until("\r\n> "), "/quit", "Ctrl-D")
        terminal.type("/bogus\n")
        says(terminal.until("\r\n> "), "error[usage]:", "/bogus", "/reset")
        terminal.type(f"/save {file}\n")
        says(terminal.until("\r\n> "), "error[usage]:")
        assert not file.exists()
        terminal.type("soup bread\n")
        terminal.until("\r\n> ")
        terminal.type(f"/save {file}\n")
        says(terminal.until("\r\n> "), file)
        assert file.exists()
        terminal.type("\x04")
        assert process.wait(timeout=30) == 0
    kept = load_conversation(file)
    assert kept == [user("soup bread"), {"role": "assistant", "content": model.chat([user("soup bread")]).text}]
    assert json.loads(file.read_text()) == {"messages": kept}


class Interrupted:
    """A model whose owner presses Ctrl-C behind the second piece."""

    def stream_chat(self, messages: Sequence[dict[str, str]], **options: Any) -> Generator[str, None, None]:
        yield "half an"
        yield " answer"
        raise KeyboardInterrupt


def test_a_stopped_answer_stays_in_the_conversation_as_far_as_it_came(capsys: pytest.CaptureFixture[str]) -> None:
    talk = _Conversation(Interrupted(), [], options={}, file=None)  # type: ignore[arg-type]
    _answer(talk, "why")
    assert talk.messages == [user("why"), {"role": "assistant", "content": "half an answer"}]
    out, err = capsys.readouterr()
    assert out == "half an answer\n"
    assert err.count("\n") == 1


def test_the_system_text_is_exchanged_and_outlives_a_reset() -> None:
    talk = _Conversation(Interrupted(), [user("a")], options={}, file=None)  # type: ignore[arg-type]
    talk.set_system("be kind")
    talk.set_system("be brief")
    assert talk.messages == [{"role": "system", "content": "be brief"}, user("a")]
    talk.reset()
    assert talk.messages == [{"role": "system", "content": "be brief"}]
    talk.set_system(" ")
    assert talk.messages == []


def test_a_saved_conversation_of_thousands_of_messages_is_gone_on_with(here: Path, tmp_path: Path) -> None:
    turns = [{"role": ("user", "assistant")[number % 2], "content": f"goal {number}"} for number in range(5000)]
    (tmp_path / "long.json").write_text(json.dumps({"messages": turns}))
    outcome = llmkit("chat", "--load", tmp_path / "long.json", "--max-new-tokens", "2", stdin=b"ball\n")
    assert outcome.code == 0, outcome.err
    says(outcome.err, "messages are not read")

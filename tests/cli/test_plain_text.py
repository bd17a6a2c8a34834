"""One rule for plain text: on the command line, in a file and from a pipe the same text is read in the same way."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from facts import says
from repetitions import quick_if
from tiny_recipes import FOOD, SPORT, llmkit

from llmkit.api import read_texts, stream_rows

GENERATE = ("generate", "--max-new-tokens", "4", "--json")


def texts_of(*arguments: object, stdin: bytes = b"") -> object:
    outcome = llmkit(*GENERATE, *arguments, stdin=stdin)
    assert outcome.code == 0, outcome.err
    return [(record["prompt"], record["texts"]) for record in outcome.records]


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\r"])
@pytest.mark.parametrize("start", quick_if("\ufeff".__eq__, ["", "\ufeff"]))
@pytest.mark.parametrize("way", ["--whole", "--lines"])
def test_a_final_line_end_and_a_byte_order_mark_are_no_part_of_a_text(
    here: Path, tmp_path: Path, start: str, end: str, way: str
) -> None:
    content = f"{start}{SPORT}{end}"
    (tmp_path / "p.txt").write_bytes(content.encode())
    expected = texts_of("--prompt", SPORT)
    assert texts_of(tmp_path / "p.txt", way) == expected
    assert texts_of(way, stdin=content.encode()) == expected
    assert texts_of(content) == expected
    assert texts_of("--prompt", content) == expected


@pytest.mark.parametrize("content", ["\n\na\n\n", "a\r\nb\r\n", "a\rb", "a\x0cb\u2028c\n", "\ufeffa\n\ufeffb\n"])
def test_a_file_and_a_pipe_have_the_same_texts(tmp_path: Path, content: str) -> None:
    (tmp_path / "p.txt").write_bytes(content.encode())
    for by_line in (True, False):
        piped = [row.value for row in stream_rows(io.BytesIO(content.encode()), by_line=by_line)]
        assert piped == list(read_texts(tmp_path / "p.txt", by_line=by_line))


def test_only_the_last_line_end_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_bytes(b"\r\na\r\n\r\n")
    assert list(read_texts(tmp_path / "p.txt", by_line=False)) == ["\na\n"]
    assert list(read_texts(tmp_path / "p.txt")) == ["", "a", ""]


def test_a_file_of_prompts_has_a_prompt_in_each_line_and_it_is_logged(here: Path, tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text(f"{SPORT}\n{FOOD}\n")
    outcome = llmkit(*GENERATE, tmp_path / "p.txt")
    assert [record["prompt"] for record in outcome.records] == [SPORT, FOOD]
    says(outcome.err, "p.txt", "--whole")
    whole = llmkit(*GENERATE, tmp_path / "p.txt", "--whole")
    assert [record["prompt"] for record in whole.records] == [f"{SPORT}\n{FOOD}"]
    assert "--lines" not in whole.err


def test_several_lines_read_as_one_text_are_logged(here: Path) -> None:
    outcome = llmkit("summarize", "--json", stdin=f"{SPORT}\n{FOOD}\n".encode())
    assert len(outcome.records) == 1
    says(outcome.err, "standard input", 2, "--lines")


def test_a_cell_is_exactly_its_text(here: Path, tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text(json.dumps({"text": f"{SPORT}\n"}) + "\n")
    outcome = llmkit(*GENERATE, tmp_path / "p.jsonl")
    assert [record["prompt"] for record in outcome.records] == [f"{SPORT}\n"]


def test_a_pipe_that_is_not_text_is_refused_with_its_line() -> None:
    for content, fault in ((b"a\rb\n\xff", "standard input:3: byte 0xFF"), (b"a\n\0", "standard input:2:.*NUL")):
        with pytest.raises(Exception, match=fault):
            list(stream_rows(io.BytesIO(content), by_line=True))


def test_an_empty_file_and_an_empty_pipe_are_refused_alike(here: Path, tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_bytes(b"")
    for way in ("--lines", "--whole"):
        assert llmkit("classify", tmp_path / "p.txt", way).code == 3
        assert llmkit("classify", way, stdin=b"").code == 3

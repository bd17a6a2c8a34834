"""`--output` and `--resume-output`: results are in the file as they come, and a later command goes on after them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from builders import model_for
from encoder_folders import encoder_folders, save
from facts import says
from published_models import published_folder
from repetitions import quick_if
from tiny_recipes import command, environment, llmkit, rows, write_jsonl

TEXTS = [row["text"] for row in rows(6)]
VERBS = ("classify", "tag", "embed", "fill", "generate", "summarize", "answer", "choose")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for family, head in (("bert", "classification"), ("bert", "token-classification"), ("bert", "question-answering")):
        published_folder(folder / str(head), family, head=head)  # type: ignore[arg-type]
    published_folder(folder / "gpt2", "gpt2", head="causal-lm")
    published_folder(folder / "t5", "t5", head="seq2seq-lm")
    save(model_for("multiple-choice"), folder / "choose")
    return folder


def verb(name: str, models: Path, folder: Path) -> list[str]:
    """A command line for a file with six rows, one of which has no text, and ids."""
    records: list[dict[str, Any]] = [{"id": f"n{number}", "text": text} for number, text in enumerate(TEXTS)]
    records[3]["text"] = " "
    options = {
        "classify": ["--model", str(models / "classification")],
        "tag": ["--model", str(models / "token-classification")],
        "embed": ["--model", str(encoder_folders() / "masked-lm")],
        "fill": ["--model", str(encoder_folders() / "masked-lm")],
        "generate": ["--model", str(models / "gpt2"), "--max-new-tokens", "3", "--temperature", "2"],
        "summarize": ["--model", str(models / "t5"), "--max-new-tokens", "3"],
        "answer": ["--model", str(models / "question-answering")],
        "choose": ["--model", str(models / "choose")],
    }[name]
    if name == "fill":
        records = [{**record, "text": record["text"].strip() and f"the [MASK] {record['text']}"} for record in records]
    if name in ("answer", "choose"):
        records = [{"id": record["id"], "context": record["text"], "question": record["text"]} for record in records]
    if name == "choose":
        records = [{**record, "choices": ["ball", "soup"]} for record in records]
    write_jsonl(folder / "in.jsonl", records)
    return [name, str(folder / "in.jsonl"), *options, "--output", str(folder / "out.jsonl")]


@pytest.mark.parametrize("name", quick_if(("classify", "embed", "choose").__contains__, VERBS))
def test_a_resumed_file_is_that_of_an_uninterrupted_command_wherever_it_ended(
    models: Path, tmp_path: Path, name: str
) -> None:
    arguments, out = verb(name, models, tmp_path), tmp_path / "out.jsonl"
    outcome = llmkit(*arguments)
    assert outcome.code == 0, outcome.err
    whole = out.read_bytes()
    ends = [0, *(end + 1 for end, byte in enumerate(whole) if byte == 10)]
    assert len(ends) == 7
    for end in (0, ends[1], ends[3] + 5, ends[4], ends[6] - 1, ends[6]):
        out.write_bytes(whole[:end])
        outcome = llmkit(*arguments, "--resume-output")
        assert outcome.code == 0, outcome.err
        assert out.read_bytes() == whole
    out.unlink()
    assert llmkit(*arguments, "--resume-output").code == 0
    assert out.read_bytes() == whole


def test_rows_of_later_chunks_are_sampled_as_by_an_uninterrupted_command(models: Path, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("".join(f"the cat {number}\n" for number in range(520)))
    out = tmp_path / "out.jsonl"
    arguments = ["generate", tmp_path / "in.txt", "--model", models / "gpt2", "--max-new-tokens", "1", "-o", out]
    assert llmkit(*arguments, "--temperature", "3").code == 0
    whole = out.read_bytes()
    out.write_bytes(b"".join(whole.splitlines(keepends=True)[:515]))
    assert llmkit(*arguments, "--temperature", "3", "--resume-output").code == 0
    assert out.read_bytes() == whole


def edited(line: bytes, **changes: Any) -> bytes:
    return json.dumps({**json.loads(line), **changes}).encode() + b"\n"


@pytest.mark.parametrize(
    ("edit", "stated"),
    [
        (lambda lines: [edited(lines[0], text="another")], ["out.jsonl:1:", "'text'", "'another'", TEXTS[0]]),
        (lambda lines: [lines[1]], ["out.jsonl:1:", "'row'", 2, 1]),
        (lambda lines: [lines[0], lines[0]], ["out.jsonl:2:", "'row'", 1, 2]),
        (lambda lines: [edited(lines[0], id="x")], ["out.jsonl:1:", "'id'", "'x'", "'n0'"]),
        (lambda lines: [b'{"text": "a"}\n'], ["out.jsonl:1:", "row"]),
        (lambda lines: [b"[1]\n", lines[1]], ["out.jsonl:1:", "row"]),
        (lambda lines: [b'{"row": 1\n', lines[1]], ["out.jsonl:1:", "row"]),
        (lambda lines: [edited(lines[0], label="LABEL_9")], ["out.jsonl:", "row 1", "another"]),
        (lambda lines: [*lines, lines[0]], ["out.jsonl:", 7, "input"]),
    ],
)
def test_results_of_other_rows_or_models_are_refused_and_stay(
    models: Path, tmp_path: Path, edit: Any, stated: list[Any]
) -> None:
    arguments, out = verb("classify", models, tmp_path), tmp_path / "out.jsonl"
    assert llmkit(*arguments).code == 0
    out.write_bytes(b"".join(edit(out.read_bytes().splitlines(keepends=True))))
    before = out.read_bytes()
    outcome = llmkit(*arguments, "--resume-output")
    assert outcome.code == 3
    says(outcome.err, "error[data]:", *stated)
    assert out.read_bytes() == before


@pytest.mark.parametrize("output", [[], ["-o", "-"], ["-o", "/dev/null"], ["-o", "v.npy"], ["-o", "v.parquet"]])
def test_without_a_file_of_lines_there_is_nothing_to_go_on_with(output: list[str]) -> None:
    outcome = llmkit("embed", "a", *output, "--resume-output", "--model", encoder_folders() / "masked-lm")
    assert outcome.code == 2
    says(outcome.err, "--resume-output")


def test_a_bad_row_leaves_the_results_before_it_and_a_word_on_how_to_go_on(models: Path, tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", [{"text": f"the cat {number}"} for number in range(515)])
    good = source.read_text()
    source.write_text(good + "{\n")
    arguments = ["tag", source, "-m", models / "token-classification", "-o", tmp_path / "out.jsonl"]
    outcome = llmkit(*arguments)
    assert outcome.code == 3
    says(outcome.err, "out.jsonl", 512, "--resume-output")
    assert [json.loads(line)["row"] for line in (tmp_path / "out.jsonl").open()] == list(range(1, 513))
    source.write_text(good + '{"text": "corrected"}\n')
    assert llmkit(*arguments, "--resume-output").code == 0
    assert [json.loads(line)["row"] for line in (tmp_path / "out.jsonl").open()] == list(range(1, 517))


@pytest.mark.slow
def test_a_killed_command_leaves_whole_rows_that_are_continued(models: Path, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("".join(f"the cat {number}\n" for number in range(3000)))
    out = tmp_path / "out.jsonl"
    arguments = ["tag", tmp_path / "in.txt", "--model", models / "token-classification", "--output"]
    with subprocess.Popen(command(*arguments, out), env=environment(), stderr=subprocess.DEVNULL) as process:
        while not (out.exists() and out.stat().st_size):
            assert process.poll() is None
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
    lines = out.read_bytes().split(b"\n")
    assert 0 < len(lines) < 3001
    assert [json.loads(line)["row"] for line in lines[:-1]] == list(range(1, len(lines)))
    assert llmkit(*arguments, out, "--resume-output").code == 0
    assert llmkit(*arguments, tmp_path / "whole.jsonl").code == 0
    assert out.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()

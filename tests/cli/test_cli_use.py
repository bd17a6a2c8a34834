"""`classify`, `generate` and `summarize`: texts from everywhere, results in order, whole files or none."""

from __future__ import annotations

import csv
import json
import os
import shlex
import stat
import subprocess
from pathlib import Path

import pytest
from facts import says
from tiny_recipes import FOOD, SPORT, command, environment, listing, llmkit, llmkit_process

TEXTS = [SPORT, FOOD, "goal team 🙂 match", "soup", FOOD]
LABELS = ["sport", "food", "sport", "food", "food"]


def write_texts(path: Path, texts: list[str]) -> Path:
    if path.suffix == ".txt":
        path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    elif path.suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([["id", "text"], *enumerate(texts)])
    else:
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table({"text": texts}), path)
    return path


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".jsonl", ".parquet"])
def test_classify_reads_a_file_of_any_kind_in_order(here: Path, tmp_path: Path, suffix: str) -> None:
    outcome = llmkit("classify", write_texts(tmp_path / f"in{suffix}", TEXTS))
    assert outcome.code == 0, outcome.err
    assert [line.split("\t")[0] for line in outcome.out.splitlines()] == LABELS


def test_classify_takes_a_text_and_names_the_model_it_chose(here: Path) -> None:
    outcome = llmkit("classify", SPORT)
    label, probability = outcome.out.strip().split("\t")
    assert label == "sport"
    assert 0.5 < float(probability) <= 1
    says(outcome.err, "model: runs/classify-001")
    assert outcome.err.count("\n") == 1


def test_json_has_every_probability_and_they_add_up_to_1(here: Path) -> None:
    (record,) = llmkit("classify", SPORT, "--json").records
    assert list(record) == ["row", "text", "label", "probabilities", "truncated_tokens"]
    assert record["text"] == SPORT
    probabilities = record["probabilities"]
    assert isinstance(probabilities, dict)
    assert list(probabilities) == ["food", "sport"]
    assert sum(probabilities.values()) == pytest.approx(1)


def test_a_pipe_that_is_not_utf_8_is_told_with_line_and_byte(here: Path) -> None:
    outcome = llmkit("classify", "-", stdin=f"{SPORT}\n".encode() + b"caf\xe9\n")
    assert outcome.code == 3
    says(outcome.err, "error[data]: standard input:2:", "0xE9", 3, "UTF-8")


@pytest.mark.parametrize("text", ["", "   "])
def test_an_empty_text_is_refused_by_classify_and_summarize(here: Path, text: str) -> None:
    for verb in ("classify", "summarize"):
        outcome = llmkit(verb, text)
        assert (outcome.code, outcome.out) == (3, "")
        says(outcome.err, "error[data]: row 1:", "text", "empty")


def test_an_empty_prompt_begins_a_new_text(here: Path) -> None:
    outcome = llmkit("generate", "--prompt", "", "--max-new-tokens", "4", "--json")
    (record,) = outcome.records
    assert record["prompt"] == ""


def test_a_text_may_have_the_name_of_no_file_but_a_missing_file_is_an_error(here: Path) -> None:
    assert llmkit("classify", "goal.team").code == 0
    assert llmkit("classify", "a text about notes.txt").code == 0
    outcome = llmkit("classify", "notes.txt")
    assert outcome.code == 3
    says(outcome.err, "error[data]:", "notes.txt", "file", here)


def test_output_file_is_jsonl_and_nothing_is_on_standard_output(here: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    target.write_text("old")
    outcome = llmkit("classify", write_texts(tmp_path / "in.txt", TEXTS), "-o", target)
    assert (outcome.code, outcome.out) == (0, "")
    lines = [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()]
    assert [line["label"] for line in lines] == LABELS
    assert [line["text"] for line in lines] == TEXTS
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.txt", "out.jsonl"]


def test_output_minus_is_jsonl_on_standard_output(here: Path) -> None:
    outcome = llmkit("classify", SPORT, "-o", "-")
    assert outcome.records[0]["label"] == "sport"
    assert not (here / "-").exists()


def test_output_to_a_device_writes_into_it_and_leaves_it_a_device(here: Path, tmp_path: Path) -> None:
    device = tmp_path / "pipe"
    os.mkfifo(device)
    reader = os.open(device, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert llmkit("classify", SPORT, "-o", device).code == 0
        assert json.loads(os.read(reader, 4096))["label"] == "sport"
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(device.stat().st_mode)


def test_output_through_a_link_replaces_the_file_and_keeps_the_link(here: Path, tmp_path: Path) -> None:
    (tmp_path / "real.jsonl").write_text("old")
    (tmp_path / "link.jsonl").symlink_to("real.jsonl")
    assert llmkit("classify", SPORT, "-o", tmp_path / "link.jsonl").code == 0
    assert (tmp_path / "link.jsonl").is_symlink()
    assert json.loads((tmp_path / "real.jsonl").read_text())["label"] == "sport"


def test_a_failure_in_the_middle_leaves_the_old_output_and_nothing_else(here: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    target.write_text("old")
    before = listing(tmp_path)
    outcome = llmkit("classify", "-", "-o", target, stdin=f"{SPORT}\n".encode() + b"\xff\n")
    assert outcome.code == 3
    assert listing(tmp_path) == before


def test_a_full_device_as_output_is_exit_5(here: Path) -> None:
    outcome = llmkit("classify", SPORT, "-o", "/dev/full")
    assert outcome.code == 5
    says(outcome.err, "error[environment]: /dev/full:", "No space left on device")


def test_a_long_text_is_cut_with_a_count_or_refused(here: Path) -> None:
    long = " ".join([SPORT] * 20)
    cut = llmkit("classify", long, "--json")
    assert cut.records[0]["truncated_tokens"] > 0  # type: ignore[operator]
    says(cut.err, "warning:", 1, "texts", "runs/classify-001", "24 tokens")
    refused = llmkit("classify", long, "--overflow", "error")
    assert (refused.code, refused.out) == (3, "")


def test_generate_repeats_the_prompt_and_goes_on(here: Path) -> None:
    outcome = llmkit("generate", "--prompt", SPORT, "--max-new-tokens", "4")
    assert outcome.out.startswith(SPORT)
    (record,) = llmkit("generate", "--prompt", SPORT, "--max-new-tokens", "4", "--json").records
    assert isinstance(record["texts"], list)
    assert outcome.out == f"{SPORT}{record['texts'][0]}\n"


def test_generate_takes_the_prompt_as_an_argument_a_file_and_a_pipe(here: Path, tmp_path: Path) -> None:
    (tmp_path / "prompt.txt").write_text(SPORT)
    options = ("--max-new-tokens", "4")
    expected = llmkit("generate", "--prompt", SPORT, *options).out
    assert llmkit("generate", SPORT, *options).out == expected
    assert llmkit("generate", tmp_path / "prompt.txt", *options).out == expected
    assert llmkit("generate", *options, stdin=SPORT.encode()).out == expected


def test_generate_draws_the_same_texts_from_the_same_seed(here: Path) -> None:
    def texts(seed: str) -> object:
        options = ("--temperature", "1", "--num-return-sequences", "3", "--max-new-tokens", "6", "--json")
        return llmkit("generate", "--prompt", SPORT, *options, "--seed", seed).records[0]["texts"]

    assert texts("1") == texts("1")
    assert texts("1") != texts("2")
    assert len(texts("1")) == 3  # type: ignore[arg-type]


def test_a_prompt_and_its_new_tokens_that_exceed_the_window_are_refused_with_the_sum(here: Path) -> None:
    outcome = llmkit("generate", "--prompt", SPORT, "--max-new-tokens", "30")
    assert outcome.code == 2
    assert "+ 30 > 32" in outcome.err
    cut = llmkit("generate", "--prompt", SPORT, "--max-new-tokens", "30", "--overflow", "truncate")
    assert cut.code == 0
    says(cut.err, "warning:", 1, "texts")


def test_summarize_reads_rows_or_a_whole_document(here: Path, tmp_path: Path) -> None:
    document = write_texts(tmp_path / "in.txt", [SPORT, FOOD])
    assert len(llmkit("summarize", document, "--json").records) == 1
    lines = llmkit("summarize", document, "--lines", "--json").records
    assert [line["text"] for line in lines] == [SPORT, FOOD]
    assert list(lines[0]) == ["row", "text", "summary", "finished", "truncated_tokens", "parts"]


def test_every_verb_refuses_a_model_of_another_family_and_names_the_verb_that_fits(here: Path) -> None:
    for verb, model, fits in (
        ("classify", "write", "generate"),
        ("classify", "summarize", "summarize"),
        ("generate", "classify", "classify"),
        ("summarize", "write", "generate"),
    ):
        outcome = llmkit(verb, "--model", f"runs/{model}-001", "a text")
        assert (outcome.code, outcome.out) == (4, "")
        says(outcome.err, "error[model]:", f"`llmkit {fits}`")


@pytest.mark.slow
def test_ascii_locales_keep_every_character(here: Path) -> None:
    text = "goal 🙂 team"
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    outcome = llmkit_process("classify", text, "--json", cwd=here, env=plain)
    assert outcome.code == 0, outcome.err
    assert outcome.records[0]["text"] == text


@pytest.mark.slow
def test_a_reader_that_goes_away_and_a_full_disk_end_the_work_quietly(here: Path, tmp_path: Path) -> None:
    texts = write_texts(tmp_path / "in.txt", TEXTS * 1000)  # more than a pipe holds
    piped, full = tmp_path / "piped.txt", tmp_path / "full.txt"
    many, one = shlex.join(command("classify", texts)), shlex.join(command("classify", SPORT))
    line = f'{many} 2>{piped} | head -n 1; {one} >/dev/full 2>{full}; echo "$?"'
    done = subprocess.run(
        ["sh", "-c", line], cwd=here, env=environment(), capture_output=True, text=True, check=False
    )  # fmt: skip
    first, code = done.stdout.splitlines()
    assert first.startswith("sport\t")
    assert code == "5"
    (note,) = piped.read_text().splitlines()
    says(note, "model: runs/classify-001")
    same_note, error = full.read_text().splitlines()
    assert same_note == note
    says(error, "error[environment]:", "No space left on device")

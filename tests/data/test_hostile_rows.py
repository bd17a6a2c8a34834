"""Malformed inputs that crashed a command, took minutes, or had a message without a place: one table for each reader."""

from __future__ import annotations

import gzip
import json
import os
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from builders import task_of
from facts import facts, says
from tiny_recipes import llmkit, write_jsonl

from llmkit.data.fields import Fields
from llmkit.data.sources import open_rows
from llmkit.errors import UsageError
from llmkit.models.chat import Messages, contents_of, newest_that_fit
from llmkit.tasks.question_answering.locate import locate_answer

RECIPE = "recipe: 1\nmodel: no/model/here\ndata: {{train: {train}, validation: 50%{more}}}\n{keys}\n"
GROUPED = {
    "task: instruction": '{"prompt": "a", "response": "b"}',
    "task: token-classification": '{"words": ["a"], "tags": ["O"]}',
    "task: multiple-choice": '{"context": "a", "choices": ["b", "c"], "answer": 0}',
    "task: classification": '{"text": "a", "label": "b"}',
}


def finetune(folder: Path, *, train: str, keys: str, more: str = "") -> tuple[int, str]:
    """Train on the rows, up to a model that is not there: exit 4 where the rows are good."""
    (folder / "recipe.yaml").write_text(RECIPE.format(train=json.dumps(train), keys=keys, more=more))
    outcome = llmkit("finetune", folder / "recipe.yaml")
    assert outcome.out == ""
    return outcome.code, outcome.err


@pytest.mark.parametrize("keys", list(GROUPED))
@pytest.mark.parametrize("rest", [False, True])
@pytest.mark.parametrize("skip", ["", ", skip_bad_rows: true"])
def test_a_first_row_without_keys_is_a_bad_row_and_the_others_are_read(
    tmp_path: Path, keys: str, rest: bool, skip: str
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("{}\n" + (f"{GROUPED[keys]}\n" if rest else ""))
    code, err = finetune(tmp_path, train=str(path), keys=keys, more=skip)
    assert code == 3 or (skip and rest)
    says(err, f"{path}", *([] if skip else [f"{path}:1:"]))
    assert f"{path}:2" not in err


def test_a_message_about_damaged_parquet_is_one_line(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a", "b"], "label": ["x", "y"]}), tmp_path / "a.parquet")
    content = bytearray((tmp_path / "a.parquet").read_bytes())
    length = int.from_bytes(content[-8:-4], "little")
    content[-8 - length : -8] = b"\x0f" * length  # the footer, as raw bytes of another type
    (tmp_path / "a.parquet").write_bytes(bytes(content))
    code, err = finetune(tmp_path, train=str(tmp_path / "a.parquet"), keys="task: classification")
    assert code == 3
    assert [str(tmp_path / "a.parquet") in line for line in err.splitlines()] == [True]


def test_a_compressed_file_that_expands_a_thousandfold_is_refused_after_a_part_of_it(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    row = b"a" * 2000 + b",b\n"
    path.write_bytes(gzip.compress(b"text,label\n" + row * 20_000))
    code, err = finetune(tmp_path, train=str(path), keys="task: classification")
    assert code == 3
    says(err, f"{path}:", "expands", 200)


def test_a_compressed_file_of_text_may_expand_twentyfold(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    rows = b"".join(b"%d the same words again and again in every row of it,%d\n" % (n, n % 2) for n in range(9))
    path.write_bytes(gzip.compress(b"text,label\n" + rows))
    assert finetune(tmp_path, train=str(path), keys="task: classification")[0] == 4


@pytest.mark.parametrize("labels", [(0.0, 1.0), (0.0, 1), (-0.0, 1.0)])
def test_whole_numbers_as_floats_are_the_labels_of_the_integers(tmp_path: Path, labels: tuple[float, float]) -> None:
    rows = [{"text": str(number), "label": labels[number % 2]} for number in range(4)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pq.write_table(pa.table({"text": ["0", "1"], "label": [float(label) for label in labels]}), tmp_path / "a.parquet")
    for name in ("a.jsonl", "a.parquet"):
        read = open_rows([str(tmp_path / name)], Fields(column_types={"text": "text", "label": "label"}))
        assert [row.fields["label"] for row in read][:2] == ["0", "1"]


def test_predictions_as_floats_are_the_labels_of_integers(tmp_path: Path) -> None:
    for name, values in (("p.jsonl", [0.0, 1.0, 1.0]), ("r.jsonl", [0, 1, 0])):
        (tmp_path / name).write_text("".join(json.dumps({"label": value}) + "\n" for value in values))
    options = ["--predictions", tmp_path / "p.jsonl", "--references", tmp_path / "r.jsonl", "--metric", "accuracy"]
    outcome = llmkit("evaluate", *options, "--json")
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["scores"]["accuracy"] == pytest.approx(2 / 3)


@pytest.mark.parametrize("value", [1.5, 2.0**60])
def test_other_floats_are_no_labels(tmp_path: Path, value: float) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "a", "label": value}) + "\n")
    code, err = finetune(tmp_path, train=str(tmp_path / "a.jsonl"), keys="task: classification")
    assert code == 3
    says(err, f"{tmp_path}/a.jsonl:1:", "'label'", repr(value))


@pytest.mark.parametrize(("good", "is_advised"), [(0, False), (2, True)])
def test_leaving_out_bad_rows_is_advised_only_where_rows_remain(tmp_path: Path, good: int, is_advised: bool) -> None:
    rows = [{"text": f"a {number}", "label": "x"} for number in range(good)]
    (tmp_path / "a.jsonl").write_text("".join(map("{}\n".format, map(json.dumps, [*rows, {"text": 7, "label": "x"}]))))
    code, err = finetune(tmp_path, train=str(tmp_path / "a.jsonl"), keys="task: classification")
    assert code == 3
    assert ("skip_bad_rows" in err) is is_advised


def test_files_of_predictions_and_references_with_other_numbers_of_rows_are_named(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "p.jsonl", [{"label": "a"}] * 3)
    write_jsonl(tmp_path / "r.jsonl", [{"label": "a"}] * 2)
    options = ["--predictions", tmp_path / "p.jsonl", "--references", tmp_path / "r.jsonl", "--metric", "accuracy"]
    outcome = llmkit("evaluate", *options)
    assert outcome.code == 3
    says(outcome.err, "p.jsonl:", 3, "r.jsonl", 2)


@pytest.mark.parametrize("label", ["x" * 20_000, "\u2028a\x0bb"])
def test_an_error_is_one_line_that_a_terminal_can_show_whatever_it_quotes(label: str) -> None:
    outcome = llmkit("evaluate", "--predictions", "p.txt", "--references", "r.txt", "--label", label)
    assert outcome.code == 2
    [line] = outcome.err.splitlines()
    assert len(line) < 2500
    assert line.isprintable()


@pytest.mark.parametrize(
    "name", ["a\nb.csv", "a b.csv", "-rf.csv", "\U0001f600.csv", "x" * 240 + ".csv", os.fsdecode(b"\xff.csv")]
)
def test_files_of_any_name_are_read_and_named_on_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("text,label\na,b\nc,\n")
    outcome = llmkit(
        "evaluate", "--predictions", tmp_path / name, "--references", tmp_path / name, "--metric", "accuracy"
    )
    assert outcome.code == 0, outcome.err
    (tmp_path / name).write_text("text,label\na,b\nc,d,e\n")
    outcome = llmkit(
        "evaluate", "--predictions", tmp_path / name, "--references", tmp_path / name, "--metric", "accuracy"
    )
    assert outcome.code == 3
    [line] = outcome.err.splitlines()
    says(line, ":3:", "3 cells", 2)


@pytest.mark.parametrize("messages", [20_000, 1_600])
def test_a_conversation_whose_beginnings_cannot_all_be_rendered_is_a_bad_row(tmp_path: Path, messages: int) -> None:
    turns = [{"role": ("user", "assistant")[number % 2], "content": "some words"} for number in range(messages)]
    (tmp_path / "a.jsonl").write_text(json.dumps({"messages": turns}) + "\n")
    code, err = finetune(tmp_path, train=str(tmp_path / "a.jsonl"), keys="task: instruction")
    assert code == 3
    says(err, f"{tmp_path}/a.jsonl:1:", f"{messages:,} messages", "split")


@pytest.mark.parametrize("exchanges", [1, 2, 3, 7, 40])
@pytest.mark.parametrize("start", [[], [{"role": "system", "content": "old"}]])
@pytest.mark.parametrize("end", [[], [{"role": "user", "content": "the last"}]])
def test_as_many_of_the_newest_exchanges_as_fit_are_kept(
    exchanges: int, start: list[dict[str, str]], end: list[dict[str, str]]
) -> None:
    turns = [{"role": role, "content": "cat" * (n % 3 + 1)} for n in range(exchanges) for role in ("user", "assistant")]
    chat = [*start, *turns, *end]
    for room in range(0, len(contents_of(chat)) + 2):
        parts = [[*start, *turns[first:], *end] for first in range(0, 2 * exchanges, 2)] + (
            [[*start, *end]] if end else []
        )
        fitting = next((part for part in parts if len(contents_of(part)) <= room), parts[-1])
        assert newest_that_fit(chat, contents_of, room=room) == (fitting, contents_of(fitting))


def test_a_long_conversation_is_fitted_without_encoding_most_of_it() -> None:
    encoded: list[int] = []

    def encode(part: Messages) -> str:
        encoded.append(len(part))
        return contents_of(part)

    chat = [{"role": role, "content": "cat"} for _ in range(5000) for role in ("user", "assistant")]
    newest_that_fit(chat, encode, room=100)
    assert sum(encoded) < 500


@pytest.mark.parametrize("prefix", ["word " * 9, "x" * 5000])
def test_a_prefix_that_leaves_no_room_for_a_text_is_refused_before_any_is_read(prefix: str) -> None:
    task = task_of("summarization", max_source_tokens=12, prefix=prefix)
    with pytest.raises(UsageError, match=facts("prefix", "12 tokens", "max_source_tokens")):
        task.encode(iter(()))


def test_a_prefix_of_a_million_characters_is_refused_in_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,summary\na,b\n")
    keys = f"task: summarization\nprefix: {'x' * 100_000}"
    code, err = finetune(tmp_path, train=str(tmp_path / "a.csv"), keys=keys)
    assert code == 2
    says(err, "recipe.yaml:5:9", "prefix", "10,000")


@pytest.mark.parametrize("metric", ["mcc", "confusion"])
def test_a_table_of_ten_thousand_labels_is_refused(tmp_path: Path, metric: str) -> None:
    for name in ("p.txt", "r.txt"):
        (tmp_path / name).write_text("".join(f"label {number}\n" for number in range(10_000)))
    options = ["--predictions", tmp_path / "p.txt", "--references", tmp_path / "r.txt", "--metric", metric]
    outcome = llmkit("evaluate", *options)
    assert outcome.code == 3
    says(outcome.err, metric, "10,000", "2,000")


def test_an_answer_is_where_it_is_alone_or_alone_nearest() -> None:
    rng = random.Random(3)
    for _ in range(3000):
        context = "".join(rng.choices("ab ", k=rng.randint(1, 60)))
        answer, start = rng.choice(["a", "ab", "aa", "b a"]), rng.choice([None, *range(70)])
        places = [place for place in range(len(context)) if context.startswith(answer, place)]
        if start is None:
            found = places[0] if len(places) == 1 else None
        else:
            near = sorted((abs(place - start), place) for place in places)
            alone = len(near) == 1 or (len(near) > 1 and near[0][0] < near[1][0] and near[0][0] <= 20)
            found = start if start in places else near[0][1] if alone else None
        expected = None if found is None else (found, found + len(answer))
        assert locate_answer(context, answer, start) == expected, (context, answer, start)


@pytest.mark.parametrize("every", ["9" * 5000 + " steps", "1234567890 epochs", "0 steps"])
def test_an_interval_that_is_no_number_of_steps_is_refused_in_the_recipe(tmp_path: Path, every: str) -> None:
    (tmp_path / "a.csv").write_text("text,label\na,b\n")
    keys = f'task: classification\nevaluation: {{every: "{every}"}}'
    code, err = finetune(tmp_path, train=str(tmp_path / "a.csv"), keys=keys)
    assert code == 2
    says(err, "recipe.yaml:5:21", "evaluation.every")

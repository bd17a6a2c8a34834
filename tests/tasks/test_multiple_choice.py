"""Multiple choice: which rows are questions, which choice is right, and what is learnt of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from adapted import saved
from builders import model_for, rows, sentence, task_of
from facts import facts, says
from tiny_recipes import llmkit, write_jsonl
from transformers import AutoModelForMultipleChoice, BertConfig, BertForMultipleChoice

import llmkit as package
from llmkit.data.rows import Row
from llmkit.errors import DataError, ModelError, UsageError
from llmkit.models.loading import load_model
from llmkit.tasks.multiple_choice.choices import (
    AnswerSpelling,
    Question,
    correct_choice,
    question_of,
    rows_with_questions,
)

SWAG = {"context": "a dog runs", "question": "it", "ending0": "eats", "ending1": "reads", "ending2": "", "ending3": " "}


def row(**fields: Any) -> Row:
    return Row(fields, "rows.jsonl:7")


# ---- rows


def test_choices_in_columns_are_those_of_a_list_without_the_empty_last_ones() -> None:
    assert question_of(row(**SWAG)) == Question(("eats", "reads"), "a dog runs", "it")
    listed = row(context="a dog runs", question="it", choices=["eats", "reads"])
    assert question_of(listed) == question_of(row(**SWAG))


@pytest.mark.parametrize(
    ("question", "texts"),
    [
        (Question(("b", "c"), context="a"), [("a", "b"), ("a", "c")]),
        (Question(("b", "c"), question="a?"), [("a?", "b"), ("a?", "c")]),
        (Question(("b", "c"), "a", "he "), [("a", "he b"), ("a", "he c")]),
        (Question(("b", "c"), "a", "he _ it"), [("a", "he b it"), ("a", "he c it")]),
        (Question(("b", "c"), "a", "snake_case is"), [("a", "snake_case is b"), ("a", "snake_case is c")]),
    ],
)
def test_a_choice_is_read_behind_its_question_or_in_its_blank(question: Question, texts: list[Any]) -> None:
    assert question.texts() == texts


@pytest.mark.parametrize(
    ("answer", "spelling", "index"),
    [("2", "auto", 2), ("C", "auto", 2), ("red", "auto", 1), ("2", "index", 2), ("B", "letter", 1), ("B", "text", 3)],
)
def test_the_right_choice_is_named_by_index_letter_or_text(answer: str, spelling: AnswerSpelling, index: int) -> None:
    choices = ["blue", "red", "green", "B"]
    assert correct_choice(answer, choices, spelling=spelling, place="x:1") == index


@pytest.mark.parametrize(
    ("answer", "choices", "stated"),
    [
        ("4", ["a", "b"], ("rows.jsonl:7", "'4'", 2)),
        ("c", ["a", "b"], ("rows.jsonl:7", "'c'", 2)),
        ("1", ["1", "2"], ("rows.jsonl:7", "'1'", "answer_as")),
        ("A", ["x", "A"], ("rows.jsonl:7", "'A'", "answer_as")),
    ],
)
def test_an_answer_that_names_no_choice_or_two_is_refused(answer: str, choices: list[str], stated: Any) -> None:
    with pytest.raises(DataError, match=facts(*stated)):
        correct_choice(answer, choices, spelling="auto", place="rows.jsonl:7")


@pytest.mark.parametrize(
    ("fields", "stated"),
    [
        ({"question": "q", "choices": ["a"]}, (1, 2, 10)),
        ({"question": "q", "choices": [str(number) for number in range(11)]}, (11, 2, 10)),
        ({"choices": ["a", "b"]}, ("context", "question")),
        ({"question": "q", "choices": ["a", "b", "a"]}, ("'a'",)),
        ({"question": "q", "ending0": "a", "ending1": "", "ending2": "b"}, (1,)),
    ],
)
def test_a_row_that_is_no_question_is_refused_with_its_place(fields: dict[str, Any], stated: Any) -> None:
    with pytest.raises(DataError, match=facts("rows.jsonl:7", *stated)):
        question_of(row(**fields))


def test_distractors_are_other_answers_and_a_function_of_seed_and_row() -> None:
    some = [row(context=f"c{number}", answer=f"a{number % 5}") for number in range(20)]
    asked = [list(rows_with_questions(some, distractors=3, answer_as="auto", seed=seed)) for seed in (1, 1, 2)]
    assert asked[0] == asked[1] != asked[2]
    for given, question, index in asked[0]:
        assert question.choices[index] == given.fields["answer"]
        assert len(set(question.choices)) == 4
    with pytest.raises(DataError, match=facts("distractors", 5, 4)):
        list(rows_with_questions(some, distractors=5, answer_as="auto", seed=1))


# ---- the loss


def test_the_loss_is_that_of_transformers_own_class(tmp_path: Path) -> None:
    task = task_of("multiple-choice")
    alike = [one for one in rows() if len(one.fields["choices"]) == 3]
    examples = task.encode(alike)
    batch = task.collate(examples, np.arange(5))
    plain = AutoModelForMultipleChoice.from_pretrained(saved(task.loaded, tmp_path / "model"))
    shaped = {
        name: batch[name].view(5, 3, -1) for name in ("input_ids", "attention_mask", "token_type_ids")
    }  # (B, 3, T)
    with torch.no_grad():
        wanted = plain(**shaped, labels=batch["answers"]).loss * 5
        assert float(task.loss_sum(batch)) == pytest.approx(float(wanted), rel=1e-6)


def test_questions_with_fewer_choices_lose_nothing_beside_others() -> None:
    task = task_of("multiple-choice")
    examples = task.encode(rows(9))
    assert {len(examples.columns["choice_tokens"][index]) for index in range(9)} == {2, 3, 4}
    together = task.loss_sum(task.collate(examples, np.arange(9)))
    alone = sum(task.loss_sum(task.collate(examples, np.asarray([index]))) for index in range(9))
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)


def test_long_contexts_are_truncated_and_counted_and_choices_are_kept(caplog: pytest.LogCaptureFixture) -> None:
    task = task_of("multiple-choice")
    long = row(context=" ".join(sentence(number) for number in range(40)), choices=["red tree", "old dog"], answer="0")
    examples = task.encode([long])
    assert set(examples.columns["choice_tokens"][0].tolist()) == {task.loaded.window}
    ids = task.loaded.tokenizer("red tree", add_special_tokens=False)["input_ids"]
    assert examples.columns["input_ids"][0].tolist()[: task.loaded.window][-len(ids) - 1 : -1] == ids
    says(caplog.text, "1 of 1")


# ---- in use


def write_questions(path: Path) -> Path:
    """The longest choice is right."""
    made = []
    for number in range(60):
        choices = [sentence(number, most_words=2), f"{sentence(number + 1, most_words=2)} and {sentence(number + 2)}"]
        right = number % 2
        made.append({"question": "which", "choices": choices if right else choices[::-1], "answer": "AB"[right]})
    return write_jsonl(path, made)  # type: ignore[arg-type]


RECIPE = """recipe: 1
task: multiple-choice
model: {architecture: bert, size: tiny, tokenizer: {vocab_size: 200}}
data: {train: questions.jsonl, validation: 20%}
max_tokens: 32
train: {steps: 40, batch_size: 16, learning_rate: 1e-3}
evaluation: {every: 20 steps}
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("choices")
    write_questions(folder / "questions.jsonl")
    (folder / "r.yaml").write_text(RECIPE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert llmkit("finetune", "r.yaml", "--run", "run").code == 0
    return folder


@pytest.fixture
def run(trained: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(trained)
    return trained / "run"


def test_the_whole_way_from_rows_to_choices(run: Path) -> None:
    chosen = llmkit("choose", "questions.jsonl", "--model", "run", "--json")
    records = [json.loads(line) for line in chosen.out.splitlines()]
    assert len(records) == 60
    for record in records:
        assert record["choice"] == record["choices"][record["index"]]
        assert record["probabilities"][record["index"]] == max(record["probabilities"])
        assert sum(record["probabilities"]) == pytest.approx(1)
    measured = json.loads(llmkit("evaluate", "--model", "run", "--baseline", "--json").out)
    assert measured["baselines"].keys() == {"majority", "random"}
    every = json.loads(llmkit("evaluate", "--model", "run", "--data", "questions.jsonl", "--json").out)
    right = [record["index"] == "AB".index(json.loads(line)["answer"]) for record, line in
             zip(records, Path("questions.jsonl").read_text().splitlines(), strict=True)]  # fmt: skip
    assert every["scores"]["accuracy"] == pytest.approx(sum(right) / 60)
    assert sum(right) / 60 > 0.9  # the length tells
    one = llmkit("choose", "--question", "which", "--choice", "old", "--choice", "red", "--model", "run")
    (line,) = package.load("run").choose([{"question": "which", "choices": ["old", "red"]}])
    assert one.out.split("\t")[0] == line.text


def test_scores_of_choices_are_no_numbers_for_classify(run: Path) -> None:
    outcome = llmkit("classify", "a text", "--model", "run")
    assert outcome.code == 2
    says(outcome.err, "run", "llmkit choose")


@pytest.mark.parametrize(
    "given",
    [{"choices": ["a", "b"]}, {"question": "q", "choices": "ab"}, {"question": "q", "choices": ["a", "b"], "label": 1}],
)
def test_a_question_in_python_that_is_none_is_refused_with_its_row(given: dict[str, Any], run: Path) -> None:
    model = package.load("run", verb="choose")
    with pytest.raises(DataError, match=facts("row 2")):
        list(model.choose([{"question": "q", "choices": ["a", "b"]}, given]))


def test_a_published_model_for_multiple_choice_is_used_as_it_is(tmp_path: Path) -> None:
    loaded = model_for("multiple-choice")
    torch.manual_seed(2)
    keys = {key: value for key, value in loaded.model.config.to_dict().items() if "label" not in key}
    BertForMultipleChoice(BertConfig(**keys)).save_pretrained(tmp_path / "model")
    loaded.tokenizer.save_pretrained(tmp_path / "model")
    opened = load_model(str(tmp_path / "model"), head="classification")
    assert len(opened.labels) == 1
    (found,) = package.load(str(tmp_path / "model"), verb="choose").choose([{"question": "q", "choices": ["a", "b"]}])
    assert sum(found.probabilities) == pytest.approx(1)
    with pytest.raises(UsageError, match=facts("llmkit choose")):
        list(package.load(str(tmp_path / "model"), verb="classify").classify(["a"]))


def test_a_family_that_reads_one_text_is_refused() -> None:
    with pytest.raises(ModelError, match=facts("gpt2", "bert")):
        task_of("multiple-choice", loaded=model_for("multiple-choice", family="gpt2"))

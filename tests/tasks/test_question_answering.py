"""Answers: no place of a context is out of reach, nothing is cut in silence, and what is said was trained."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from builders import recipe_of, tiny_model
from facts import facts, logged
from transformers import PreTrainedTokenizerFast

from llmkit.data.examples import Examples
from llmkit.data.rows import Row
from llmkit.errors import DataError, ModelError, UsageError
from llmkit.models.export import model_files
from llmkit.models.families import FAMILIES
from llmkit.models.loaded import LoadedModel
from llmkit.models.loading import load_model
from llmkit.models.losses import IGNORED, label_smoothing
from llmkit.models.tokenizers import train_tokenizer
from llmkit.recipe.blocks import TokenizerBlock
from llmkit.recipe.generation import GenerationBlock
from llmkit.tasks.question_answering.options import AnswerOptions
from llmkit.tasks.question_answering.predict import answer_options
from llmkit.tasks.question_answering.task import QuestionAnsweringTask
from llmkit.tasks.question_answering.windows import encode_pairs, find_answer
from llmkit.tasks.target_counts import count_targets

WINDOW = 32
Rule = Callable[[Sequence[int]], np.ndarray]


@cache
def _words() -> PreTrainedTokenizerFast:
    """Each of these words is one token."""
    texts = ["bird gold find where is the ring"] * 9
    return train_tokenizer(FAMILIES["bert"], texts, block=TokenizerBlock(vocab_size=200), max_tokens=WINDOW)


def loaded() -> LoadedModel:
    model = tiny_model("bert", head="question-answering")
    model.model.config.task_specific_params = None
    return LoadedModel(model=model.model, tokenizer=_words(), family=FAMILIES["bert"], name="tiny")


def task_of_window(**keys: Any) -> QuestionAnsweringTask:
    return QuestionAnsweringTask(recipe_of("question-answering", max_tokens=WINDOW, **keys), loaded())


def token(word: str) -> int:
    [found] = _words()(word, add_special_tokens=False)["input_ids"]
    return int(found)


def row(
    context: str, answer: str | None, start: int = -1, *, question: str = "where is the ring", line: int = 1
) -> Row:
    place = context.index(answer) if answer and start < 0 else start
    answers = {"text": [answer], "answer_start": [place]} if answer else {"text": [], "answer_start": []}
    return Row({"context": context, "question": question, "answers": answers}, f"rows.jsonl:{line}")


def at_every_place(answer: str, *, length: int = 90) -> list[Row]:
    """A context of `length` times bird, the answer in front of each of them in turn."""
    contexts = [" ".join([*["bird"] * place, answer, *["bird"] * (length - place)]) for place in range(length + 1)]
    return [row(context, answer, line=number + 1) for number, context in enumerate(contexts)]


class RuleEngine:
    """Logits by rule: (T,) ids to (T, 2)."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.pairs: list[bool] = []

    def token_logits(self, sequences: Sequence[Sequence[int]], *, pairs: bool = False) -> list[np.ndarray]:
        self.pairs.append(pairs)
        return [np.asarray(self.rule(ids), dtype=np.float32) for ids in sequences]

    def class_logits(self, sequences: Sequence[Sequence[int]], *, pairs: bool = False) -> np.ndarray:
        raise AssertionError("an answer is no class")

    def generate(self, sequences: Sequence[Sequence[int]], options: GenerationBlock) -> list[list[list[int]]]:
        raise AssertionError("an answer is not written")


def pointing_at(start: str, end: str, *, cls: float = 1.0) -> RuleEngine:
    """Sure of these two words wherever they stand, and of [CLS] where they do not."""
    ids_of = (token(start), token(end))

    def rule(ids: Sequence[int]) -> np.ndarray:
        logits = np.array([[5.0 * (one == wanted) for wanted in ids_of] for one in ids])
        logits[0] = cls
        return logits

    return RuleEngine(rule)


# ---- windows


@pytest.mark.parametrize("answer", ["gold", "gold find", "gold bird bird find"])
def test_an_answer_at_every_place_of_a_long_passage_is_found(answer: str) -> None:
    task = task_of_window(window_overlap=6, max_answer_tokens=8)
    examples = task.encode(at_every_place(answer))
    engine = pointing_at(answer.split()[0], answer.split()[-1])
    assert task.predict(examples, engine) == [answer] * len(examples.references)
    assert engine.pairs == [True]
    assert len(examples) > 3 * examples.rows


@pytest.mark.parametrize("answer", ["gold", "gold bird bird find"])
def test_every_answer_is_a_target_in_each_window_that_holds_it_and_cls_elsewhere(answer: str) -> None:
    task = task_of_window(window_overlap=6)
    examples = task.encode(at_every_place(answer))
    wanted = _words()(answer, add_special_tokens=False)["input_ids"]
    for windows in examples.examples_of():
        pointed = []
        for index in windows:
            ids, (start, end) = examples.columns["input_ids"][index].tolist(), examples.columns["target_ids"][index]
            holds = any(ids[place : place + len(wanted)] == wanted for place in range(len(ids)))
            assert (start > 0) == holds
            assert (start, end) == (0, 0) or ids[start : end + 1] == wanted
            pointed.append(holds)
        assert any(pointed)


def test_windows_begin_with_the_question_are_full_and_cover_the_passage() -> None:
    context = " ".join(["bird", "gold", "find"] * 30)
    [pair] = encode_pairs(task_of_window().loaded, [("where is the ring", context)], overlap=8)
    head = _words()("where is the ring")["input_ids"]
    assert all(len(sequence) == WINDOW and sequence[: len(head)] == head for sequence in pair.sequences)
    assert pair.windows.starts == (0, 17, 34, 51, 65)
    covered = {start + place for start in pair.windows.starts for place in range(pair.windows.room)}
    assert covered == set(range(90))


def test_an_answer_that_stands_whole_in_no_window_teaches_nothing_and_is_told(caplog: pytest.LogCaptureFixture) -> None:
    task = task_of_window(window_overlap=0, max_answer_tokens=50)
    whole = task.encode([row("gold find " + "bird " * 60, "gold find")])
    assert logged(caplog, "WARNING") == []
    room = WINDOW - 7
    cut = task.encode([row("bird " * (room - 1) + "gold find " + "bird " * 30, "gold find")])
    assert [target.tolist() for target in cut.columns["target_ids"]] == [[IGNORED] * 2, [IGNORED] * 2, [0, 0]]  # type: ignore[attr-defined]
    assert len(logged(caplog, "WARNING", 1, "questions", "window")) == 1
    assert len(whole) == len(cut) == 3


def test_a_smoothed_loss_does_not_depend_on_the_padding() -> None:
    task = task_of_window()
    examples = task.encode([row("gold", "gold"), row("bird bird gold bird", "gold")])
    short, both = task.collate(examples, np.array([0])), task.collate(examples, np.array([0, 1]))
    with label_smoothing(0.1), torch.inference_mode():
        alone, beside = (float(task.loss_sum(batch)) for batch in (short, {key: both[key][:1] for key in both}))
    assert math.isfinite(alone)
    assert beside == pytest.approx(alone, rel=1e-5)


def test_an_answer_longer_than_is_looked_for_is_told(caplog: pytest.LogCaptureFixture) -> None:
    task = task_of_window(max_answer_tokens=2)
    task.encode([row("bird gold bird find", "gold bird find"), row("bird gold bird find", "bird find")])
    assert len(logged(caplog, "WARNING", 1, "2 questions", "max_answer_tokens", 2)) == 1


def test_a_long_question_is_cut_to_half_of_the_window_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    task = task_of_window()
    examples = task.encode([row("bird " * 40 + "gold", "gold", question="where " * 50), row("gold", "gold")])
    head = examples.columns["input_ids"][0].tolist().index(_words().sep_token_id) + 1
    assert head == WINDOW // 2
    assert max(examples.columns["input_ids"].lengths) <= WINDOW
    assert len(logged(caplog, "WARNING", 1, 2, "32 tokens", "36 tokens")) == 1
    assert task.predict(examples, pointing_at("gold", "gold")) == ["gold", "gold"]


@pytest.mark.parametrize("text", ["[SEP] gold", "gold [CLS] bird [SEP]", "[PAD] [MASK] gold"])
def test_the_name_of_a_special_token_in_a_text_is_text(text: str) -> None:
    task = task_of_window()
    examples = task.encode([row(text, "gold", question=f"where {text}")])
    assert examples.columns["input_ids"][0].tolist().count(_words().sep_token_id) == 2
    types = task.collate(examples, np.arange(1))["token_type_ids"][0].tolist()
    assert types.count(0) == examples.columns["input_ids"][0].tolist().index(_words().sep_token_id) + 1
    assert task.predict(examples, pointing_at("gold", "gold")) == ["gold"]


def test_an_overlap_that_leaves_no_step_forward_is_refused() -> None:
    task_of_window(window_overlap=14)
    with pytest.raises(UsageError, match=facts("window_overlap", "15 tokens")):
        task_of_window(window_overlap=15)


# ---- text that is too long, and rows that are wrong


LONG = [row("gold", "gold"), row("bird " * 40 + "gold", "gold", line=2)]


def test_overflow_error_names_the_place_and_the_choices() -> None:
    with pytest.raises(DataError, match=facts("rows.jsonl:2:", 1, 2, "max_tokens", 32)):
        task_of_window(overflow="error").encode(LONG)


def test_overflow_drop_leaves_out_the_row_with_its_reference(caplog: pytest.LogCaptureFixture) -> None:
    examples = task_of_window(overflow="drop").encode(LONG)
    assert (len(examples), examples.rows, len(examples.sources)) == (1, 1, 1)
    assert len(logged(caplog, "WARNING", 1, 2, "50.0%", 32)) == 1


def test_overflow_truncate_keeps_the_first_window_and_tells_of_the_lost_answer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    task = task_of_window(overflow="truncate")
    examples = task.encode(LONG)
    assert (len(examples), examples.rows) == (2, 2)
    assert examples.columns["target_ids"][1].tolist() == [IGNORED, IGNORED]  # it was learnt as no answer
    batch = task.collate(examples, np.array([1]))
    assert (count_targets(batch), float(task.loss_sum(batch).detach())) == (0, 0.0)
    assert len(logged(caplog, "WARNING", 32, "16 tokens")) == 1
    assert len(logged(caplog, "WARNING", 1, "2 questions", "window")) == 1


def test_an_answer_that_stands_elsewhere_is_moved_and_told(caplog: pytest.LogCaptureFixture) -> None:
    task = task_of_window()
    examples = task.encode([row("bird gold bird", "gold", 4), row("gold bird", "gold")])
    assert examples.columns["input_ids"][0][examples.columns["target_ids"][0][0]] == token("gold")
    assert len(logged(caplog, "WARNING", 1, "2 questions", "answer_start")) == 1


def test_an_answer_that_is_not_in_the_passage_is_refused_with_what_is_there() -> None:
    with pytest.raises(DataError, match=facts("rows.jsonl:7:", "'find'", "character 5", "'gold'")):
        task_of_window().encode([row("bird gold", "find", 5, line=7)])


def test_all_answers_are_references_and_the_first_is_learnt() -> None:
    task = task_of_window()
    several = row("bird gold find", "gold")
    several.fields["answers"] = {"text": ["find", "gold find"], "answer_start": [10, 5]}
    examples = task.encode([several])
    assert examples.references == [["find", "gold find"]]
    assert examples.columns["input_ids"][0][examples.columns["target_ids"][0][0]] == token("find")


# ---- from logits to an answer


def options(**changes: Any) -> AnswerOptions:
    plain = {"window_overlap": 8, "max_answer_tokens": 30, "no_answer": True, "no_answer_threshold": 0.0}
    return AnswerOptions.model_validate({**plain, **changes})


def found(rule: Rule, context: str, **changes: Any) -> Any:
    [pair] = encode_pairs(task_of_window().loaded, [("where is gold", context)], overlap=8)
    return find_answer(pair.windows, [np.asarray(rule(ids), np.float32) for ids in pair.sequences], options(**changes))


def test_an_answer_never_starts_in_the_question_nor_ends_before_its_start() -> None:
    def rule(ids: Sequence[int]) -> np.ndarray:
        logits = np.array([[9.0 * (one == token("gold")), 0.0] for one in ids])
        logits[ids.index(token("bird")), 1] = 7  # in front of the gold of the context
        logits[-1, 1] = 99  # [SEP]
        return logits

    context = "the bird find gold ring"
    answer = found(rule, context)
    assert context[answer.start : answer.end] in ("gold", "gold ring")
    assert answer.start == context.index("gold")


def test_an_answer_has_at_most_so_many_tokens() -> None:
    def rule(ids: Sequence[int]) -> np.ndarray:
        return np.array([[4.0 * (one == token("gold")), 4.0 * (one == token("find"))] for one in ids])

    context = "gold bird bird find"
    assert (found(rule, context, max_answer_tokens=4).start, found(rule, context, max_answer_tokens=4).end) == (0, 19)
    short = found(rule, context, max_answer_tokens=3)
    assert len(context[short.start : short.end].split()) <= 3


def test_probabilities_of_all_spans_and_no_answer_add_up_to_1() -> None:
    def flat(ids: Sequence[int]) -> np.ndarray:
        return np.zeros((len(ids), 2))

    answer = found(flat, "gold bird find", max_answer_tokens=2)
    assert answer.score == answer.no_answer == pytest.approx(1 / (3 + 2 + 1))
    sure = found(flat, "gold bird find", max_answer_tokens=2, no_answer=False)
    assert (sure.score, sure.no_answer) == (pytest.approx(1 / 5), 0.0)


def test_one_window_that_is_sure_of_an_answer_outweighs_those_that_have_none() -> None:
    context = "bird " * 50 + "ring " + "bird " * 50

    def rule(ids: Sequence[int]) -> np.ndarray:
        logits = np.array([[5.0 * (one == token("ring"))] * 2 for one in ids])
        logits[0] = 0 if token("ring") in ids else 9
        return logits

    assert found(rule, context).start == context.index("ring")
    assert found(rule, "bird " * 100).start is None


@pytest.mark.parametrize(("cls", "threshold", "says"), [(6, 0, False), (4, 0, True), (6, 2.5, True), (4, -2.5, False)])
def test_no_answer_is_said_where_it_is_above_the_best_answer_by_more_than_the_threshold(
    cls: float, threshold: float, says: bool
) -> None:
    answer = found(pointing_at("gold", "gold", cls=cls).rule, "bird gold", no_answer_threshold=threshold)
    assert (answer.start is not None) == says
    assert answer.no_answer == pytest.approx(1 / (1 + math.exp(2 * (5 - cls))), rel=0.1)


def test_a_passage_without_a_token_has_no_answer() -> None:
    [pair] = encode_pairs(task_of_window().loaded, [("where", "\u200b\u200b")], overlap=8)
    for no_answer in (True, False):
        answer = find_answer(
            pair.windows, [np.zeros((len(pair.sequences[0]), 2), np.float32)], options(no_answer=no_answer)
        )
        assert (answer.start, answer.score) == (None, 1.0)


def test_the_answer_is_cut_from_the_passage_as_it_was_written() -> None:
    context = "  The  GOLD\n\tFind\u00e9  bird"
    tokens = _words()("finde", add_special_tokens=False)["input_ids"]

    def rule(ids: Sequence[int]) -> np.ndarray:
        return np.array([[5.0 * (one == token("gold")), 5.0 * (one == tokens[-1])] for one in ids])

    answer = found(rule, context)
    assert context[answer.start : answer.end] == "GOLD\n\tFind\u00e9"


# ---- what the model remembers


def saved(task: QuestionAnsweringTask) -> dict[str, Any]:
    config = json.loads(task.loaded.model.config.to_json_string())
    kept: dict[str, Any] = config["task_specific_params"]["question-answering"]
    return kept


def trained_on(*answers: list[str]) -> Examples:
    return Examples(columns={}, references=list(answers))


def test_what_was_never_seen_in_training_is_never_said() -> None:
    task = task_of_window()
    examples = task.encode([row("bird gold", None)])
    shy = pointing_at("gold", "gold", cls=9.0)
    assert task.predict(examples, shy) == [""]
    task.prepare_training(trained_on(["gold"]))
    assert task.predict(examples, shy) == ["gold"]
    assert not answer_options(task.loaded).no_answer
    task.prepare_training(trained_on(["gold"], []))
    assert task.predict(examples, shy) == [""]


def test_a_saved_model_has_its_options_and_a_task_around_it_keeps_them() -> None:
    task = task_of_window(window_overlap=5, max_answer_tokens=7, no_answer_threshold=1.5)
    task.prepare_training(trained_on(["gold"]))
    kept = {"window_overlap": 5, "max_answer_tokens": 7, "no_answer": False, "no_answer_threshold": 1.5}
    assert saved(task) == kept
    assert answer_options(task.loaded) == AnswerOptions.model_validate(kept)
    again = QuestionAnsweringTask(task.recipe, task.loaded)
    assert not again.options.no_answer


def test_training_may_start_from_a_classifier_of_three_labels(tmp_path: Path) -> None:
    for name, content in model_files(tiny_model("bert")).items():
        (tmp_path / name).write_bytes(content)
    model = load_model(str(tmp_path), head="question-answering", new_head=True).model
    assert (model.config.num_labels, model.qa_outputs.out_features) == (2, 2)


def test_a_model_of_others_has_the_defaults_of_a_recipe() -> None:
    assert answer_options(loaded()) == options(window_overlap=WINDOW // 4)


def test_a_config_with_impossible_options_is_told() -> None:
    model = loaded()
    model.model.config.task_specific_params = {"question-answering": {"max_answer_tokens": "many"}}
    with pytest.raises(ModelError, match=facts("task_specific_params.question-answering.max_answer_tokens", "'many'")):
        answer_options(model)

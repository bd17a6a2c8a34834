"""Baselines: what each says by hand, what becomes of too many rows, and the sentence that follows from two scores."""

from __future__ import annotations

import logging
import math
import random
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from builders import TASK_NAMES, TaskName, recipe_of, rows, task_of, tiny_model
from facts import logged, says

from llmkit.data.rows import Row
from llmkit.errors import LlmkitError
from llmkit.evaluation import comparison
from llmkit.evaluation.baselines import BASELINES, baselines_of, judged_by_loss
from llmkit.evaluation.baselines.answers import closest_sentence
from llmkit.evaluation.baselines.labels import (
    linear_label,
    linear_label_sets,
    linear_numbers,
    mean,
    most_frequent,
    most_frequent_set,
)
from llmkit.evaluation.baselines.tags import most_frequent_tags
from llmkit.evaluation.baselines.texts import first_sentence
from llmkit.evaluation.comparison import compare_loss, compare_predictions
from llmkit.evaluation.measure import measure
from llmkit.evaluation.metrics import row_statistics
from llmkit.evaluation.uncertainty.bootstrap import Interval
from llmkit.evaluation.uncertainty.score_intervals import difference_interval, score_intervals
from llmkit.evaluation.unigram import unigram_loss
from llmkit.evaluation.verdict import BaselineScores, compared_metric, judge
from llmkit.inference.engines.transformers import TransformersEngine
from llmkit.tasks import RECIPES
from llmkit.tasks.base import Scores, TaskRecipe
from llmkit.tasks.sentences import sentences
from llmkit.tasks.token_classification.recipe import TokenClassificationRecipe


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("He said “Stop.” Then he left.", ["He said “Stop.”", "Then he left."]),
        ("Mr. J. Smith of the U.S. Army paid 3.5 dollars. He left.", ["Mr. J. Smith of the U.S. Army paid 3.5 dollars.", "He left."]),
        ("Use llmkit.load first. then wait. Done", ["Use llmkit.load first. then wait.", "Done"]),
        ("今天很好。明天呢？真的！「好。」他说", ["今天很好。", "明天呢？", "真的！", "「好。」", "他说"]),
        ("वह गया। वह आया।", ["वह गया।", "वह आया।"]),
        ("A heading\n\nIts text.", ["A heading", "Its text."]),
        (" \n ", []),
    ],
)  # fmt: skip
def test_sentences_end_where_a_reader_of_the_script_would_end_them(text: str, parts: list[str]) -> None:
    assert sentences(text) == parts
    assert first_sentence(text) == (parts[0] if parts else "")


def test_the_commonest_of_equals_is_the_first_and_a_set_of_labels_counts_as_one() -> None:
    assert most_frequent(["b", "a", "a", "b"], count=2) == ["b", "b"]
    most, again = most_frequent_set([["x"], ["y", "x"], ["x", "y"], ["x", "z"]], count=2)
    assert most == again == {"labels": ["x", "y"], "probabilities": {"x": 1.0, "y": 0.5, "z": 0.25}}
    assert most_frequent_set([[], [], ["x"]], count=1)[0]["labels"] == []
    assert mean([1.0, 2.0, 6.0], count=2) == [3.0, 3.0]


def test_a_linear_classifier_learns_words_and_pairs_of_neighbours() -> None:
    texts = [("not good",), ("good",), ("not bad",), ("bad",)] * 8
    labels = ["no", "yes", "yes", "no"] * 8
    assert linear_label(texts, labels, texts[:4]) == labels[:4]


def test_text_without_spaces_is_learnt_by_its_characters() -> None:
    texts = [("这部电影很好看",), ("太难看了不喜欢",), ("我很喜欢",), ("浪费时间",)] * 4
    labels = ["good", "bad", "good", "bad"] * 4
    assert linear_label(texts, labels, [("他很喜欢这部",), ("浪费了太多",)]) == ["good", "bad"]


def test_the_order_of_the_training_rows_does_not_change_a_prediction() -> None:
    made = [(row.fields["text"], row.fields["label"]) for row in rows(40)]
    shuffled = random.Random(1).sample(made, len(made))
    wanted = [(row.fields["text"],) for row in rows(60)]
    first, again, other = (
        linear_label([(text,) for text, _ in order], [label for _, label in order], wanted)
        for order in (made, made, shuffled)
    )
    assert first == again == other


def test_several_labels_may_hold_or_none_and_one_that_always_holds_is_always_given() -> None:
    texts = [("red",), ("red round",), ("round",), ("plain",)] * 8
    labels = [["any", "colour"], ["any", "colour", "shape"], ["any", "shape"], ["any"]] * 8
    found = linear_label_sets(texts, labels, texts[:4])
    assert [row["labels"] for row in found] == labels[:4]
    assert all(row["probabilities"]["any"] == 1 for row in found)
    assert found[0]["probabilities"]["colour"] > 0.5 > found[0]["probabilities"]["shape"] > 0


def test_numbers_are_learnt_and_a_pair_is_told_by_what_its_texts_share() -> None:
    words = [chr(97 + index) * 3 for index in range(20)]
    same = [((word, word), 5.0) for word in words]
    other = [((word, words[index - 1]), 0.0) for index, word in enumerate(words)]
    pairs, numbers = zip(*same, *other, strict=True)
    equal, different = linear_numbers(pairs, numbers, [("new words", "new words"), ("new words", "old things")])
    assert equal > 3 > 2 > different


def test_the_most_frequent_tags_are_in_bio_as_the_references_are() -> None:
    """IOB1 begins an entity with I-; BIO predicted word by word may go on with what never began."""
    recipe = TokenClassificationRecipe.model_validate(
        {"recipe": 1, "task": "token-classification", "model": "x", "data": {"train": "x"}, "scheme": "bio"}
    )
    train = [Row({"words": ["in", "New", "York"], "tags": ["O", "I-LOC", "I-LOC"]}, "1")]
    (baseline,) = baselines_of(recipe)
    assert baseline.predict(recipe, train, train) == [["O", "B-LOC", "I-LOC"]]
    alone = [Row({"words": ["York"], "tags": ["B-LOC"]}, "1")]
    assert baseline.predict(recipe, train, alone) == [["B-LOC"]]


@pytest.mark.parametrize("tags", [["O", "LOC-B", "LOC-E"], ["o", "b_LOC", "m_LOC"], ["0", "1", "2"]])
def test_tags_of_the_baseline_are_spelt_as_the_model_spells_them(tags: list[str]) -> None:
    keys = {"recipe": 1, "task": "token-classification", "model": "x", "data": {"train": "x"}, "scheme": "bio"}
    labels = {"labels": ("O", "B-LOC", "I-LOC")} if tags[0] == "0" else {}
    recipe = TokenClassificationRecipe.model_validate({**keys, **labels})
    train = [Row({"words": ["in", "New", "York"], "tags": tags}, "1")]
    (baseline,) = baselines_of(recipe)
    assert baseline.predict(recipe, train, train) == [["O", "B-LOC", "I-LOC"]]


def test_a_word_has_its_commonest_tag_and_an_unseen_one_is_outside() -> None:
    words, tags = [["Paris", "is", "Paris"], ["Paris", "Hilton"]], [["B-LOC", "O", "B-LOC"], ["B-PER", "I-PER"]]
    assert most_frequent_tags(words, tags, [["Paris", "Rome"], []]) == [["B-LOC", "O"], []]
    assert most_frequent_tags([["run", "run", "dog"]], [["V", "V", "N"]], [["cat"]]) == [["V"]]


def test_the_closest_sentence_shares_most_words_with_the_question() -> None:
    context = "Rome is old. The Seine flows through Paris. Nobody knows."
    assert closest_sentence(context, "What flows through Paris?") == "The Seine flows through Paris."
    assert closest_sentence(context, "Why?") == "Rome is old."
    assert closest_sentence(" ", "Why?") == ""


# ---- the table


@pytest.mark.parametrize("task", ["classification", "summarization"])
def test_a_baseline_gives_a_prediction_for_each_row_of_the_kind_that_the_task_gives(task: str) -> None:
    recipe, train, test = recipe_of(task), rows(30), rows(7)  # type: ignore[arg-type]  # its names are literals
    for baseline in baselines_of(recipe):
        predictions = baseline.predict(recipe, train, test)
        assert len(predictions) == 7
        assert all(isinstance(prediction, str) for prediction in predictions)


def test_each_task_whose_predictions_are_judged_has_a_baseline() -> None:
    judged = {name: recipe for name, recipe in RECIPES.items() if recipe.METRICS and recipe.BEST != "loss"}
    shared = {name for name, recipe in judged.items() if recipe.BASELINES}
    own = {name for name, recipe in judged.items() if recipe.task_baselines is not TaskRecipe.task_baselines}
    assert shared | own == judged.keys()
    others = [recipe_of("classification", **keys) for keys in ({"multilabel": True}, {"regression": True})]
    named = [*(recipe.BASELINES for recipe in judged.values()), *(recipe.baselines for recipe in others)]
    assert {name for names in named for name in names} == set(BASELINES)


def test_a_classifiers_baselines_fit_what_it_predicts() -> None:
    found = {key: baselines_of(recipe_of("classification", **{key: True})) for key in ("multilabel", "regression")}
    assert found["multilabel"][0].title == "most frequent set of labels"
    assert [one.name for one in found["regression"]] == ["mean", "tfidf-ridge"]


def test_a_baseline_says_which_rows_it_can_read() -> None:
    tags = BASELINES["most-frequent-tag"]
    assert tags.fits([Row({"words": ["a"], "tags": ["O"]}, "1")])
    assert not tags.fits([Row({"words": ["a"], "tags": ["O"]}, "1"), Row({"text": "a", "spans": []}, "2")])


def test_only_what_no_other_figure_judges_is_judged_by_its_loss() -> None:
    judged = {name for name in TASK_NAMES if judged_by_loss(recipe_of(name))}
    corpus_tasks = {"causal-lm", "denoising", "masked-lm", "replaced-token-detection", "span-corruption"}
    assert judged == {"instruction", *corpus_tasks}
    assert not judged_by_loss(recipe_of("classification", evaluation={"best": "loss"}))


# ---- compared on the same rows


def test_rows_that_the_task_drops_are_left_out_for_the_baselines_too() -> None:
    loaded = tiny_model("t5")
    long, short = {"text": "the cat " * 30, "summary": "long"}, {"text": "the dog", "summary": "the dog"}
    made = [Row(dict(fields), f"{index}") for index, fields in enumerate([long, short, short, long, short, long, long])]
    task = task_of("summarization", loaded=loaded, max_source_tokens=20, overflow="drop")
    examples = task.encode(made)
    assert examples.rows == 3
    scores = {"loss": 1.0, "rouge1": 0.0, "rouge2": 0.0, "rougeL": 0.0, "rougeLsum": 0.0}
    compared = compare_predictions(
        task, Scores(scores), train=(), rows=made, examples=examples, metrics=["rouge"], rouge_tokenizer="auto"
    )
    assert compared is not None
    assert compared.baselines[0].scores["rougeL"] == 1
    assert not logging.getLogger("llmkit").disabled


@pytest.mark.parametrize("name", ["summarization", "translation", "text-to-text"])
def test_a_written_baseline_is_scored_whole_whatever_the_models_limit(name: TaskName) -> None:
    first, rest = "the old dog walks over the green river.", " A letter came late."
    task: Any = task_of(name, max_target_tokens=4, generation={"max_new_tokens": 2})
    source, target = task.recipe.SOURCE, task.recipe.TARGET
    row = Row({source: first + rest, target: first if name == "summarization" else first + rest}, "1")
    compared = compare_predictions(
        task,
        Scores({"rougeL": 0.5}),
        train=(),
        rows=[row],
        examples=task.encode([row]),
        metrics=["rouge"],
        rouge_tokenizer="auto",
    )
    assert compared is not None
    assert compared.baselines[0].scores["rougeL"] == 1


def test_training_rows_beyond_the_limit_are_drawn_evenly_and_told(caplog: pytest.LogCaptureFixture) -> None:
    many = [Row({"text": "x" * 10}, str(number)) for number in range(1000)]
    drawn = comparison._sample_rows(iter(many), most_rows=100)
    assert drawn == comparison._sample_rows(iter(many), most_rows=100)
    places = [int(row.place) for row in drawn]
    assert len(places) == 100
    assert places == sorted(places)
    assert 350 < sum(places) / 100 < 650
    assert len(logged(caplog, "WARNING", "100", "1,000")) == 2
    assert len(comparison._sample_rows(iter(many), most_characters=50)) == 5


def test_a_language_model_is_compared_with_token_frequencies_in_all_its_scores_and_on_the_same_blocks() -> None:
    task = task_of("causal-lm")
    examples = task.encode(rows(60))
    engine = TransformersEngine(task.loaded, device=torch.device("cpu"))
    measured = measure(task, examples, engine=engine, accelerator=Accelerator())
    compared = compare_loss(task, measured, train=examples, examples=examples)
    (unigram,) = compared.baselines
    assert unigram.scores["loss"] == pytest.approx(unigram_loss(task, examples, examples))
    assert unigram.scores["perplexity"] == pytest.approx(math.exp(unigram.scores["loss"]))
    scores = measured.scores.values
    assert unigram.scores["bits_per_byte"] == pytest.approx(
        scores["bits_per_byte"] * unigram.scores["loss"] / scores["loss"]
    )
    assert compared.interval is not None
    assert compared.interval.low < scores["loss"] - unigram.scores["loss"] < compared.interval.high
    assert not compared.better, "a model with random weights"
    intervals = score_intervals(measured.scores)
    for name in ("loss", "perplexity", "bits_per_byte"):
        interval = intervals[name]
        assert interval is not None
        assert interval.low < scores[name] < interval.high


# ---- the verdict


@pytest.mark.parametrize(
    ("metric", "model", "baselines", "better", "stated"),
    [
        ("accuracy", 0.88, [0.3, 0.85], True, ["b1", "accuracy", "0.88", "0.85"]),
        ("accuracy", 0.85, [0.88, 0.3], False, ["b0", "accuracy", "0.85", "0.88"]),
        ("loss", 2.0, [2.0004], True, ["b0", "loss", "2.0000", "2.0004"]),
        ("loss", 2.5, [3.0, 2.0], False, ["b1", "loss", "2.50", "2.00"]),
        ("accuracy", 0.5, [0.5], False, ["b0", "accuracy", "0.5000"]),
    ],
)  # fmt: skip
def test_the_verdict_is_on_the_best_baseline_in_the_figures_own_direction(
    metric: str, model: float, baselines: list[float], better: bool, stated: list[str]
) -> None:
    found = [BaselineScores(f"{index}", f"b{index}", {metric: value}) for index, value in enumerate(baselines)]
    judged = judge({metric: model}, found, metric=metric, train_rows=0)
    says(judged.verdict, *stated)
    assert judged.better == better


@pytest.mark.parametrize(
    ("metric", "model", "baseline", "interval", "better", "stated"),
    [
        ("accuracy", 0.88, 0.85, (0.01, 0.05), True, ["beats", "+0.0300", "+0.0100", "+0.0500"]),
        ("accuracy", 0.88, 0.85, (-0.01, 0.07), False, ["No evidence", "0.88", "0.85", "-0.0100"]),
        ("accuracy", 0.85, 0.88, (-0.07, 0.01), False, ["No evidence"]),
        ("accuracy", 0.85, 0.88, (-0.05, -0.01), False, ["loses"]),
        ("ter", 30.0, 35.0, (-8.0, -2.0), True, ["beats"]),
        ("ter", 30.0, 35.0, (-11.0, 1.0), False, ["No evidence"]),
    ],
)  # fmt: skip
def test_a_model_beats_a_baseline_only_where_the_interval_of_the_difference_leaves_out_zero(
    metric: str, model: float, baseline: float, interval: tuple[float, float], better: bool, stated: list[str]
) -> None:
    judged = judge(
        {metric: model},
        [BaselineScores("b", "b0", {metric: baseline})],
        metric=metric,
        train_rows=0,
        interval_of=lambda best: Interval(*interval),
    )
    assert judged.better == better
    says(judged.verdict, *stated)
    assert ("beats" in judged.verdict) == better
    assert (judged.difference, judged.interval) == (pytest.approx(model - baseline), interval)


def test_the_difference_from_a_baseline_is_that_of_the_same_rows() -> None:
    references = ["a", "b"] * 100
    model = [*references[:190], *["c"] * 10]
    baseline = [*references[:170], *["c"] * 30]  # wrong wherever the model is, and in 20 more rows
    first, second = (row_statistics(["accuracy"], side, references) for side in (model, baseline))
    interval = difference_interval(first, second, "accuracy")
    assert interval is not None
    half = 1.96 * math.sqrt(0.1 * 0.9 / 200)  # McNemar's: 20 of 200 rows differ
    assert interval == pytest.approx((0.1 - half, 0.1 + half), abs=0.25 * half)


def test_the_figure_is_the_one_that_picks_the_checkpoint_where_it_was_measured() -> None:
    scores = {"loss": 1.0, "majority_share": 0.5, "accuracy": 0.5, "f1_macro": 0.4}
    assert compared_metric(scores, best="f1_macro") == "f1_macro"
    assert compared_metric(scores, best="loss") == "accuracy"
    assert compared_metric({"loss": 1.0, "evaluate:x": 0.5}, best="accuracy") is None


def test_a_baseline_that_fails_does_not_leave_the_log_silent() -> None:
    task = task_of("summarization", max_source_tokens=20, overflow="error")
    long = Row({"text": "the cat " * 30, "summary": "long"}, "1")
    with pytest.raises(LlmkitError):
        comparison._measured_rows(task, [long, long], count=1)
    assert not logging.getLogger("llmkit").disabled

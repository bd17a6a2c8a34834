"""One label, many labels or a number; texts, pairs and windows; with each of the families.

Legend: B batch, T tokens, C classes.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from builders import LABELS, recipe_of, sentence, task_of, tiny_model, tokenizer_of
from facts import facts, logged, says
from pydantic import ValidationError
from torch.nn import functional
from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification, AutoTokenizer

from llmkit.data.examples import Examples
from llmkit.data.rows import Row
from llmkit.errors import DataError, ModelError, UsageError
from llmkit.inference.engines.transformers import TransformersEngine
from llmkit.models.export import model_files
from llmkit.models.loaded import LoadedModel
from llmkit.tasks.classification.inputs import TextInputs
from llmkit.tasks.classification.label_report import even_weights
from llmkit.tasks.classification.problem_types import NUMBER_LABELS, problem_type_of
from llmkit.tasks.classification.saved import SavedClassification
from llmkit.tasks.classification.scores import best_threshold, scores_of
from llmkit.tasks.classification.task import ClassificationTask
from llmkit.tasks.target_counts import count_targets
from llmkit.training.optimizer import adamw
from llmkit.training.step import LossModule, Stepper

TRIED = ("bert", "gpt2", "t5")
PROBLEM_TYPES: dict[str, dict[str, Any]] = {
    "single_label_classification": {},
    "multi_label_classification": {"multilabel": True},
    "regression": {"regression": True},
}
COUNT = 37


def loaded_for(family: str, problem_type: str = "single_label_classification", *, window: int = 64) -> LoadedModel:
    loaded = tiny_model(family, head="classification", labels=NUMBER_LABELS if problem_type == "regression" else LABELS)
    loaded.tokenizer.model_max_length = window  # where api/preparing.py keeps the recipe's limit
    return loaded


def task_for(
    problem_type: str = "single_label_classification", family: str = "bert", *, window: int = 64, **keys: Any
) -> ClassificationTask:
    task = task_of(
        "classification", loaded=loaded_for(family, problem_type, window=window), **PROBLEM_TYPES[problem_type], **keys
    )
    assert isinstance(task, ClassificationTask)
    return task


def rows_for(
    problem_type: str = "single_label_classification", *, pairs: bool = False, count: int = COUNT
) -> list[Row]:
    """Labels in uneven numbers; of many labels none to three; numbers of which one is -100."""
    rows = []
    for number in range(count):
        fields: dict[str, Any] = {"text": sentence(number)}
        if pairs:
            fields["text_pair"] = sentence(500 + number, most_words=4)
        match problem_type:
            case "single_label_classification":
                fields["label"] = LABELS[int(number % 7 > 1) + int(number % 7 > 2)]
            case "multi_label_classification":
                fields["labels"] = [label for place, label in enumerate(LABELS) if number % (place + 2) == 0]
            case "regression":
                fields["label"] = -100.0 if number == 3 else number / 7
        rows.append(Row(fields, f"rows.jsonl:{number + 1}"))
    return rows


def engine_of(task: ClassificationTask) -> TransformersEngine:
    return TransformersEngine(task.loaded, device=torch.device("cpu"))


def stepper_of(task: ClassificationTask, examples: Examples, *, micro_batch_tokens: int) -> Stepper:
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    module, optimizer = accelerator.prepare(LossModule(task), adamw(task.loaded.model, weight_decay=0.01))
    return Stepper(
        task=task,
        examples=examples,
        module=module,
        optimizer=optimizer,
        accelerator=accelerator,
        batch_size=32,
        max_grad_norm=None,
        micro_batch_tokens=micro_batch_tokens,
        seed=17,
    )


# ---- the recipe


@pytest.mark.parametrize(
    ("keys", "stated"),
    [
        ({"multilabel": True, "regression": True}, ["multilabel", "regression"]),
        ({"regression": True, "labels": ("a", "b")}, ["labels", "number"]),
        ({"regression": True, "class_weights": "auto"}, ["class_weights", "label"]),
        ({"class_weights": {"bad": 0.0}}, ["greater than 0"]),
        ({"window_overlap": 3}, ["window_overlap", "overflow: window"]),
    ],
)
def test_keys_that_do_not_go_together_are_refused(keys: dict[str, Any], stated: list[str]) -> None:
    with pytest.raises(ValidationError) as caught:
        recipe_of("classification", **keys)
    says("\n".join(f"{error['loc']} {error['msg']}" for error in caught.value.errors()), *stated)


def test_roles_and_metrics_follow_from_what_is_asked_for() -> None:
    kinds = {problem_type: recipe_of("classification", **keys) for problem_type, keys in PROBLEM_TYPES.items()}
    assert {problem_type: list(recipe.column_types.items())[-1] for problem_type, recipe in kinds.items()} == {
        "single_label_classification": ("label", "label"),
        "multi_label_classification": ("labels", "labels"),
        "regression": ("label", "number"),
    }
    assert {problem_type: recipe.best for problem_type, recipe in kinds.items()} == {
        "single_label_classification": "accuracy",
        "multi_label_classification": "f1_micro",
        "regression": "mse",
    }


# ---- losses


@pytest.mark.parametrize("family", TRIED)
@pytest.mark.parametrize("problem_type", PROBLEM_TYPES)
def test_a_step_of_one_micro_batch_or_many_has_the_gradient_of_the_plain_mean_loss(
    problem_type: str, family: str
) -> None:
    whole, cut = task_for(problem_type, family), task_for(problem_type, family)
    examples = whole.encode(rows_for(problem_type))
    one = stepper_of(whole, examples, micro_batch_tokens=1_000_000)
    many = stepper_of(cut, cut.encode(rows_for(problem_type)), micro_batch_tokens=40)
    nats, totals = one._accumulate(0)
    assert len(many._micro_batches(0)[0]) >= 4
    assert many._accumulate(0)[1][:2] == totals[:2]
    gradients = [{name: weight.grad for name, weight in task.loaded.model.named_parameters()} for task in (whole, cut)]
    for name, gradient in gradients[0].items():
        assert gradient is not None, name
        torch.testing.assert_close(gradients[1][name], gradient, atol=1e-6, rtol=1e-4)
    indices = one._micro_batches(0)[0][0]
    assert nats / totals[0] == pytest.approx(
        plain_mean_loss(task_for(problem_type, family), examples, indices), rel=1e-5
    )


def plain_mean_loss(task: ClassificationTask, examples: Examples, indices: Any) -> float:
    """By transformers' logits of each text alone, and torch's mean losses."""
    losses = []
    for index in indices:
        ids = torch.from_numpy(examples.columns["input_ids"][index]).long()[None]
        with torch.no_grad():
            logits = task.loaded.model(input_ids=ids).logits
        logits = logits.mean(dim=1) if logits.dim() == 3 else logits  # (1, C)
        reference = examples.references[index]
        match task.problem_type:
            case "single_label_classification":
                losses.append(functional.cross_entropy(logits, torch.tensor([LABELS.index(reference)])))
            case "multi_label_classification":
                wanted = torch.tensor([[float(label in reference) for label in LABELS]])
                losses.append(functional.binary_cross_entropy_with_logits(logits, wanted))
            case "regression":
                losses.append(functional.mse_loss(logits[:, 0], torch.tensor([reference])))
    return float(torch.stack(losses).mean())


def test_a_number_that_looks_like_the_mark_of_an_ignored_label_counts() -> None:
    task = task_for("regression")
    batch = task.collate(task.encode(rows_for("regression")), np.arange(COUNT))
    assert count_targets(batch) == COUNT
    assert batch["values"][3] == -100


def test_each_label_of_each_text_is_a_target_where_a_text_may_have_many() -> None:
    task = task_for("multi_label_classification")
    batch = task.collate(task.encode(rows_for("multi_label_classification")), np.arange(5))
    assert count_targets(batch) == 5 * len(LABELS)
    assert batch["labels"].tolist() == [[1, 1, 1], [0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 0, 1]]


def test_weighted_nats_are_summed_and_divided_by_rows_however_the_batch_is_cut() -> None:
    weights = {"bad": 3.0, "good": 0.25}
    whole, cut, plain = (task_for(class_weights=weights) for _ in range(3))
    examples = whole.encode(rows_for())
    one = stepper_of(whole, examples, micro_batch_tokens=1_000_000)
    nats, totals = one._accumulate(0)
    assert stepper_of(cut, examples, micro_batch_tokens=40)._accumulate(0)[0] == pytest.approx(nats, rel=1e-6)
    assert totals[0] == 32
    batch = plain.collate(examples, one._micro_batches(0)[0][0])
    with torch.no_grad():
        logits = plain.loaded.model(batch["input_ids"], batch["attention_mask"]).logits
    each = functional.cross_entropy(logits, batch["labels"], reduction="none")
    assert nats == pytest.approx(float((each * torch.tensor([3.0, 1.0, 0.25])[batch["labels"]]).sum()), rel=1e-5)


def test_auto_weights_even_the_labels_out_and_a_row_weighs_1_on_average() -> None:
    weights = even_weights(["d", *"aaaaaa", *"bb"], ("a", "b", "c", "d"))
    assert weights == pytest.approx({"a": 9 / 18, "b": 9 / 6, "d": 9 / 3})
    assert sum(weights[label] * count for label, count in {"a": 6, "b": 2, "d": 1}.items()) == pytest.approx(9)
    task = task_for(class_weights="auto")
    examples = task.encode(rows_for())
    task.check_labels(examples, examples)
    weights = SavedClassification.load(task.loaded).class_weights
    assert weights == pytest.approx(even_weights(examples.references, LABELS))


def test_a_weight_for_a_label_that_is_not_there_is_refused() -> None:
    with pytest.raises(DataError, match=facts("'goood'", "'good'")):
        task_for(class_weights={"goood": 2.0})


# ---- families


@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize("family", TRIED)
def test_a_batch_has_the_logits_of_each_text_alone(family: str, *, pairs: bool) -> None:
    task = task_for(family=family)
    examples = task.encode(rows_for(pairs=pairs))
    inputs = examples.columns["input_ids"]
    sequences = [inputs[index].tolist() for index in range(len(inputs))]
    engine = engine_of(task)
    alone = np.concatenate([engine.class_logits([ids], pairs=pairs) for ids in sequences])
    np.testing.assert_allclose(engine.class_logits(sequences, pairs=pairs), alone, atol=1e-5)
    assert np.ptp(alone, axis=0).min() > 0.05


@pytest.mark.parametrize("family", TRIED)
def test_a_saved_classifier_has_the_same_logits_in_plain_transformers(family: str, tmp_path: Path) -> None:
    task = task_for("multi_label_classification", family)
    rows = rows_for("multi_label_classification")
    examples = task.encode(rows)
    batch = task.collate(examples, np.arange(COUNT))
    for name, content in model_files(task.loaded).items():
        (tmp_path / name).write_bytes(content)
    auto = AutoModelForTokenClassification if family == "t5" else AutoModelForSequenceClassification
    plain, tokenizer = auto.from_pretrained(tmp_path).eval(), AutoTokenizer.from_pretrained(tmp_path)
    inputs = tokenizer([row.fields["text"] for row in rows], padding=True, return_tensors="pt")
    inputs.pop("token_type_ids", None)
    with torch.no_grad():
        logits = plain(**inputs).logits
    if family == "t5":
        real = inputs["attention_mask"][:, :, None]
        logits = (logits * real).sum(dim=1) / real.sum(dim=1)
    ours = engine_of(task).class_logits(
        [batch["input_ids"][row][batch["attention_mask"][row] == 1].tolist() for row in range(COUNT)]
    )
    np.testing.assert_allclose(ours, logits.numpy(), atol=1e-5)
    assert plain.config.problem_type == "multi_label_classification"
    assert [plain.config.id2label[index] for index in range(3)] == list(LABELS)


def test_gpt2_reads_its_last_token_also_where_the_text_holds_the_id_of_padding() -> None:
    task = task_for(family="gpt2")
    end, engine = task.loaded.tokenizer.eos_token_id, engine_of(task)
    sequences = [[70, end, 71, 72], [70, 71], [end, 75, 76, 77, 78, 79]]
    np.testing.assert_allclose(
        engine.class_logits(sequences), np.concatenate([engine.class_logits([ids]) for ids in sequences]), atol=1e-5
    )


# ---- pairs


@pytest.mark.parametrize("window", [64, 14, 9])
@pytest.mark.parametrize("family", ["bert", "t5"])
def test_a_pair_is_framed_and_cut_as_its_tokenizer_does(family: str, window: int) -> None:
    loaded = loaded_for(family, window=window)
    inputs = TextInputs(loaded, pairs=True)
    texts = [(sentence(number), sentence(100 + number)) for number in range(30)]
    rows = inputs.read([first for first, _ in texts], [second for _, second in texts])
    for row, (first, second) in zip(rows, texts, strict=True):
        ids = inputs.whole(row) if inputs.tokens(row) <= window else inputs.cut(row)
        theirs = tokenizer_of(family)(first, second, truncation="longest_first", max_length=window)["input_ids"]
        assert ids == theirs


def test_gpt2_has_its_end_of_text_between_a_pair_and_nothing_around_it() -> None:
    loaded = loaded_for("gpt2")
    inputs = TextInputs(loaded, pairs=True)
    [row] = inputs.read(["the cat"], ["a dog"])
    first, second = (loaded.tokenizer(text)["input_ids"] for text in ("the cat", "a dog"))
    assert inputs.whole(row) == [*first, loaded.tokenizer.eos_token_id, *second]
    assert inputs.whole(TextInputs(loaded, pairs=False).read(["the cat"])[0]) == first


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_the_name_of_a_special_token_in_a_text_is_text(family: str) -> None:
    """A `[SEP]` in the first text of a pair began BERT's second segment there."""
    loaded = tiny_model(family, head="classification")
    inputs = TextInputs(loaded, pairs=True)
    names = " ".join(loaded.tokenizer.all_special_tokens)
    [contents] = inputs.read([f"the {names} cat"], [names])
    assert contents.second
    special = {*loaded.tokenizer.all_special_ids} - {loaded.tokenizer.unk_token_id}
    assert not special.intersection(contents.first + contents.second)


def test_bert_is_told_which_text_of_a_pair_a_token_belongs_to_in_training_and_in_use() -> None:
    task = task_for()
    examples = task.encode(rows_for(pairs=True))
    batch = task.collate(examples, np.arange(4))
    separator = task.loaded.tokenizer.sep_token_id
    for ids, types, mask in zip(batch["input_ids"], batch["token_type_ids"], batch["attention_mask"], strict=True):
        first_end = ids.tolist().index(separator)
        assert types[: first_end + 1].sum() == 0
        assert types[first_end + 1 : int(mask.sum())].min() == 1
    with torch.no_grad():
        logits = task.loaded.model(**{name: one for name, one in batch.items() if name != "labels"}).logits
    sequences = [examples.columns["input_ids"][index].tolist() for index in range(4)]
    np.testing.assert_allclose(engine_of(task).class_logits(sequences, pairs=True), logits.numpy(), atol=1e-5)
    assert not np.allclose(engine_of(task).class_logits(sequences), logits.numpy(), atol=1e-3)


@pytest.mark.parametrize("first_has_one", [True, False])
def test_rows_with_and_without_a_pair_are_refused_with_the_place(*, first_has_one: bool) -> None:
    rows = [*rows_for(pairs=first_has_one, count=3), *rows_for(pairs=not first_has_one, count=1)]
    with pytest.raises(DataError, match=facts("rows.jsonl:1:", "text_pair")):
        task_for().encode(rows)


def test_a_model_of_pairs_refuses_single_texts_later() -> None:
    task = task_for()
    task.encode(rows_for(pairs=True))
    again = task_of("classification", loaded=task.loaded)
    with pytest.raises(DataError, match=facts("rows.jsonl:1:", "text_pair")):
        again.encode(rows_for())


# ---- windows

LONG = Row({"text": " ".join(["cat"] * 20 + ["dog"] * 21), "label": "fair"}, "rows.jsonl:99")


@pytest.mark.parametrize("family", TRIED)
def test_windows_cover_a_long_text_and_keep_its_label(family: str) -> None:
    task = task_for(family=family, window=16, overflow="window", window_overlap=5)
    examples = task.encode([*rows_for(count=2), LONG])
    inputs = examples.columns["input_ids"]
    held = examples.examples_of()[2]
    windows = [inputs[index].tolist() for index in held]
    assert len(windows) > 3
    assert {len(window) for window in windows} == {16}
    whole = TextInputs(task.loaded, pairs=False).read([LONG.fields["text"]])[0].first
    content = [[token for token in window if token in whole] for window in windows]
    room = len(content[0])
    joined = content[0]
    for number, window in enumerate(content[1:-1], start=1):
        assert window == whole[number * (room - 5) : number * (room - 5) + room]
        joined = joined + window[5:]
    assert whole[-room:] == content[-1]
    assert len(joined) > len(whole) - room
    assert examples.references[2] == "fair"
    batch = task.collate(examples, np.array(held))
    assert batch["labels"].tolist() == [LABELS.index("fair")] * len(windows)


def test_a_row_in_windows_is_predicted_by_the_mean_of_their_probabilities() -> None:
    task = task_for(window=16, overflow="window")
    examples = task.encode([*rows_for(count=2), LONG, *rows_for(count=1)])
    inputs = examples.columns["input_ids"]
    logits = engine_of(task).class_logits([inputs[index].tolist() for index in range(len(inputs))])
    windows = examples.examples_of()[2]
    probabilities = scores_of(logits, "single_label_classification")[list(windows)]
    mean = probabilities.mean(axis=0)  # all are full, so all weigh the same
    predicted = task.predict(examples, engine_of(task))
    assert len(predicted) == 4
    assert predicted[2] == LABELS[int(mean.argmax())]
    assert predicted[0] == predicted[3]


def test_numbers_of_windows_are_averaged_and_each_window_has_the_value_of_its_row() -> None:
    task = task_for("regression", window=16, overflow="window")
    rows = [Row({"text": LONG.fields["text"], "label": 2.5}, "a:1"), *rows_for("regression", count=2)]
    examples = task.encode(rows)
    last = len(examples) - 1
    batch = task.collate(examples, np.array([last, 0, 1]))
    assert batch["values"].tolist() == pytest.approx([1 / 7, 2.5, 2.5])
    inputs = examples.columns["input_ids"]
    logits = engine_of(task).class_logits([inputs[index].tolist() for index in range(len(inputs))])
    assert task.predict(examples, engine_of(task))[0] == pytest.approx(float(logits[: last - 1].mean()))


def test_the_second_text_stands_whole_in_every_window_or_is_refused() -> None:
    task = task_for(window=20, overflow="window")
    row = Row({**LONG.fields, "text_pair": "a bird"}, "rows.jsonl:4")
    examples = task.encode([row])
    second = task.loaded.tokenizer("a bird", add_special_tokens=False)["input_ids"]
    inputs = examples.columns["input_ids"]
    for index in range(len(inputs)):
        assert inputs[index].tolist()[-len(second) - 1 : -1] == second
    with pytest.raises(DataError, match=facts("rows.jsonl:5:", "text_pair", "tokens")):
        task.encode([Row({**LONG.fields, "text_pair": LONG.fields["text"]}, "rows.jsonl:5")])


def test_an_overlap_that_fills_the_window_is_refused() -> None:
    with pytest.raises(UsageError, match=facts("window_overlap", 14)):
        task_for(window=16, overflow="window", window_overlap=14).encode(rows_for())


# ---- labels before training


def learn(task: ClassificationTask, train: Sequence[Row], validation: Sequence[Row]) -> None:
    task.check_labels(task.encode(train), task.encode(validation))


def test_label_counts_unevenness_and_missing_labels_are_told(caplog: pytest.LogCaptureFixture) -> None:
    rows = rows_for()
    by_label = {label: [row for row in rows if row.fields["label"] == label] for label in LABELS}
    common = by_label["good"] * 3
    with caplog.at_level(logging.INFO, logger="llmkit"):
        learn(task_for(), [*common, *by_label["fair"]], by_label["good"])
    counts = f"'good' {len(common)}, 'fair' {len(by_label['fair'])}, 'bad' 0"
    assert len(logged(caplog, "INFO", "labels", counts)) == 1
    (uneven, untrained, unmeasured) = logged(caplog, "WARNING")
    says(uneven, "'good'", len(common), "'fair'", len(by_label["fair"]), "class_weights: auto")
    says(untrained, "training", "'bad'")
    says(unmeasured, "validation", f"'fair' {len(by_label['fair'])}")


@pytest.mark.parametrize("problem_type", PROBLEM_TYPES)
def test_training_rows_that_are_all_alike_are_refused(problem_type: str) -> None:
    rows = [Row({**row.fields, list(row.fields)[-1]: rows_for(problem_type)[0].fields[list(row.fields)[-1]]}, row.place)
            for row in rows_for(problem_type, count=4)]  # fmt: skip
    with pytest.raises(DataError, match=facts(4, "training")):
        learn(task_for(problem_type), rows, rows)


def test_unseen_labels_of_many_are_told_with_counts_and_places() -> None:
    rows = [Row({"text": "a cat", "labels": labels}, f"f:{place}") for place, labels in enumerate([["bad"], ["x", "y"], ["y"]])]  # fmt: skip
    with pytest.raises(DataError, match=facts("f:1:", "'y'", 2, "'x'", 1)):
        task_for("multi_label_classification").encode(rows)


# ---- the threshold


def brute_force_f1(probabilities: Sequence[float], wanted: Sequence[bool], threshold: float) -> float:
    told = [one >= threshold for one in probabilities]
    hits = sum(a and b for a, b in zip(told, wanted, strict=True))
    return 2 * hits / (sum(told) + sum(wanted))


def test_no_threshold_has_a_larger_micro_f1_than_the_one_that_is_found() -> None:
    rng = np.random.default_rng(5)
    for _ in range(50):
        size = int(rng.integers(1, 30))
        probabilities = rng.choice([0.1, 0.2, 0.35, 0.5, 0.5001, 0.9], size=size).tolist()
        wanted = (rng.random(size) < 0.4).tolist()
        found = best_threshold(probabilities, wanted)
        if not any(wanted):
            assert found is None
            continue
        assert found is not None
        best = max(brute_force_f1(probabilities, wanted, one) for one in (*probabilities, 0.0))
        assert brute_force_f1(probabilities, wanted, found[0]) == pytest.approx(found[1]) == pytest.approx(best)


def test_the_threshold_of_the_validation_rows_is_kept_with_the_model_and_used() -> None:
    task = task_for("multi_label_classification")
    examples = task.encode(rows_for("multi_label_classification"))
    before = task.predict(examples, engine_of(task))
    assert [one["labels"] for one in before] == [
        [label for label, probability in one["probabilities"].items() if probability >= 0.5] for one in before
    ]
    tuned = task.tune_threshold(before, examples.references)
    threshold = SavedClassification.load(task.loaded).threshold
    assert threshold not in (None, 0.5)
    assert tuned == task.predict(examples, engine_of(task)) != before
    later = task_of("classification", loaded=task.loaded, multilabel=True)
    assert later.predict(examples, engine_of(task)) == tuned


# ---- what a model says of itself


def test_a_config_says_what_a_model_answers() -> None:
    for problem_type, keys in PROBLEM_TYPES.items():
        task = task_for(problem_type)
        assert problem_type_of(task.loaded) == problem_type
        told = task.recipe.keys_of_model(task.loaded)
        assert told == {"multilabel": False, "regression": False, "overflow": "truncate", **keys}


def test_a_config_that_contradicts_itself_is_refused() -> None:
    loaded = loaded_for("bert")
    loaded.model.config.problem_type = "regression"
    with pytest.raises(ModelError, match=facts("config.json", "regression", 3)):
        problem_type_of(loaded)
    loaded.model.config.task_specific_params = {"classification": {"threshold": 7}}
    with pytest.raises(ModelError, match=r"config\.json has task_specific_params\.classification\.threshold 7"):
        SavedClassification.load(loaded)

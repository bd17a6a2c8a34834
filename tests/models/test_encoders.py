"""Other encoders do what BERT does in every task of encoders, with weights that transformers reads as its own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from adapted import disturbed, saved
from builders import (
    TaskName,
    largest_difference,
    recipe_of,
    rows,
    sentence,
    task_of,
    tiny_model,
    train,
    without_key_biases,
)
from tokenizers import decoders
from transformers import (
    AutoModelForMaskedLM,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from llmkit.inference.engines.transformers import TransformersEngine
from llmkit.inference.filling import _with_token, fill_texts
from llmkit.models.adapters import add_adapter
from llmkit.models.families import verb_of_class
from llmkit.models.loading import load_model
from llmkit.recipe.blocks import LoraBlock
from llmkit.tasks.base import Task
from llmkit.tasks.classification.inputs import TextInputs
from llmkit.tasks.question_answering.windows import encode_pairs
from llmkit.tasks.token_classification.subwords import subwords_of_texts, subwords_of_words

AUTO = {
    "classification": AutoModelForSequenceClassification,
    "masked-lm": AutoModelForMaskedLM,
    "question-answering": AutoModelForQuestionAnswering,
    "token-classification": AutoModelForTokenClassification,
}
TASKS: tuple[TaskName, ...] = ("classification", "masked-lm", "question-answering", "token-classification")
LORA_TARGETS = {
    "albert": {"query", "value"},
    "deberta": {"query_proj", "value_proj"},
    "distilbert": {"q_lin", "v_lin"},
    "electra": {"query", "value"},
    "modernbert": {"Wqkv"},
    "mpnet": {"q", "v"},
    "roberta": {"query", "value"},
}
FAMILIES = tuple(LORA_TARGETS)
each_task = pytest.mark.parametrize("name", TASKS)
QUICK = ("distilbert", "roberta", "modernbert")
each_family = pytest.mark.parametrize(
    "family", [family if family in QUICK else pytest.param(family, marks=pytest.mark.slow) for family in FAMILIES]
)


def encoder_task(family: str, name: TaskName, *, layers: int = 1, dropout: float = 0.0) -> Task:
    head = task_of(name).recipe.HEAD
    return task_of(name, loaded=tiny_model(family, head=head, layers=layers, dropout=dropout))


@each_family
@each_task
def test_the_loss_and_its_gradient_are_those_of_transformers_own_logits(family: str, name: TaskName) -> None:
    task = encoder_task(family, name)
    batch = task.collate(task.encode(rows(20)), np.arange(6), epoch=0)
    task.loss_sum(batch).backward()
    model = task.loaded.model
    ours = {key: weight.grad.clone() for key, weight in model.named_parameters() if weight.grad is not None}
    model.zero_grad()
    output = model(**{key: value for key, value in batch.items() if key != "labels"})
    labels = batch["labels"]
    if name == "question-answering":
        logits = torch.stack([output.start_logits, output.end_logits], dim=1)  # (B, 2, T)
        logits = logits.masked_fill(batch["attention_mask"][:, None] == 0, float("-inf"))
    else:
        logits = output.logits
    cross_entropy = torch.nn.functional.cross_entropy
    wanted = cross_entropy(logits.flatten(0, -2), labels.flatten(), ignore_index=-100, reduction="sum")
    wanted.backward()
    assert float(task.loss_sum(batch).detach()) == pytest.approx(float(wanted.detach()), rel=1e-6)
    assert ours
    for key, gradient in ours.items():
        torch.testing.assert_close(gradient, model.get_parameter(key).grad, rtol=1e-4, atol=1e-5)


@each_family
@each_task
def test_padding_changes_no_loss(family: str, name: TaskName) -> None:
    task = encoder_task(family, name)
    examples = task.encode(rows(20))
    together = task.loss_sum(task.collate(examples, np.arange(8), epoch=0))
    alone = sum(task.loss_sum(task.collate(examples, np.asarray([index]), epoch=0)) for index in range(8))
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)


@each_family
@each_task
def test_one_micro_batch_and_many_are_one_update(family: str, name: TaskName) -> None:
    whole = train(without_key_biases(encoder_task(family, name)), steps=2, micro_batch_tokens=10_000)
    parts = train(without_key_biases(encoder_task(family, name)), steps=2, micro_batch_tokens=40)
    assert largest_difference(whole.weights, parts.weights) < 1e-4


@each_family
@each_task
def test_a_saved_model_has_the_same_logits_in_plain_transformers(family: str, name: TaskName, tmp_path: Path) -> None:
    task = encoder_task(family, name, layers=2)
    plain = AUTO[name].from_pretrained(saved(task.loaded, tmp_path / "model"))
    batch = task.collate(task.encode(rows(20)), np.arange(4), epoch=0)
    inputs = {key: batch[key] for key in ("input_ids", "attention_mask")}
    with torch.inference_mode():
        for ours, theirs in zip(task.loaded.model(**inputs).values(), plain(**inputs).values(), strict=True):
            assert torch.equal(ours, theirs)


@each_family
@pytest.mark.parametrize("name", ["classification", "question-answering", "token-classification"])
def test_an_adapter_gives_the_same_merged_and_beside_its_base(family: str, name: TaskName, tmp_path: Path) -> None:
    head = task_of(name).recipe.HEAD
    base = saved(tiny_model(family, head=head, layers=2), tmp_path / "base")
    loaded = disturbed(add_adapter(load_model(str(base), head=head), LoraBlock(), head=head, seed=5))
    assert loaded.adapter is not None
    assert {target.rpartition(".")[2] for target in loaded.adapter.targets} == LORA_TARGETS[family]
    ids = torch.tensor([loaded.tokenizer(sentence(3))["input_ids"]])
    beside = loaded.model.eval()(input_ids=ids)[0]
    merged = load_model(str(saved(loaded, tmp_path / "adapter")), head=head).model.eval()(input_ids=ids)[0]
    torch.testing.assert_close(beside, merged, rtol=1e-4, atol=1e-5)


@each_family
def test_candidates_for_a_mask_are_those_of_transformers_own_logits(family: str) -> None:
    loaded = tiny_model(family, head="masked-lm")
    ids = loaded.tokenizer(f"the {loaded.tokenizer.mask_token} walks")["input_ids"]
    place = ids.index(loaded.tokenizer.mask_token_id)
    engine = TransformersEngine(loaded, device=torch.device("cpu"))
    [[(found, shares)]] = engine.most_probable_tokens([ids], [[place]], top_k=3, never=())
    with torch.inference_mode():
        wanted = loaded.model.eval()(input_ids=torch.tensor([ids])).logits[0, place].softmax(-1).topk(3)
    assert found.tolist() == wanted.indices.tolist()
    assert shares == pytest.approx(wanted.values.numpy(), rel=1e-5)


def test_a_body_without_a_head_is_fine_tuned_with_a_new_one(tmp_path: Path) -> None:
    masked = tiny_model("distilbert", head="masked-lm")
    opened = load_model(str(saved(masked, tmp_path / "model")), head="classification", labels=("a", "b"), new_head=True)
    assert set(opened.new_weights) == {
        "classifier.bias",
        "classifier.weight",
        "pre_classifier.bias",
        "pre_classifier.weight",
    }
    assert recipe_of("classification").FAMILIES[:2] == ("bert", "distilbert")


@pytest.mark.parametrize(("family", "positions"), [("bert", 64), ("roberta", 64), ("mpnet", 64), ("modernbert", 64)])
def test_the_window_is_what_the_model_can_read(family: str, positions: int) -> None:
    loaded = tiny_model(family)
    assert loaded.window == positions
    ids = torch.full((1, positions), loaded.tokenizer.unk_token_id)
    assert loaded.model(input_ids=ids).logits.shape == (1, 3)
    if family == "roberta":
        with pytest.raises((IndexError, RuntimeError)):
            loaded.model(input_ids=torch.full((1, positions + 1), loaded.tokenizer.unk_token_id))


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_a_pair_is_encoded_as_its_tokenizer_does(family: str) -> None:
    loaded = tiny_model(family, head="question-answering")
    [pair] = encode_pairs(loaded, [("the stone", "old river moves")], overlap=2)
    assert pair.sequences == [loaded.tokenizer("the stone", "old river moves")["input_ids"]]
    inputs = TextInputs(loaded, pairs=True)
    [row] = inputs.read(["the stone"], ["old river moves"])
    assert inputs.whole(row) == pair.sequences[0]


def test_words_of_byte_level_bpe_are_those_of_the_running_text() -> None:
    tokenizer = tiny_model("roberta", head="token-classification").tokenizer
    words = ["the", "stone", "moves", "\u00e9t\u00e9"]
    [of_words] = subwords_of_words(tokenizer, [words])
    text = " ".join(words)
    assert of_words.ids == tokenizer(text, add_special_tokens=False)["input_ids"]
    [of_text] = subwords_of_texts(tokenizer, [f" {text}  "])
    assert [f" {text}  "[start:end] for start, end in of_text.spans] == words


@pytest.mark.parametrize(
    ("text", "filled"),
    [("the <mask> walks", "the old walks"), ("<mask> walks", "old walks"), ("the<mask> walks", "the old walks")],
)
def test_a_filled_mask_of_roberta_leaves_one_space(text: str, filled: str) -> None:
    loaded = tiny_model("roberta", head="masked-lm")
    assert (
        _with_token(*text.split("<mask>")[:1], "\u0120old", text.split("<mask>")[1], decoder=decoders.ByteLevel())
        == filled
    )
    [filling] = fill_texts(
        loaded, TransformersEngine(loaded, device=torch.device("cpu")), [text], top_k=1, overflow="window"
    )
    assert "<mask>" not in filling.masks[0].candidates[0].text


@pytest.mark.parametrize("model_type", ["xlm-roberta", "camembert"])
def test_types_with_the_architecture_of_roberta_have_classes_of_their_own(model_type: str, tmp_path: Path) -> None:
    loaded = tiny_model("roberta", head="masked-lm", layers=2)
    folder = saved(loaded, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    name = {"xlm-roberta": "XLMRoberta", "camembert": "Camembert"}[model_type]
    changed = {**config, "model_type": model_type, "architectures": [f"{name}ForMaskedLM"]}
    (folder / "config.json").write_text(json.dumps(changed))
    opened = load_model(str(folder), head="masked-lm")
    assert type(opened.model).__name__ == f"{name}ForMaskedLM"
    ids = torch.tensor([loaded.tokenizer("the stone")["input_ids"]])
    assert torch.equal(opened.model.eval()(input_ids=ids).logits, loaded.model.eval()(input_ids=ids).logits)
    assert verb_of_class(f"{name}ForTokenClassification") == "tag"

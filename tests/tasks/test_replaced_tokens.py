"""Replaced-token detection: what is hidden, what is sampled, what is learned, and what is saved. Legend: B batch, T tokens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from adapted import saved
from builders import recipe_of, rows, task_of, train
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from transformers import AutoModelForMaskedLM, ElectraForPreTraining

from llmkit.errors import ModelError, UsageError
from llmkit.models.families import FAMILIES, Head, VocabularyHead
from llmkit.models.generator import generator_of
from llmkit.models.loading import load_model
from llmkit.tasks.pretraining.replaced_tokens import ReplacedTokenTask, _sampled

TASK = "replaced-token-detection"


def detection_task(**keys: object) -> ReplacedTokenTask:
    task = task_of(TASK, **keys)
    assert isinstance(task, ReplacedTokenTask)
    return task


def test_every_hidden_token_is_masked_and_no_special_one_is_hidden() -> None:
    task = detection_task(mask_rate=0.3)
    batch = task.collate(task.encode(rows(20)), np.arange(6), epoch=0)
    hidden = batch["labels"] != -100
    tokenizer = task.loaded.tokenizer
    assert (batch["input_ids"][hidden] == tokenizer.mask_token_id).all()
    assert not np.isin(batch["labels"][hidden].numpy(), tokenizer.all_special_ids).any()
    assert set(hidden.sum(dim=1).tolist()) == {2, 3}  # 0.3 of 10 tokens, or of fewer where documents end


def test_the_draws_of_a_block_depend_on_epoch_and_block_and_not_on_the_batch() -> None:
    task = detection_task()
    examples = task.encode(rows(20))
    together = task.collate(examples, np.arange(6), epoch=1)["draws"]
    for index in range(6):
        alone = task.collate(examples, np.asarray([index]), epoch=1)["draws"]
        assert torch.equal(alone[0], together[index])
    assert not torch.equal(task.collate(examples, np.arange(6), epoch=2)["draws"], together)
    assert torch.equal(task.collate(examples, np.arange(6))["draws"], task.collate(examples, np.arange(6))["draws"])


def test_samples_have_the_frequencies_of_the_generators_distribution() -> None:
    logits = torch.tensor([0.0, 1.0, -1.0, 2.0, -30.0])
    head = VocabularyHead(lambda states: states, torch.eye(5), None)
    draws = (torch.arange(10_000) + 0.5) / 10_000
    sampled = _sampled(logits.repeat(10_000, 1), head, draws)
    shares = torch.bincount(sampled, minlength=5) / 10_000
    torch.testing.assert_close(shares, logits.softmax(0), atol=2e-4, rtol=0)
    assert int(_sampled(logits[None], head, torch.tensor([1.0]))) < 5


def test_the_loss_weighs_the_discriminator_and_its_gradient_reaches_no_generator() -> None:
    task, heavier = detection_task(), detection_task(discriminator_weight=100)
    examples = task.encode(rows(20))
    batch = task.collate(examples, np.arange(6), epoch=0)
    means = task.means(batch)
    nats = means["generator_loss"][0]
    assert float(heavier.loss_sum(batch).detach()) - nats == pytest.approx(
        2 * (float(task.loss_sum(batch).detach()) - nats), rel=1e-4
    )
    gradients = []
    for one in (task, heavier):
        one.loss_sum(batch).backward()
        generator = generator_of(one.loaded.model)
        assert generator is not None
        gradients.append(generator.generator_lm_head.bias.grad)
    torch.testing.assert_close(*gradients)


def test_a_sample_that_equals_the_hidden_token_is_not_replaced() -> None:
    task = detection_task()
    batch = dict(task.collate(task.encode(rows(20)), np.arange(6), epoch=0))
    generator = generator_of(task.loaded.model)
    assert generator is not None
    with torch.no_grad():  # a generator that always says the same token
        generator.generator_lm_head.bias[17] = 1e4
    batch["labels"] = batch["labels"].where(batch["labels"] == -100, 17)
    share, count = task.means(batch)["unreplaced_share"]
    assert share == count == int(batch["attention_mask"].sum())


def test_generator_and_discriminator_share_their_embeddings_after_training_and_opening_again(tmp_path: Path) -> None:
    task = detection_task()
    train(task, steps=2, batch_size=8, count=16)
    opened = load_model(str(saved(task.loaded, tmp_path / "model")), head="replaced-token-detection")
    for model in (task.loaded.model, opened.model):
        generator = generator_of(model)
        assert generator is not None
        embeddings = model.electra.embeddings
        assert generator.electra.embeddings is embeddings
        assert generator.generator_lm_head.weight is embeddings.word_embeddings.weight
    assert torch.equal(opened.model.electra.embeddings.word_embeddings.weight, embeddings.word_embeddings.weight)


def test_the_saved_model_is_a_discriminator_of_transformers_and_nothing_else(tmp_path: Path) -> None:
    task = detection_task()
    folder = saved(task.loaded, tmp_path / "model")
    _, report = ElectraForPreTraining.from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]


HEADS: tuple[Head, ...] = ("classification", "embedding", "question-answering", "token-classification", "masked-lm")


@pytest.mark.parametrize("head", HEADS)
def test_the_saved_model_is_fine_tuned_for_each_head(head: Head, tmp_path: Path) -> None:
    task = detection_task()
    folder = saved(task.loaded, tmp_path / "model")
    opened = load_model(str(folder), head=head, new_head=True)
    assert torch.equal(
        opened.model.base_model.encoder.layer[0].output.dense.weight,
        task.loaded.model.electra.encoder.layer[0].output.dense.weight,
    )
    assert generator_of(opened.model) is None


def test_a_discriminator_without_a_generator_gets_a_new_one_and_is_told_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = saved(detection_task().loaded, tmp_path / "model")
    (folder / "generator.safetensors").unlink()
    recipe = recipe_of(TASK).model_copy(update={"model": str(folder)})
    task = ReplacedTokenTask(recipe, load_model(str(folder), head="replaced-token-detection"))
    assert generator_of(task.loaded.model) is not None
    assert "generator.safetensors" in caplog.text


@pytest.mark.parametrize("fault", ["missing", "shape", "infinite", "extra", "width"])
def test_a_generator_that_does_not_belong_to_the_model_is_refused(fault: str, tmp_path: Path) -> None:
    folder = saved(detection_task().loaded, tmp_path / "model")
    tensors = load_file(folder / "generator.safetensors")
    name = next(key for key in tensors if tensors[key].ndim == 2)
    match fault:
        case "missing":
            del tensors[name]
        case "shape":
            tensors[name] = tensors[name][:1].clone()
        case "infinite":
            tensors[name][0, 0] = float("inf")
        case "extra":
            tensors["more"] = torch.zeros(1)
        case "width":
            config = (folder / "config.json").read_text()
            (folder / "config.json").write_text(
                config.replace('"generator_hidden_size": 0.5', '"generator_hidden_size": 3.0')
            )
    save_file(tensors, folder / "generator.safetensors")
    with pytest.raises(ModelError, match="generator"):
        load_model(str(folder), head="replaced-token-detection")


def test_a_width_that_the_heads_cannot_share_is_refused() -> None:
    with pytest.raises(UsageError, match="generator_size"):
        detection_task(generator_size=0.01)


def test_an_adapter_is_refused_by_the_recipe() -> None:
    with pytest.raises(ValidationError, match="lora"):
        recipe_of(TASK, train={"lora": {}})


def test_only_electra_has_the_task() -> None:
    with pytest.raises(ModelError):
        FAMILIES["bert"].new_generator(AutoModelForMaskedLM, width=0.5)
    assert recipe_of(TASK).FAMILIES == ("electra",)

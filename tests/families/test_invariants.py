"""What every family guarantees in every task that it has, on the table in `cases.py`.

Legend: B batch, T tokens, V vocabulary.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from adapted import disturbed, saved
from builders import TaskName, largest_difference, rows, same_bits, store_in, train
from cases import Case, Use, table_of
from detection import detection_loss_sum
from safetensors.torch import load
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from llmkit.inference.embedding import embed_texts, vector_options
from llmkit.inference.engines.transformers import TransformersEngine
from llmkit.inference.filling import fill_texts
from llmkit.models.adapters import add_adapter
from llmkit.models.loaded import LoadedModel
from llmkit.models.loading import load_model
from llmkit.models.text_logits import text_logits
from llmkit.recipe.blocks import LoraBlock
from llmkit.recipe.generation import GenerationBlock
from llmkit.tasks.base import Batch, Task
from llmkit.tasks.pretraining.replaced_tokens import ReplacedTokenTask
from llmkit.tasks.target_counts import count_targets

STEPS, STOPPED_AT, BATCH_SIZE = 4, 2, 12
CPU = torch.device("cpu")


def inputs_of(task: Task, batch: Batch) -> dict[str, Tensor]:
    """What the model's own forward pass reads; an encoder-decoder makes the decoder's input from the labels."""
    extra = {"choices", "answers", "draws"} | (set() if task.recipe.HEAD == "seq2seq-lm" else {"labels"})
    return {key: tensor for key, tensor in batch.items() if key not in extra}


def own_loss_sum(task: Task, batch: Batch) -> Tensor:
    """Nats over the targets from the logits of the model's own forward pass, all at once."""
    if isinstance(task, ReplacedTokenTask):
        return detection_loss_sum(task, batch)
    output = task.loaded.model(**inputs_of(task, batch))
    labels = batch["labels"]
    if task.recipe.task == "multiple-choice":
        scores = output.logits.squeeze(1).split(batch["choices"].tolist())
        logits = torch.nn.utils.rnn.pad_sequence(scores, batch_first=True, padding_value=float("-inf"))
        labels = batch["answers"]
    elif task.recipe.HEAD == "question-answering":
        logits = torch.stack([output.start_logits, output.end_logits], dim=1)  # (B, 2, T)
        logits = logits.masked_fill(batch["attention_mask"][:, None] == 0, float("-inf"))
    elif task.recipe.HEAD == "classification":
        logits = text_logits(output.logits, batch["attention_mask"].sum(dim=1))
    else:
        logits = output.logits
    return torch.nn.functional.cross_entropy(
        logits.flatten(0, -2), labels.flatten(), ignore_index=-100, reduction="sum"
    )


@table_of("loss")
def test_the_loss_and_its_gradients_are_those_of_transformers_own_logits(case: Case, use: TaskName) -> None:
    task = case.task(use)
    batch = task.collate(task.encode(rows(20)), np.arange(6), epoch=0)
    model = task.loaded.model
    loss = task.loss_sum(batch)
    loss.backward()
    gradients = {key: weight.grad.clone() for key, weight in model.named_parameters() if weight.grad is not None}
    model.zero_grad()
    own = own_loss_sum(task, batch)
    own.backward()
    assert float(loss.detach()) == pytest.approx(float(own.detach()), rel=1e-5)
    trained = {key for key, weight in model.named_parameters() if weight.grad is not None and weight.grad.any()}
    assert trained
    assert trained <= gradients.keys()
    for key, gradient in gradients.items():
        torch.testing.assert_close(gradient, model.get_parameter(key).grad, rtol=1e-4, atol=1e-5)


class _LargestLogits(TorchDispatchMode):
    """Remembers for how many positions logits over the vocabulary were computed at once."""

    def __init__(self, *, vocabulary: int) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.positions = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in (torch.ops.aten.mm.default, torch.ops.aten.addmm.default, torch.ops.aten.bmm.default):
            *positions, width = result.shape
            if width == self.vocabulary:
                self.positions = max(self.positions, int(np.prod(positions)))
        return result


@table_of("targets")
def test_logits_over_the_vocabulary_are_computed_for_targets_only(case: Case, use: TaskName) -> None:
    task = case.task(use)
    batch = task.collate(task.encode(rows(40)), np.arange(8), epoch=0)
    logits = _LargestLogits(vocabulary=task.loaded.model.config.vocab_size)
    with logits, torch.no_grad():
        task.loss_sum(batch)
    assert 0 < logits.positions <= count_targets(batch)


@table_of("padding")
def test_padding_changes_no_loss(case: Case, use: TaskName) -> None:
    task = case.task(use)
    examples = task.encode(rows(20))
    number = min(8, len(examples))
    together = task.loss_sum(task.collate(examples, np.arange(number), epoch=0))
    alone = sum(task.loss_sum(task.collate(examples, np.asarray([index]), epoch=0)) for index in range(number))
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)


def gradients_of_a_step(task: Task, folder: Path, *, micro_batch_tokens: int) -> dict[str, Tensor]:
    """Those that AdamW was given, from its first moments after one step: a tenth of them."""
    store = store_in(folder)
    train(task, steps=1, micro_batch_tokens=micro_batch_tokens, max_grad_norm=None, store=store)
    state = load(store.at_step(1).read("optimizer.safetensors"))
    return {name: tensor for name, tensor in state.items() if name.endswith("exp_avg")}


@table_of("micro-batches")
def test_one_micro_batch_and_many_have_the_same_gradients(case: Case, use: TaskName, tmp_path: Path) -> None:
    whole = gradients_of_a_step(case.task(use), tmp_path / "whole", micro_batch_tokens=10_000)
    parts = gradients_of_a_step(case.task(use), tmp_path / "parts", micro_batch_tokens=40)
    largest = max(float(gradient.abs().max()) for gradient in whole.values())
    assert largest_difference(whole, parts) < 1e-4 * largest


@table_of("resume")
def test_a_resumed_training_is_the_uninterrupted_one_bit_for_bit(case: Case, use: TaskName, tmp_path: Path) -> None:
    store = store_in(tmp_path / "checkpoints")
    settings: dict[str, Any] = {"steps": STEPS, "batch_size": BATCH_SIZE, "micro_batch_tokens": 60}
    whole = train(case.task(use, dropout=0.2), store=store, save_every=STOPPED_AT, **settings)
    checkpoint = store.at_step(STOPPED_AT)
    task = case.task(use)
    opened = load_model(str(checkpoint.folder), head=task.recipe.HEAD)
    resumed = train(type(task)(task.recipe, opened), resume=checkpoint, **settings)
    assert [step.loss for step in resumed.steps] == [step.loss for step in whole.steps[STOPPED_AT:]]
    assert same_bits(resumed.weights, whole.weights)


def results(case: Case, use: Use, loaded: LoadedModel, numbers: list[int]) -> list[Any]:
    """What a model gives for some rows: predictions, texts, candidates for a mask or vectors."""
    engine = TransformersEngine(loaded, device=CPU)
    texts = [row.fields["text"] for row in rows(20)]
    if use == "embed":
        options = vector_options(loaded)
        embedded = embed_texts(loaded, engine, [texts[number] for number in numbers], options=options, overflow="error")
        return [vector.tolist() for part in embedded for vector in part.vectors]
    if use == "masked-lm":
        masked = [f"{texts[number]} [MASK]" for number in numbers]
        return [
            [(candidate.token, pytest.approx(candidate.probability, rel=1e-4)) for candidate in filling.masks[0].candidates]
            for filling in fill_texts(loaded, engine, masked, top_k=2, overflow="error")
        ]  # fmt: skip
    if use in ("causal-lm", "instruction", "span-corruption"):
        prompts = [loaded.tokenizer(texts[number])["input_ids"] for number in numbers]
        return engine.generate(prompts, GenerationBlock(max_new_tokens=4))
    task = case.task(use)
    task = type(task)(task.recipe, loaded)
    chosen = rows(20)
    return task.predict(task.encode([chosen[number] for number in numbers]), engine)


@table_of("batch")
def test_a_result_does_not_depend_on_the_other_texts_of_the_batch(case: Case, use: Use) -> None:
    loaded = case.loaded(use)
    numbers = list(range(8))
    together = results(case, use, loaded, numbers)
    alone = [results(case, use, loaded, [number])[0] for number in numbers]
    assert len(together) == len(numbers)
    if use == "embed":
        np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)
    else:
        assert together == alone


@table_of("saved")
def test_a_saved_model_has_the_same_logits_in_plain_transformers(case: Case, use: Use, tmp_path: Path) -> None:
    loaded = case.loaded(use, layers=2)
    if use == "embed":
        inputs = dict(loaded.tokenizer([row.fields["text"] for row in rows(4)], padding=True, return_tensors="pt"))
    else:
        task = case.task(use)
        task = type(task)(task.recipe, loaded)
        inputs = inputs_of(task, task.collate(task.encode(rows(20)), np.arange(4), epoch=0))
    folder = saved(loaded, tmp_path / "model")
    [architecture] = json.loads((folder / "config.json").read_text())["architectures"]
    plain = getattr(transformers, architecture).from_pretrained(folder)
    with torch.inference_mode():
        ours, theirs = loaded.model.eval()(**inputs), plain(**inputs)
    for key in ("last_hidden_state",) if use == "embed" else [key for key in ours if key.endswith("logits")]:
        torch.testing.assert_close(ours[key], theirs[key], rtol=1e-5, atol=1e-6)


@table_of("adapter")
def test_an_adapter_gives_the_same_merged_and_beside_its_base(case: Case, use: TaskName, tmp_path: Path) -> None:
    task = case.task(use, layers=2)
    head = task.recipe.HEAD
    base = saved(task.loaded, tmp_path / "base")
    loaded = disturbed(add_adapter(load_model(str(base), head=head), LoraBlock(), head=head, seed=5))
    assert loaded.adapter is not None
    assert {target.rpartition(".")[2] for target in loaded.adapter.targets} == case.lora_targets
    batch = task.collate(task.encode(rows(20)), np.arange(4), epoch=0)
    merged = load_model(str(saved(loaded, tmp_path / "adapter")), head=head)
    with torch.inference_mode():
        losses = [
            type(task)(task.recipe, model).loss_sum(batch) for model in (loaded, merged, load_model(str(base), head=head))
        ]  # fmt: skip
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-4, atol=1e-4)
    assert abs(float(losses[0] - losses[2])) > 1e-3

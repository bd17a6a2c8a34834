"""A resumed training is the uninterrupted one, bit for bit; a damaged checkpoint is never taken for a whole one."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from builders import (
    TASK_NAMES,
    TaskName,
    Trained,
    full_disk,
    rows,
    same_bits,
    store_in,
    task_of,
    tiny_model,
    train,
)
from facts import facts, logged
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForPreTraining,
    AutoModelForQuestionAnswering,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
)

from llmkit.errors import InterruptedRun, MachineError, RunError
from llmkit.models.export import model_files, unique_tensors, weight_files
from llmkit.models.loading import load_model
from llmkit.tasks.base import Task
from llmkit.training.checkpoints import CheckpointStore, progress_of, restore
from llmkit.training.optimizer import adamw
from llmkit.training.progress import Evaluated, Progress, Saved

TOTAL, BATCH_SIZE = 9, 12
MOMENTS = {"first step": 1, "middle of an epoch": 2, "end of an epoch": 4, "behind it": 5, "last but one": TOTAL - 1}
"""45 rows make 4 batches an epoch; packed into blocks they make more."""
QUICK = ("behind it",)
"""The moments that are not in the slow tests."""
AUTO = {
    "classification": AutoModelForSequenceClassification,
    "causal-lm": AutoModelForCausalLM,
    "masked-lm": AutoModelForMaskedLM,
    "question-answering": AutoModelForQuestionAnswering,
    "replaced-token-detection": AutoModelForPreTraining,
    "seq2seq-lm": AutoModelForSeq2SeqLM,
    "token-classification": AutoModelForTokenClassification,
}


def interrupted_and_resumed(name: TaskName, folder: Path, *, at: int) -> tuple[CheckpointStore, Trained]:
    """Stop by a signal after step `at`, then go on from what was published, with a model opened anew."""
    store = store_in(folder)
    numbers: Iterator[int | None] = iter([None] * (at - 1) + [signal.SIGTERM])
    with pytest.raises(InterruptedRun):
        run_to_the_end(task_of(name, dropout=0.2), store, stop_signal=lambda: next(numbers))
    checkpoint = store.newest()
    assert checkpoint is not None
    assert checkpoint.step == at
    loaded = load_model(str(checkpoint.folder), head=task_of(name).recipe.HEAD)
    return store, run_to_the_end(task_of(name, loaded=loaded), store, resume=checkpoint)


def run_to_the_end(task: Task, store: CheckpointStore, **more: object) -> Trained:
    return train(task, steps=TOTAL, batch_size=BATCH_SIZE, micro_batch_tokens=20, store=store, **more)  # type: ignore[arg-type]


@cache
def uninterrupted(name: TaskName) -> tuple[Trained, Mapping[str, bytes]]:
    """The training, and the files of its last checkpoint."""
    with TemporaryDirectory() as folder:
        store = store_in(Path(folder))
        trained = run_to_the_end(task_of(name, dropout=0.2), store)
        last = store.at_step(TOTAL)
        return trained, {file: last.read(file) for file in last.manifest["files"]}


@pytest.mark.parametrize(
    ("name", "at"),
    [
        pytest.param(name, at, id=f"{name}-{moment}", marks=() if moment in QUICK else pytest.mark.slow)
        for name in TASK_NAMES
        for moment, at in MOMENTS.items()
    ],
)
def test_resumed_is_uninterrupted_bit_for_bit(name: TaskName, at: int, tmp_path: Path) -> None:
    whole, first = uninterrupted(name)
    store, resumed = interrupted_and_resumed(name, tmp_path / "resumed", at=at)
    assert same_bits(resumed.weights, whole.weights)
    second = store.at_step(TOTAL)
    assert second.manifest["files"].keys() == first.keys()
    for file in ("model.safetensors", "optimizer.safetensors", "trainer_state.json", "tokenizer.json"):
        assert second.read(file) == first[file], file
    assert [step.learning_rate for step in resumed.steps] == [step.learning_rate for step in whole.steps[at:]]
    assert [step.loss for step in resumed.steps] == [step.loss for step in whole.steps[at:]]


def test_saving_what_was_restored_gives_the_same_bytes(tmp_path: Path) -> None:
    store = store_in(tmp_path / "first")
    run_to_the_end(task_of("classification", dropout=0.2), store)
    checkpoint = store.at_step(TOTAL)
    task = task_of("classification", loaded=load_model(str(checkpoint.folder), head="classification"))
    optimizer = adamw(task.loaded.model, weight_decay=0.01)
    progress = restore(checkpoint, task.loaded, optimizer)
    again = store_in(tmp_path / "second")
    again.save(task.loaded, optimizer, progress, scaler=None, about={})
    for file in checkpoint.manifest["files"]:
        assert again.at_step(TOTAL).read(file) == checkpoint.read(file), file


def test_a_training_that_ran_out_of_patience_stays_so_after_a_resume(tmp_path: Path) -> None:
    store = store_in(tmp_path / "checkpoints")
    task = task_of("classification")
    with torch.no_grad():
        for weight in task.loaded.model.parameters():
            weight.requires_grad_(weight.ndim < 2).zero_()  # only biases learn, and the data has no bias to learn
    stopped = train(task, steps=50, evaluate_every=1, patience=1, store=store)
    last = stopped.steps[-1].step
    assert last < 50
    checkpoint = store.at_step(last)
    resumed = train(task, steps=50, evaluate_every=1, patience=1, store=store, resume=checkpoint)
    assert resumed.events == []


# ---- signals


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_publishes_the_very_step_and_ends_with_its_code(number: int, exit_code: int, tmp_path: Path) -> None:
    store = store_in(tmp_path / "checkpoints")
    asked: list[int] = []

    def stop_signal() -> int | None:
        asked.append(1)
        return number if len(asked) == 3 else None

    with pytest.raises(InterruptedRun, match=facts("step 3")) as caught:
        run_to_the_end(task_of("classification"), store, stop_signal=stop_signal)
    assert caught.value.exit_code == exit_code
    newest = store.newest()
    assert newest is not None
    assert newest.step == progress_of(newest).step == 3


# ---- damage


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, bytes]:
    """The files of a real checkpoint of step 2."""
    store = store_in(tmp_path_factory.mktemp("published"))
    train(task_of("classification"), steps=2, save_every=1, store=store)
    folder = store.at_step(2).folder
    return {path.name: path.read_bytes() for path in folder.iterdir()}


FILES = (
    "MANIFEST.json",
    "config.json",
    "model.safetensors",
    "optimizer.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "trainer_state.json",
)


def two_checkpoints(
    folder: Path, published: Mapping[str, bytes], change: Mapping[str, bytes | None]
) -> CheckpointStore:
    """Step 1, whole, and step 2 with some files changed or (None) taken away."""
    store = store_in(folder)
    train(task_of("classification"), steps=1, save_every=1, store=store)
    newer = folder / "step-00000002"
    newer.mkdir()
    for name, content in {**published, **change}.items():
        if content is not None:
            (newer / name).write_bytes(content)
    return store


def test_the_list_of_files_is_complete(published: Mapping[str, bytes]) -> None:
    assert sorted(published) == sorted(FILES)
    assert not any(content.startswith((b"\x80\x02", b"\x80\x04", b"PK")) for content in published.values())


@pytest.mark.parametrize("file", FILES)
def test_a_checkpoint_with_a_flipped_bit_is_passed_over_with_a_warning(
    file: str, published: Mapping[str, bytes], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = bytearray(published[file])
    content[len(content) // 2] ^= 1 << 3
    store = two_checkpoints(tmp_path / "checkpoints", published, {file: bytes(content)})
    newest = store.newest()
    assert newest is not None
    assert newest.step == 1
    assert len(logged(caplog, "WARNING", "step-00000002", file)) == 1


@pytest.mark.parametrize("kept", ["nothing", "one byte", "half", "all but one byte"])
@pytest.mark.parametrize("file", FILES)
def test_a_checkpoint_with_a_cut_file_is_passed_over(
    file: str, kept: str, published: Mapping[str, bytes], tmp_path: Path
) -> None:
    size = len(published[file])
    end = {"nothing": 0, "one byte": 1, "half": size // 2, "all but one byte": size - 1}[kept]
    store = two_checkpoints(tmp_path / "checkpoints", published, {file: published[file][:end]})
    newest = store.newest()
    assert newest is not None
    assert newest.step == 1


def test_a_pickle_beside_the_files_makes_a_checkpoint_invalid(published: Mapping[str, bytes], tmp_path: Path) -> None:
    store = two_checkpoints(tmp_path / "checkpoints", published, {"optimizer.pt": b"\x80\x04."})
    with pytest.raises(RunError, match=facts("optimizer.pt", "manifest")):
        store.at_step(2)
    newest = store.newest()
    assert newest is not None
    assert newest.step == 1


def test_a_checkpoint_of_another_run_is_passed_over(published: Mapping[str, bytes], tmp_path: Path) -> None:
    store = two_checkpoints(tmp_path / "checkpoints", published, {})
    other = store_in(store.folder, run_id="another-run")
    assert other.newest() is None
    with pytest.raises(RunError, match=facts("step-00000002", "another run")):
        other.at_step(2)


def test_a_folder_without_checkpoints_has_none(tmp_path: Path) -> None:
    assert CheckpointStore(tmp_path / "deleted", run_id="a-run", keep=1).newest() is None


def test_weights_of_another_model_are_refused_by_name(tmp_path: Path) -> None:
    store = store_in(tmp_path / "checkpoints")
    train(task_of("classification"), steps=1, store=store)
    other = tiny_model("bert", width=32)
    with pytest.raises(RunError, match=facts("weights", "model", "bert.embeddings")):
        restore(store.at_step(1), other, adamw(other.model, weight_decay=0.0))


# ---- retention


@pytest.mark.parametrize(("keep", "best", "kept"), [(1, 2, [2, 5]), (2, 2, [2, 4, 5]), (3, 4, [3, 4, 5])])
def test_the_newest_few_and_the_best_are_kept(keep: int, best: int, kept: list[int], tmp_path: Path) -> None:
    loaded = tiny_model("bert")
    optimizer = adamw(loaded.model, weight_decay=0.0)
    store = store_in(tmp_path / "checkpoints", keep=keep)
    for step in range(1, 6):
        store.save(loaded, optimizer, Progress(step=step, best_step=min(step, best)), scaler=None, about={})
    assert sorted(int(path.name[5:]) for path in store.folder.iterdir()) == kept


def test_what_was_just_saved_outlives_a_damaged_newer_one(tmp_path: Path) -> None:
    loaded = tiny_model("bert")
    optimizer = adamw(loaded.model, weight_decay=0.0)
    store = store_in(tmp_path / "checkpoints", keep=1)
    (store.folder / "step-00000009").mkdir()  # damaged: training resumed from an older one
    store.save(loaded, optimizer, Progress(step=3), scaler=None, about={})
    newest = store.newest()
    assert newest is not None
    assert newest.step == 3


def test_a_damaged_one_of_the_same_step_is_made_again(tmp_path: Path) -> None:
    store = store_in(tmp_path / "checkpoints")
    (store.folder / "step-00000001").mkdir()
    train(task_of("classification"), steps=1, store=store)
    assert store.at_step(1).step == 1


def test_a_save_that_fails_leaves_the_older_checkpoint_and_no_rubbish(tmp_path: Path) -> None:
    store = store_in(tmp_path / "checkpoints")
    task = task_of("classification")
    train(task, steps=1, store=store)
    with (
        full_disk(file_bytes=5000),
        pytest.raises(MachineError, match=facts("step-00000002:", "File too large")),
    ):
        store.save(task.loaded, adamw(task.loaded.model, weight_decay=0.0), Progress(step=2), scaler=None, about={})
    assert [path.name for path in store.folder.iterdir()] == ["step-00000001"]
    assert store.at_step(1).step == 1


# ---- plain transformers


def logits_of(output: Any) -> torch.Tensor:
    """Of classes or the vocabulary, or of starts and ends."""
    return torch.stack([output.start_logits, output.end_logits]) if "start_logits" in output else output.logits


@pytest.mark.parametrize("name", TASK_NAMES)
def test_checkpoint_and_saved_model_open_in_plain_transformers_with_the_same_logits(
    name: TaskName, tmp_path: Path
) -> None:
    store = store_in(tmp_path / "checkpoints")
    task = task_of(name, dropout=0.2)
    train(task, steps=2, store=store)
    saved = tmp_path / "model"
    saved.mkdir()
    for file, content in model_files(task.loaded).items():
        (saved / file).write_bytes(content)
    assert store.at_step(2).model_files() == {path.name: path.read_bytes() for path in saved.iterdir()}
    model = task.loaded.model.eval()
    batch = dict(task.collate(task.encode(rows(5)), np.arange(3)))
    batch.pop("draws", None)  # of replaced tokens, which the model does not read
    if task.recipe.HEAD != "seq2seq-lm":  # T5 makes its decoder's input of them
        del batch["labels"]
    with torch.inference_mode():
        wanted = logits_of(model(**batch))
        for folder in (store.at_step(2).folder, saved):
            opened = AUTO[task.recipe.HEAD].from_pretrained(folder, local_files_only=True).eval()
            assert type(opened) is type(model)
            assert torch.allclose(logits_of(opened(**batch)), wanted, atol=1e-6)
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            assert tokenizer("the cat walks")["input_ids"] == task.loaded.tokenizer("the cat walks")["input_ids"]
            assert not list(folder.glob("*.bin")) + list(folder.glob("*.pt"))


def test_the_optimizer_is_saved_by_name(tmp_path: Path) -> None:
    task = task_of("classification")
    store = store_in(tmp_path / "checkpoints")
    train(task, steps=1, store=store)
    from safetensors.torch import load

    names = load(store.at_step(1).read("optimizer.safetensors")).keys()
    assert names == {
        f"{name}.{key}" for name in unique_tensors(task.loaded.model) for key in ("exp_avg", "exp_avg_sq", "step")
    }


def test_an_evaluation_says_which_checkpoint_is_best(tmp_path: Path) -> None:
    store = store_in(tmp_path / "checkpoints")
    trained = train(task_of("classification"), steps=6, evaluate_every=2, store=store)
    evaluated = [event for event in trained.events if isinstance(event, Evaluated)]
    saved = [event for event in trained.events if isinstance(event, Saved)]
    assert [event.step for event in evaluated] == [event.step for event in saved] == [2, 4, 6]
    losses = {event.step: event.scores.values["loss"] for event in evaluated}
    newest = store.newest()
    assert newest is not None
    state = json.loads(newest.read("trainer_state.json"))
    assert losses[state["best_step"]] == state["best_value"] == min(losses.values())


def test_trainer_state_of_another_version_is_refused() -> None:
    with pytest.raises(RunError, match=facts("version")):
        Progress.of_json({"step": 3, "momentum": 1})


def test_weight_files_are_the_same_twice() -> None:
    model = tiny_model("t5").model
    assert weight_files(model) == weight_files(model)

"""A kill before any call that changes files leaves the old or the new checkpoint, model or evaluation."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

from builders import store_in, tiny_model
from empty_runs import create_run
from killed_at import Counter

from llmkit.api.evaluation_result import Evaluation, save_evaluation
from llmkit.atomic import verify_folder
from llmkit.runs.folder import Run
from llmkit.tasks.base import Scores
from llmkit.training.checkpoints import progress_of
from llmkit.training.optimizer import adamw
from llmkit.training.progress import Progress

OLD, NEW = {"model.safetensors": b"old", "config.json": b"{}"}, {"model.safetensors": b"new", "tokenizer.json": b"{}"}


def killed_before_each_call(folder: Path, work: Callable[[], None], *, original: Path) -> Iterator[None]:
    """Do the work on a copy of `original` in `folder`, in a process that is killed before one more call each time.

    The last time it is not killed.
    """
    for kill_at in count(1):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(original, folder)
        child = os.fork()
        if child == 0:
            Counter(folder, kill_at=kill_at).install()
            try:
                work()
            finally:
                os._exit(0)
        _, status = os.waitpid(child, 0)
        yield
        if os.WIFEXITED(status):
            return


def test_a_checkpoint_is_whole_after_a_kill_at_any_call_of_its_saving(tmp_path: Path) -> None:
    loaded = tiny_model("bert")
    optimizer = adamw(loaded.model, weight_decay=0.0)
    for step in (1, 2):
        progress = Progress(step=step, best_step=1)
        store_in(tmp_path / "original", keep=1).save(loaded, optimizer, progress, scaler=None, about={})
    store = store_in(tmp_path / "checkpoints", keep=1)

    def save() -> None:
        store.save(loaded, optimizer, Progress(step=3, best_step=3), scaler=None, about={})

    steps = []
    for _ in killed_before_each_call(store.folder, save, original=tmp_path / "original"):
        newest = store.newest()
        assert newest is not None
        assert [store.open(folder) for folder in store.published()]
        assert progress_of(newest).step == newest.step
        assert {progress_of(newest).best_step} <= {int(path.name[5:]) for path in store.published()}
        steps.append(newest.step)
    assert steps == sorted(steps)
    assert (steps[0], steps[-1]) == (2, 3)
    assert len(store.published()) == 1


def test_a_model_is_the_old_or_the_new_one_after_a_kill_at_any_call_of_its_publishing(tmp_path: Path) -> None:
    original = create_run(tmp_path / "original")
    original.publish_model(OLD, step=1)
    run = Run(tmp_path / "run")
    steps = []
    for _ in killed_before_each_call(run.folder, lambda: run.publish_model(NEW, step=2), original=original.folder):
        steps.append(verify_folder(run.model)["step"])
        run.publish_model(NEW, step=3)
        assert verify_folder(run.model)["step"] == 3
        assert sorted(path.name for path in run.folder.iterdir()) == ["checkpoints", "lock", "model", "run.json"]
    assert steps == sorted(steps)
    assert (steps[0], steps[-1]) == (1, 2)


def evaluation_of(number: int) -> Evaluation:
    scores = Scores(values={"accuracy": float(number)}, details={})
    return Evaluation(model=None, data="rows", rows=2, scores=scores, predictions=[f"{number}"] * 2)


def test_scores_stand_beside_their_own_predictions_after_a_kill_at_any_call_of_their_saving(tmp_path: Path) -> None:
    original = create_run(tmp_path / "original")
    save_evaluation(original, evaluation_of(1), name="data", references=["a", "b"], bad_rows=[b"old"])
    folder = Run(tmp_path / "run").folder / "evaluation"

    def save() -> None:
        save_evaluation(Run(tmp_path / "run"), evaluation_of(2), name="data", references=["a", "b"])

    numbers = []
    for _ in killed_before_each_call(folder.parent, save, original=original.folder):
        if (folder / "data.json").exists():
            number = int(json.loads((folder / "data.json").read_text())["scores"]["accuracy"])
            lines = (folder / "data.predictions.jsonl").read_text().splitlines()
            assert {json.loads(line)["prediction"] for line in lines} == {f"{number}"}
            assert (folder / "data.bad_rows.jsonl").exists() == (number == 1)
            numbers.append(number)
    assert numbers == sorted(numbers)
    assert (numbers[0], numbers[-1]) == (1, 2)

"""A checkpoint that cannot be saved: what stays on the disk, whether training goes on, and when it stops."""

from __future__ import annotations

import errno
import json
import os
import signal
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from builders import Trained, events_of, full_disk, same_bits, store_in, task_of, train
from facts import facts, logged

from llmkit.errors import InterruptedRun, MachineError
from llmkit.training.optimizer import adamw
from llmkit.training.progress import Evaluated, Progress, Saved, StepResult


def train_with_full_disk(at_steps: Collection[int], folder: Path, *, steps: int, evaluate_every: int = 1000) -> Trained:
    """Save after every step, on a disk that is full at some of them."""
    trained = Trained(task_of("classification", dropout=0.1))
    events = events_of(
        trained.task, steps=steps, save_every=1, evaluate_every=evaluate_every, store=store_in(folder, keep=1)
    )
    with ExitStack() as stack:
        for event in events:
            trained.events.append(event)
            if isinstance(event, StepResult):
                stack.close()
                if event.step in at_steps:
                    stack.enter_context(full_disk(file_bytes=5000))
    return trained


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def saved_steps(trained: Trained) -> list[int]:
    return [event.step for event in trained.events if isinstance(event, Saved)]


@contextmanager
def sync_fault(
    number: int, code: int = errno.EIO, *, change: Callable[[int], None] | None = None
) -> Iterator[list[int]]:
    """A disk whose fsync number `number`, counted from 1, fails with an error code; or succeeds, and then changes the
    file. Yields the list of descriptors so far."""
    real, calls = os.fsync, list[int]()

    def fsync(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == number and change is None:
            raise OSError(code, os.strerror(code))
        real(descriptor)
        if len(calls) == number and change is not None:
            change(descriptor)

    os.fsync = fsync  # type: ignore[assignment]
    try:
        yield calls
    finally:
        os.fsync = real


def save(folder: Path, *, step: int) -> None:
    loaded = task_of("classification").loaded
    store = store_in(folder, keep=1)
    store.save(loaded, adamw(loaded.model, weight_decay=0.0), Progress(step=step), scaler=None, about={})


def test_training_goes_on_after_a_failed_save_and_gives_the_same_weights(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trained = train_with_full_disk({2, 3}, tmp_path / "checkpoints", steps=5)
    assert saved_steps(trained) == [1, 4, 5]
    assert names(tmp_path / "checkpoints") == ["step-00000005"]
    assert len(logged(caplog, "WARNING", "step-00000002", "needs", "MiB", "free")) == 1
    assert same_bits(trained.weights, train(task_of("classification", dropout=0.1), steps=5).weights)


def test_the_previous_checkpoint_stays_until_a_save_succeeds(tmp_path: Path) -> None:
    save(tmp_path / "checkpoints", step=1)
    with full_disk(file_bytes=5000), pytest.raises(MachineError):
        save(tmp_path / "checkpoints", step=2)
    assert names(tmp_path / "checkpoints") == ["step-00000001"]
    assert store_in(tmp_path / "checkpoints").at_step(1).step == 1
    save(tmp_path / "checkpoints", step=3)
    assert names(tmp_path / "checkpoints") == ["step-00000003"]


def test_the_third_failed_save_in_a_row_stops_the_training(tmp_path: Path) -> None:
    with pytest.raises(
        MachineError, match=facts("step-00000006", "needs", "MiB", "3 saves", "step-00000003")
    ) as caught:
        train_with_full_disk({2, 4, 5, 6}, tmp_path / "checkpoints", steps=9)
    assert caught.value.exit_code == 5
    assert names(tmp_path / "checkpoints") == ["step-00000003"]
    assert store_in(tmp_path / "checkpoints").at_step(3).step == 3


def test_a_failed_last_save_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match=facts("step-00000003", "step-00000002", "--resume")):
        train_with_full_disk({3}, tmp_path / "checkpoints", steps=3)
    assert names(tmp_path / "checkpoints") == ["step-00000002"]


def test_a_failed_save_on_a_signal_is_an_error_at_once(tmp_path: Path) -> None:
    store = store_in(tmp_path / "checkpoints")
    with full_disk(file_bytes=5000), pytest.raises(MachineError, match=facts("step-00000001", "no checkpoint")):
        train(task_of("classification"), steps=3, store=store, stop_signal=lambda: signal.SIGTERM)


def test_a_failed_save_where_patience_ends_is_an_error_at_once(tmp_path: Path) -> None:
    def train_with_patience(folder: Path, *, full_at: int) -> Trained:
        trained = Trained(task_of("classification"))
        with ExitStack() as stack:
            for event in events_of(trained.task, steps=20, evaluate_every=1, patience=1, store=store_in(folder)):
                trained.events.append(event)
                if isinstance(event, StepResult) and event.step == full_at:
                    stack.enter_context(full_disk(file_bytes=1000))
        return trained

    last = train_with_patience(tmp_path / "calm", full_at=0).steps[-1].step
    assert 1 < last < 20
    with pytest.raises(MachineError, match=facts(f"step-{last:08d}", f"step-{last - 1:08d}")):
        train_with_patience(tmp_path / "full", full_at=last)


def test_the_best_step_always_has_a_checkpoint(tmp_path: Path) -> None:
    calm = train(task_of("classification", dropout=0.1), steps=6, evaluate_every=1)
    losses = {event.step: event.scores.values["loss"] for event in calm.events if isinstance(event, Evaluated)}
    best = min(losses, key=losses.__getitem__)
    assert best < 6, "the last step cannot fail"
    store = store_in(tmp_path / "checkpoints", keep=1)
    train_with_full_disk({best}, store.folder, steps=6, evaluate_every=1)
    newest = store.newest()
    assert newest is not None
    progress = Progress.of_json(json.loads(newest.read("trainer_state.json")))
    assert progress.best_step is not None
    assert progress.best_step != best
    assert progress.best_value == losses[progress.best_step]
    assert store.at_step(progress.best_step).step == progress.best_step


def test_a_signal_during_a_save_needs_no_second_one(tmp_path: Path) -> None:
    store = store_in(tmp_path / "checkpoints")

    def signal_of() -> int | None:
        return signal.SIGTERM if store.published() else None

    with pytest.raises(InterruptedRun) as caught:
        train(task_of("classification"), steps=9, save_every=2, store=store, stop_signal=signal_of)
    assert caught.value.exit_code == 143
    assert names(store.folder) == ["step-00000002"]


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_any_failed_fsync_fails_the_save_and_leaves_only_the_older_checkpoint(code: int, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    save(folder, step=1)
    with sync_fault(0) as calls:
        save(tmp_path / "other", step=2)
    for number in range(1, len(calls) + 1):
        with sync_fault(number, code), pytest.raises(MachineError, match=facts("step-00000002", "MiB free")):
            save(folder, step=2)
        assert names(folder) == ["step-00000001"], number
    assert store_in(folder).at_step(1).step == 1


def test_an_older_checkpoint_is_kept_if_the_new_one_reads_back_differently(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    save(folder, step=1)

    def flip_a_bit(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)

    with sync_fault(1, change=flip_a_bit), pytest.raises(MachineError, match=facts("step-00000002", "read back")):
        save(folder, step=2)
    assert names(folder) == ["step-00000001"]


def test_an_old_checkpoint_that_cannot_be_deleted_does_not_fail_the_save(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "checkpoints"
    save(folder, step=1)
    with sync_fault(0) as calls:
        save(tmp_path / "other", step=2)
    with sync_fault(len(calls) + 1):  # that of the folder, after the old one was renamed
        save(folder, step=2)
    assert store_in(folder).at_step(2).step == 2
    assert len(logged(caplog, "WARNING", "deleted", os.strerror(errno.EIO))) == 1

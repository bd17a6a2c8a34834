"""`finetune --resume` with checkpoints and models that are damaged, lost, of a newer version, or not finite."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from damages import CHECKPOINT, RUN, STEPS, STOPPED_AT, Damage, final_state, finished_run, stopped_run
from facts import says
from safetensors.torch import load, save
from tiny_recipes import Outcome, listing, llmkit

from llmkit.atomic import publish_folder, read_verified, verify_folder

NEWEST = RUN / CHECKPOINT
BEFORE = RUN / "checkpoints/step-00000002"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with rows, a finished run, and the same run stopped after step 4."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        finished_run(folder / "finished")
        stopped_run(folder / "finished", folder / "stopped")
    return folder


@pytest.fixture
def finished(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """A finished run as `RUN` in the current folder; returns its weights, optimizer state and metrics."""
    return _copied(whole, "finished", tmp_path, monkeypatch)


@pytest.fixture
def stopped(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """A stopped run as `RUN` in the current folder; returns what the finished one has."""
    return _copied(whole, "stopped", tmp_path, monkeypatch)


def _copied(whole: Path, name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    monkeypatch.chdir(folder)
    shutil.copy(whole / "rows.jsonl", folder)
    shutil.copytree(whole / name, RUN)
    return final_state(whole / "finished")


def resume(*arguments: str) -> Outcome:
    return llmkit("finetune", "--resume", RUN, *arguments)


def saved_again(folder: Path, change: Callable[[dict[str, bytes]], None], *, step: int = STOPPED_AT) -> None:
    """Replace a checkpoint by one with other files and a valid manifest."""
    manifest = verify_folder(folder)
    files = {name: read_verified(folder, manifest, name) for name in manifest["files"]}
    change(files)
    shutil.rmtree(folder)
    about = {key: value for key, value in manifest.items() if key not in ("format", "files")}
    publish_folder(folder, files, about={**about, "step": step})


def with_nan(file: str) -> Callable[[dict[str, bytes]], None]:
    def change(files: dict[str, bytes]) -> None:
        tensors = load(files[file])
        name = sorted(name for name, tensor in tensors.items() if tensor.ndim)[0]
        tensors[name].view(-1)[0] = torch.nan
        files[file] = save(tensors, metadata={"format": "pt"})

    return change


@pytest.mark.parametrize("file", ["model.safetensors", "optimizer.safetensors"])
def test_a_checkpoint_that_is_not_finite_is_refused(stopped: dict[str, object], file: str) -> None:
    saved_again(NEWEST, with_nan(file))
    outcome = resume()
    assert outcome.code == 4, outcome.err
    says(outcome.err, NEWEST.name, "finite")
    assert not (RUN / "model").exists()


def test_a_checkpoint_that_lists_a_pickle_is_passed_over(stopped: dict[str, object]) -> None:
    saved_again(NEWEST, lambda files: files.update({"rng.pth": b"cos\nsystem\n(S'touch canary'\ntR."}))
    outcome = resume()
    assert outcome.code == 0, outcome.err
    says(outcome.err, "warning", NEWEST.name, "rng.pth")
    assert final_state(RUN) == stopped
    assert not Path("canary").exists()
    assert not list(RUN.rglob("rng.pth"))


def test_a_checkpoint_of_a_newer_llmkit_stops_the_resume(stopped: dict[str, object]) -> None:
    manifest = NEWEST / "MANIFEST.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "format": 7}))
    before = listing(RUN / "checkpoints")
    outcome = resume()
    assert outcome.code == 4, outcome.err
    says(outcome.err, "error[run]", NEWEST.name, "format", 7, 1)
    assert listing(RUN / "checkpoints") == before


def test_a_damaged_best_checkpoint_is_trained_again_from_the_one_before(stopped: dict[str, object]) -> None:
    """The best checkpoint is not the newest, and the run could end with it."""

    def worse_step_5(files: dict[str, bytes]) -> None:
        state = json.loads(files["trainer_state.json"])
        files["trainer_state.json"] = json.dumps({**state, "step": 5, "best_step": 4}).encode()

    newer = RUN / "checkpoints/step-00000005"
    shutil.copytree(NEWEST, newer)
    saved_again(newer, worse_step_5, step=5)
    Damage("a bit", position=1000).apply(NEWEST / "model.safetensors")
    outcome = resume()
    assert outcome.code == 0, outcome.err
    says(outcome.err, "warning", newer.name, f"{NEWEST.name}/model.safetensors")
    assert final_state(RUN) == stopped


def test_a_damaged_best_checkpoint_does_not_stop_a_run_without_another(stopped: dict[str, object]) -> None:
    """Step 6 is better."""

    def worse(files: dict[str, bytes]) -> None:
        state = json.loads(files["trainer_state.json"])
        files["trainer_state.json"] = json.dumps({**state, "best_step": 2, "best_value": 0.0}).encode()

    saved_again(NEWEST, worse, step=4)
    Damage("a bit", position=1000).apply(BEFORE / "model.safetensors")
    outcome = resume()
    assert outcome.code == 0, outcome.err
    says(outcome.err, "warning", NEWEST.name, f"{BEFORE.name}/model.safetensors")
    assert json.loads((RUN / "run.json").read_text())["best"]["step"] == STEPS


def test_lost_checkpoints_are_an_error_and_not_a_new_start(stopped: dict[str, object]) -> None:
    shutil.rmtree(RUN / "checkpoints")
    outcome = resume()
    assert outcome.code == 4, outcome.err
    says(outcome.err, "error[run]", RUN, "--restart")
    outcome = resume("--restart")
    assert outcome.code == 0, outcome.err
    assert final_state(RUN) == stopped


@pytest.mark.parametrize(
    ("old", "new", "fact"),
    [
        ("learning_rate: 0.001", "learning_rate: 0.003", "train.learning_rate"),
        ("max_tokens: 24", "max_tokens: 25", "max_tokens"),
        ("batch_size: 8", "batch_size: 9", "train.batch_size"),
        ("steps: 6\n", "steps: 7\n", "total_steps"),
    ],
)
def test_a_changed_recipe_of_a_stopped_run_is_refused(
    stopped: dict[str, object], old: str, new: str, fact: str
) -> None:
    text = (RUN / "recipe.yaml").read_text()
    assert old in text
    (RUN / "recipe.yaml").write_text(text.replace(old, new, 1))
    outcome = resume()
    assert outcome.code == 4, outcome.err
    says(outcome.err, "error[run]", "recipe.yaml", fact)


def test_lost_metrics_are_a_warning_with_their_number(stopped: dict[str, object]) -> None:
    path = RUN / "metrics.jsonl"
    lines = [line for line in path.read_text().splitlines() if json.loads(line)["step"] in (1, 4, 5)]
    path.write_text("\n".join(lines) + "\n")
    outcome = resume()
    assert outcome.code == 0, outcome.err
    says(outcome.err, "warning", path, 2, 4)


def test_a_run_without_its_manifest_is_not_taken_for_another_model(finished: dict[str, object]) -> None:
    (RUN / "run.json").unlink()
    for arguments in (("classify", "--model", RUN, "a text"), ("evaluate", "--model", RUN), ("plot", RUN)):
        outcome = llmkit(*arguments)
        assert outcome.code == 4, outcome.err
        says(outcome.err, RUN, "run.json")


def test_a_complete_run_is_not_changed(finished: dict[str, object]) -> None:
    before = listing(RUN)
    assert resume().code == 0
    assert listing(RUN) == before


@pytest.mark.parametrize("kind", ["a bit", "missing"])
def test_the_damaged_model_of_a_finished_run_is_saved_again_from_its_checkpoint(
    finished: dict[str, object], kind: str
) -> None:
    Damage(kind, position=2000).apply(RUN / "model/model.safetensors")
    used = llmkit("classify", "--model", RUN, "a text")
    assert used.code == 4
    says(used.err, RUN, "model.safetensors", "--resume")
    outcome = resume()
    assert outcome.code == 0, outcome.err
    says(outcome.err, "warning", "model.safetensors")
    assert final_state(RUN) == finished
    assert llmkit("classify", "--model", RUN, "a text").code == 0
    assert (RUN / "model.damaged-1").is_dir()


def test_a_damaged_model_without_checkpoints_is_not_trained_again_unasked(finished: dict[str, object]) -> None:
    shutil.rmtree(RUN / "checkpoints")
    Damage("cut", position=10).apply(RUN / "model/tokenizer.json")
    outcome = resume()
    assert outcome.code == 4, outcome.err
    says(outcome.err, "error[run]", f"{RUN}/model", "--restart")
    assert json.loads((RUN / "run.json").read_text())["status"] == "finished"


def test_a_damaged_checkpoint_is_not_used_as_a_model(finished: dict[str, object]) -> None:
    weights = NEWEST / "model.safetensors"
    Damage("a bit", position=weights.stat().st_size - 100).apply(weights)
    outcome = llmkit("classify", "--model", NEWEST, "a text")
    assert outcome.code == 4
    says(outcome.err, NEWEST, "model.safetensors")
    assert llmkit("classify", "--model", BEFORE, "a text").code == 0

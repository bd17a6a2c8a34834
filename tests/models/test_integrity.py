"""A model that llmkit saved is used only with the bytes that were saved."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from builders import tiny_model
from damages import Damage
from empty_runs import create_run
from facts import facts, logged

from llmkit.atomic import MANIFEST
from llmkit.errors import ModelError
from llmkit.models.export import model_files
from llmkit.models.loading import load_model

FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
DAMAGES = {
    "nothing left": Damage("cut", position=0),
    "one byte left": Damage("cut", position=1),
    "a flipped bit": Damage("a bit", position=150, bit=2),
    "zeros": Damage("zeros", position=20),
    "missing": Damage("missing"),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a model and its card."""
    run = create_run(tmp_path_factory.mktemp("finished") / "run")
    run.publish_model({**model_files(tiny_model("bert")), "README.md": b"# A card of this model\n"}, step=1)
    return run.folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.mark.parametrize("kind", DAMAGES)
@pytest.mark.parametrize("file", FILES)
def test_a_model_with_a_damaged_file_is_refused_by_its_name(run: Path, file: str, kind: str) -> None:
    DAMAGES[kind].apply(run / "model" / file)
    for name in (f"{run}", f"{run / 'model'}"):
        with pytest.raises(ModelError, match=facts(name, file)):
            load_model(name, head="classification")


def test_a_changed_copy_of_a_model_is_used_with_a_warning_that_names_the_file(
    run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copy = Path(shutil.copytree(run / "model", run.parent / "copy"))
    load_model(f"{copy}", head="classification")
    assert not logged(caplog, "WARNING", copy)
    weights = copy / "model.safetensors"
    Damage("a bit", position=weights.stat().st_size - 4).apply(weights)
    load_model(f"{copy}", head="classification")
    assert len(logged(caplog, "WARNING", copy, weights.name)) == 1


@pytest.mark.parametrize("file", ["added_tokens.json", "chat_template.jinja", "special_tokens_map.json"])
def test_a_file_that_would_change_how_a_saved_model_is_read_is_refused(run: Path, file: str) -> None:
    (run / "model" / file).write_text("{}")
    with pytest.raises(ModelError, match=facts(run, file, "added")):
        load_model(f"{run}", head="classification")


def test_another_file_beside_a_saved_model_is_left_alone(run: Path) -> None:
    (run / "model" / "model.onnx").write_bytes(b"onnx")
    assert load_model(f"{run}", head="classification").family.name == "bert"


def test_a_changed_card_is_a_warning(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    (run / "model" / "README.md").write_text("# My own words\n")
    load_model(f"{run}", head="classification")
    assert len(logged(caplog, "WARNING", run, "README.md")) == 1


def test_a_damaged_manifest_of_a_run_is_refused(run: Path) -> None:
    manifest = run / "model" / MANIFEST
    Damage("cut", position=manifest.stat().st_size // 2).apply(manifest)
    with pytest.raises(ModelError, match=facts(run, MANIFEST)):
        load_model(f"{run}", head="classification")


def test_a_model_whose_manifest_was_deleted_is_used_with_a_warning(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    (run / "model" / MANIFEST).unlink()
    config = run / "model" / "config.json"
    config.write_text(config.read_text().replace('"dtype": "float32"', '"dtype": "bfloat16"'))
    load_model(f"{run}", head="classification")
    assert len(logged(caplog, "WARNING", run, MANIFEST)) == 1

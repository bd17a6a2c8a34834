"""Models of a hub on loopback: which files of a sentence-transformers folder are downloaded, and used."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fake_hub import COMMITS, FakeHub, serving
from published_models import published_folder
from safetensors.torch import load_file, save_file
from sentence_folders import WIDTH, add_dense, sentence_folder

import llmkit

PACKAGE = Path(llmkit.__file__).parents[1]
# huggingface_hub reads its settings when it is imported, so the client is another process.
CLIENT = """
from llmkit.models.resolve import find_model
place = find_model("owner/reviews")
print(place.sentence.root, place.revision, sep="\\n")
"""


@pytest.mark.slow
def test_a_hub_model_of_sentence_transformers_is_fetched_with_the_weights_of_its_modules(tmp_path: Path) -> None:
    folder = sentence_folder(tmp_path / "model", after=["Dense"], body="0_Transformer")
    (folder / "2_Dense").rename(folder / "2_Dense_4")
    modules = (folder / "modules.json").read_text()
    (folder / "modules.json").write_text(modules.replace("2_Dense", "2_Dense_4"))
    add_dense(folder / "2_Dense_4", inputs=WIDTH, outputs=4, seed=1)
    for unused in ("2_Dense_4/pytorch_model.bin", "openvino/model.safetensors", "3_Dense/model.safetensors"):
        (folder / unused).parent.mkdir(exist_ok=True)
        (folder / unused).write_bytes(b"0")
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with serving(FakeHub(files, kind="models")) as hub:
        settings = {"HF_HOME": str(tmp_path / "home"), "HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0"}
        done = subprocess.run(
            [sys.executable, "-c", CLIENT],
            env={**os.environ, **settings, "PYTHONPATH": str(PACKAGE)},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    cached, revision = done.stdout.splitlines()
    assert revision == COMMITS[0]
    assert not [path for path in hub.sent if "pytorch_model" in path or "openvino" in path or "3_Dense" in path]
    expected = llmkit.load(str(folder), verb="embed").embed(["the old stone"])
    assert (Path(cached) / "2_Dense_4" / "model.safetensors").is_symlink()  # to the blobs of the cache
    np.testing.assert_array_equal(llmkit.load(cached, verb="embed").embed(["the old stone"]), expected)


FAULTS = """
import json, os, shutil, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from fake_hub import FakeHub, serving
from llmkit.errors import LlmkitError
folder = Path(sys.argv[2])
files = {path.name: path.read_bytes() for path in folder.iterdir()}
results = {}
with serving(FakeHub(files, kind="models")) as hub:
    os.environ["HF_ENDPOINT"] = hub.url
    from huggingface_hub import constants
    constants.HF_HUB_DOWNLOAD_TIMEOUT = 2
    from llmkit.models.resolve import find_model
    import huggingface_hub.file_download as downloads
    downloads.time.sleep = lambda seconds: None

    def result(case):
        try:
            return "found " + str(find_model("owner/reviews").revision)
        except LlmkitError as error:
            return f"exit {error.exit_code}: {error}"
        finally:
            shutil.rmtree(Path(os.environ["HF_HOME"]), ignore_errors=True)

    cases = {
        "whole": {},
        "truncated": {"sent_share": 0.5},
        "redirected to nowhere": {"redirect": "http://127.0.0.1:9/x"},
        "redirected to itself": {"redirect": hub.url + "/owner/reviews/resolve/main/config.json"},
        "redirected to a file": {"redirect": "file:///etc/hostname"},
        "redirected to a page": {"redirect": hub.url + "/api/models/owner/reviews"},
    }
    for case, settings in cases.items():
        for key, value in {"sent_share": 1.0, "failing": False, "redirect": None, **settings}.items():
            setattr(hub, key, value)
        results[case] = result(case)
print(json.dumps(results))
"""


@pytest.mark.slow
def test_a_truncated_or_redirected_file_of_a_model_is_an_error_and_leaves_no_model(tmp_path: Path) -> None:
    folder = published_folder(tmp_path / "model", "bert", head="classification")
    settings = {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0", "PYTHONPATH": str(PACKAGE)}
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, str(Path(__file__).parents[1]), str(folder)],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    results: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    assert results.pop("whole") == f"found {COMMITS[0]}"
    assert {case: said[:6] for case, said in results.items()} == dict.fromkeys(results, "exit 5")
    assert all("owner/reviews" in said for said in results.values())


HEADERS = """
import json, os, sys
from pathlib import Path
from llmkit.api import describe_model
found = describe_model("owner/reviews")
sent = {path.name: path.stat().st_blocks for path in Path(os.environ["HF_HOME"]).rglob("*.safetensors")}
print(json.dumps({"folder": found.folder, "parameters": found.parameters, "verbs": found.verbs, "precision": found.precision,
                  "revision": found.revision, "cached": sent, "refusals": [r.reason for r in found.refusals if not r.uses]}))
"""


@pytest.mark.slow
@pytest.mark.parametrize("shards", [False, True])
def test_a_hub_model_is_described_without_its_weights_being_downloaded(shards: bool, tmp_path: Path) -> None:
    folder = published_folder(tmp_path / "model", "bert", head="classification")
    if shards:
        content = load_file(folder / "model.safetensors")
        names = {key: f"model-0000{number % 2 + 1}-of-00002.safetensors" for number, key in enumerate(content)}
        for file in set(names.values()):
            save_file({key: value for key, value in content.items() if names[key] == file}, folder / file)
        (folder / "model.safetensors").unlink()
        (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": names}))
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    with serving(FakeHub(files, kind="models")) as hub:
        settings = {"HF_HOME": str(tmp_path / "home"), "HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0"}
        done = subprocess.run(
            [sys.executable, "-c", HEADERS],
            env={**os.environ, **settings, "PYTHONPATH": str(PACKAGE)},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    found = json.loads(done.stdout.splitlines()[-1])
    expected = llmkit.describe_model(folder)
    assert found["cached"] == {}
    assert found["folder"] is None
    assert found["revision"] == COMMITS[0]
    assert found["refusals"] == []
    assert (found["parameters"], found["verbs"], found["precision"]) == (
        expected.parameters,
        list(expected.verbs),
        expected.precision,
    )

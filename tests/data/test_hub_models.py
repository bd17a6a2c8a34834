"""Models of a hub on loopback: which files of a sentence-transformers folder are downloaded, and used."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from fake_hub import COMMITS, FakeHub, serving
from sentence_folders import WIDTH, add_dense, sentence_folder

import llmkit

# huggingface_hub reads its settings when it is imported, so the client is another process.
CLIENT = """
from llmkit.models.resolve import find_model
place = find_model("owner/reviews")
print(place.sentence.root, place.revision, sep="\\n")
"""


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
            env={**os.environ, **settings, "PYTHONPATH": str(Path(llmkit.__file__).parents[1])},
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

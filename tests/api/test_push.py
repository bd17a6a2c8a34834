"""`llmkit push`: what is sent, what is refused, and the requests that a hub on loopback gets."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from facts import facts, says
from fake_hub import PUSHED_COMMIT as COMMIT
from fake_hub import FakeHub, serving
from tiny_recipes import llmkit as command_line
from trained_runs import here, trained

import llmkit
from llmkit.errors import ModelError, UsageError

__all__ = ["here", "trained"]
PACKAGE = Path(llmkit.__file__).parent.parent
TOKEN = "hf_secret_of_nobody"


# huggingface_hub reads its settings when it is imported, so the client is another process.
CLIENT = """
import contextlib, io, json, sys
from llmkit.cli import run
outcomes = []
for arguments in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        out.reconfigure = err.reconfigure = lambda **_: None
        code = run(arguments)
    outcomes.append((code, out.getvalue(), err.getvalue()))
print(json.dumps(outcomes))
"""


def commands(hub: FakeHub, home: Path, *lines: str, token: str | None = TOKEN) -> list[Any]:
    """Exit code, output and messages of each command line, run in the current folder."""
    settings = {
        "HF_HOME": str(home),
        "HF_ENDPOINT": hub.url,
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "PYTHONPATH": str(PACKAGE),
    }
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    done = subprocess.run(
        [sys.executable, "-c", CLIENT, json.dumps([line.split() for line in lines])],
        env={**environment, **settings, **({} if token is None else {"HF_TOKEN": token})},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    outcomes: list[Any] = json.loads(done.stdout)
    return outcomes


@pytest.mark.slow
def test_the_hub_gets_the_model_and_its_card_and_nothing_else(here: Path, tmp_path: Path) -> None:
    shutil.copytree("runs/classify-001/model", tmp_path / "wrong")
    (tmp_path / "wrong/MANIFEST.json").unlink()
    (tmp_path / "wrong/README.md").write_text("---\nlicense: nobody\n---\n# Mine\n")
    with serving(FakeHub()) as hub:
        sent, private, public, expired, others, busy, gone, wrong = commands(
            hub,
            tmp_path,
            "push runs/classify-001 me/mail --yes",
            "push runs/classify-001 me/secret --yes --private --json",
            "push runs/classify-001 me/public --yes --private",
            "push runs/classify-001 expired/mail --yes",
            "push runs/classify-001 others/mail --yes",
            "push runs/classify-001 busy/mail --yes",
            "push runs/classify-001 gone/mail --yes",
            f"push {tmp_path}/wrong me/wrong --yes",
        )
    code, out, err = sent
    assert code == 0, err
    assert out.splitlines()[-2:] == [f"{hub.url}/me/mail", f"commit {COMMIT}"]
    model = Path("runs/classify-001/model")
    files = hub.commits["me/mail"]
    assert files.keys() == {path.name for path in model.iterdir()} - {"MANIFEST.json"}
    weights = (model / "model.safetensors").read_bytes()
    assert files["model.safetensors"] == hashlib.sha256(weights).hexdigest()
    assert hub.stored[hashlib.sha256(weights).hexdigest()] == weights
    assert files["config.json"] == (model / "config.json").read_bytes()
    assert b"--model me/mail" in bytes(files["README.md"])  # type: ignore[arg-type]
    assert all(str(here).encode() not in content for content in files.values() if isinstance(content, bytes))
    assert hub.tokens == {f"Bearer {TOKEN}", ""} or hub.tokens == {f"Bearer {TOKEN}"}

    record = json.loads(private[1])
    assert (record["commit"], record["private"]) == (COMMIT, True)
    assert [given.get("visibility") for given in hub.created][:2] == [None, "private"]
    assert "me/public" not in hub.commits
    for (code, _, err), expected, stated in (
        (public, 2, ["me/public", "--private"]),
        (expired, 5, ["expired/mail", "hf auth login"]),
        (others, 5, ["others/mail", "refused by the hub"]),
        (busy, 5, ["busy/mail", 503]),
        (gone, 5, ["gone/mail"]),
        (wrong, 4, ["me/wrong", "README.md", "license"]),
    ):
        assert code == expected, (stated, code, err)
        says(err, *stated)
    assert TOKEN not in json.dumps([sent, private, public, expired, others, busy, gone, wrong])


@pytest.mark.slow
def test_without_a_login_nothing_is_asked_of_the_hub(here: Path, tmp_path: Path) -> None:
    with serving(FakeHub()) as hub:
        [(code, _, err)] = commands(hub, tmp_path, "push runs/classify-001 me/mail --yes", token=None)
    assert code == 5
    says(err, "error[environment]:", "hf auth login")
    assert not hub.created


def test_a_plan_lists_every_file_and_what_stays(here: Path, tmp_path: Path) -> None:
    shutil.copytree("runs/classify-001", tmp_path / "run")
    model = tmp_path / "run/model"
    for extra in ("train.jsonl", "optimizer.safetensors", "notes.txt", "test.predictions.jsonl"):
        (model / extra).write_text("private")
    plan = llmkit.plan_push(str(tmp_path / "run"), repo_id="me/mail")
    assert {file.name for file in plan.files} >= {"README.md", "config.json", "model.safetensors", "tokenizer.json"}
    assert set(plan.left_out) == {
        "MANIFEST.json",
        "train.jsonl",
        "optimizer.safetensors",
        "notes.txt",
        "test.predictions.jsonl",
    }
    assert plan.bytes == sum(file.bytes for file in plan.files)
    outcome = command_line("push", tmp_path / "run", "me/mail", "--dry-run", "--json")
    assert outcome.code == 0, outcome.err
    [record] = outcome.records
    assert {file["name"]: file["bytes"] for file in record["files"]} == {file.name: file.bytes for file in plan.files}
    assert "commit" not in record
    shown = command_line("push", tmp_path / "run", "me/mail", "--dry-run").out
    says(shown, "model.safetensors", f"{(model / 'model.safetensors').stat().st_size:,}")
    says(shown, "not sent", "train.jsonl")


def test_a_card_that_you_changed_is_sent_as_it_is(here: Path, tmp_path: Path) -> None:
    shutil.copytree("runs/classify-001", tmp_path / "run")
    (tmp_path / "run/model/README.md").write_text("# Mine\n")
    plan = llmkit.plan_push(str(tmp_path / "run"), repo_id="me/mail")
    [card] = [file for file in plan.files if file.name == "README.md"]
    assert isinstance(card.content, Path)
    (tmp_path / "run/model/README.md").write_text(f"# Mine\nfrom {Path.home()}/secret\n")
    if len(Path.home().parts) > 1:
        with pytest.raises(ModelError, match=facts("README.md")):
            llmkit.plan_push(str(tmp_path / "run"), repo_id="me/mail")


def test_a_damaged_model_is_not_sent(here: Path, tmp_path: Path) -> None:
    shutil.copytree("runs/classify-001", tmp_path / "run")
    weights = tmp_path / "run/model/model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ModelError, match=facts("model.safetensors")):
        llmkit.plan_push(str(tmp_path / "run"), repo_id="me/mail")
    outcome = command_line("push", tmp_path / "run", "me/mail", "--yes")
    assert outcome.code == 4


def test_an_unfinished_run_is_not_sent(here: Path, tmp_path: Path) -> None:
    shutil.copytree("runs/classify-001", tmp_path / "run")
    shutil.rmtree(tmp_path / "run/model")
    with pytest.raises(ModelError, match=facts("--resume")):
        llmkit.plan_push(str(tmp_path / "run"), repo_id="me/mail")


@pytest.mark.parametrize("repo_id", ["mail", "me/../mail", "me/mail/x", "", "me/ma il", "-/-", "me/mail.git"])
def test_a_name_that_the_hub_cannot_have_is_refused(here: Path, repo_id: str) -> None:
    with pytest.raises(UsageError):
        llmkit.plan_push("runs/classify-001", repo_id=repo_id)


@pytest.mark.parametrize("model", ["runs/classify-002", "google-bert/bert-base-uncased"])
def test_what_is_no_folder_here_is_refused(here: Path, model: str) -> None:
    with pytest.raises(UsageError, match=facts(model)):
        llmkit.plan_push(model, repo_id="me/mail")


def test_in_a_pipe_nothing_is_sent_without_a_yes(here: Path) -> None:
    outcome = command_line("push", "runs/classify-001", "me/mail")
    assert outcome.code == 2
    says(outcome.err, "error[usage]:", "--yes")

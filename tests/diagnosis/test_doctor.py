"""What `llmkit doctor` finds out about this machine, and what it keeps to itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import pytest
from fake_hub import FakeHub, serving
from huggingface_hub import constants
from tiny_recipes import llmkit

from llmkit.diagnosis.folders import described_folder, hub, short
from llmkit.diagnosis.packages import bad_versions, installed


def test_the_record_has_versions_devices_caches_and_no_secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_very_secret")
    monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path / "cache"))
    outcome = llmkit("doctor", "--json")
    record = json.loads(outcome.out)
    assert record["versions"]["torch"] == version("torch")
    assert record["devices"][0]["name"] == "cpu"
    assert record["devices"][0]["formats"].keys() == {"fp32", "bf16", "fp16"}
    assert record["devices"][0]["formats"]["fp16"].startswith("no")
    assert record["hub"]["offline"] is True
    assert record["hub"]["reachable"] is None
    assert {cache["what"] for cache in record["caches"]} == {"llmkit", "hub", "datasets"}
    assert "hf_very_secret" not in outcome.out + outcome.err
    assert not (tmp_path / "cache").exists()
    assert outcome.code == (5 if record["problems"] else 0)


def test_the_lines_fit_into_80_columns() -> None:
    outcome = llmkit("doctor")
    assert [line for line in outcome.out.splitlines() if len(line) > 80 and "/" not in line] == []
    assert "precision" in outcome.out


def test_a_cache_under_a_file_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path / "file" / "cache"))
    outcome = llmkit("doctor")
    assert outcome.code == 5
    assert "error[environment]: the cache of llmkit" in outcome.err


def test_the_size_of_a_folder_is_that_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "file").write_bytes(b"x" * 1000)
    assert described_folder("llmkit", tmp_path / "inner").bytes == 1000
    assert not described_folder("llmkit", tmp_path / "missing").exists


def test_the_home_folder_is_a_tilde() -> None:
    assert short(Path.home() / "models") == "~/models"
    assert short(Path("/srv/models")) == "/srv/models"


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"transformers": "4.40.0"}, "transformers"),
        ({"torch": "2.2.0", "numpy": "2.1.0"}, "first version for NumPy 2"),
        ({"pyarrow": "15.0.2", "numpy": "2.1.0"}, "first version built for NumPy 2"),
        ({"peft": None}, "peft, which is not installed"),
    ],
)
def test_versions_that_do_not_fit_are_named(changed: Mapping[str, str | None], named: str) -> None:
    def version_of(name: str) -> str | None:
        return changed[name] if name in changed else installed(name)

    assert any(named in fault for fault in bad_versions(version_of))


@pytest.mark.parametrize(("failing", "status"), [(False, "status 200"), (True, "status 503")])
def test_a_hub_that_answers_is_reachable(failing: bool, status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeHub()
    fake.failing = failing
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with serving(fake) as served:
        monkeypatch.setattr(constants, "ENDPOINT", served.url)
        found = hub()
    assert (found.endpoint, found.reachable, found.detail) == (fake.url, True, status)
    assert fake.tokens == {""}


def test_a_hub_that_does_not_answer_is_not_reachable_and_shows_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(FakeHub()) as closed:
        pass
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", closed.url.replace("http://", "http://me:secret@"))
    found = hub()
    assert (found.endpoint, found.reachable) == (closed.url, False)
    assert found.detail
    assert "secret" not in found.detail
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert (hub().offline, hub().reachable) == (True, None)

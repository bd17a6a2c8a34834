"""The cache folder is the one that the environment names, and files in it are whole or absent."""

from __future__ import annotations

from pathlib import Path

import pytest
from facts import facts

from llmkit.data.caches import cache_folder, publish_file
from llmkit.errors import MachineError


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"LLMKIT_CACHE": "{tmp}/own", "XDG_CACHE_HOME": "{tmp}/xdg"}, "own"),
        ({"LLMKIT_CACHE": "", "XDG_CACHE_HOME": "{tmp}/xdg"}, "xdg/llmkit"),
        ({"XDG_CACHE_HOME": "relative"}, "home/.cache/llmkit"),
        ({}, "home/.cache/llmkit"),
    ],
)
def test_the_first_variable_that_is_set_decides(
    environment: dict[str, str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LLMKIT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name, value in environment.items():
        monkeypatch.setenv(name, value.format(tmp=tmp_path))
    assert cache_folder() == tmp_path / expected
    assert (tmp_path / expected).is_dir()


def test_a_cache_folder_that_cannot_be_made_names_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path / "file" / "below"))
    with pytest.raises(MachineError, match=facts("file/below", "$LLMKIT_CACHE")):
        cache_folder()


def test_publishing_replaces_the_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.bin"
    publish_file(path, b"old")
    publish_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


def test_publishing_that_fails_keeps_what_was_there_and_leaves_no_rubbish(tmp_path: Path) -> None:
    occupied = tmp_path / "occupied"
    (occupied / "inside").mkdir(parents=True)
    with pytest.raises(MachineError, match=facts("occupied:", "Is a directory")):
        publish_file(occupied, b"data")
    assert [path.name for path in tmp_path.iterdir()] == ["occupied"]

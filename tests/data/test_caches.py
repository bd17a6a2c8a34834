"""The cache folder is the one that the environment names, and files in it are whole or absent."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest
from facts import facts

from llmkit.data.caches import cache_folder, one_at_a_time, publish_file
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


def test_a_lock_below_a_file_is_a_fault_of_the_machine(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match="cannot be written"), one_at_a_time(tmp_path / "file" / "a.arrow"):
        pass


def test_a_lock_is_free_again_after_an_error_inside(tmp_path: Path) -> None:
    path = tmp_path / "below" / "a.arrow"
    with pytest.raises(KeyError), one_at_a_time(path):
        raise KeyError
    with path.with_suffix(".lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

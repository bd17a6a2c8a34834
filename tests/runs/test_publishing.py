"""Folders and files that are whole or not there."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from builders import full_disk
from facts import facts

from llmkit.atomic import MANIFEST, publish_folder, read_verified, remove_folder, replace_file, sweep, verify_folder
from llmkit.errors import MachineError, RunError

FILES = {"weights.bin": bytes(range(256)), "config.json": b'{"a": 1}', "empty": b""}


def published(parent: Path) -> Path:
    parent.mkdir(exist_ok=True)
    publish_folder(parent / "target", FILES, about={"run": "a-run", "step": 12, "share": 0.25})
    return parent / "target"


def test_a_published_folder_has_its_files_its_manifest_and_nothing_beside_it(tmp_path: Path) -> None:
    folder = published(tmp_path)
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.name != MANIFEST} == FILES
    manifest = verify_folder(folder)
    assert (manifest["run"], manifest["step"], manifest["format"]) == ("a-run", 12, 1)
    assert all(read_verified(folder, manifest, name) == content for name, content in FILES.items())
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


@pytest.mark.parametrize("name", ["weights.bin", "config.json"])
def test_a_flipped_bit_in_every_byte_of_a_file_is_found(name: str, tmp_path: Path) -> None:
    folder = published(tmp_path)
    for position in range(len(FILES[name])):
        damaged = bytearray(FILES[name])
        damaged[position] ^= 1 << (position % 8)
        (folder / name).write_bytes(damaged)
        with pytest.raises(RunError, match=facts(f"{name}:", "SHA-256")):
            verify_folder(folder)


def test_a_flipped_bit_in_every_byte_of_the_manifest_is_found(tmp_path: Path) -> None:
    """A step of 12 that reads 13 would go on from the wrong place."""
    folder = published(tmp_path)
    whole = (folder / MANIFEST).read_bytes()
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << (position % 8)
        (folder / MANIFEST).write_bytes(damaged)
        with pytest.raises(RunError):
            verify_folder(folder)


@pytest.mark.parametrize("kept", [0, 1, 4, 7])
def test_a_cut_file_is_told_with_both_sizes(kept: int, tmp_path: Path) -> None:
    folder = published(tmp_path)
    (folder / "config.json").write_bytes(FILES["config.json"][:kept])
    with pytest.raises(RunError, match=facts("config.json:", f"{kept} bytes", 8)):
        verify_folder(folder)


@pytest.mark.parametrize(
    ("content", "fact"),
    [
        (None, "finished"),
        (b"", "damaged"),
        (b"[]", "damaged"),
        (b"[" * 200_000, "damaged"),
        (b'{"files": 3}', "damaged"),
        (b'{"format": 1, "files": {"../weights.bin": {"bytes": 1, "sha256": ""}}}', "damaged"),
    ],
)
def test_a_manifest_that_is_missing_or_none_is_told(content: bytes | None, fact: str, tmp_path: Path) -> None:
    folder = published(tmp_path)
    (folder / MANIFEST).unlink()
    if content is not None:
        (folder / MANIFEST).write_bytes(content)
    with pytest.raises(RunError, match=facts(MANIFEST, fact)):
        verify_folder(folder)


def test_a_manifest_of_a_newer_format_is_told_as_such(tmp_path: Path) -> None:
    folder = published(tmp_path)
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**manifest, "format": 2}))
    with pytest.raises(RunError, match=facts("format", 2, 1)):
        verify_folder(folder)


def test_a_missing_and_an_extra_file_are_named(tmp_path: Path) -> None:
    folder = published(tmp_path)
    (folder / "optimizer.pt").write_bytes(b"\x80\x04.")
    with pytest.raises(RunError, match=facts("optimizer.pt", "manifest")):
        verify_folder(folder)
    (folder / "optimizer.pt").unlink()
    (folder / "empty").unlink()
    with pytest.raises(RunError, match=facts("empty", "missing")):
        verify_folder(folder)


def test_what_is_there_is_never_overwritten(tmp_path: Path) -> None:
    folder = published(tmp_path)
    with pytest.raises(MachineError, match=facts("target:")):
        publish_folder(folder, {"other": b"x"}, about={})
    assert verify_folder(folder)["step"] == 12
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with full_disk(file_bytes=100), pytest.raises(MachineError, match=facts("target:", "File too large")):
        published(tmp_path)
    assert list(tmp_path.iterdir()) == []


class Lying(bytes):
    """Bytes that are one shorter than they say: what a disk that loses some looks like."""

    def __len__(self) -> int:
        return super().__len__() + 1


def test_a_disk_that_gives_back_other_bytes_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match=facts("disk", "bytes", "weights.bin")):
        publish_folder(tmp_path / "target", {"weights.bin": Lying(b"abc")}, about={})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_modes_are_the_umasks(mask: int, mode: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        folder = published(tmp_path)
        replace_file(tmp_path / "run.json", b"{}")
    finally:
        os.umask(before)
    for path in (*folder.iterdir(), tmp_path / "run.json"):
        assert stat.S_IMODE(path.stat().st_mode) == mode, path


def test_a_replaced_file_is_the_old_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    replace_file(path, b"old")
    with full_disk(file_bytes=100), pytest.raises(MachineError, match=facts("run.json:", "File too large")):
        replace_file(path, b"new" * 100)
    assert path.read_bytes() == b"old"
    replace_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.json"]


def test_a_replaced_link_does_not_change_what_it_points_to(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"precious")
    (tmp_path / "run.json").symlink_to(tmp_path / "elsewhere")
    replace_file(tmp_path / "run.json", b"new")
    assert (tmp_path / "elsewhere").read_bytes() == b"precious"


def test_a_sweep_takes_what_a_kill_left_and_nothing_else(tmp_path: Path) -> None:
    folder = published(tmp_path)
    (tmp_path / ".tmp-target-1").mkdir()
    (tmp_path / ".tmp-target-1" / "weights.bin").write_bytes(b"half")
    (tmp_path / ".del-target-2").mkdir()
    (tmp_path / ".tmp-3").write_bytes(b"half")
    (tmp_path / ".hidden").write_bytes(b"the user's")
    sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".hidden", "target"]
    verify_folder(folder)
    sweep(tmp_path / "no such folder")


def test_removing_takes_the_folder_and_leaves_no_grave(tmp_path: Path) -> None:
    remove_folder(published(tmp_path))
    assert list(tmp_path.iterdir()) == []

"""Files and folders that are either whole or not there. Knows nothing of what they hold.

A folder is published in this order: every file written and synced in a hidden folder beside the target, its hash
taken from the bytes in hand and not from a second read, MANIFEST.json last, the folder synced, one rename, the parent
synced, everything read back once. A reader accepts a folder only if its manifest names exactly the files that are
there, with their sizes and hashes, and still has its own. safetensors alone would notice a cut file, but load a
flipped bit.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from llmkit.errors import MachineError, RunError

FORMAT = 1
MANIFEST = "MANIFEST.json"
TEMPORARY = ".tmp-"
DELETED = ".del-"
_OWN_HASH = "manifest_sha256"


def replace_file(path: Path, content: bytes, *, next_step: str = "--resume") -> None:
    """Put `content` in the place of a file in one step.

    Args:
        next_step: what to do once a full disk has room again.
    Raises:
        MachineError: the file system refuses.
    """
    temporary = path.with_name(f"{TEMPORARY}{uuid.uuid4().hex}")
    try:
        _write_new(temporary, content)
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise _machine_error(path, error, next_step=next_step) from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give the name of a new file to write; when the block ends well, it takes the place of `path` in one step.

    Through a link: the file that it points to is replaced, not the link.

    Raises:
        MachineError: the file system refuses, or `path` is no regular file.
    """
    target = check_replaceable(path)
    temporary = target.with_name(f"{TEMPORARY}{uuid.uuid4().hex}")
    try:
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
        _sync_folder(target.parent)
    except OSError as error:
        raise _machine_error(path, error, next_step="start again") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def check_replaceable(path: Path) -> Path:
    """Refuse a place that cannot become a file, before hours of work for it; give the file behind a link.

    Raises:
        MachineError: there is no such folder, or it or the file must not be written, or it is no regular file.
    """
    target = path.resolve()
    if target.exists() and not target.is_file():
        kind = "a folder" if target.is_dir() else "no regular file"
        raise MachineError(f"{path}: cannot be written, it is {kind}. Give the name of a file.")
    if not target.parent.is_dir():
        raise MachineError(f"{path}: cannot be written, there is no folder {target.parent}.")
    if not os.access(target.parent, os.W_OK) or (target.exists() and not os.access(target, os.W_OK)):
        raise MachineError(f"{path}: cannot be written (Permission denied).")
    return target


def publish_folder(
    target: Path, files: Mapping[str, bytes], *, about: Mapping[str, Any], next_step: str = "--resume"
) -> None:
    """Publish `files` as the new folder `target`; `about` goes into its manifest.

    Raises:
        MachineError: the file system refuses, or gives back other bytes than were written; `target` is then not there.
    """
    temporary = target.with_name(f"{TEMPORARY}{target.name}-{uuid.uuid4().hex}")
    try:
        temporary.mkdir()
        entries = {}
        for name, content in files.items():
            _write_new(temporary / name, content)
            entries[name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        manifest = {"format": FORMAT, **about, "files": entries}
        _write_new(temporary / MANIFEST, json.dumps({**manifest, _OWN_HASH: _hash_of(manifest)}, indent=2).encode())
        _sync_folder(temporary)
        if target.exists():
            raise FileExistsError(errno.EEXIST, "it exists already", str(target))
        temporary.rename(target)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise _machine_error(target, error, next_step=next_step) from error
    try:
        _sync_folder(target.parent)
        verify_folder(target)
    except OSError as error:
        remove_folder(target)
        raise _machine_error(target, error) from error
    except RunError as error:
        remove_folder(target)
        raise MachineError(f"the disk gave back other bytes than were written: {error}") from error


def verify_folder(folder: Path) -> dict[str, Any]:
    """Check a published folder against its manifest, every byte, and return the manifest.

    Raises:
        RunError: names the first file that is missing, extra, or differs.
    """
    manifest = _read_manifest(folder)
    entries = manifest["files"]
    found = {path.name for path in folder.iterdir()} - {MANIFEST}
    if found != set(entries):
        odd = sorted(found ^ set(entries))[0]
        raise RunError(f"{folder}: the file {odd} is {'not in the manifest' if odd in found else 'missing'}.")
    for name in entries:
        read_verified(folder, manifest, name)
    return manifest


def read_verified(folder: Path, manifest: Mapping[str, Any], name: str) -> bytes:
    """The content of a file of a published folder, if it still has its hash."""
    entry = manifest["files"].get(name)
    if entry is None:
        raise RunError(f"{folder}: it has no {name}.")
    try:
        content = (folder / name).read_bytes()
    except OSError as error:
        raise RunError(f"{folder / name}: {error.strerror}.") from error
    if len(content) != entry["bytes"]:
        raise RunError(f"{folder / name}: damaged, it has {len(content):,} bytes in place of {entry['bytes']:,}.")
    if hashlib.sha256(content).hexdigest() != entry["sha256"]:
        raise RunError(f"{folder / name}: damaged, its SHA-256 is not the one in {MANIFEST}.")
    return content


def remove_folder(folder: Path) -> None:
    """Unpublish in one step, then delete: a kill in between leaves garbage, never half a folder."""
    grave = folder.with_name(f"{DELETED}{folder.name}-{uuid.uuid4().hex}")
    folder.rename(grave)
    _sync_folder(folder.parent)
    shutil.rmtree(grave, ignore_errors=True)


def sweep(parent: Path) -> None:
    """Delete what a kill has left in a folder of published folders. Only for the holder of the lock."""
    for path in parent.iterdir() if parent.is_dir() else ():
        if not path.name.startswith((TEMPORARY, DELETED)):
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _read_manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        own_hash, entries = manifest.pop(_OWN_HASH), manifest["files"]
        if manifest["format"] > FORMAT:
            raise RunError(
                f"{folder}: it has format {manifest['format']} > {FORMAT}, of a newer llmkit. Update llmkit."
            )
        if own_hash != _hash_of(manifest):
            raise RunError(f"{folder}: {MANIFEST} is damaged.")
        if not all(Path(name).name == name for name in entries):
            raise RunError(f"{folder}: {MANIFEST} names files outside the folder.")
        if not all(isinstance(entry["bytes"], int) and isinstance(entry["sha256"], str) for entry in entries.values()):
            raise RunError(f"{folder}: {MANIFEST} is damaged.")
    except FileNotFoundError as error:
        raise RunError(f"{folder}: it has no {MANIFEST}, so it was never finished.") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RunError(f"{folder}: {MANIFEST} is damaged.") from error
    checked: dict[str, Any] = manifest
    return checked


def _hash_of(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _write_new(path: Path, content: bytes) -> None:
    """Never through a link, never over a file; the mode is the user's umask."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o666)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _machine_error(path: Path, error: OSError, *, next_step: str = "--resume") -> MachineError:
    if error.errno == errno.ENOSPC:
        free = shutil.disk_usage(path.parent).free
        return MachineError(f"{path}: the disk is full ({free / 2**20:,.0f} MiB free). Make room, then {next_step}.")
    return MachineError(f"{path}: cannot be written ({error.strerror}).")

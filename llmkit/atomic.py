"""Atomic writes: files and folders that are either complete or absent. Knows nothing about their contents.

A folder is published in this order: write and sync each file in a hidden folder beside the target, hash its bytes in
memory and not from a second read, write MANIFEST.json last, sync the folder, rename it, sync the parent, read
everything back once. A reader accepts a folder only if its manifest lists exactly the existing files, with their sizes
and hashes, and its own hash. safetensors alone detects a truncated file, but not a flipped bit.
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
_HASH_KEY = "manifest_sha256"


class NewerFormatError(RunError):
    """A newer llmkit wrote the folder."""


def replace_file(path: Path, content: bytes, *, next_step: str = "--resume") -> None:
    """Replace the content of a file atomically.

    Args:
        next_step: what to do once a full disk has free space again.
    Raises:
        MachineError: the file cannot be written.
    """
    temporary = path.with_name(f"{TEMPORARY}{uuid.uuid4().hex}")
    try:
        _write_new(temporary, content)
        temporary.replace(path)
        sync_folder(path.parent)
    except BaseException as error:  # a signal as well
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise machine_error(path, error, needed_bytes=len(content), next_step=next_step) from error
        raise


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield the name of a new file to write; if the block succeeds, it replaces `path` atomically.

    If `path` is a link, the file that it points to is replaced, not the link.

    Raises:
        MachineError: the file cannot be written, or `path` is not a regular file.
    """
    target = check_replaceable(path)
    temporary = target.with_name(f"{TEMPORARY}{uuid.uuid4().hex}")
    try:
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
        sync_folder(target.parent)
    except OSError as error:
        raise machine_error(path, error, next_step="start again") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def check_replaceable(path: Path) -> Path:
    """Check that a file can be written, before hours of work for it. Returns the target of a link.

    Raises:
        MachineError: the folder does not exist, the folder or the file is not writable, or it is not a regular file.
    """
    if "\0" in str(path):
        raise MachineError(f"{str(path)!r}: cannot be written, a file's name cannot have a NUL character.")
    target = path.resolve()
    if target.exists() and not target.is_file():
        kind = "a folder" if target.is_dir() else "not a regular file"
        raise MachineError(f"{path}: cannot be written, it is {kind}. Give the name of a file.")
    if not target.parent.is_dir():
        raise MachineError(f"{path}: cannot be written, there is no folder {target.parent}.")
    if not os.access(target.parent, os.W_OK) or (target.exists() and not os.access(target, os.W_OK)):
        raise MachineError(f"{path}: cannot be written (Permission denied).")
    return target


def publish_folder(
    target: Path, files: Mapping[str, bytes], *, about: Mapping[str, Any], next_step: str | None = "--resume"
) -> None:
    """Publish `files` as the new folder `target`; `about` goes into its manifest.

    Args:
        next_step: what to do once a full disk has free space again; None if the caller says it.
    Raises:
        MachineError: the folder cannot be written, or the bytes read back differ; `target` is then absent.
    """
    temporary = target.with_name(f"{TEMPORARY}{target.name}-{uuid.uuid4().hex}")
    try:
        temporary.mkdir()
        entries = {}
        for name, content in files.items():
            _write_new(temporary / name, content)
            entries[name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        manifest = {"format": FORMAT, **about, "files": entries}
        _write_new(temporary / MANIFEST, json.dumps({**manifest, _HASH_KEY: _hash_of(manifest)}, indent=2).encode())
        sync_folder(temporary)
        if target.exists():
            raise FileExistsError(errno.EEXIST, "it exists already", str(target))
        temporary.rename(target)
    except BaseException as error:  # a signal as well
        shutil.rmtree(temporary, ignore_errors=True)
        if isinstance(error, OSError):
            needed = sum(map(len, files.values()))
            raise machine_error(target, error, needed_bytes=needed, next_step=next_step) from error
        raise
    try:
        sync_folder(target.parent)
        verify_folder(target)
    except OSError as error:
        _withdraw(target)
        raise machine_error(target, error, next_step=next_step) from error
    except RunError as error:
        _withdraw(target)
        raise MachineError(f"the bytes read back from the disk differ from those written: {error}") from error


def verify_folder(folder: Path) -> dict[str, Any]:
    """Check a published folder against its manifest, every byte, and return the manifest.

    Raises:
        RunError: names the first file that is missing, extra, or differs.
    """
    manifest = _read_manifest(folder)
    entries = manifest["files"]
    names = {path.name for path in folder.iterdir()} - {MANIFEST}
    if names != set(entries):
        name = sorted(names ^ set(entries))[0]
        raise RunError(f"{folder}: the file {name} is {'not in the manifest' if name in names else 'missing'}.")
    for name in entries:
        read_verified(folder, manifest, name)
    return manifest


def read_verified(folder: Path, manifest: Mapping[str, Any], name: str) -> bytes:
    """The content of a file of a published folder, after checking its hash."""
    entry = manifest["files"].get(name)
    if entry is None:
        raise RunError(f"{folder}: it has no {name}.")
    try:
        content = (folder / name).read_bytes()
    except OSError as error:
        raise RunError(f"{folder / name}: {error.strerror}.") from error
    if len(content) != entry["bytes"]:
        raise RunError(f"{folder / name}: damaged, it has {len(content):,} bytes instead of {entry['bytes']:,}.")
    if hashlib.sha256(content).hexdigest() != entry["sha256"]:
        raise RunError(f"{folder / name}: damaged, its SHA-256 is not the one in {MANIFEST}.")
    return content


def remove_folder(folder: Path) -> None:
    """Rename the folder, then delete it: a kill in between leaves a temporary folder, never an incomplete one."""
    deleted = folder.with_name(f"{DELETED}{folder.name}-{uuid.uuid4().hex}")
    folder.rename(deleted)
    sync_folder(folder.parent)
    shutil.rmtree(deleted, ignore_errors=True)


def _withdraw(folder: Path) -> None:
    """Remove a folder that was just published, on a disk that may fail again."""
    with suppress(OSError):
        remove_folder(folder)
    shutil.rmtree(folder, ignore_errors=True)  # if it could not even be renamed


def sweep(parent: Path) -> None:
    """Delete temporary files that killed processes left in `parent`. The caller must have locked it."""
    for path in parent.iterdir() if parent.is_dir() else ():
        if not path.name.startswith((TEMPORARY, DELETED)):
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _read_manifest(folder: Path) -> dict[str, Any]:
    try:
        content = (folder / MANIFEST).read_bytes()
    except FileNotFoundError as error:
        raise RunError(f"{folder}: it has no {MANIFEST}, so it was never finished.") from error
    except OSError as error:
        raise RunError(f"{folder}: {MANIFEST} cannot be read ({error.strerror}).") from error
    return parse_manifest(content, folder=folder)


def parse_manifest(content: bytes, *, folder: Path) -> dict[str, Any]:
    """The manifest of a published folder, after checking its own hash.

    Raises:
        NewerFormatError: a newer llmkit wrote it.
        RunError: it is damaged.
    """
    try:
        manifest = json.loads(content)
        manifest_hash, entries = manifest.pop(_HASH_KEY), manifest["files"]
        is_whole = manifest_hash == _hash_of(manifest)
        if manifest["format"] > FORMAT:
            cause = "" if is_whole else f", or its {MANIFEST} is damaged"
            raise NewerFormatError(
                f"{folder}: it has format {manifest['format']} > {FORMAT}, of a newer llmkit{cause}. Update llmkit."
            )
        if not is_whole:
            raise RunError(f"{folder}: {MANIFEST} is damaged.")
        if not all(Path(name).name == name for name in entries):
            raise RunError(f"{folder}: {MANIFEST} names files outside the folder.")
        if not all(isinstance(entry["bytes"], int) and isinstance(entry["sha256"], str) for entry in entries.values()):
            raise RunError(f"{folder}: {MANIFEST} is damaged.")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RunError(f"{folder}: {MANIFEST} is damaged.") from error
    checked: dict[str, Any] = manifest
    return checked


def _hash_of(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _write_new(path: Path, content: bytes) -> None:
    """Create a file: never through a link, never over an existing file; the umask sets the mode."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o666)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def machine_error(
    path: Path, error: OSError, *, needed_bytes: int | None = None, next_step: str | None = "--resume"
) -> MachineError:
    """The error of a file or folder that cannot be written.

    Args:
        needed_bytes: its size.
        next_step: what to do once a full disk has free space again; None if the caller says it.
    """
    needed = "" if needed_bytes is None else f"needs {megabytes(needed_bytes)}, "
    room = f"{needed}{megabytes(free_bytes(path))} free"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        then = "" if next_step is None else f" Make room, then {next_step}."
        cause = "the disk is full" if error.errno == errno.ENOSPC else "the disk quota is used up"
        return MachineError(f"{path}: {cause}: {room}.{then}")
    return MachineError(f"{path}: cannot be written ({error.strerror or error}); {room}.")


def free_bytes(path: Path) -> int:
    """Free space of the file system that `path` is on, or will be on."""
    existing = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    return shutil.disk_usage(existing).free


def megabytes(count: int) -> str:
    """A size for a message: 412 MiB, 3.2 MiB, 0.05 MiB."""
    size = count / 2**20
    return f"{size:,.0f} MiB" if size >= 10 or count == 0 else f"{size:.2g} MiB"

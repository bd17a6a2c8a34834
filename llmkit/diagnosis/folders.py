"""The folders that llmkit and its libraries cache files in, and the hub. Reads names and sizes only."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from llmkit.atomic import free_bytes
from llmkit.data.caches import chosen_folder
from llmkit.diagnosis.report import Cache, Hub

_SECONDS = 3.0
"""After which the hub counts as not reachable."""
_MOST_FILES = 200_000


def caches() -> Iterator[Cache]:
    """Of llmkit, of the hub, and of datasets."""
    from huggingface_hub.constants import HF_HOME, HF_HUB_CACHE

    datasets = os.environ.get("HF_DATASETS_CACHE") or str(Path(HF_HOME) / "datasets")
    for what, folder in (
        ("llmkit", chosen_folder()[0]),
        ("hub", Path(HF_HUB_CACHE)),
        ("datasets", Path(datasets)),
    ):
        yield described_folder(what, folder.expanduser())


def described_folder(what: str, folder: Path) -> Cache:
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    return Cache(
        what=what,
        folder=short(folder),
        exists=folder.is_dir(),
        writable=existing.is_dir() and os.access(existing, os.W_OK | os.X_OK),
        bytes=_size(folder),
        free_bytes=free_bytes(folder),
    )


def short(path: Path) -> str:
    """The path with `~` for the home folder, whose name is often that of a person."""
    try:
        return f"~/{path.relative_to(Path.home())}" if path != Path.home() else "~"
    except (ValueError, RuntimeError):
        return str(path)


def hub() -> Hub:
    """Whether the hub answers, unless HF_HUB_OFFLINE forbids to ask."""
    from huggingface_hub import constants

    endpoint = _without_password(constants.ENDPOINT)
    if constants.HF_HUB_OFFLINE:
        return Hub(endpoint, offline=True, reachable=None, detail="HF_HUB_OFFLINE is set")
    request = urllib.request.Request(f"{constants.ENDPOINT}/api/models?limit=1")
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
            return Hub(endpoint, offline=False, reachable=True, detail=f"status {answer.status}")
    except urllib.error.HTTPError as error:  # it answers
        return Hub(endpoint, offline=False, reachable=True, detail=f"status {error.code}")
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        return Hub(endpoint, offline=False, reachable=False, detail=str(reason).replace(constants.ENDPOINT, endpoint))


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _size(folder: Path) -> int:
    """Bytes of the files; links, as in the hub's snapshots, are not followed."""
    size = count = 0
    for path, _, files in os.walk(folder):
        for file in files:
            count += 1
            try:
                size += os.lstat(os.path.join(path, file)).st_size  # noqa: PTH118  # many files
            except OSError:  # deleted meanwhile
                continue
        if count > _MOST_FILES:
            break
    return size

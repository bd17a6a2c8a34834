"""The environment that results depend on besides the recipe: versions, machine, commit."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import version
from typing import Any

_PACKAGES = ("llmkit", "torch", "transformers", "tokenizers", "datasets", "accelerate", "numpy", "safetensors")


def environment(*, device: str, world_size: int) -> dict[str, Any]:
    """Fingerprint of this process; a resumed run is bit-identical only if it is equal."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "packages": {name: version(name) for name in _PACKAGES},
        "device": device,
        "world_size": world_size,
    }


def git_commit() -> str | None:
    """The commit of the current folder, with `-dirty` if files differ from it; None outside a repository."""
    try:
        process = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude", "*"],
            capture_output=True, text=True, timeout=10, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return process.stdout.strip() or None

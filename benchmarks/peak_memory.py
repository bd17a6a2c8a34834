"""Peak memory of a program, read from Linux while it runs."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_KINDS = ("RssAnon", "RssFile")
"""Memory of its own, and pages of files."""


def peaks_of(
    program: Sequence[str], folder: Path, environment: Mapping[str, str], *, silent: bool = False
) -> dict[str, float]:
    """The peak of each kind of memory in bytes.

    Args:
        silent: leave out what the program writes to standard error, too.
    """
    peaks = dict.fromkeys(_KINDS, 0.0)
    errors = subprocess.DEVNULL if silent else None
    with subprocess.Popen(program, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=errors) as process:
        while process.poll() is None:
            sizes = dict(re.findall(r"^(\w+):\s+(\d+) kB$", _status_of(process.pid), re.MULTILINE))
            peaks = {kind: max(peak, int(sizes.get(kind, 0)) * 1024) for kind, peak in peaks.items()}
            time.sleep(0.02)
    if process.returncode:
        raise SystemExit(f"{' '.join(program[:4])} ended with exit code {process.returncode}")
    return peaks


def _status_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/status").read_text()
    except OSError:  # it has just ended
        return ""

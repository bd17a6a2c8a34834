"""Peak memory and time of a command on one long line, with a model folder that fits the command.

    python benchmarks/long_texts.py classify runs/reviews-001 --megabytes 30

Memory is the peak of the process, less that of the same command on a short line.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WORDS = "the stone moves to the sea, and a small river ends. "


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb")
    parser.add_argument("model")
    parser.add_argument("--megabytes", type=float, default=30.0)
    parser.add_argument("options", nargs="*", help="other options of the command, after --")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "line.txt"
        command = [sys.executable, "-m", "llmkit", given.verb, str(path), "--model", given.model, *given.options]
        base, _ = measure(command, path, WORDS)
        peak, seconds = measure(command, path, WORDS * int(given.megabytes * 1e6 / len(WORDS)))
    print(f"{given.verb}: {given.megabytes:g} MB in {seconds:.1f} s, {(peak - base) / 1e6:,.0f} MB above a short line")


def measure(command: list[str], path: Path, line: str) -> tuple[int, float]:
    """Peak bytes of all commands so far, and the seconds of this one."""
    path.write_text(line + "\n", encoding="utf-8")
    start = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024, time.monotonic() - start


if __name__ == "__main__":
    main()

"""Does memory stay flat where the corpus grows? `llmkit pretrain` on 50 MB and on 500 MB of text, side by side.

    python benchmarks/corpus_memory.py [MEGABYTES ...]

Each corpus is made of the words of builtin:python-docs in a random order, a JSON line a document, and trained on for
ten steps in a process of its own, with an empty cache: the tokenizer is trained, everything encoded, blocks drawn from
all over the corpus. Printed is the most that the process held at any time, sampled ten times a second: memory of its
own, and pages of files that the kernel can take back at any time. About 6 minutes a 500 MB on two cores.
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from llmkit.api import read_texts

RECIPE = """\
recipe: 1
task: causal-lm
model: {architecture: gpt2, size: tiny, tokenizer: {vocab_size: 4000, max_characters: 5000000}}
data: {train: corpus.jsonl, validation: 0.5%}
block_tokens: 128
train: {steps: 10}
evaluation: {max_rows: 50}
"""
DOCUMENT_WORDS = 300


def main() -> None:
    sizes = [int(size) for size in sys.argv[1:]] or [50, 500]
    words = [word for text in read_texts("builtin:python-docs") for word in re.findall(r"\S+", text)]
    print(f"{'corpus':>8} {'documents':>10} {'seconds':>8} {'own MiB':>8} {'file MiB':>9}")
    for megabytes in sizes:
        with tempfile.TemporaryDirectory() as folder:
            documents = write_corpus(Path(folder), megabytes, words)
            started = time.monotonic()
            own, files = peaks(Path(folder))
            seconds = time.monotonic() - started
            print(f"{megabytes:>5} MB {documents:>10,} {seconds:>8.0f} {own:>8,.0f} {files:>9,.0f}", flush=True)


def write_corpus(folder: Path, megabytes: int, words: list[str]) -> int:
    """Documents written."""
    rng = random.Random(17)
    written = documents = 0
    (folder / "recipe.yaml").write_text(RECIPE)
    with (folder / "corpus.jsonl").open("w", encoding="utf-8") as file:
        while written < megabytes * 1_000_000:
            written += file.write(json.dumps({"text": " ".join(rng.choices(words, k=DOCUMENT_WORDS))}) + "\n")
            documents += 1
    return documents


def peaks(folder: Path) -> tuple[float, float]:
    """MiB of its own and of mapped files, each at its highest."""
    environment = {**os.environ, "LLMKIT_CACHE": str(folder / "cache")}
    command = [sys.executable, "-m", "llmkit", "pretrain", "recipe.yaml"]
    own = files = 0.0
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            sizes = dict(re.findall(r"^(\w+):\s+(\d+) kB$", status_of(process.pid), re.MULTILINE))
            own = max(own, int(sizes.get("RssAnon", 0)) / 1024)
            files = max(files, int(sizes.get("RssFile", 0)) / 1024)
            time.sleep(0.1)
    if process.returncode:
        raise SystemExit(f"llmkit pretrain ended with exit code {process.returncode}")
    return own, files


def status_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/status").read_text()
    except OSError:  # it has just ended
        return ""


if __name__ == "__main__":
    main()

"""Does memory stay constant as the corpus grows? `llmkit pretrain` on 50 MB and on 500 MB of text.

    python benchmarks/corpus_memory.py [MEGABYTES ...]

Each corpus is made of the words of builtin:python-docs in a random order, one JSON line per document, and used for
ten training steps in its own process with an empty cache: the tokenizer is trained, everything is encoded, and blocks
are sampled from the whole corpus. The output is the peak memory of the process, sampled ten times per second: anonymous
memory, and file pages that the kernel can reclaim at any time. 500 MB take about 6 minutes on two cores.
"""

from __future__ import annotations

import json
import os
import random
import re
import sys
import tempfile
import time
from pathlib import Path

from peak_memory import peaks_of

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
    print(f"{'corpus':>8} {'documents':>10} {'seconds':>8} {'anon MiB':>8} {'file MiB':>9}")
    for megabytes in sizes:
        with tempfile.TemporaryDirectory() as folder:
            documents = write_corpus(Path(folder), megabytes, words)
            started = time.monotonic()
            anonymous, files = peaks(Path(folder))
            seconds = time.monotonic() - started
            print(f"{megabytes:>5} MB {documents:>10,} {seconds:>8.0f} {anonymous:>8,.0f} {files:>9,.0f}", flush=True)


def write_corpus(folder: Path, megabytes: int, words: list[str]) -> int:
    """Write the corpus; returns the number of documents."""
    rng = random.Random(17)
    written = documents = 0
    (folder / "recipe.yaml").write_text(RECIPE)
    with (folder / "corpus.jsonl").open("w", encoding="utf-8") as file:
        while written < megabytes * 1_000_000:
            written += file.write(json.dumps({"text": " ".join(rng.choices(words, k=DOCUMENT_WORDS))}) + "\n")
            documents += 1
    return documents


def peaks(folder: Path) -> tuple[float, float]:
    """Peak MiB of anonymous memory and of mapped files."""
    environment = {**os.environ, "LLMKIT_CACHE": str(folder / "cache")}
    found = peaks_of([sys.executable, "-m", "llmkit", "pretrain", "recipe.yaml"], folder, environment)
    return found["RssAnon"] / 2**20, found["RssFile"] / 2**20


if __name__ == "__main__":
    main()

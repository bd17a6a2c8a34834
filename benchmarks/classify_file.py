"""Speed of classifying a file of texts on a CPU, compared with transformers' pipeline.

    python benchmarks/classify_file.py

Two files of 300 texts through a 6-layer, 384-wide BERT with random weights: text in, labels out, in one process,
without loading time. One file has lines, as headlines, queries and commit messages are (log-normal lengths,
half of them below 16 tokens); the other has paragraphs, as reviews and tickets are (half below 64). The sides run in
turn in each round, so that a busy machine slows them equally; each round gives a ratio.

Batching saves less for longer texts: a single paragraph already keeps two cores busy with matrix products.
"""

from __future__ import annotations

import logging
import math
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from small_bert import write_bert
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline
from transformers.utils import logging as transformers_logging

from llmkit.inference.engines.transformers import TransformersEngine
from llmkit.models.loaded import LoadedModel
from llmkit.models.loading import load_model
from llmkit.tasks.classification.predict import classify_texts

TEXTS = 300
ROUNDS = 5
TARGET = 2.5
MEDIAN_TOKENS = {"lines": 16, "paragraphs": 64}
WORDS = [f"word{number}" for number in range(4000)]


def main() -> None:
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    logging.disable(logging.INFO)
    with tempfile.TemporaryDirectory() as folder:
        # Five classes with well separated logits.
        write_bert(Path(folder), WORDS, num_labels=5, initializer_range=0.1)
        model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
        tokenizer = AutoTokenizer.from_pretrained(folder)
        loaded = load_model(folder, head="classification")
    engine = TransformersEngine(loaded, device=torch.device("cpu"))
    peer = pipeline("text-classification", model=model, tokenizer=tokenizer, device="cpu")
    for name, median in MEDIAN_TOKENS.items():
        texts = uneven_texts(TEXTS, median_tokens=median, rng=random.Random(17))
        print(f"\n{name}: {TEXTS} texts, half of them below {median} tokens")
        report(run_in_turn(sides_of(texts, loaded, engine, peer)))


def sides_of(
    texts: list[str], loaded: LoadedModel, engine: TransformersEngine, peer: Any
) -> dict[str, Callable[[], list[str]]]:
    return {
        "llmkit": lambda: [result.label for result in classify_texts(loaded, engine, texts, overflow="error")],
        "pipeline, one by one": lambda: [result["label"] for result in peer(texts)],
        "pipeline, batch_size=32": lambda: [result["label"] for result in peer(texts, batch_size=32)],
    }


def uneven_texts(count: int, *, median_tokens: int, rng: random.Random) -> list[str]:
    """Texts of 4 to 500 tokens, [CLS] and [SEP] included."""
    lengths = [min(max(round(rng.lognormvariate(math.log(median_tokens), 0.9)), 4), 500) for _ in range(count)]
    return [" ".join(rng.choices(WORDS, k=length - 2)) for length in lengths]


def run_in_turn(sides: dict[str, Callable[[], list[str]]]) -> dict[str, list[float]]:
    """Seconds of each side in each round, after one round that warms up and compares the labels."""
    labels = {name: classify() for name, classify in sides.items()}
    for name, other_labels in labels.items():
        differing = sum(ours != theirs for ours, theirs in zip(labels["llmkit"], other_labels, strict=True))
        if differing:
            raise SystemExit(f"{name}: {differing} of {len(other_labels)} labels differ")
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(ROUNDS):
        for name, classify in sides.items():
            start = time.perf_counter()
            classify()
            seconds[name].append(time.perf_counter() - start)
    counts = {label: labels["llmkit"].count(label) for label in sorted(set(labels["llmkit"]))}
    print(f"{ROUNDS} rounds, {torch.get_num_threads()} threads; the same labels on all sides: {counts}")
    return seconds


def report(seconds: dict[str, list[float]]) -> None:
    peers = [name for name in seconds if name != "llmkit"]
    for name, times in seconds.items():
        print(f"{name:24} {statistics.median(times):7.2f} s (min {min(times):.2f}, max {max(times):.2f})")
    for name in peers:
        print_ratio(name, [theirs / ours for ours, theirs in zip(seconds["llmkit"], seconds[name], strict=True)])
    better = [min(pair) for pair in zip(*(seconds[name] for name in peers), strict=True)]
    ratios = [theirs / ours for ours, theirs in zip(seconds["llmkit"], better, strict=True)]
    print_ratio(f"the better of both (target {TARGET})", ratios)


def print_ratio(name: str, ratios: list[float]) -> None:
    spread = f"min {min(ratios):.2f}, max {max(ratios):.2f}"
    print(f"llmkit compared with {name}: {statistics.median(ratios):.2f}x the speed ({spread})")


if __name__ == "__main__":
    main()

"""Speed of summarizing a file of texts on a CPU with beam search, compared with transformers' generate().

    python benchmarks/summarize_file.py --family t5|bart|marian

300 texts of uneven length (log-normal, half of them below 96 tokens) through a T5 of the size of t5-small with random
weights, which ends its summaries at uneven lengths (see small_t5.py): 4 beams, at most 48 new tokens, fp32 on both
sides. transformers gets the texts in the order of the file, 16 at a time, as its examples do. Text in, text out, in one
process, without loading time. The sides run in turn in each round, so that a busy machine slows them equally; each
round gives a ratio. All summaries must be equal. BART and Marian have the size of OPUS-MT's models (see small_bart.py).
"""

from __future__ import annotations

import argparse
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
from small_bart import write_like_bart
from small_t5 import VOCABULARY, write_t5
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from llmkit.inference.engines.transformers import TransformersEngine
from llmkit.inference.text import summarize_texts
from llmkit.models.loaded import LoadedModel
from llmkit.models.loading import load_model
from llmkit.recipe.generation import GenerationBlock

TARGET = 2.0
MEDIAN_TOKENS = 96
OPTIONS = GenerationBlock(max_new_tokens=48, beams=4)
BATCH_SIZE = 16


def main() -> None:
    parser = argparse.ArgumentParser(description="Summaries per second, compared with generate().")
    parser.add_argument("--texts", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--family", choices=["t5", "bart", "marian"], default="t5")
    arguments = parser.parse_args()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    logging.disable(logging.INFO)
    with tempfile.TemporaryDirectory() as folder:
        write_t5(Path(folder)) if arguments.family == "t5" else write_like_bart(Path(folder), arguments.family)
        model = AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
        tokenizer = AutoTokenizer.from_pretrained(folder)
        loaded = load_model(folder, head="seq2seq-lm")
    texts = uneven_texts(arguments.texts, rng=random.Random(17))
    sides: dict[str, Callable[[], list[str]]] = {
        "llmkit": lambda: by_llmkit(loaded, texts),
        "transformers": lambda: by_transformers(model, tokenizer, texts),
    }
    report(run_in_turn(sides, rounds=arguments.rounds))


def uneven_texts(count: int, *, rng: random.Random) -> list[str]:
    """Texts of 8 to 500 tokens, `</s>` included."""
    lengths = [min(max(round(rng.lognormvariate(math.log(MEDIAN_TOKENS), 0.9)), 8), 500) for _ in range(count)]
    return [" ".join(f"w{rng.randrange(3, VOCABULARY)}" for _ in range(length - 1)) for length in lengths]


def by_llmkit(loaded: LoadedModel, texts: list[str]) -> list[str]:
    engine = TransformersEngine(loaded, device=torch.device("cpu"))
    results = summarize_texts(loaded, engine, texts, options=OPTIONS, prefix="", overflow="error")
    return [result.texts[0] for result in results]


def by_transformers(model: Any, tokenizer: Any, texts: list[str]) -> list[str]:
    summaries: list[str] = []
    for start in range(0, len(texts), BATCH_SIZE):
        batch = tokenizer(texts[start : start + BATCH_SIZE], padding=True, return_tensors="pt")
        output_ids = model.generate(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            max_new_tokens=OPTIONS.max_new_tokens,
            num_beams=OPTIONS.beams,
            do_sample=False,
        )
        summaries += tokenizer.batch_decode(output_ids, skip_special_tokens=True)
    return summaries


def run_in_turn(sides: dict[str, Callable[[], list[str]]], *, rounds: int) -> dict[str, list[float]]:
    """Seconds of each side in each round; the summaries are compared in the first."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        summaries: dict[str, list[str]] = {}
        for name, summarize in sides.items():
            start = time.perf_counter()
            summaries[name] = summarize()
            seconds[name].append(time.perf_counter() - start)
        if number == 0:
            compare(summaries)
    return seconds


def compare(summaries: dict[str, list[str]]) -> None:
    pairs = list(zip(*summaries.values(), strict=True))
    differing = sum(ours != theirs for ours, theirs in pairs)
    if differing:
        raise SystemExit(f"{differing} of {len(pairs)} summaries differ")
    lengths = sorted(len(ours.split()) for ours, _ in pairs)
    quarters = [lengths[len(lengths) * quarter // 4] for quarter in (1, 2, 3)]
    print(f"the same {len(pairs)} summaries; tokens: quartiles {quarters}, longest {lengths[-1]}", flush=True)


def report(seconds: dict[str, list[float]]) -> None:
    for name, times in seconds.items():
        print(f"{name:14} {statistics.median(times):7.2f} s (min {min(times):.2f}, max {max(times):.2f})")
    ratios = sorted(theirs / ours for ours, theirs in zip(seconds["llmkit"], seconds["transformers"], strict=True))
    spread = f"min {ratios[0]:.2f}, max {ratios[-1]:.2f}"
    print(
        f"llmkit: {statistics.median(ratios):.2f}x the speed ({spread}; target {TARGET}), {torch.get_num_threads()} threads"
    )


if __name__ == "__main__":
    main()

"""Does pretraining on the training text help when labels are few? The same fine-tuning, from both kinds of weights.

    python benchmarks/pretraining_helps.py classification TRAIN.csv TEST.csv [MORE.jsonl:COLUMN ...]
    python benchmarks/pretraining_helps.py summarization TRAIN.jsonl TEST.jsonl [MORE.jsonl:COLUMN ...]

A small model is pretrained on the texts of all training rows, without their labels or summaries, and on further texts
of the same kind; texts of the test rows are left out. Then a tenth of the rows fine-tunes it, and the same model with
random weights and the same tokenizer, with the same recipe, over three seeds each. Printed are the figures on the test
rows.
"""

from __future__ import annotations

import json
import logging
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

import llmkit
from llmkit.api import read_texts

SEEDS = (1, 2, 3)
PRETRAINING: dict[str, dict[str, Any]] = {
    "classification": {
        "task": "masked-lm",
        "model": {"architecture": "bert", "size": "tiny", "tokenizer": {"vocab_size": 4000}, "dropout": 0},
        "block_tokens": 128,
        "mask_rate": 0.3,  # twice the targets a step; a small corpus needs every one (Wettig et al. 2023)
        "train": {"steps": 5000, "batch_size": 16, "learning_rate": 2e-3},
    },
    "summarization": {
        "task": "span-corruption",
        "model": {"architecture": "t5", "size": "tiny", "tokenizer": {"vocab_size": 4000}, "dropout": 0},
        "block_tokens": 128,
        "train": {"epochs": 6, "batch_size": 16, "learning_rate": 2e-3},
    },
}
FINETUNING: dict[str, dict[str, Any]] = {
    "classification": {
        "task": "classification",
        "max_tokens": 128,
        "train": {"epochs": 15, "batch_size": 16, "learning_rate": 5e-4},
    },
    "summarization": {
        "task": "summarization",
        "max_source_tokens": 128,
        "max_target_tokens": 24,
        "train": {"epochs": 10, "batch_size": 16, "learning_rate": 1e-3},
    },
}
FIGURE = {"classification": "accuracy", "summarization": "rougeL"}


def main() -> None:
    task, train, test = sys.argv[1], str(Path(sys.argv[2]).resolve()), str(Path(sys.argv[3]).resolve())
    logging.getLogger("llmkit").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        corpus = write_corpus(place / "corpus.jsonl", train=train, test=test, more=sys.argv[4:])
        pretrained = train_model(place, "pretrained", {**PRETRAINING[task], "data": {"train": corpus}})
        block = PRETRAINING[task]["model"]
        kinds = {"pretrained": pretrained, "random": {**block, "tokenizer": pretrained}}
        rows = sum(1 for _ in read_texts(train)) // 10
        scores: dict[str, list[float]] = {name: [] for name in kinds}
        for seed in SEEDS:
            for name, model in kinds.items():
                recipe = {**FINETUNING[task], "model": model}
                recipe["data"] = {"train": train, "max_rows": rows, "validation": test}
                recipe["train"] = {**recipe["train"], "seed": seed}
                recipe["evaluation"] = {"every": "1000 epochs"}  # the last weights, not those that suit the test rows
                run = train_model(place, f"{name}-{seed}", recipe)
                scores[name].append(llmkit.evaluate_model(run, data=[test]).scores.figures[FIGURE[task]])
                print(f"seed {seed}  {name:10}  {FIGURE[task]} {scores[name][-1]:.4f}", flush=True)
        report(task, scores, rows=rows)


def write_corpus(file: Path, *, train: str, test: str, more: list[str]) -> str:
    """Every text once, and none that stands among the test rows."""
    held_out = {text.strip() for text in read_texts(test)}
    sources = [(train, "text"), *((source.rpartition(":")[0], source.rpartition(":")[2]) for source in more)]
    texts = {text.strip(): None for source, column in sources for text in read_texts(source, column=column)}
    kept = [text for text in texts if text not in held_out]
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in kept), encoding="utf-8")
    print(f"pretraining on {len(kept):,} texts, {sum(map(len, kept)):,} characters", flush=True)
    return str(file)


def train_model(place: Path, name: str, recipe: dict[str, Any]) -> str:
    """The run's folder."""
    file = place / f"{name}.yaml"
    YAML(typ="safe").dump({"recipe": 1, **recipe}, file)
    run = place / name
    llmkit.finetune(file, run=run)
    return str(run)


def report(task: str, scores: dict[str, list[float]], *, rows: int) -> None:
    print(f"\n{FIGURE[task]} on the test rows after fine-tuning on {rows} rows, {len(SEEDS)} seeds")
    for name, figures in scores.items():
        print(f"{name:10}  mean {statistics.mean(figures):.4f}  ({min(figures):.4f} to {max(figures):.4f})")
    margin = min(scores["pretrained"]) - max(scores["random"])
    print(f"the worst pretrained above the best random one by {margin:+.4f}")


if __name__ == "__main__":
    main()

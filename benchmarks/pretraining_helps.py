"""Does pretraining on the training text help when labels are few? The same fine-tuning, from both kinds of weights.

    python benchmarks/pretraining_helps.py classification TRAIN.csv TEST.csv [MORE.jsonl:COLUMN ...]
    python benchmarks/pretraining_helps.py summarization TRAIN.jsonl TEST.jsonl [MORE.jsonl:COLUMN ...]
    python benchmarks/pretraining_helps.py TASK TRAIN TEST --pretrained RUN

A small model is pretrained on the texts of all training rows, without their labels or summaries, and on further texts
of the same kind; texts of the test rows are left out. Then a tenth of the rows fine-tunes it, and the same model with
random weights and the same tokenizer, with the same recipe, over three seeds each. Printed are the figures on the test
rows. --pretrained takes a run of the recipe below that is there already, and pretrains nothing.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
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
        "data": {"validation": "3%"},
        "block_tokens": 128,
        "train": {"steps": 4000, "batch_size": 16, "optimizer": "adamw-scaled", "learning_rate": 2e-2},
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
        "generation": {"repetition_penalty": 1.5},  # greedy models of this size go round in circles
        "train": {
            "epochs": 10,
            "batch_size": 16,
            "optimizer": "adamw-scaled",
            "learning_rate": 3e-3,
            "label_smoothing": 0.1,
        },
    },
}
FIGURES: dict[str, dict[str, int]] = {
    "classification": {"accuracy": 1},
    "summarization": {"rougeL": 1, "rouge2": 1, "loss": -1},
}
"""Of each task, with 1 where more is better and -1 where less is."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Fine-tuning from pretrained and from random weights.")
    parser.add_argument("task", choices=list(PRETRAINING))
    parser.add_argument("train")
    parser.add_argument("test")
    parser.add_argument("more", nargs="*", help="FILE:COLUMN, further texts for the pretraining")
    parser.add_argument("--pretrained", help="a run of the same pretraining")
    given = parser.parse_args()
    task, train, test = given.task, str(Path(given.train).resolve()), str(Path(given.test).resolve())
    logging.getLogger("llmkit").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        pretrained = given.pretrained
        if pretrained is None:
            corpus = write_corpus(place / "corpus.jsonl", train=train, test=test, more=given.more)
            recipe = PRETRAINING[task]
            data = {"train": corpus, **recipe.get("data", {})}
            pretrained = train_model(place, "pretrained", {**recipe, "data": data})
        block = PRETRAINING[task]["model"]
        kinds = {"pretrained": pretrained, "random": {**block, "tokenizer": pretrained}}
        rows = sum(1 for _ in read_texts(train)) // 10
        scores: dict[str, list[dict[str, float]]] = {name: [] for name in kinds}
        for seed in SEEDS:
            for name, model in kinds.items():
                recipe = {**FINETUNING[task], "model": model}
                recipe["data"] = {"train": train, "max_rows": rows, "validation": test}
                recipe["train"] = {**recipe["train"], "seed": seed}
                recipe["evaluation"] = {"every": "1000 epochs"}  # the last weights, not those that suit the test rows
                run = train_model(place, f"{name}-{seed}", recipe)
                figures = llmkit.evaluate_model(run, data=[test]).scores.figures
                scores[name].append({figure: figures[figure] for figure in FIGURES[task]})
                print(f"seed {seed}  {name:10}  {scores[name][-1]}", flush=True)
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


def report(task: str, scores: dict[str, list[dict[str, float]]], *, rows: int) -> None:
    print(f"\non the test rows after fine-tuning on {rows} rows, {len(SEEDS)} seeds")
    for figure, sign in FIGURES[task].items():
        for name, of_seeds in scores.items():
            values = [one[figure] for one in of_seeds]
            print(f"{figure} {name:10}  mean {statistics.mean(values):.4f}  ({min(values):.4f} to {max(values):.4f})")
        ours, theirs = ([sign * one[figure] for one in scores[name]] for name in ("pretrained", "random"))
        margin = statistics.mean(ours) - statistics.mean(theirs)
        spread = max(max(ours) - min(ours), max(theirs) - min(theirs))
        print(f"{figure} better by {margin:+.4f} in the mean; the larger spread over seeds is {spread:.4f}")


if __name__ == "__main__":
    main()

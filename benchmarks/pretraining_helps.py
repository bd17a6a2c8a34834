"""Does pretraining on the training text help when labels are few? Fine-tuning from pretrained and from random weights.

    python benchmarks/pretraining_helps.py classification TRAIN.csv TEST.csv [MORE.jsonl:COLUMN ...]
    python benchmarks/pretraining_helps.py summarization TRAIN.jsonl TEST.jsonl [MORE.jsonl:COLUMN ...]
    python benchmarks/pretraining_helps.py TASK TRAIN TEST --pretrained RUN

A small model is pretrained on the texts of all training rows, without labels or summaries, and on further texts of the
same kind, excluding texts of the test rows. Then this model and one with random weights and the same tokenizer are
fine-tuned on a tenth of the rows, with the same recipe and three seeds each. The output is the scores on the test rows.
--pretrained uses an existing run of the recipe below instead of pretraining.
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
        "mask_rate": 0.3,  # twice the targets per step, for a small corpus (Wettig et al. 2023)
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
        "generation": {"repetition_penalty": 1.5},  # greedy search repeats itself with models of this size
        "train": {
            "epochs": 10,
            "batch_size": 16,
            "optimizer": "adamw-scaled",
            "learning_rate": 3e-3,
            "label_smoothing": 0.1,
        },
    },
}
METRICS: dict[str, dict[str, int]] = {
    "classification": {"accuracy": 1},
    "summarization": {"rougeL": 1, "rouge2": 1, "loss": -1},
}
"""Metrics of each task: 1 if higher is better, -1 if lower is better."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Fine-tuning from pretrained and from random weights.")
    parser.add_argument("task", choices=list(PRETRAINING))
    parser.add_argument("train")
    parser.add_argument("test")
    parser.add_argument("more", nargs="*", help="FILE:COLUMN, further texts for the pretraining")
    parser.add_argument("--pretrained", help="a run of the same pretraining")
    arguments = parser.parse_args()
    task, train, test = arguments.task, str(Path(arguments.train).resolve()), str(Path(arguments.test).resolve())
    logging.getLogger("llmkit").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        pretrained = arguments.pretrained
        if pretrained is None:
            corpus = write_corpus(root / "corpus.jsonl", train=train, test=test, more=arguments.more)
            recipe = PRETRAINING[task]
            data = {"train": corpus, **recipe.get("data", {})}
            pretrained = train_model(root, "pretrained", {**recipe, "data": data})
        block = PRETRAINING[task]["model"]
        models = {"pretrained": pretrained, "random": {**block, "tokenizer": pretrained}}
        rows = sum(1 for _ in read_texts(train)) // 10
        scores: dict[str, list[dict[str, float]]] = {name: [] for name in models}
        for seed in SEEDS:
            for name, model in models.items():
                recipe = {**FINETUNING[task], "model": model}
                recipe["data"] = {"train": train, "max_rows": rows, "validation": test}
                recipe["train"] = {**recipe["train"], "seed": seed}
                recipe["evaluation"] = {"every": "1000 epochs"}  # the last weights, not those that suit the test rows
                run = train_model(root, f"{name}-{seed}", recipe)
                values = llmkit.evaluate_model(run, data=[test]).scores.values
                scores[name].append({metric: values[metric] for metric in METRICS[task]})
                print(f"seed {seed}  {name:10}  {scores[name][-1]}", flush=True)
        report(task, scores, rows=rows)


def write_corpus(file: Path, *, train: str, test: str, more: list[str]) -> str:
    """Write each distinct text once, without the texts of the test rows."""
    held_out = {text.strip() for text in read_texts(test)}
    sources = [(train, "text"), *((source.rpartition(":")[0], source.rpartition(":")[2]) for source in more)]
    texts = {text.strip(): None for source, column in sources for text in read_texts(source, column=column)}
    corpus = [text for text in texts if text not in held_out]
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in corpus), encoding="utf-8")
    print(f"pretraining on {len(corpus):,} texts, {sum(map(len, corpus)):,} characters", flush=True)
    return str(file)


def train_model(root: Path, name: str, recipe: dict[str, Any]) -> str:
    """Train the recipe; returns the run's folder."""
    file = root / f"{name}.yaml"
    YAML(typ="safe").dump({"recipe": 1, **recipe}, file)
    run = root / name
    llmkit.finetune(file, run=run)
    return str(run)


def report(task: str, scores: dict[str, list[dict[str, float]]], *, rows: int) -> None:
    print(f"\non the test rows after fine-tuning on {rows} rows, {len(SEEDS)} seeds")
    for metric, sign in METRICS[task].items():
        for name, seed_scores in scores.items():
            values = [seed_score[metric] for seed_score in seed_scores]
            print(f"{metric} {name:10}  mean {statistics.mean(values):.4f}  ({min(values):.4f} to {max(values):.4f})")
        ours, theirs = ([sign * seed_score[metric] for seed_score in scores[name]] for name in ("pretrained", "random"))
        margin = statistics.mean(ours) - statistics.mean(theirs)
        spread = max(max(ours) - min(ours), max(theirs) - min(theirs))
        print(f"{metric} better by {margin:+.4f} in the mean; the larger spread over seeds is {spread:.4f}")


if __name__ == "__main__":
    main()

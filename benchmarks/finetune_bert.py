"""How fast a BERT is fine-tuned on a CPU, and in how much memory, beside transformers' Trainer.

    python benchmarks/finetune_bert.py

The same 6-layer, 384-wide BERT with the published dropout, the same 160 rows of 8 to 500 tokens, the same batches of
32 rows, AdamW and precision. Each side of each round is a process of its own, in turn, so that a busy machine slows
them alike and the peak of one is not hidden behind the other's. Rows per second are those of the steps behind the
first; memory is what training adds to the process that holds the model and the rows.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

from side_by_side import measured_in_turn, print_ratios, train_with_llmkit, train_with_trainer
from small_bert import write_bert

ROWS = 160
BATCH_SIZE = 32
ROUNDS = 3
LABELS = ("no", "yes")
WORDS = [f"word{number}" for number in range(4000)]


def main() -> None:
    if len(sys.argv) > 1:
        folder = Path(sys.argv[2])
        print(json.dumps(SIDES[sys.argv[1]](folder)))
        return
    with tempfile.TemporaryDirectory() as folder:
        write_model(Path(folder))
        measured = measured_in_turn(__file__, list(SIDES), folder=folder, rounds=ROUNDS)
    targets = {"rows_per_second": "at least 2.3", "training_mib": "at most 0.5"}
    print_ratios(measured["llmkit"], measured["trainer"], targets=targets)


def write_model(folder: Path) -> None:
    """A folder with random weights and a tokenizer of one token a word, so that the lengths are known."""
    write_bert(folder, WORDS, id2label=dict(enumerate(LABELS)), label2id={label: i for i, label in enumerate(LABELS)})


def uneven_rows() -> list[tuple[str, str]]:
    """Log-normal lengths with a median of 64 tokens, as reviews and tickets have them."""
    rng = random.Random(17)
    lengths = [min(max(round(rng.lognormvariate(4.16, 0.9)), 8), 500) for _ in range(ROWS)]
    return [(" ".join(rng.choices(WORDS, k=length - 2)), rng.choice(LABELS)) for length in lengths]


def recipe_of(folder: Path) -> Any:
    from llmkit.tasks.classification import ClassificationRecipe

    written = {"recipe": 1, "task": "classification", "model": str(folder), "data": {"train": "made here"}}
    settings = {"epochs": 1, "batch_size": BATCH_SIZE, "learning_rate": 1e-5, "precision": "fp32"}
    return ClassificationRecipe.model_validate({**written, "train": settings})


def llmkit_side(folder: Path) -> dict[str, float]:
    from llmkit.data.rows import Row
    from llmkit.models.loading import load_model
    from llmkit.tasks.classification import ClassificationTask

    task = ClassificationTask(recipe_of(folder), load_model(str(folder), head="classification"))
    rows = [Row({"text": text, "label": label}, str(number)) for number, (text, label) in enumerate(uneven_rows())]
    return train_with_llmkit(task, task.encode(rows), unit="rows", each_step=BATCH_SIZE)


def trainer_side(folder: Path) -> dict[str, float]:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, DataCollatorWithPadding
    from transformers.utils import logging

    logging.disable_progress_bar()
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = uneven_rows()
    ids = tokenizer([text for text, _ in rows])["input_ids"]
    data = [{"input_ids": one, "labels": LABELS.index(label)} for one, (_, label) in zip(ids, rows, strict=True)]
    collator = DataCollatorWithPadding(tokenizer)
    train = recipe_of(folder).train
    return train_with_trainer(model, data, collator, train=train, unit="rows", each_step=BATCH_SIZE)


SIDES = {"llmkit": llmkit_side, "trainer": trainer_side}


if __name__ == "__main__":
    main()

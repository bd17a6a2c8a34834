"""Speed and memory of four fine-tuning tasks on a CPU, compared with transformers' Trainer.

    python benchmarks/finetune.py [TASK ...]

A 6-layer, 384-wide BERT, and a T5 of that size, with the published dropout; the same 160 rows of 8 to 500 tokens on
both sides, the same batches of 32 rows, AdamW and precision. The Trainer (for T5 the Seq2SeqTrainer) gets encoded rows
and transformers' collator for the task. Each side of each round runs in its own process, in turn, so that a busy
machine slows them equally and each peak is measured separately. Rows per second exclude the first step; memory is what
training adds to a process that has loaded the model and the rows.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from side_by_side import compare, train_with_llmkit, train_with_trainer
from small_bert import write_bert
from small_t5 import write_words_t5

ROWS = 160
BATCH_SIZE = 32
ROUNDS = 3
LABELS = {
    "classification": ("no", "yes"),
    "token-classification": ("O", "B-NAME", "I-NAME"),
    "question-answering": None,
    "summarization": None,
}
WORDS = [f"word{number}" for number in range(4000)]
TARGETS = {"rows_per_second": "at least 2.3", "training_mib": "at most 0.5"}


def main() -> None:
    compare(__file__, list(LABELS), SIDES, write_model=write_model, rounds=ROUNDS, targets=TARGETS)


def write_model(task: str, folder: Path) -> None:
    """A folder with random weights and a tokenizer of one token per word, so that the lengths are known."""
    from llmkit.tasks import RECIPES

    labels = LABELS[task]
    names: dict[str, Any] = {}
    if labels is not None:
        names = {"id2label": dict(enumerate(labels)), "label2id": {label: i for i, label in enumerate(labels)}}
    if task == "summarization":
        write_words_t5(folder, WORDS)
    else:
        write_bert(folder, WORDS, head=RECIPES[task].HEAD, **names)


def uneven_rows(task: str, *, count: int = ROWS) -> list[dict[str, Any]]:
    """Log-normal lengths with a median of 64 tokens, as reviews and tickets have them; summaries have 16."""
    rng = random.Random(17)
    make: Callable[[random.Random, list[str]], dict[str, Any]] = {
        "classification": classification_row,
        "token-classification": tagging_row,
        "question-answering": question_row,
        "summarization": summarization_row,
    }[task]
    lengths = [uneven(rng, median=64, most=500) for _ in range(count)]
    return [make(rng, rng.choices(WORDS, k=length - 2)) for length in lengths]


def uneven(rng: random.Random, *, median: int, most: int) -> int:
    return min(max(round(median * rng.lognormvariate(0, 0.9)), 8), most)


def classification_row(rng: random.Random, words: list[str]) -> dict[str, Any]:
    return {"text": " ".join(words), "label": rng.choice(("no", "yes"))}


def tagging_row(rng: random.Random, words: list[str]) -> dict[str, Any]:
    return {"words": words, "tags": rng.choices(("O", "B-NAME"), weights=(9, 1), k=len(words))}


def question_row(rng: random.Random, words: list[str]) -> dict[str, Any]:
    """A question of three words about the rest, whose answer is one of them."""
    question, context = words[:3], words[3:]
    position = rng.randrange(len(context))
    start = len(" ".join([*context[:position], ""]))
    answers = {"text": [context[position]], "answer_start": [start]}
    return {"question": " ".join(question), "context": " ".join(context), "answers": answers}


def summarization_row(rng: random.Random, words: list[str]) -> dict[str, Any]:
    return {"text": " ".join(words), "summary": " ".join(rng.choices(words, k=uneven(rng, median=16, most=60)))}


def task_and_examples(name: str, folder: Path) -> tuple[Any, Any]:
    """The task around the folder's model, and all rows as it encodes them."""
    from llmkit.data.rows import Row
    from llmkit.models.loading import load_model
    from llmkit.tasks import RECIPES
    from llmkit.tasks.build import build_task

    logging.getLogger("llmkit").setLevel(logging.ERROR)
    keys = {"recipe": 1, "task": name, "model": str(folder), "data": {"train": "made here"}}
    settings = {"epochs": 1, "batch_size": BATCH_SIZE, "learning_rate": 1e-5, "precision": "fp32"}
    recipe = RECIPES[name].model_validate({**keys, "train": settings})
    task = build_task(recipe, load_model(str(folder), head=recipe.HEAD))
    return task, task.encode([Row(values, str(number)) for number, values in enumerate(uneven_rows(name))])


def llmkit_side(name: str, folder: Path) -> dict[str, float]:
    task, examples = task_and_examples(name, folder)
    return train_with_llmkit(task, examples, unit="rows", each_step=BATCH_SIZE)


def trainer_side(name: str, folder: Path) -> dict[str, float]:
    import transformers
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    task, examples = task_and_examples(name, folder)
    model, tokenizer = task.loaded.model, task.loaded.tokenizer
    data = [plain_example(name, task.collate(examples, [row])) for row in range(len(examples))]
    collator: Any = {
        "classification": lambda: transformers.DataCollatorWithPadding(tokenizer),
        "token-classification": lambda: transformers.DataCollatorForTokenClassification(tokenizer),
        "question-answering": lambda: transformers.DataCollatorWithPadding(tokenizer),
        "summarization": lambda: transformers.DataCollatorForSeq2Seq(tokenizer, model),
    }[name]()
    train = task.recipe.train
    return train_with_trainer(
        model, data, collator, train=train, unit="rows", each_step=BATCH_SIZE, seq2seq=name == "summarization"
    )


def plain_example(name: str, batch: Any) -> dict[str, Any]:
    """A batch of one as transformers' collators take it."""
    values = {key: tensor[0].tolist() for key, tensor in batch.items()}
    if name == "question-answering":
        values["start_positions"], values["end_positions"] = values.pop("labels")
    return values


SIDES = {"llmkit": llmkit_side, "trainer": trainer_side}


if __name__ == "__main__":
    main()

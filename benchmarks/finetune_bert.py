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
import time
from pathlib import Path
from typing import Any

from side_by_side import measured_in_turn, peak_mib, print_ratios, result_of

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
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    torch.manual_seed(17)
    vocabulary = {token: index for index, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    special = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=512, **special).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=384,
        num_hidden_layers=6,
        num_attention_heads=12,
        intermediate_size=1536,
        id2label=dict(enumerate(LABELS)),
        label2id={label: index for index, label in enumerate(LABELS)},
    )
    BertForSequenceClassification(config).save_pretrained(folder)


def uneven_rows() -> list[tuple[str, str]]:
    """Log-normal lengths with a median of 64 tokens, as reviews and tickets have them."""
    rng = random.Random(17)
    lengths = [min(max(round(rng.lognormvariate(4.16, 0.9)), 8), 500) for _ in range(ROWS)]
    return [(" ".join(rng.choices(WORDS, k=length - 2)), rng.choice(LABELS)) for length in lengths]


def train_with_llmkit(folder: Path) -> dict[str, float]:
    from accelerate import Accelerator

    from llmkit.data.rows import Row
    from llmkit.models.loading import load_model
    from llmkit.tasks.base import Scores
    from llmkit.tasks.classification import ClassificationRecipe, ClassificationTask
    from llmkit.training.loop import Validation, fit
    from llmkit.training.progress import StepResult
    from llmkit.training.schedule import plan_training

    written = {"recipe": 1, "task": "classification", "model": str(folder), "data": {"train": "made here"}}
    settings = {"epochs": 1, "batch_size": BATCH_SIZE, "learning_rate": 1e-5, "precision": "fp32"}
    recipe = ClassificationRecipe.model_validate({**written, "train": settings})
    task = ClassificationTask(recipe, load_model(str(folder), head="classification"))
    rows = [Row({"text": text, "label": label}, str(number)) for number, (text, label) in enumerate(uneven_rows())]
    examples = task.encode(rows)
    plan = plan_training(recipe, examples=len(examples), family="bert", from_scratch=False)
    before = peak_mib()
    steps = []
    for event in fit(
        task,
        examples=examples,
        plan=plan,
        train=recipe.train,
        accelerator=Accelerator(),
        validation=Validation(lambda: Scores({"loss": 0.0}), best="loss", patience=None),
        store=None,
    ):
        if isinstance(event, StepResult):
            steps.append(time.perf_counter())
    return result_of(steps, before, unit="rows", each_step=BATCH_SIZE)


def train_with_trainer(folder: Path) -> dict[str, float]:
    import torch
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )
    from transformers.utils import logging

    logging.disable_progress_bar()
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = uneven_rows()
    ids = tokenizer([text for text, _ in rows])["input_ids"]
    data = [{"input_ids": one, "labels": LABELS.index(label)} for one, (_, label) in zip(ids, rows, strict=True)]
    steps: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]  # transformers has no types here
        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            steps.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as output:
        arguments = TrainingArguments(
            output_dir=output,
            num_train_epochs=1,
            per_device_train_batch_size=BATCH_SIZE,
            learning_rate=1e-5,
            weight_decay=0.01,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            use_cpu=True,
            seed=17,
        )
        trainer = Trainer(
            model=model,
            args=arguments,
            train_dataset=data,
            data_collator=DataCollatorWithPadding(tokenizer),
            callbacks=[Clock()],
        )
        before = peak_mib()
        trainer.train()
    return result_of(steps, before, unit="rows", each_step=BATCH_SIZE)


SIDES = {"llmkit": train_with_llmkit, "trainer": train_with_trainer}


if __name__ == "__main__":
    main()

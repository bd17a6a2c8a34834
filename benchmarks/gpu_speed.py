"""Speed and memory of training on a GPU in bf16, compared with transformers' Trainer.

    python benchmarks/gpu_speed.py [MODEL ...]

GPT-2 124M on blocks of 1,024 tokens; BERT base on classified rows and a T5 of the size of t5-small on summaries, of 8 to
500 tokens. The same rows, batches, AdamW and format on both sides, in turn in one process. Tokens per second are without
padding and without the first steps; memory is the peak of torch's allocator.
"""

from __future__ import annotations

import gc
import logging
import sys
import tempfile
from pathlib import Path
from typing import Any

from finetune import WORDS, plain_example, uneven_rows
from side_by_side import print_ratios, train_with_llmkit, train_with_trainer
from small_bert import write_bert
from small_t5 import write_words_t5

BATCHES = {"gpt2-124M": 32, "bert-base": 64, "t5-small": 64}
TASKS = {"gpt2-124M": "causal-lm", "bert-base": "classification", "t5-small": "summarization"}
STEPS = 24
BLOCK_TOKENS = 1024
ROUNDS = 2
TARGETS = {"tokens_per_second": "above 1", "gpu_mib": "below 1"}


def main() -> None:
    import torch

    if not torch.cuda.is_available():
        raise SystemExit("gpu_speed.py needs a GPU; finetune.py and pretrain_objectives.py measure a CPU.")
    for name in sys.argv[1:] or TASKS:
        with tempfile.TemporaryDirectory() as folder:
            write_model(name, Path(folder))
            measured: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
            for _ in range(ROUNDS):
                for side, results in measured.items():
                    gc.collect()
                    torch.cuda.empty_cache()
                    torch.cuda.reset_peak_memory_stats()
                    results.append(SIDES[side](name, Path(folder)))
        print(f"\n{name}")
        print_ratios(measured["llmkit"], measured["trainer"], targets=TARGETS)


def write_model(name: str, folder: Path) -> None:
    """A folder with random weights of the published size, and a tokenizer of one token per word."""
    if name == "gpt2-124M":
        write_gpt2(folder)
    elif name == "bert-base":
        sizes: dict[str, Any] = {
            "hidden_size": 768,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "intermediate_size": 3072,
        }
        write_bert(folder, WORDS, id2label={0: "no", 1: "yes"}, label2id={"no": 0, "yes": 1}, **sizes)
    else:
        write_words_t5(folder, WORDS, d_model=512, d_kv=64, d_ff=2048, num_heads=8)


def write_gpt2(folder: Path) -> None:
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    torch.manual_seed(17)
    vocabulary = {f"word{index}": index for index in range(50256)} | {"<|endoftext|>": 50256}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<|endoftext|>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    end = {"eos_token": "<|endoftext|>", "bos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=1024, **end).save_pretrained(folder)
    GPT2LMHeadModel(GPT2Config()).save_pretrained(folder)


def task_and_examples(name: str, folder: Path) -> tuple[Any, Any]:
    """The task around the folder's model, and all examples."""
    from llmkit.data.rows import Row
    from llmkit.models.loading import load_model
    from llmkit.tasks import RECIPES
    from llmkit.tasks.build import build_task

    logging.getLogger("llmkit").setLevel(logging.ERROR)
    keys: dict[str, Any] = {"recipe": 1, "task": TASKS[name], "model": str(folder), "data": {"train": "made here"}}
    settings = {"steps": STEPS, "batch_size": BATCHES[name], "learning_rate": 1e-5, "precision": "bf16"}
    count = STEPS * BATCHES[name]
    if name == "gpt2-124M":
        keys["block_tokens"] = BLOCK_TOKENS
        made: list[dict[str, Any]] = random_texts(count)
    else:
        made = uneven_rows(TASKS[name], count=count)
    recipe = RECIPES[TASKS[name]].model_validate({**keys, "train": settings})
    task = build_task(recipe, load_model(str(folder), head=recipe.HEAD))
    return task, task.encode([Row(values, str(number)) for number, values in enumerate(made)])


def random_texts(count: int) -> list[dict[str, Any]]:
    """Texts that fill a little more than `count` blocks."""
    import numpy as np

    drawn = np.random.default_rng(17).zipf(1.2, size=(count, BLOCK_TOKENS + 8)) % 50256
    return [{"text": " ".join(f"word{number}" for number in row)} for row in drawn]


def llmkit_side(name: str, folder: Path) -> dict[str, float]:
    task, examples = task_and_examples(name, folder)
    return train_with_llmkit(task, examples, unit="tokens", each_step=tokens_a_step(examples, name))


def trainer_side(name: str, folder: Path) -> dict[str, float]:
    import transformers

    task, examples = task_and_examples(name, folder)
    model, tokenizer = task.loaded.model, task.loaded.tokenizer
    data = [plain_example(TASKS[name], task.collate(examples, [row])) for row in range(len(examples))]
    collator: Any = {
        "gpt2-124M": transformers.default_data_collator,
        "bert-base": transformers.DataCollatorWithPadding(tokenizer),
        "t5-small": transformers.DataCollatorForSeq2Seq(tokenizer, model),
    }[name]
    if name == "gpt2-124M":
        blocks = [
            row["input_ids"] for row in data if len(row["input_ids"]) == BLOCK_TOKENS
        ]  # its collator does not pad
        data = [{"input_ids": block, "labels": block} for block in blocks]
    each_step = tokens_a_step(examples, name)
    train = task.recipe.train
    seq2seq = name == "t5-small"
    return train_with_trainer(model, data, collator, train=train, unit="tokens", each_step=each_step, seq2seq=seq2seq)


def tokens_a_step(examples: Any, name: str) -> float:
    return float(examples.lengths.mean()) * BATCHES[name]


SIDES = {"llmkit": llmkit_side, "trainer": trainer_side}


if __name__ == "__main__":
    main()

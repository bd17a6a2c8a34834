"""Speed and memory of the three pretraining objectives on a CPU, compared with transformers' Trainer.

    python benchmarks/pretrain_objectives.py [OBJECTIVE ...]

The same 4-layer, 256-wide model with a vocabulary of 16,000, the same blocks of 128 tokens of builtin:python-docs, the
same batches of 32 blocks, AdamW and precision. The Trainer uses transformers' collators; for T5, which has none,
blocks corrupted beforehand and the collator for pairs of sequences. Each side of each round runs in its own process, in
turn. Tokens per second exclude the first step; memory is what training adds to a process that has loaded the model and
the blocks.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from side_by_side import compare, train_with_llmkit, train_with_trainer

STEPS = 6
BATCH_SIZE = 32
BLOCK_TOKENS = 128
ROUNDS = 3
FAMILY_OF = {"causal-lm": "gpt2", "masked-lm": "bert", "span-corruption": "t5"}
TARGETS = {"tokens_per_second": "more than 1", "training_mib": "less than 1"}


def main() -> None:
    compare(__file__, list(FAMILY_OF), SIDES, write_model=write_model, rounds=ROUNDS, targets=TARGETS)


def write_model(objective: str, folder: Path) -> None:
    """Random weights and a tokenizer, in a folder that both sides open."""
    from llmkit.api import read_texts
    from llmkit.models.export import model_files
    from llmkit.models.families import FAMILIES
    from llmkit.models.loaded import LoadedModel
    from llmkit.models.tokenizers import train_tokenizer
    from llmkit.recipe.blocks import TokenizerBlock
    from llmkit.tasks import RECIPES

    family: Any = FAMILY_OF[objective]
    logging.getLogger("llmkit").setLevel(logging.ERROR)
    texts = list(read_texts("builtin:python-docs"))
    block = TokenizerBlock(vocab_size=16_000)
    tokenizer = train_tokenizer(
        FAMILIES[family], texts, block=block, max_tokens=BLOCK_TOKENS if family == "bert" else None
    )
    model = FAMILIES[family].model_class(RECIPES[objective].HEAD)(config_of(family, tokenizer))
    files = model_files(LoadedModel(model=model, tokenizer=tokenizer, family=FAMILIES[family], name="benchmark"))
    for name, content in files.items():
        (folder / name).write_bytes(content)


def config_of(family: str, tokenizer: Any) -> Any:
    from transformers import BertConfig, GPT2Config, T5Config

    size = len(tokenizer)
    if family == "gpt2":
        return GPT2Config(
            vocab_size=size,
            n_embd=256,
            n_layer=4,
            n_head=4,
            n_positions=BLOCK_TOKENS,
            bos_token_id=tokenizer.eos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    if family == "bert":
        return BertConfig(
            vocab_size=size,
            hidden_size=256,
            num_hidden_layers=4,
            num_attention_heads=4,
            intermediate_size=1024,
            pad_token_id=tokenizer.pad_token_id,
        )
    return T5Config(
        vocab_size=size, d_model=256, num_layers=4, num_heads=4, d_kv=64, d_ff=1024, decoder_start_token_id=0
    )


def task_and_blocks(objective: str, folder: Path) -> tuple[Any, Any]:
    """The task around the folder's model, and enough blocks for all steps."""
    from llmkit.api import read_texts
    from llmkit.data.rows import Row
    from llmkit.models.loading import load_model
    from llmkit.tasks import RECIPES
    from llmkit.tasks.build import build_task

    keys = {"recipe": 1, "task": objective, "model": str(folder), "data": {"train": "builtin:python-docs"}}
    settings = {"steps": STEPS, "batch_size": BATCH_SIZE, "learning_rate": 1e-4, "precision": "fp32"}
    recipe = RECIPES[objective].model_validate({**keys, "block_tokens": BLOCK_TOKENS, "train": settings})
    task = build_task(recipe, load_model(str(folder), head=recipe.HEAD))
    rows = [Row({"text": text}, str(number)) for number, text in enumerate(read_texts("builtin:python-docs"))]
    return task, task.encode(rows[: STEPS * BATCH_SIZE * 4])


def llmkit_side(objective: str, folder: Path) -> dict[str, float]:
    task, examples = task_and_blocks(objective, folder)
    return train_with_llmkit(task, examples, unit="tokens", each_step=BATCH_SIZE * BLOCK_TOKENS)


def trainer_side(objective: str, folder: Path) -> dict[str, float]:
    import numpy as np
    from transformers import DataCollatorForLanguageModeling, DataCollatorForSeq2Seq

    task, examples = task_and_blocks(objective, folder)
    model, tokenizer = task.loaded.model, task.loaded.tokenizer
    count = STEPS * BATCH_SIZE
    if objective == "span-corruption":
        batch = task.collate(examples, np.arange(count))
        names = ("input_ids", "labels")
        data = [{name: batch[name][row].tolist() for name in names} for row in range(count)]
        collator: Any = DataCollatorForSeq2Seq(tokenizer, model)
    else:
        blocks = [examples.columns["input_ids"][row].tolist() for row in range(count)]
        masked = objective == "masked-lm"
        first, last = ([tokenizer.cls_token_id], [tokenizer.sep_token_id]) if masked else ([], [])
        data = [{"input_ids": first + block + last} for block in blocks]
        collator = DataCollatorForLanguageModeling(tokenizer, mlm=masked, mlm_probability=0.15)
    each_step = BATCH_SIZE * BLOCK_TOKENS
    return train_with_trainer(model, data, collator, train=task.recipe.train, unit="tokens", each_step=each_step)


SIDES = {"llmkit": llmkit_side, "trainer": trainer_side}


if __name__ == "__main__":
    main()

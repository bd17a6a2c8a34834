"""The smallest real trainings: eighty rows of two kinds, a recipe for each family, and a way to call the program.

Each recipe takes a second; the classifier learns its rows, the other two only have to run.
"""

from __future__ import annotations

import io
import json
import logging
import os
import random
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from llmkit.cli import run
from llmkit.models.families import FAMILIES

WORDS = {
    "food": ["soup", "bread", "salt", "oven", "taste", "cook", "butter", "plate"],
    "sport": ["ball", "goal", "team", "match", "score", "player", "coach", "league"],
}
SPORT, FOOD = "goal team ball match league", "soup oven bread salt butter"

CLASSIFY = """recipe: 1
task: classification
model: {architecture: bert, size: tiny, tokenizer: {vocab_size: 200}}
data: {train: rows.jsonl, validation: 20%}
max_tokens: 24
train: {steps: 24, batch_size: 16, learning_rate: 1e-3}
evaluation: {every: 12 steps}
"""
WRITE = """recipe: 1
task: causal-lm
model: {architecture: gpt2, size: tiny, tokenizer: {vocab_size: 300}}
data: {train: rows.jsonl, validation: 20%}
block_tokens: 32
train: {steps: 6, batch_size: 4}
evaluation: {every: 3 steps}
"""
ANSWER = """recipe: 1
task: question-answering
model: {architecture: bert, size: tiny, tokenizer: {vocab_size: 200}}
data: {train: questions.json, validation: 20%}
max_tokens: 24
train: {steps: 30, batch_size: 16, learning_rate: 2e-3}
evaluation: {every: 15 steps}
"""
INSTRUCT = """recipe: 1
task: instruction
model: {architecture: gpt2, size: tiny, tokenizer: {vocab_size: 300}}
data: {train: rows.jsonl, validation: 20%, columns: {prompt: text, response: summary}}
max_tokens: 128
train: {steps: 30, batch_size: 8, learning_rate: 3e-3}
evaluation: {every: 15 steps, max_rows: 4}
"""
SUMMARIZE = """recipe: 1
task: summarization
model: tiny-t5
data: {train: rows.jsonl, validation: 20%}
max_source_tokens: 48
max_target_tokens: 8
train: {steps: 6, batch_size: 4}
evaluation: {every: 3 steps, max_rows: 4}
"""
TAG = """recipe: 1
task: token-classification
model: {architecture: bert, size: tiny, tokenizer: {vocab_size: 200}}
data: {train: rows.conll, validation: 20%}
max_tokens: 24
train: {steps: 40, batch_size: 16, learning_rate: 2e-3}
evaluation: {every: 20 steps}
"""
CHOOSE = """recipe: 1
task: multiple-choice
model: {architecture: bert, size: tiny, tokenizer: {vocab_size: 200}}
data: {train: rows.jsonl, validation: 20%, columns: {context: text, answer: label}}
distractors: 1
max_tokens: 24
train: {steps: 80, batch_size: 16, learning_rate: 1e-3}
evaluation: {every: 40 steps}
"""
NAME = """recipe: 1
task: text-to-text
model: tiny-t5
data: {train: rows.jsonl, validation: 20%, columns: {target: label}}
prefix: "kind: "
max_source_tokens: 48
max_target_tokens: 8
train: {steps: 6, batch_size: 4}
evaluation: {every: 3 steps, max_rows: 4}
"""


def rows(count: int = 80, *, seed: int = 0) -> list[dict[str, str]]:
    """Rows with `text`, `label` and `summary`, the labels in turn."""
    rng = random.Random(seed)
    made = []
    for index in range(count):
        label = ("food", "sport")[index % 2]
        words = rng.choices(WORDS[label], k=6)
        made.append({"text": " ".join(words) + f" {index}", "label": label, "summary": words[0]})
    return made


def write_questions(path: Path, *, count: int = 80) -> Path:
    """The layout of SQuAD: which word of food is in this text about sport? Every fourth has none."""
    rng = random.Random(0)
    paragraphs = []
    for index in range(count):
        words = rng.choices(WORDS["sport"], k=8)
        food = rng.choice(WORDS["food"])
        words.insert(rng.randrange(8), food if index % 4 else "ball")
        context = " ".join([*words, str(index)])
        answers = [{"text": food, "answer_start": context.index(food)}] if index % 4 else []
        question = {"id": str(index), "question": "which food", "answers": answers, "is_impossible": not answers}
        paragraphs.append({"context": context, "qas": [question]})
    path.write_text(json.dumps({"version": "v2.0", "data": [{"title": "Food", "paragraphs": paragraphs}]}))
    return path


def write_jsonl(path: Path, records: Sequence[dict[str, str]]) -> Path:
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")
    return path


def write_conll(path: Path, *, count: int = 80) -> Path:
    """Sentences in IOB1 with numbers outside: of the words of a kind, the first half begins an entity, the rest ends one."""
    rng = random.Random(5)
    lines = ["-DOCSTART- O", ""]
    for index in range(count):
        for label in rng.choices(sorted(WORDS), k=2):
            parts = [rng.choice(WORDS[label][:4]), *rng.choices(WORDS[label][4:], k=rng.randint(0, 1))]
            lines += [*(f"{word} I-{label.upper()}" for word in parts), f"{index % 10} O"]
        lines.append("")
    path.write_text("\n".join(lines))
    return path


def write_work(folder: Path) -> None:
    """Rows, and a recipe for each family."""
    write_jsonl(folder / "rows.jsonl", rows())
    (folder / "classify.yaml").write_text(CLASSIFY)
    (folder / "write.yaml").write_text(WRITE)
    (folder / "instruct.yaml").write_text(INSTRUCT)
    (folder / "summarize.yaml").write_text(SUMMARIZE)
    save_tiny_t5(folder / "tiny-t5")


def save_tiny_t5(folder: Path) -> None:
    """A T5 of random weights, a hundredth of the smallest preset: its checkpoints are written many times."""
    import torch
    from transformers import T5Config, T5ForConditionalGeneration

    from llmkit.models.tokenizers import train_tokenizer
    from llmkit.recipe.blocks import TokenizerBlock

    texts = [text for row in rows() for text in (row["text"], row["summary"])]
    tokenizer = train_tokenizer(FAMILIES["t5"], texts, block=TokenizerBlock(vocab_size=500), max_tokens=48)
    torch.manual_seed(1)
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=32,
        d_kv=16,
        d_ff=64,
        num_layers=2,
        num_heads=2,
        decoder_start_token_id=tokenizer.pad_token_id,
    )
    T5ForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def records(self) -> list[dict[str, object]]:
        """Standard output as JSONL."""
        return [json.loads(line) for line in self.out.splitlines()]


def llmkit(*arguments: str | Path, stdin: bytes | None = None) -> Outcome:
    """Run a command line in this process, in the current folder. The logger is put back: caplog needs it as it was."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2)]
    given = io.TextIOWrapper(io.BytesIO(stdin or b""))
    logger = logging.getLogger("llmkit")
    before = logger.handlers, logger.level, logger.propagate
    try:
        with mock.patch.multiple(sys, stdout=streams[0], stderr=streams[1], stdin=given):
            code = run([str(argument) for argument in arguments])
    finally:
        logger.handlers, level, logger.propagate = before
        logger.setLevel(level)
    out, err = (stream.buffer.getvalue().decode() for stream in streams)  # type: ignore[attr-defined]
    return Outcome(code, out, err)


def llmkit_process(
    *arguments: str | Path, cwd: Path | None = None, stdin: bytes = b"", env: dict[str, str] | None = None
) -> Outcome:
    """Run the program itself, with no network."""
    done = subprocess.run(
        command(*arguments), cwd=cwd, input=stdin, capture_output=True, env=environment(env), timeout=120, check=False
    )
    return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "llmkit", *map(str, arguments)]


def environment(changes: dict[str, str] | None = None) -> dict[str, str]:
    """One thread: several processes of torch that fight for two cores are fifty times slower."""
    return {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", **(changes or {})}


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file below a folder with its time of change and its size."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.stat().st_size) for path in files}

"""Does memory stay constant as the input grows? Commands on 1,000 and 20,000 lines, and the readers on a million.

    python benchmarks/use_memory.py [LINES LINES] [--readers ROWS] [--only COMMAND]

Models are tiny and have random weights. Each command runs in its own process; the output is the peak of its anonymous
memory, sampled every 20 ms, and how much of it a line more takes. A result is kept until its chunk of at most 2,048 rows
is complete, so 1,000 lines need less than 20,000, but the bytes per line must be far below those of a result. The scores of
`evaluate --predictions` compare all rows at once: it is the exception.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path

from peak_memory import peaks_of

WORDS = [
    "the",
    "small",
    "dog",
    "sees",
    "a",
    "letter",
    "under",
    "old",
    "green",
    "trees",
    "while",
    "quiet",
    "rivers",
    "find",
    "their",
    "way",
    "to",
    "stone",
]
COMMANDS = {
    "classify": ["classify", "in.jsonl", "--model", "bert"],
    "embed": ["embed", "in.jsonl", "--model", "bert"],
    "tag": ["tag", "in.jsonl", "--model", "bert-tag"],
    "generate": ["generate", "in.jsonl", "--model", "gpt2", "--max-new-tokens", "2"],
    "summarize": ["summarize", "in.jsonl", "--model", "t5", "--max-new-tokens", "2"],
    "translate": [
        "translate",
        "in.jsonl",
        "--model",
        "t5-translate",
        "--from",
        "en",
        "--to",
        "de",
        "--max-new-tokens",
        "2",
    ],
    "fill": ["fill", "in.jsonl", "--model", "bert-mask", "--column", "masked"],
    "answer": ["answer", "in.jsonl", "--model", "bert-answer", "--column", "text"],
    "choose": ["choose", "in.jsonl", "--model", "bert-choose", "--column", "context=text"],
}
READ = """
import sys
from llmkit.api import read_texts
print(sum(1 for _ in read_texts(sys.argv[1])))
"""
SUFFIXES = (".txt", ".csv", ".jsonl", ".parquet")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lines", type=int, nargs="*", default=[1000, 20_000])
    parser.add_argument("--readers", type=int, default=1_000_000)
    parser.add_argument("--only", choices=COMMANDS, action="append", help="measure this command; can be repeated")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_models(folder)
        print(f"{'command':>10} {'lines':>9} {'seconds':>8} {'anon MiB':>9} {'bytes per line':>15}")
        for command in options.only or COMMANDS:
            arguments = COMMANDS[command]
            program = [sys.executable, "-m", "llmkit", *arguments, "--output", "out.jsonl"]
            compare(command, program, folder, options.lines)
        if options.only:
            return
        scores = ["evaluate", "--predictions", "in.jsonl", "--references", "in.jsonl", "--metric", "exact_text"]
        compare("evaluate", [sys.executable, "-m", "llmkit", *scores], folder, options.lines)
        for suffix in SUFFIXES:
            program = [sys.executable, "-c", READ, f"in{suffix}"]
            compare(f"read {suffix}", program, folder, [1000, options.readers], suffix=suffix)


def save_models(folder: Path) -> None:
    """One layer of 32 units each."""
    import torch
    from transformers import (
        BertConfig,
        BertForMaskedLM,
        BertForMultipleChoice,
        BertForQuestionAnswering,
        BertForSequenceClassification,
        BertForTokenClassification,
        GPT2Config,
        GPT2LMHeadModel,
        T5Config,
        T5ForConditionalGeneration,
    )

    from llmkit.models.families import FAMILIES
    from llmkit.models.tokenizers import train_tokenizer
    from llmkit.recipe.blocks import TokenizerBlock

    torch.manual_seed(1)
    tokenizers = {
        name: train_tokenizer(
            FAMILIES[name], [" ".join(WORDS)] * 20, block=TokenizerBlock(vocab_size=420), max_tokens=None
        )
        for name in ("bert", "gpt2", "t5")
    }
    sizes = {name: len(tokenizer) for name, tokenizer in tokenizers.items()}
    bert = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    config = BertConfig(vocab_size=sizes["bert"], num_labels=2, **bert)
    gpt2 = GPT2Config(vocab_size=sizes["gpt2"], n_embd=32, n_layer=1, n_head=2)
    t5 = T5Config(
        vocab_size=sizes["t5"], d_model=32, d_kv=16, d_ff=64, num_layers=1, num_heads=2, decoder_start_token_id=0
    )
    # As google-t5/t5-small has it.
    pairs = {"translation_en_to_de": {"prefix": "translate English to German: "}}
    translating = T5Config(**{**t5.to_dict(), "task_specific_params": pairs})
    models = {
        "bert": BertForSequenceClassification(config),
        "bert-tag": BertForTokenClassification(config),
        "bert-mask": BertForMaskedLM(config),
        "bert-answer": BertForQuestionAnswering(config),
        "bert-choose": BertForMultipleChoice(config),
        "gpt2": GPT2LMHeadModel(gpt2),
        "t5": T5ForConditionalGeneration(t5),
        "t5-translate": T5ForConditionalGeneration(translating),
    }
    for name, model in models.items():
        model.save_pretrained(folder / name)
        tokenizers[name.partition("-")[0]].save_pretrained(folder / name)


def compare(name: str, program: list[str], folder: Path, counts: list[int], *, suffix: str = ".jsonl") -> None:
    """Print the peak for each number of lines, and the slope."""
    before: tuple[int, float] | None = None
    for count in counts:
        write_lines(folder / f"in{suffix}", count)
        (folder / "out.jsonl").unlink(missing_ok=True)
        started = time.monotonic()
        peak = peak_of(program, folder)
        slope = "" if before is None else f"{(peak - before[1]) / (count - before[0]):,.1f}"
        seconds = time.monotonic() - started
        print(f"{name:>10} {count:>9,} {seconds:>8.1f} {peak / 2**20:>9,.0f} {slope:>15}", flush=True)
        before = count, peak


def write_lines(path: Path, count: int) -> None:
    rng = random.Random(17)
    texts = (f"{' '.join(rng.choices(WORDS, k=8))} {number}" for number in range(count))
    match path.suffix:
        case ".txt":
            path.write_text("".join(f"{text}\n" for text in texts))
        case ".csv":
            path.write_text("text\n" + "".join(f"{text}\n" for text in texts))
        case ".jsonl":
            with path.open("w") as file:
                file.writelines(json.dumps(row_of(text)) + "\n" for text in texts)
        case _:
            import pyarrow as pa
            import pyarrow.parquet as pq

            pq.write_table(pa.table({"text": list(texts)}), path, row_group_size=10_000)


def row_of(text: str) -> dict[str, object]:
    """A row that every command can read."""
    return {"text": text, "masked": f"{text} [MASK]", "question": "the way", "choices": ["dog", "stone"]}


def peak_of(program: list[str], folder: Path) -> float:
    """Peak of the anonymous memory of a process in bytes."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "LLMKIT_CACHE": str(folder / "cache"), "HF_HUB_OFFLINE": "1"}
    return peaks_of(program, folder, environment, silent=True)["RssAnon"]


if __name__ == "__main__":
    main()

"""Do two checkouts train the same weights, bit for bit, and give the same scores and results?

    python tools/same_numbers.py OLD NEW

Both train a recipe of each task; weights, scores and the output of the verb are compared. Then NEW resumes each run of
OLD from its middle checkpoint, and the weights are compared with OLD's final weights; and NEW uses OLD's model.
OLD and NEW are folders with a checkout of llmkit; this Python needs its dependencies. Exits with 1 if anything differs.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

STEPS, MIDDLE = 12, 6
WORDS = [
    "the",
    "a",
    "cat",
    "dog",
    "bird",
    "tree",
    "river",
    "stone",
    "walks",
    "sees",
    "finds",
    "under",
    "over",
    "red",
    "green",
    "small",
    "old",
    "quiet",
    "morning",
    "light",
]
ANIMALS, PLACES = {"cat", "dog", "bird"}, {"tree", "river", "stone"}
_BERT, _GPT2, _T5 = (
    {"architecture": family, "size": "tiny", "tokenizer": {"vocab_size": size}}
    for family, size in (("bert", 120), ("gpt2", 300), ("t5", 420))
)
RECIPES: Mapping[str, Mapping[str, Any]] = {
    "classification": {"model": _BERT, "max_tokens": 24},
    "causal-lm": {"model": _GPT2, "block_tokens": 16},
    "instruction": {"model": _GPT2, "max_tokens": 96, "data": {"columns": {"prompt": "source", "response": "target"}}},
    "masked-lm": {"model": _BERT, "block_tokens": 16},
    "question-answering": {"model": _BERT, "max_tokens": 32},
    "span-corruption": {"model": _T5, "block_tokens": 16},
    "summarization": {"model": _T5, "max_source_tokens": 64, "max_target_tokens": 16, "prefix": "summarize: "},
    "text-to-text": {"model": _T5, "max_source_tokens": 64, "max_target_tokens": 16},
    "token-classification": {"model": _BERT, "max_tokens": 24},
    "translation": {
        "model": _T5,
        "max_source_tokens": 64,
        "max_target_tokens": 16,
        "source_language": "en",
        "target_language": "de",
    },
}
VERBS: Mapping[str, Sequence[str]] = {
    "classification": ["classify", "texts.txt", "--json"],
    "causal-lm": ["generate", "--prompt", "the old", "--max-new-tokens", "12", "--json"],
    "instruction": ["generate", "--prompt", "the old dog", "--max-new-tokens", "12", "--json"],
    "masked-lm": ["fill", "the [MASK] walks", "--json"],
    "question-answering": ["answer", "--question", "who walks", "texts.txt", "--json"],
    "summarization": ["summarize", "texts.txt", "--max-new-tokens", "8", "--json"],
    "text-to-text": ["generate", "--prompt", "the old dog", "--max-new-tokens", "8", "--json"],
    "token-classification": ["tag", "texts.txt", "--json"],
    "translation": ["translate", "texts.txt", "--max-new-tokens", "8", "--json"],
}


def main() -> None:
    old, new = (Path(argument).resolve() for argument in sys.argv[1:3])
    with tempfile.TemporaryDirectory(prefix="llmkit-same-") as temporary:
        folder = Path(temporary)
        write_data(folder)
        faults = [fault for task in RECIPES for fault in compare(task, old, new, folder)]
    print("\n".join(faults) or f"all {len(RECIPES)} tasks: the same weights, scores, results and resumed weights")
    sys.exit(bool(faults))


def compare(task: str, old: Path, new: Path, folder: Path) -> list[str]:
    """What differs, one line each; prints what was compared."""
    for side, checkout in (("old", old), ("new", new)):
        llmkit(checkout, folder, "finetune", f"{task}.yaml", "--run", f"{side}-{task}")
    resumed = copy_at_middle(folder / f"old-{task}")
    llmkit(new, folder, "finetune", "--resume", resumed.name)
    results = {
        "weights": (weights(folder / f"old-{task}"), weights(folder / f"new-{task}")),
        "resumed weights": (weights(folder / f"old-{task}"), weights(resumed)),
    }
    measured = [scores(checkout, folder, f"{side}-{task}") for side, checkout in (("old", old), ("new", new))]
    results["scores"] = (measured[0], measured[1])
    results["scores of the old model"] = (measured[0], scores(new, folder, f"old-{task}"))
    if task in VERBS:
        use = [result(checkout, folder, f"old-{task}", VERBS[task]) for checkout in (old, new)]
        results["results"] = (use[0], use[1])
    print(f"{task:<22}" + ", ".join(f"{name} {before[:8]}" for name, (before, _) in results.items()), flush=True)
    return [
        f"{task}: {name} differ: {before} and {after}" for name, (before, after) in results.items() if before != after
    ]


def llmkit(checkout: Path, folder: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    environment["LLMKIT_CACHE"] = str(folder / f"cache-{checkout.name}")
    command = [sys.executable, "-m", "llmkit", *arguments]
    process = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if process.returncode:
        raise SystemExit(f"{checkout}: {' '.join(arguments)} exits with {process.returncode}:\n{process.stderr}")
    return process.stdout


def weights(run: Path) -> str:
    from safetensors.numpy import load_file

    digest = hashlib.sha256()
    for name, tensor in sorted(load_file(run / "model" / "model.safetensors").items()):
        digest.update(f"{name} {tensor.shape}".encode() + tensor.tobytes())
    return digest.hexdigest()


def scores(checkout: Path, folder: Path, run: str) -> str:
    """A hash of the scores that `evaluate` gives on the validation rows, to six digits since losses are added up in another
    order, and of the predictions that it writes."""
    content = json.loads(llmkit(checkout, folder, "evaluate", "--model", run, "--json"))
    numbers = next(content[key] for key in ("scores", "figures") if key in content)
    rounded = {name: f"{value:.6g}" for name, value in numbers.items()}
    files = sorted((folder / run / "evaluation").glob("*.predictions.jsonl"))
    lines = [json.loads(line) for path in files for line in path.read_text(encoding="utf-8").splitlines()]
    pairs = [[line["prediction"], line["reference"]] for line in lines]
    return hashlib.sha256(json.dumps([rounded, pairs], sort_keys=True).encode()).hexdigest()


def result(checkout: Path, folder: Path, run: str, command: Sequence[str]) -> str:
    return hashlib.sha256(llmkit(checkout, folder, *command, "--model", run).encode()).hexdigest()


def copy_at_middle(run: Path) -> Path:
    """A copy of a finished run as it was after its middle step."""
    copy = run.with_name(run.name.replace("old-", "resumed-"))
    shutil.copytree(run, copy, ignore=shutil.ignore_patterns("model", "evaluation"))
    for checkpoint in (copy / "checkpoints").iterdir():
        if checkpoint.name > f"step-{MIDDLE:08d}":
            shutil.rmtree(checkpoint)
    manifest = json.loads((copy / "run.json").read_text())
    (copy / "run.json").write_text(json.dumps({**manifest, "status": "interrupted"}))
    return copy


def write_data(folder: Path) -> None:
    rng = random.Random(3)
    rows = [row(number, rng) for number in range(60)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(record) + "\n" for record in rows))
    (folder / "texts.txt").write_text("".join(record["text"] + "\n" for record in rows[:20]))
    for task, keys in RECIPES.items():
        train = {"steps": STEPS, "batch_size": 8, "save_every": 2, "keep_checkpoints": 20, "micro_batch_tokens": 100}
        recipe: dict[str, Any] = {"recipe": 1, "task": task, **keys, "train": {**train, "seed": 5}}
        recipe["data"] = {"train": "rows.jsonl", "validation": "20%", **keys.get("data", {})}
        recipe["evaluation"] = {"every": f"{MIDDLE} steps", "max_rows": 8}
        (folder / f"{task}.yaml").write_text(json.dumps(recipe))  # JSON is YAML


def row(number: int, rng: random.Random) -> dict[str, Any]:
    words = rng.choices(WORDS, k=rng.randint(3, 14))
    context = " ".join(rng.choices(WORDS, k=30))
    word = rng.choice(context.split())
    answers = {"text": [word], "answer_start": [context.index(word)]}
    return {
        "text": " ".join(words),
        "label": ("animal", "place")[number % 2],
        "summary": words[0],
        "words": words,
        "tags": ["B-ANIMAL" if word in ANIMALS else "B-PLACE" if word in PLACES else "O" for word in words],
        "context": context,
        "question": " ".join(rng.choices(WORDS, k=3)),
        "answers": answers if number % 4 else {"text": [], "answer_start": []},
        "source": " ".join(words),
        "target": " ".join(reversed(words[:3])),
    }


if __name__ == "__main__":
    main()

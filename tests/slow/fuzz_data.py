"""Run the commands on malformed recipes, options, data files, predictions and run folders, and count how they end.

    python tests/slow/fuzz_data.py --count 1000 --seed 0 [--only rows,score] [--keep FOLDER]

Each input is a valid one with a few changes, drawn from the seed and its number, so that one can be repeated with
`--first N --count 1`. It may end with success or with an error of the user's: one with a place, within 10 seconds,
with nothing on standard output. Prints the number of each exit code and every other end; exits with 1 if there is any.
"""

from __future__ import annotations

import argparse
import faulthandler
import gzip
import json
import os
import random
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from builders import model_for
from fuzz_seeds import CONLL, CONLLU, RECIPES, ROWS, SCORES, SENTENCES, SETTINGS, SQUAD
from mutations import as_csv, as_json, as_parquet, changed_value, mutated, odd_value
from published_models import published_folder
from tiny_recipes import CLASSIFY, Outcome, llmkit, rows, write_jsonl

SECONDS = 10
MODELS = {"classify": "bert", "tag": "bert-tag", "choose": "bert-choose", "answer": "bert-answer", "generate": "gpt2"}
"""Verb -> folder of its model."""


class TooLong(BaseException):
    """A case that takes longer than `SECONDS`."""


@dataclass(frozen=True)
class Case:
    arguments: list[str]
    places: tuple[str, ...]
    """What the place in a message may be: the mutated file or option."""
    stdin: bytes | None = None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="kinds of inputs, separated by commas")
    parser.add_argument("--keep", type=Path, help="a new folder for the inputs that end in another way")
    options = parser.parse_args()
    faulthandler.enable()
    torch.set_num_threads(1)
    os.environ["HF_HUB_OFFLINE"] = "1"
    kinds = options.only.split(",") if options.only else list(KINDS)
    with tempfile.TemporaryDirectory() as folder, _inside(Path(folder)):
        os.environ["LLMKIT_CACHE"] = str(Path(folder) / "cache")
        _prepare(Path(folder))
        ends: Counter[str] = Counter()
        faults = 0
        for number in range(options.first, options.first + options.count):
            kind = kinds[number % len(kinds)]
            end, fault = _end_of(kind, random.Random(f"{options.seed} {number}"), Path(folder))
            ends[f"{kind:8} {end}"] += 1
            if fault:
                faults += 1
                print(f"#{number} {kind}: {end}\n{fault}\n", flush=True)
                if options.keep:
                    shutil.copytree("case", options.keep / str(number), dirs_exist_ok=True)
    for name, count in sorted(ends.items()):
        print(f"{count:6}  {name}")
    print(f"{options.count} inputs, {faults} of which ended in another way than success or an error with a place")
    sys.exit(faults > 0)


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def _prepare(folder: Path) -> None:
    """Models, and a finished run."""
    published_folder(folder / "bert", "bert", head="classification")
    published_folder(folder / "bert-tag", "bert", head="token-classification")
    published_folder(folder / "bert-choose", "bert", head="multiple-choice")
    one_score = model_for("multiple-choice").model
    one_score.resize_token_embeddings(json.loads((folder / "bert-choose/config.json").read_text())["vocab_size"])
    one_score.save_pretrained(folder / "bert-choose")
    published_folder(folder / "bert-answer", "bert", head="question-answering")
    published_folder(folder / "gpt2", "gpt2", head="causal-lm")
    write_jsonl(folder / "rows.jsonl", rows(40))
    (folder / "classify.yaml").write_text(CLASSIFY.replace("steps: 24", "steps: 4").replace("12 steps", "2 steps"))
    outcome = llmkit("finetune", "classify.yaml", "--run", "run")
    assert outcome.code == 0, outcome.err


def _end_of(kind: str, rng: random.Random, folder: Path) -> tuple[str, str]:
    """How a case ends, and what is wrong about it; empty where nothing is."""
    shutil.rmtree(folder / "case", ignore_errors=True)
    (folder / "case").mkdir()
    case = KINDS[kind](rng, folder / "case")
    signal.signal(signal.SIGALRM, _stop)
    signal.alarm(SECONDS)
    try:
        outcome = llmkit(*case.arguments, stdin=case.stdin)
    except TooLong:
        return "too long", str(case.arguments)
    except BaseException as error:  # whatever passes the one place that catches errors
        return type(error).__name__, f"{case.arguments}: {error}"
    finally:
        signal.alarm(0)
    fault = _fault(outcome, case)
    return f"exit {outcome.code}", f"{fault}: {case.arguments}\n{outcome.err[-3000:]}" if fault else ""


def _stop(number: int, frame: object) -> None:
    raise TooLong


def _fault(outcome: Outcome, case: Case) -> str:
    errors = [line for line in outcome.err.splitlines() if line.startswith("error[")]
    if outcome.code not in (0, 2, 3, 4, 5):
        return "exit code"
    if "Traceback" in outcome.err:
        return "traceback"
    if outcome.code == 0:
        return "an error without an exit code" if errors else ""
    if not errors:
        return "no error"
    if any(len(line) > 3000 for line in errors):
        return "a very long message"
    return "" if all(any(place in line for place in case.places) for line in errors) else "no place"


def _file(folder: Path, name: str, content: bytes) -> str:
    path = folder / name
    path.write_bytes(content)
    return str(path.relative_to(folder.parent))


def _recipe(rng: random.Random, folder: Path) -> Case:
    content = mutated(rng.choice((*RECIPES, CLASSIFY)).encode(), rng)
    _file(folder, "other.yaml", RECIPES[0].encode())
    return Case(["finetune", _file(folder, "recipe.yaml", content)], ("case/", "missing.csv"))


def _option(rng: random.Random, folder: Path) -> Case:
    text = mutated(rng.choice(SETTINGS).encode(), rng)[:2000].replace(b"\0", b"")
    recipe = _file(folder, "recipe.yaml", RECIPES[0].encode())
    return Case(["finetune", recipe, "--set", os.fsdecode(text)], ("case/", "--set", "missing.csv"))


def _table(records: list[dict[str, Any]], rng: random.Random, *, name: str) -> tuple[str, bytes]:
    """A file of the records in one of the formats, with changes in its values or in its bytes."""
    kind = rng.choice(("jsonl", "jsonl", "json", "csv", "tsv", "parquet"))
    odd = rng.random() < 0.6
    if kind in ("csv", "tsv"):
        content = as_csv(records, rng, delimiter=rng.choice((",", "\t", ";")) if odd else ",")
    elif kind == "parquet":
        content = as_parquet(records, rng, odd=odd)
    else:
        values: Any = changed_value(records, rng) if odd else records
        values = values if isinstance(values, list) else [values]
        content = as_json(values, rng) if kind == "json" else b"\n".join(as_json(value, rng) for value in values)
    if not odd:
        content = mutated(content, rng)
    if kind != "parquet" and rng.random() < 0.1:
        content = gzip.compress(content)
        return f"{name}.{kind}.gz", content if rng.random() < 0.5 else mutated(content, rng)
    return f"{name}.{kind}", content


def _rows(rng: random.Random, folder: Path) -> Case:
    """Training, up to a model that is missing."""
    keys, records = ROWS[rng.choice(list(ROWS))]
    name, content = _table(records, rng, name="rows")
    match rng.randrange(12):
        case 0:
            keys, name, content = "task: question-answering", "rows.json", as_json(changed_value(SQUAD, rng), rng)
        case 1:
            keys, name, content = "task: token-classification", "rows.conll", mutated(CONLL.encode(), rng)
        case 2:
            keys, name, content = "task: token-classification", "rows.conllu", mutated(CONLLU.encode(), rng)
        case 3:
            keys, name = rng.choice((ROWS["text"][0], "task: masked-lm")), "rows.txt"
            content = mutated("\n\n".join(SENTENCES).encode(), rng)
    recipe: dict[str, Any] = {"recipe": 1, "model": "missing/model/here"}
    lines = [f"{key}: {json.dumps(value)}" for key, value in recipe.items()]
    _file(folder, "recipe.yaml", "\n".join([*lines, "data: {}", keys]).encode())
    data = [f"data.train={_file(folder, name, content)}", "data.validation=50%"]
    if "columns" in keys:
        _file(folder, "recipe.yaml", "\n".join([*lines, keys]).encode())
    if rng.random() < 0.3:
        data.append("data.skip_bad_rows=true")
    settings = [part for text in data for part in ("--set", text)]
    return Case(["finetune", "case/recipe.yaml", *settings], ("case/", "missing/model", "training rows", "tags: "))


def _use(rng: random.Random, folder: Path) -> Case:
    """A verb on a file, or on standard input."""
    verb = rng.choice(list(MODELS))
    columns = {"classify": "pair", "tag": rng.choice(("words", "spans")), "choose": "choices", "answer": "answers"}
    model = ["--model", MODELS[verb]]
    if rng.random() < 0.2 and verb in ("classify", "tag", "generate"):
        text = mutated("\n".join(SENTENCES).encode(), rng)
        return Case([verb, "-", *model], ("standard input", "row "), stdin=text)
    name, content = _table(ROWS[columns.get(verb, "text")][1], rng, name="rows")
    limit = ["--max-new-tokens", "2"] if verb == "generate" else []
    return Case([verb, _file(folder, name, content), *model, *limit], ("case/", "row "))


def _score(rng: random.Random, folder: Path) -> Case:
    """Predictions against references, of which one side is changed."""
    metric = rng.choice(list(SCORES))
    sides = [list(values) for values in SCORES[metric]]
    side = rng.randrange(2)
    if rng.random() < 0.5:
        sides[side] = [changed_value(value, rng) if rng.random() < 0.5 else value for value in sides[side]]
    else:
        odd = odd_value(rng)
        sides[side] = [odd for _ in sides[side]]
    files = []
    for name, values in zip(("predictions", "references"), sides, strict=True):
        kind = rng.choice(("jsonl", "jsonl", "txt", "csv"))
        records: list[dict[str, Any]] = [
            value if isinstance(value, dict) and "probabilities" in value else {"value": value} for value in values
        ]
        content = b"\n".join(as_json(record, rng) for record in records)
        if kind == "txt":
            content = "\n".join(str(value) for value in values).encode("utf-8", "surrogatepass")
        elif kind == "csv":
            content = as_csv(records, rng, delimiter=",")
        if rng.random() < 0.1:
            content = mutated(content, rng)
        files.append(_file(folder, f"{name}.{kind}", content))
    arguments = ["evaluate", "--predictions", files[0], "--references", files[1], "--metric", metric, "--json"]
    return Case(arguments, ("case/", "--prediction", "--reference", "row ", metric))


def _run(rng: random.Random, folder: Path) -> Case:
    """A run of which one file is changed."""
    run = folder / "run"
    shutil.copytree(folder.parent / "run", run)
    names = ["run.json", "data.json", "recipe.yaml", "env.json", "metrics.jsonl", "model/config.json"]
    names += ["model/tokenizer_config.json", "model/tokenizer.json", "checkpoints/step-00000004/trainer_state.json"]
    path = run / rng.choice([name for name in names if (run / name).exists()])
    content = path.read_bytes()
    if path.suffix == ".json" and rng.random() < 0.6:
        content = as_json(changed_value(json.loads(content), rng), rng)
    else:
        content = mutated(content, rng)
    path.write_bytes(content)
    commands: Sequence[list[str]] = (
        ["finetune", "--resume", str(run)],
        ["finetune", "--resume", str(run), "--set", "train.steps=5"],
        ["classify", SENTENCES[0], "--model", str(run)],
        ["evaluate", "--model", str(run), "--json"],
        ["plot", str(run)],
    )
    return Case(rng.choice(commands), ("case/", "run", "--set", "rows.jsonl"))


KINDS: Mapping[str, Callable[[random.Random, Path], Case]] = {
    "recipe": _recipe, "set": _option, "rows": _rows, "rows2": _rows, "use": _use, "score": _score, "score2": _score,
    "run": _run,
}  # fmt: skip

if __name__ == "__main__":
    main()

"""Open model folders with one damaged value or header, and use what opens; count what comes of it.

    python tests/slow/fuzz_models.py --count 1000 --seed 0

Each case copies a tiny model folder, changes one thing in one of its files, and opens and uses it as the verbs do, in
this process. Prints a tally, every crash (any exception but llmkit's own, or more than ten seconds), and the values with
which a model opened and gave other results than before. Exits with 1 if anything crashed.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from adapted import adapted, disturbed, saved
from builders import tiny_model
from decoder_folders import DecoderType, decoder_folder
from encoder_decoder_folders import LANGUAGES, Kind, write_model
from model_damage import damage, read_header
from published_models import published_folder
from sentence_folders import add_dense, sentence_folder

import llmkit
import llmkit.inference.engines.transformers  # now, so that the first model is not too slow
from llmkit.errors import LlmkitError
from llmkit.models.families import Head

SECONDS, MEMORY_BYTES = 10, 3 * 2**30
TEXTS = ["the old cat sees a red river", "a dog under the tree " + "a" * 30 + "!"]


@dataclass(frozen=True)
class Base:
    """A folder that opens, and how it is used."""

    name: str
    folder: Path
    use: Callable[[llmkit.Model], object]


def bases(home: Path) -> Iterator[Base]:
    """Models of llmkit and of transformers, a folder of sentence-transformers and an adapter."""

    def classify(model: llmkit.Model) -> object:
        return [
            (result.label, [round(share, 4) for share in result.probabilities.values()])
            for result in model.classify(TEXTS)
        ]

    def generate(model: llmkit.Model) -> object:
        return [result.texts for result in model.generate(TEXTS, max_new_tokens=5)]

    def tag(model: llmkit.Model) -> object:
        return [str(result) for result in model.tag(TEXTS)]

    def fill(model: llmkit.Model) -> object:
        mask = model.loaded.tokenizer.mask_token
        return [str(result) for result in model.fill([f"the {mask} {text}" for text in TEXTS])]

    def answer(model: llmkit.Model) -> object:
        return [str(result) for result in model.answer_many([("the red cat", text) for text in TEXTS])]

    def embed(model: llmkit.Model) -> object:
        return model.embed(TEXTS).round(4).tolist()

    for family in ("bert", "distilbert", "lstm", "roberta", "electra", "albert", "deberta", "mpnet", "modernbert"):
        saved(tiny_model(family, layers=2), home / family)
        yield Base(family, home / family, classify)
    heads: tuple[tuple[Head, Callable[[llmkit.Model], object]], ...] = (
        ("token-classification", tag),
        ("masked-lm", fill),
        ("question-answering", answer),
    )
    for head, use in heads:
        for family in ("bert", "roberta", "electra", "albert", "deberta", "mpnet", "modernbert"):
            saved(tiny_model(family, head=head), home / f"{family}-{head}")
            yield Base(f"{family}-{head}", home / f"{family}-{head}", use)
    saved(tiny_model("gpt2", layers=2), home / "gpt2")
    yield Base("gpt2", home / "gpt2", generate)
    saved(tiny_model("gpt2", head="classification"), home / "gpt2-classifier")
    yield Base("gpt2-classifier", home / "gpt2-classifier", classify)
    kinds: tuple[DecoderType, ...] = ("gpt_neo", "gpt_neox", "opt", "llama", "qwen2", "qwen3", "mistral")
    for kind in kinds:
        decoder_folder(home / kind, kind)
        yield Base(kind, home / kind, generate)
    saved(tiny_model("bart"), home / "bart")
    yield Base("bart", home / "bart", generate)
    (home / "pegasus").mkdir()
    write_model(home / "pegasus", "pegasus")
    yield Base("pegasus", home / "pegasus", generate)
    saved(tiny_model("bart", head="classification"), home / "bart-classifier")
    yield Base("bart-classifier", home / "bart-classifier", classify)
    translators: tuple[Kind, ...] = ("mbart", "mbart-50", "marian", "m2m100", "nllb")
    for name in translators:
        (home / name).mkdir()
        write_model(home / name, name)
        yield Base(name, home / name, partial(_translated, languages=LANGUAGES.get(name, ("en", "de"))))
    saved(tiny_model("t5"), home / "t5")
    yield Base("t5", home / "t5", generate)
    saved(tiny_model("t5", head="classification"), home / "t5-classifier")
    yield Base("t5-classifier", home / "t5-classifier", classify)
    published_folder(home / "published-bert", "bert", head="classification")
    yield Base("published-bert", home / "published-bert", classify)
    published_folder(home / "published-gpt2", "gpt2", chat_template="{{ messages[0].content }}")
    yield Base("published-gpt2", home / "published-gpt2", generate)
    published_folder(home / "published-t5", "t5")
    yield Base("published-t5", home / "published-t5", generate)
    sentence = sentence_folder(
        home / "sentence",
        after=("Dense", "Normalize"),
        transformer={"max_seq_length": 16, "do_lower_case": False},
        settings={"prompts": {"query": "the "}, "default_prompt_name": None, "similarity_fn_name": "cosine"},
    )
    add_dense(
        sentence / "2_Dense", inputs=16, outputs=8, seed=1, activation_function="torch.nn.modules.activation.Tanh"
    )
    yield Base("sentence", sentence, embed)
    saved(disturbed(adapted("classification", home / "adapter-base", rank=2)), home / "adapter")
    yield Base("adapter", home / "adapter", classify)
    split = home / "split"
    shutil.copytree(home / "bert", split)
    (split / "model.safetensors").rename(split / "model-1.safetensors")
    names = list(read_header(split / "model-1.safetensors")[0])
    index = {"metadata": {"total_size": 1}, "weight_map": dict.fromkeys(names, "model-1.safetensors")}
    (split / "model.safetensors.index.json").write_text(json.dumps(index))
    yield Base("split", split, classify)


def _translated(model: llmkit.Model, languages: tuple[str, str]) -> object:
    source, target = languages
    given = {"source_language": source, "target_language": target}
    return [result.texts for result in model.translate(TEXTS, **given, max_new_tokens=5)]


# ---- what comes of it


class TooSlow(BaseException):
    """Not an Exception, so that nothing on the way catches it."""


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise TooSlow


def outcome(base: Base, folder: Path) -> tuple[str, str]:
    """What opening and use came to, in a word, and the message or the result."""
    signal.alarm(SECONDS)
    try:
        return "ok", json.dumps(base.use(llmkit.load(str(folder))))
    except LlmkitError as error:
        return f"exit {error.exit_code}", str(error)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a panic of Rust is not an Exception
        return "crash", "".join(traceback.format_exception(error)[-8:])
    finally:
        signal.alarm(0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--only", default="", help="bases whose names contain this, such as roberta")
    parser.add_argument("--messages", action="store_true", help="print each case with its message")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("llmkit").setLevel(logging.ERROR)
    signal.signal(signal.SIGALRM, _stop)
    tally: Counter[str] = Counter()
    crashes: list[str] = []
    changed: defaultdict[str, list[str]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="llmkit-fuzz-") as temporary:
        home = Path(temporary)
        every = [(base, outcome(base, base.folder)) for base in bases(home) if arguments.only in base.name]
        assert not (unusable := [(base.name, came) for base, came in every if came[0] != "ok"]), unusable
        resource.setrlimit(resource.RLIMIT_AS, (_size() + MEMORY_BYTES, resource.RLIM_INFINITY))
        for number in range(arguments.first, arguments.first + arguments.count):
            rng = random.Random(f"{arguments.seed} {number}")
            base, (_, usual) = rng.choice(every)
            folder = home / "case"
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(base.folder, folder)
            case = f"{number} {base.name}: {damage(folder, rng)}"
            if arguments.messages:
                print(case, flush=True)  # before it, as it may end the process
            kind, said = outcome(base, folder)
            if kind == "ok" and said != usual:
                kind = "ok, another result"
                changed[case.split(" = ")[0].partition(": ")[2]].append(case)
            if kind == "crash":
                crashes.append(f"{case}\n{said}")
            tally[kind] += 1
            if arguments.messages:
                print(f"    {kind}: {said if kind == 'crash' else said[:400]!r}", flush=True)
    print("\n".join(crashes))
    for cases in changed.values():
        print("another result:", "; ".join(cases))
    print(", ".join(f"{kind}: {count}" for kind, count in sorted(tally.items())))
    return 1 if crashes else 0


def _size() -> int:
    """Bytes of address space in use."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


if __name__ == "__main__":
    sys.exit(main())

"""Training, evaluation and use of every family under an audit hook: no pickle, no network, no code and no files from elsewhere."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from adapted import adapted, disturbed, saved
from builders import rows, tiny_model
from decoder_folders import DecoderType, decoder_folder
from encoder_decoder_folders import LANGUAGES, Kind, write_model
from published_models import published_folder
from sentence_folders import sentence_folder
from tiny_recipes import environment

_WATCHED = """
import json, os, sys

home, allowed = os.path.realpath(sys.argv[1]), [os.path.realpath(path) for path in sys.argv[2:]]
from llmkit.cli import run
import datasets, peft, sklearn, torch, transformers  # reading their own code is no concern here

seen = []
PROGRAMS = (sys.executable, "git", "fc-list")  # a chat template, the commit of a run, the fonts of its plot
CODE = (".py", ".pyc", ".so", ".pkl", ".bin", ".pt", ".pth")

def watch(event, arguments):
    if event in ("pickle.find_class", "socket.connect", "socket.getaddrinfo", "os.system"):
        seen.append(f"{event} {arguments}")
    elif event == "import" and arguments[1] and os.path.realpath(arguments[1]).startswith(home):
        seen.append(f"import {arguments[1]}")
    elif event == "subprocess.Popen" and arguments[0] not in PROGRAMS:
        seen.append(f"program {arguments[0]}")
    elif event == "open" and isinstance(arguments[0], (str, bytes)):
        path, mode = os.path.realpath(os.fsdecode(arguments[0])), arguments[1]
        flags = arguments[2] if isinstance(arguments[2], int) else 0
        written = (isinstance(mode, str) and set("wax+") & set(mode)) or flags & (os.O_WRONLY | os.O_RDWR)
        if written and path != "/dev/null" and not any(path.startswith(place + os.sep) for place in allowed):
            seen.append(f"written {path}")
        if path.startswith(home + os.sep + "outside") or (path.startswith(home) and path.endswith(CODE)):
            seen.append(f"read {path}")

sys.addaudithook(watch)
results = []
for arguments in json.load(sys.stdin):
    seen.clear()
    code = run(arguments)
    results.append([" ".join(arguments), code, sorted(set(seen))])
print(json.dumps(results))
"""
ENCODERS = ("distilbert", "roberta", "electra", "albert", "deberta", "mpnet", "modernbert")
DECODERS: tuple[DecoderType, ...] = ("gpt_neo", "gpt_neox", "opt", "llama", "qwen3")
TRANSLATORS: tuple[Kind, ...] = ("mbart", "mbart-50", "marian", "m2m100", "nllb")
TEXT = "the red cat under a tree"
CACHES = ("HF_HOME", "XDG_CACHE_HOME", "MPLCONFIGDIR", "LLMKIT_CACHE")


def _models(home: Path) -> list[list[str]]:
    """Make a folder of each kind, with pickles and code beside the model; returns the commands that use them."""
    saved(tiny_model("bert"), home / "bert")
    saved(tiny_model("bert", head="masked-lm"), home / "mlm")
    saved(tiny_model("bert", head="question-answering"), home / "qa")
    saved(tiny_model("bert", head="token-classification"), home / "tagger")
    saved(tiny_model("lstm"), home / "lstm")
    for family in ENCODERS:
        saved(tiny_model(family), home / family)
    saved(tiny_model("bart"), home / "bart")
    for name in ("pegasus", *TRANSLATORS):
        (home / name).mkdir()
        write_model(home / name, name)
    for kind in DECODERS:
        decoder_folder(home / kind, kind)
    published_folder(home / "gpt2", "gpt2", chat_template="{{ messages[0].content }}{{ eos_token }}")
    published_folder(home / "t5", "t5")
    sentence_folder(home / "sentence")
    saved(disturbed(adapted("classification", home / "base", rank=2)), home / "adapter")
    for folder in [path for path in home.iterdir() if any(path.glob("*.json"))]:
        for file in ("pytorch_model.bin", "training_args.bin", "optimizer.pt", "sitecustomize.py", "modeling.py"):
            torch.save({"x": torch.ones(1)}, folder / file)
        (folder / "README.md").symlink_to(home / "outside" / "secret.md")
        (folder / "loop").symlink_to(home / "outside")
    uses = dict.fromkeys(ENCODERS, "classify") | {
        "bert": "classify",
        "lstm": "classify",
        "adapter": "classify",
        "tagger": "tag",
    }
    uses |= {"t5": "summarize", "bart": "summarize", "pegasus": "summarize", "sentence": "embed"}
    commands = [[verb, "--model", str(home / name), TEXT] for name, verb in uses.items()]
    commands.append(["fill", "--model", str(home / "mlm"), "the [MASK] cat"])
    for name in ("gpt2", *DECODERS):
        commands.append(["generate", "--model", str(home / name), "--prompt", TEXT, "--max-new-tokens", "3"])
    for translator in TRANSLATORS:
        source, target = LANGUAGES.get(translator, ("en", "de"))
        commands.append(["translate", "--model", str(home / translator), "--from", source, "--to", target, TEXT])
    commands += [["models", str(home / name)] for name in (*uses, *DECODERS, *TRANSLATORS)]
    commands.append(["answer", "--model", str(home / "qa"), "--question", "the cat", TEXT])
    commands.append(["merge", str(home / "adapter"), "--output", str(home / "work" / "merged")])
    return commands


def _trainings(home: Path) -> list[list[str]]:
    """A training of each family, and an evaluation of what it trained."""
    work = home / "work"
    lines = [{key: row.fields[key] for key in ("text", "label", "summary")} for row in rows(24)]
    (work / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    common: dict[str, Any] = {"recipe": 1, "data": {"train": "rows.jsonl", "validation": "25%"}}
    common["train"] = {"steps": 1, "batch_size": 4}
    lengths = {"max_source_tokens": 32, "max_target_tokens": 16}
    recipes = {
        name: {**common, "task": "classification", "model": str(home / name), "max_tokens": 24}
        for name in ("bert", "lstm", *ENCODERS)
    }
    recipes["bart"] = {**common, "task": "denoising", "model": str(home / "bart"), "block_tokens": 16}
    recipes |= {
        name: {**common, "task": "causal-lm", "model": str(home / name), "block_tokens": 16} for name in DECODERS
    }
    for translator in TRANSLATORS:
        source, target = LANGUAGES.get(translator, ("en", "de"))
        recipes[translator] = {**common, "task": "translation", "model": str(home / translator), **lengths}
        recipes[translator] |= {"source_language": source, "target_language": target}
        recipes[translator]["data"] = {**common["data"], "columns": {"source": "text", "target": "summary"}}
    for name in ("t5", "pegasus"):
        recipes[name] = {**common, "task": "summarization", "model": str(home / name), **lengths}
    recipes["gpt2"] = {**common, "task": "causal-lm", "model": str(home / "gpt2"), "block_tokens": 16}
    commands = []
    for name, recipe in recipes.items():
        (work / f"{name}.yaml").write_text(json.dumps(recipe))
        verb = "pretrain" if "block_tokens" in recipe else "finetune"
        commands.append([verb, str(work / f"{name}.yaml"), "--run", str(work / "runs" / name)])
        commands.append(["evaluate", "--model", str(work / "runs" / name)])
    return commands


@pytest.mark.slow
def test_no_command_runs_code_reads_pickle_uses_the_network_or_writes_elsewhere(tmp_path: Path) -> None:
    for folder in ("outside", "work", "caches", "temporary"):
        (tmp_path / folder).mkdir()
    (tmp_path / "outside" / "secret.md").write_text("secret")
    commands = [*_models(tmp_path), *_trainings(tmp_path)]
    places = [str(tmp_path / folder) for folder in ("work", "caches", "temporary")]
    caches = {name: str(tmp_path / "caches") for name in CACHES}
    done = subprocess.run(
        [sys.executable, "-c", _WATCHED, str(tmp_path), *places],
        input=json.dumps(commands),
        env={**environment(), **caches, "TMPDIR": str(tmp_path / "temporary"), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=tmp_path / "work",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    results = json.loads(done.stdout.splitlines()[-1])
    assert [(command, code) for command, code, _ in results if code] == [], done.stderr[-3000:]
    assert [(command, seen) for command, _, seen in results if seen] == []
    assert list((tmp_path / "temporary").iterdir()) == []

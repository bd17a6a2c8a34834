"""Whether every kind of model trains, resumes and is used on a GPU as on a CPU. For its speed, see gpu_speed.py.

    python benchmarks/gpu.py [families] [resume] [memory]

`families` trains a tiny model of each kind without dropout on the CPU in fp32, and on the GPU in fp32, bf16 and fp16, and
prints the largest relative difference of a step's loss; the model from the GPU is then used on both devices. `resume`
kills a training with dropout on the GPU and continues it: the weights, beside those of two uninterrupted ones. `memory`
gives a training little of the GPU's memory. Exits with 1 if a comparison fails. Without a GPU, all runs on the CPU.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

STEPS = 20
LIMITS = {"fp32": 1e-3, "bf16": 0.05, "fp16": 0.05}
"""The largest relative difference of a step's loss from that on the CPU in fp32."""
LSTM_LIMIT = 5e-3
"""cuDNN's LSTM multiplies fp32 matrices in TF32."""
TEXTS = ["a match of the league was played", "the oven and the butter", "salt"]
KINDS = ("bert", "roberta", "modernbert", "distilbert", "electra", "lstm", "gpt2", "llama", "t5", "bart")
OBJECTIVES = {"electra": "replaced-token-detection", "t5": "span-corruption", "bart": "denoising"}
REFUSED = {("lstm", "bf16"), ("t5", "fp16")}
RESUMED = (("bert", "fp32"), ("bert", "bf16"), ("gpt2", "bf16"), ("gpt2", "fp16"), ("t5", "bf16"))
Result = dict[str, Any]


def main() -> None:
    arguments = sys.argv[1:]
    if arguments and arguments[0] in CHILDREN:
        for result in CHILDREN[arguments[0]](*arguments[1:]):
            print(json.dumps(result), flush=True)
        return
    failed = [name for name in arguments or SECTIONS if not SECTIONS[name]()]
    print("failed:", ", ".join(failed) or "nothing")
    raise SystemExit(bool(failed))


def child(name: str, *arguments: str, folder: Path, device: str) -> list[Result]:
    """The lines that this script prints as `name`, in a process that sees the GPU or not."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "2"}
    if device == "cpu":
        environment["CUDA_VISIBLE_DEVICES"] = ""
    command = [sys.executable, str(Path(__file__).resolve()), name, *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


# --- families ---------------------------------------------------------------------------------------------------------


def families() -> bool:
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor() as pool:
        folder = Path(name)
        write_rows(folder / "rows.jsonl")
        for kind in KINDS:
            write_recipe(kind, folder, name=f"{kind}.yaml")
        sides = [
            pool.submit(child, "train", device, *formats, folder=folder, device=device)
            for device, formats in (("cpu", ["fp32"]), ("gpu", list(LIMITS)))
        ]
        expected, trained = ({(line["kind"], line["format"]): line for line in side.result()} for side in sides)
        runs = [f"{kind}-gpu-{precision}" for kind, precision in trained]
        peers = {line["run"]: line for line in child("use", *runs, folder=folder, device="cpu")}
    good = True
    for (kind, precision), line in trained.items():
        good &= print_line(line, expected[kind, "fp32"], peers[line["run"]], refused=(kind, precision) in REFUSED)
    return good


def print_line(trained: Result, expected: Result, peer: Result, *, refused: bool) -> bool:
    """What the GPU did beside the CPU; whether it is as it should be."""
    start = f"{trained['kind']:11}{trained['device']} {trained['format']}"
    if "error" in trained or "error" in expected:
        print(
            f"{start} {trained.get('error')} {expected.get('error', '')}", "" if refused else "  <- fails", flush=True
        )
        return refused
    difference = max(abs(a - b) / a for a, b in zip(expected["losses"], trained["losses"], strict=True))
    losses = f"{expected['losses'][0]:.3f} to {expected['losses'][-1]:.3f}"
    same = trained["used"] == peer["used"]
    limit = max(LIMITS[trained["format"]], LSTM_LIMIT if trained["kind"] == "lstm" else 0)
    good = same and difference <= limit and not refused
    speech = f"loss {losses}, differs by {difference:.1e}; used the same on the CPU: {same}"
    print(f"{start} {speech}", "" if good else f"  <- differs {trained['used']} {peer['used']}", flush=True)
    return good


def train(device: str, *formats: str) -> Iterator[Result]:
    """Train each kind in each format; its losses, and what the model then says."""
    import torch

    import llmkit

    seen = "gpu" if torch.cuda.is_available() else "cpu"
    for kind in KINDS:
        for precision in formats:
            run, losses = f"{kind}-{device}-{precision}", list[float]()
            result: Result = {"kind": kind, "format": precision, "run": run, "device": seen}
            try:
                llmkit.finetune(
                    f"{kind}.yaml",
                    overrides=[f"train.precision={precision}"],
                    run=run,
                    report=partial(note_loss, losses),
                )
                result |= {"losses": losses, "used": use_one(run)}
            except Exception as error:  # every kind is to be tried
                result["error"] = f"{type(error).__name__}: {error}"[:300]
            yield result


def note_loss(losses: list[float], event: object) -> None:
    from llmkit.api import StepResult

    if isinstance(event, StepResult):
        losses.append(event.loss)


def use(*runs: str) -> Iterator[Result]:
    for run in runs:
        yield {"run": run, "used": use_one(run) if (Path(run) / "model").exists() else None}


def use_one(run: str) -> Result:
    """Scores on the validation rows, and what the model says of a few texts."""
    import llmkit

    scores = llmkit.evaluate_model(run).scores.values
    model = llmkit.load(run)
    task = json.loads((Path(run) / "run.json").read_text())["task"]
    texts = []
    if task == "classification":
        texts = [f"{result.label} {max(result.probabilities.values()):.2f}" for result in model.classify(TEXTS)]
    elif task == "causal-lm":
        texts = [result.texts[0] for result in model.generate(TEXTS, max_new_tokens=12)]
    return {"scores": {name: f"{value:.3g}" for name, value in scores.items()}, "texts": texts}


def write_recipe(kind: str, folder: Path, *, name: str, dropout: float = 0, **train: Any) -> Path:
    task = OBJECTIVES.get(kind, "causal-lm" if kind in ("gpt2", "llama") else "classification")
    recipe: dict[str, Any] = {
        "recipe": 1,
        "task": task,
        "model": {"architecture": kind, "size": "tiny", "tokenizer": {"vocab_size": 500}},
        "data": {"train": "rows.jsonl", "validation": "20%"},
        "train": {"steps": STEPS, "batch_size": 16, "learning_rate": 1e-3, **train},
        "evaluation": {"every": f"{STEPS // 2} steps", "max_rows": 8},
    }
    recipe |= {"max_tokens": 32} if task == "classification" else {"block_tokens": 32}
    if kind != "llama":
        recipe["model"]["dropout"] = dropout
    path = folder / name
    path.write_text(json.dumps(recipe))
    return path


def write_rows(path: Path) -> None:
    words = {"food": [*TEXTS[1].split(), "soup", "bread", "salt"], "sport": [*TEXTS[0].split(), "goal", "team"]}
    rng = random.Random(3)
    rows = []
    for number in range(300):
        label = ("food", "sport")[number % 2]
        rows.append({"label": label, "text": " ".join([*rng.choices(words[label], k=rng.randint(3, 20)), str(number)])})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


# --- resume -----------------------------------------------------------------------------------------------------------


def resume() -> bool:
    """Weights of a killed and resumed training, of an uninterrupted one, and of one more."""
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor() as pool:
        folder = Path(name)
        write_rows(folder / "rows.jsonl")
        return all(pool.map(lambda pair: resume_one(pair[0], pair[1], folder), RESUMED))


def resume_one(kind: str, precision: str, folder: Path) -> bool:
    name = f"{kind}-{precision}"
    recipe = write_recipe(kind, folder, name=f"{name}.yaml", dropout=0.1, steps=60, precision=precision, save_every=5)
    runs = {run: folder / f"{name}-{run}" for run in ("whole", "again", "killed")}
    processes = {name: finetune(str(recipe), "--run", str(run), folder=folder) for name, run in runs.items()}
    killed = processes["killed"]
    while killed.poll() is None and not any((runs["killed"] / "checkpoints").glob("*")):
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    processes["killed, not resumed"] = killed
    processes["killed"] = finetune("--resume", str(runs["killed"]), folder=folder)
    codes = {name: process.wait() for name, process in processes.items()}
    weights = {name: run / "model" / "model.safetensors" for name, run in runs.items()}
    hashes = {name: sha256(file.read_bytes()).hexdigest()[:12] for name, file in weights.items() if file.exists()}
    resumed = len(hashes) == len(runs) and hashes["killed"] == hashes["whole"]
    print(f"{kind} {precision}: resumed = uninterrupted: {resumed} {hashes} exit codes {codes}", flush=True)
    return resumed


def finetune(*arguments: str, folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "llmkit", "finetune", *arguments]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


# --- memory -----------------------------------------------------------------------------------------------------------


def memory() -> bool:
    """A training whose micro-batches do not fit on the GPU: they are halved until they do."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_rows(folder / "rows.jsonl")
        write_recipe("bert", folder, name="bert.yaml", batch_size=240, micro_batch_tokens=100_000)
        (result,) = child("narrow", folder=folder, device="gpu")
    print("memory:", result, flush=True)
    return bool(result["reduced"])


def narrow() -> Iterator[Result]:
    """Micro-batches of a training that may use 100 MiB of the GPU."""
    import torch

    import llmkit

    limit = 100 * 2**20
    torch.cuda.set_per_process_memory_fraction(limit / torch.cuda.get_device_properties(0).total_memory)
    reduced: list[int] = []
    llmkit.finetune(
        "bert.yaml",
        run="narrow",
        report=lambda event: reduced.append(event.micro_batch_tokens) if hasattr(event, "micro_batch_tokens") else None,
    )
    yield {"reduced": reduced, "peak_mib": torch.cuda.max_memory_allocated() >> 20}


SECTIONS = {"families": families, "resume": resume, "memory": memory}
CHILDREN: dict[str, Callable[..., Iterator[Result]]] = {"train": train, "use": use, "narrow": narrow}


if __name__ == "__main__":
    main()

"""Damage of a file as disks, kills and editors cause it, and the tiny run that it is tried on."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tiny_recipes import CLASSIFY, llmkit, rows, write_jsonl

RUN = Path("runs/case")
STEPS, STOPPED_AT = 6, 4
CHECKPOINT = f"checkpoints/step-{STOPPED_AT:08d}/"
_PAGE = 512


@dataclass(frozen=True)
class Damage:
    kind: str
    """`cut`, `zeros`, `a bit`, `missing` or `extra`."""
    position: int = 0
    bit: int = 0

    def apply(self, path: Path) -> None:
        content = bytearray(path.read_bytes())
        if self.kind == "missing":
            path.unlink()
            return
        if self.kind == "extra":
            self._extra(path).write_bytes(b"\x80\x04.")
            return
        if self.kind == "cut":
            del content[self.position :]
        elif self.kind == "zeros":
            page = content[self.position : self.position + _PAGE]
            content[self.position : self.position + _PAGE] = bytes(len(page))
        else:
            content[self.position] ^= 1 << self.bit
        path.write_bytes(content)

    def named(self, file: Path) -> str:
        """The name that a message must have."""
        return self._extra(file).name if self.kind == "extra" else file.name

    def _extra(self, path: Path) -> Path:
        """A neighbour that changes how a model is read, or would run code."""
        return path.with_name("added_tokens.json" if path.parent.name == "model" else "optimizer.pt")


def damages_of(content: bytes, *, rng: random.Random, bits: int = 3) -> Iterator[Damage]:
    """One of each kind for a file, which must change its bytes."""
    size = len(content)
    for end in sorted({0, 1, size // 2, size - 1} - {size, -1}):
        yield Damage("cut", position=end)
    position = rng.randrange(max(1, size))
    if any(content[position : position + _PAGE]):
        yield Damage("zeros", position=position)
    for _ in range(bits if size else 0):
        yield Damage("a bit", position=rng.randrange(size), bit=rng.randrange(8))
    yield Damage("missing")
    yield Damage("extra")


def finished_run(folder: Path) -> None:
    """A run of six steps in a copy of `RUN`, evaluated; rows and cache stay in the current folder."""
    write_jsonl(Path("rows.jsonl"), rows())
    Path("case.yaml").write_text(CLASSIFY)
    settings = {"steps": STEPS, "batch_size": 8, "save_every": 2, "keep_checkpoints": 3, "checks": "false"}
    overrides = [part for key, value in settings.items() for part in ("--set", f"train.{key}={value}")]
    for arguments in (
        ("finetune", "case.yaml", "--run", RUN, "--set", "evaluation.every=2 steps", *overrides),
        ("evaluate", "--model", RUN),
    ):
        outcome = llmkit(*arguments)
        assert outcome.code == 0, outcome.err
    RUN.rename(folder) if folder.parent.is_dir() else shutil.copytree(RUN, folder)
    shutil.rmtree(RUN, ignore_errors=True)


def stopped_run(finished: Path, folder: Path) -> None:
    """The run as a kill after step 4 leaves it."""
    shutil.copytree(finished, folder)
    shutil.rmtree(folder / "checkpoints" / f"step-{STEPS:08d}")
    shutil.rmtree(folder / "model")
    content = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**content, "status": "running", "best": None}))


def final_state(run: Path) -> dict[str, object]:
    """Weights and optimizer state of a finished run as bytes, and its metrics without timings."""
    last = run / "checkpoints" / f"step-{STEPS:08d}"
    files = [*sorted((run / "model").glob("*.safetensors")), *sorted(last.glob("*.safetensors"))]
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    metrics = [{key: value for key, value in line.items() if "second" not in key} for line in lines]
    return {"metrics": metrics, **{f"{path.parent.name}/{path.name}": path.read_bytes() for path in files}}

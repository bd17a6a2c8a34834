"""The space that a run's checkpoints and its model need, and what is free."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from llmkit.atomic import free_bytes
from llmkit.training.schedule import Plan


@dataclass(frozen=True)
class Disk:
    """Bytes."""

    folder: str
    checkpoint: int
    """Size of one checkpoint."""
    checkpoints: int
    """The most that there are at once: the latest, the best, and one that is being written."""
    model: int
    """Size of the finished model."""
    free: int

    @property
    def needed(self) -> int:
        return self.checkpoints * self.checkpoint + self.model


def needed_disk(folder: Path, plan: Plan, *, keep: int, checkpoint: int, model: int) -> Disk:
    """
    Args:
        keep: latest checkpoints that are kept.
        checkpoint, model: their sizes in bytes.
    """
    most = min(keep + 2, plan.saves_left(0))
    return Disk(str(folder), checkpoint, most, model, free_bytes(folder))

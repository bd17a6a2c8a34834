"""The saves of a training: one that fails does not end it, unless it is the last one or the third in a row."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import gather_object
from torch.optim import Optimizer

from llmkit.atomic import free_bytes, megabytes
from llmkit.errors import MachineError
from llmkit.models.loaded import LoadedModel
from llmkit.training.checkpoints import CheckpointStore
from llmkit.training.progress import Progress
from llmkit.training.step import scaler_of

logger = logging.getLogger("llmkit")
_FAILURES = 3
"""So many failed saves in a row end the training."""


def check_room(folder: Path, loaded: LoadedModel) -> None:
    """Check that the file system of a run's folder, which need not exist yet, has room for two checkpoints.

    One must be complete before an older one is deleted.

    Raises:
        MachineError: it has not; the message has both numbers.
    """
    needed, free = checkpoint_bytes(loaded), free_bytes(folder)
    if free < 2 * needed:
        raise MachineError(
            f"{folder}: two checkpoints of about {megabytes(needed)} need {megabytes(2 * needed)}, "
            f"and {megabytes(free)} are free. Make room, or use a folder on another disk."
        )


def checkpoint_bytes(loaded: LoadedModel) -> int:
    """Approximate size of a checkpoint: the weights, or an adapter's alone, and AdamW's two moments of the trained ones."""
    parameters = list(loaded.model.parameters())
    trained: int = sum(parameter.nbytes for parameter in parameters if parameter.requires_grad)
    saved: int = trained if loaded.adapter is not None else sum(parameter.nbytes for parameter in parameters)
    return saved + 2 * trained


class Saver:
    """Saves checkpoints, and counts the saves that fail."""

    def __init__(
        self,
        store: CheckpointStore | None,
        *,
        loaded: LoadedModel,
        optimizer: Optimizer,
        accelerator: Accelerator,
        about: Mapping[str, Any],
    ) -> None:
        """
        Args:
            store: None on all processes except the first, or to save nothing.
            about: additional entries of the manifests.
        """
        self._store = store
        self._loaded = loaded
        self._optimizer = optimizer
        self._accelerator = accelerator
        self._about = about
        self._failures = 0

    def save(self, progress: Progress, *, last: bool) -> tuple[bool, Path | None]:
        """Save a checkpoint, called by all processes.

        Args:
            last: no later checkpoint would have this step's work.
        Returns:
            Whether it was saved, the same on all processes; and its folder, on the process that saved it.
        Raises:
            MachineError: it could not be saved, and it is the last one, or the saves before it have failed too.
        """
        folder, fault = None, None
        try:
            folder = self._write(progress)
        except MachineError as error:
            fault = str(error)
        fault = self._fault_of_any(fault)
        if fault is None:
            self._failures = 0
            return True, folder
        self._failures += 1
        if last or self._failures == _FAILURES:
            raise MachineError(self._ending(fault, step=progress.step))
        if self._store is not None:
            logger.warning(
                "%s Training goes on without this checkpoint; after %s failed saves in a row it stops (%s now).",
                fault, _FAILURES, self._failures,
            )  # fmt: skip
        return False, None

    def _write(self, progress: Progress) -> Path | None:
        if self._store is None:
            return None
        scaler = scaler_of(self._accelerator)
        return self._store.save(self._loaded, self._optimizer, progress, scaler=scaler, about=self._about)

    def _fault_of_any(self, fault: str | None) -> str | None:
        """Only the first process writes, but all must go on or stop after the same step."""
        if self._accelerator.num_processes == 1:
            return fault
        return next((other for other in gather_object([fault]) if other is not None), None)

    def _ending(self, fault: str, *, step: int) -> str:
        published = [] if self._store is None else self._store.published()
        kept = f"The newest checkpoint is {published[-1].name}" if published else "There is no checkpoint"
        count = "" if self._failures < _FAILURES else f"; {self._failures} saves in a row have failed"
        return f"{fault} Training stopped after step {step:,}{count}. {kept}: make room, then continue with --resume."

"""Checkpoints: a model folder that plain transformers opens (or an adapter that peft opens), the optimizer's state by
parameter name, and the training progress.

Saved atomically (llmkit/atomic.py), listed from the folder and verified byte by byte. No pickle.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch.optim import Optimizer

from llmkit.atomic import (
    NewerFormatError,
    machine_error,
    publish_folder,
    read_verified,
    remove_folder,
    verify_folder,
)
from llmkit.errors import RunError
from llmkit.models.adapters import ADAPTER_WEIGHTS, put_tensors
from llmkit.models.export import by_class_name, changing_files, tokenizer_files, unique_tensors
from llmkit.models.generator import put_generator
from llmkit.models.loaded import LoadedModel
from llmkit.models.scale import TargetScale
from llmkit.models.stored import GENERATOR, PICKLES
from llmkit.models.target_scale import head_tensors, put_head
from llmkit.training.optimizer import optimizer_state, restore_optimizer
from llmkit.training.progress import Progress

logger = logging.getLogger("llmkit")
_OPTIMIZER, _STATE, _SCALER = "optimizer.safetensors", "trainer_state.json", "scaler.json"
_HEAD, _MEAN, _DEVIATION = "standardised_head.safetensors", "target_mean", "target_deviation"
_NOT_OF_THE_MODEL = {_OPTIMIZER, _STATE, _SCALER, _HEAD}
"""The files of a checkpoint besides the model."""


@dataclass(frozen=True)
class Checkpoint:
    """A saved checkpoint of which every byte was verified."""

    folder: Path
    manifest: Mapping[str, Any]

    @property
    def step(self) -> int:
        return int(self.manifest["step"])

    def read(self, name: str) -> bytes:
        return read_verified(self.folder, self.manifest, name)

    def model_files(self) -> dict[str, bytes]:
        """The files of the finished model."""
        return {name: self.read(name) for name in self.manifest["files"] if name not in _NOT_OF_THE_MODEL}


class CheckpointStore:
    """The checkpoints of one run."""

    def __init__(self, folder: Path, *, run_id: str, keep: int) -> None:
        self.folder = folder
        self.run_id = run_id
        self.keep = keep
        self._tokenizer: dict[str, bytes] | None = None

    def save(
        self,
        loaded: LoadedModel,
        optimizer: Optimizer,
        progress: Progress,
        *,
        scaler: Mapping[str, Any] | None,
        about: Mapping[str, Any],
    ) -> Path:
        """Save a checkpoint of this step, then delete old checkpoints.

        Args:
            scaler: the gradient scaler's state, for fp16.
            about: additional entries of the manifest.
        Raises:
            MachineError: it could not be written; older checkpoints are not affected.
        """
        target = self.folder / f"step-{progress.step:08d}"
        try:
            files = self._files(loaded, optimizer, progress, scaler=scaler)
            self.folder.mkdir(exist_ok=True)
            if target.exists():  # a damaged checkpoint of this step was skipped when training resumed; replace it
                remove_folder(target)
        except OSError as error:
            raise machine_error(target, error, next_step=None) from error
        publish_folder(target, files, about={"run": self.run_id, "step": progress.step, **about}, next_step=None)
        try:
            self._retain(progress)
        except OSError as error:  # the new checkpoint is complete all the same
            logger.warning("%s: an old checkpoint cannot be deleted (%s)", self.folder, error.strerror)
        return target

    def _files(
        self, loaded: LoadedModel, optimizer: Optimizer, progress: Progress, *, scaler: Mapping[str, Any] | None
    ) -> dict[str, bytes]:
        if self._tokenizer is None:
            self._tokenizer = tokenizer_files(loaded)
        files = {
            **self._tokenizer,
            **changing_files(loaded),
            _OPTIMIZER: save_tensors(optimizer_state(optimizer, loaded.model)),
            _STATE: json.dumps(progress.as_json()).encode(),
        }
        if scaler:
            files[_SCALER] = json.dumps(scaler).encode()
        if loaded.target_scale is not None:
            files[_HEAD] = _head_file(loaded, loaded.target_scale)
        return files

    def newest(self, *, before: int | None = None) -> Checkpoint | None:
        """The latest complete checkpoint, before a step if given; damaged ones are skipped with a warning.

        Raises:
            NewerFormatError: a newer llmkit wrote one of those that are tried.
        """
        for folder in reversed(self.published()):
            if before is not None and folder.name >= f"step-{before:08d}":
                continue
            try:
                return self.open(folder)
            except NewerFormatError:
                raise
            except RunError as error:
                logger.warning("%s It is skipped.", error)
        return None

    def resumable(self) -> Checkpoint | None:
        """As `newest`; but if the best checkpoint is damaged, one from which it is trained again, if there is any."""
        newest = checkpoint = self.newest()
        while checkpoint is not None:
            fault = self._fault_of_best(checkpoint)
            if not fault:
                return checkpoint
            logger.warning("%s: the best checkpoint so far is damaged. %s", checkpoint.folder, fault)
            checkpoint = self.newest(before=checkpoint.step)
        if newest is not None:
            logger.warning("there is none before it; the run can end only with a checkpoint that is better")
        return newest

    def _fault_of_best(self, checkpoint: Checkpoint) -> str:
        """Why the best checkpoint at the time of this one cannot be used; empty if it can."""
        best_step = progress_of(checkpoint).best_step
        try:
            if best_step not in (None, checkpoint.step):
                self.at_step(best_step)
        except NewerFormatError:
            raise
        except RunError as error:
            return str(error)
        return ""

    def open(self, folder: Path) -> Checkpoint:
        """The checkpoint in a folder.

        Raises:
            RunError: it is damaged, belongs to another run, or has a pickle.
        """
        manifest = verify_folder(folder)
        if manifest.get("run") != self.run_id:
            raise RunError(f"{folder}: it belongs to another run than run.json, whose id is {self.run_id}.")
        pickles = [name for name in manifest["files"] if Path(name).suffix in PICKLES]
        if pickles:
            raise RunError(f"{folder}: it has {pickles[0]}, a pickle, which can run code.")
        return Checkpoint(folder=folder, manifest=manifest)

    def at_step(self, step: int) -> Checkpoint:
        return self.open(self.folder / f"step-{step:08d}")

    def published(self) -> list[Path]:
        """Folders with the name of a checkpoint, complete or damaged, in the order of their steps."""
        if not self.folder.is_dir():
            return []
        return sorted(path for path in self.folder.iterdir() if re.fullmatch(r"step-\d{8}", path.name))

    def _retain(self, progress: Progress) -> None:
        """Keep the latest few and the best; the latest was verified when it was saved.

        Checkpoints after this step were damaged and skipped when training resumed: they do not count.
        """
        published = [folder for folder in self.published() if folder.name <= f"step-{progress.step:08d}"]
        best = f"step-{progress.best_step:08d}" if progress.best_step is not None else None
        for folder in published[: -self.keep]:
            if folder.name != best:
                remove_folder(folder)


def restore(checkpoint: Checkpoint, loaded: LoadedModel, optimizer: Optimizer) -> Progress:
    """Restore weights and optimizer state.

    Raises:
        RunError: the tensors do not match this model, or are not finite numbers.
    """
    if loaded.adapter is not None:
        put_tensors(loaded.model, _tensors(checkpoint, ADAPTER_WEIGHTS), name=str(checkpoint.folder))
    else:
        _put_weights(checkpoint, loaded)
    if GENERATOR in checkpoint.manifest["files"]:
        put_generator(loaded.model, _tensors(checkpoint, GENERATOR), name=str(checkpoint.folder / GENERATOR))
    if loaded.target_scale is not None:  # folding rounds, and the model's files are folded
        put_head(loaded, _tensors(checkpoint, _HEAD))
    restore_optimizer(optimizer, loaded.model, _tensors(checkpoint, _OPTIMIZER))
    return progress_of(checkpoint)


def _tensors(checkpoint: Checkpoint, file: str) -> dict[str, torch.Tensor]:
    """The tensors of a file.

    Raises:
        RunError: some are not finite; the message names the first five.
    """
    tensors = load_tensors(checkpoint.read(file))
    damaged = [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if damaged:
        raise RunError(f"{checkpoint.folder / file}: tensors that are not finite numbers: {', '.join(damaged[:5])}.")
    return tensors


def _put_weights(checkpoint: Checkpoint, loaded: LoadedModel) -> None:
    tensors = by_class_name(loaded.model, _tensors(checkpoint, "model.safetensors"))
    expected = unique_tensors(loaded.model)
    other = sorted(tensors.keys() ^ expected.keys()) or [
        name for name in expected if expected[name].shape != tensors[name].shape
    ]
    if other:
        raise RunError(f"{checkpoint.folder}: its weights do not belong to this model: {', '.join(other[:5])}.")
    # Not strict: second names of tied weights are missing; all others were just compared.
    loaded.model.load_state_dict(tensors, strict=False)


def _head_file(loaded: LoadedModel, scale: TargetScale) -> bytes:
    """The head of a regression as it is trained, and the scale of its numbers."""
    numbers = {_MEAN: scale.mean, _DEVIATION: scale.deviation}
    exact = {name: torch.tensor(number, dtype=torch.float64) for name, number in numbers.items()}
    return save_tensors({**head_tensors(loaded), **exact})


def saved_scale(checkpoint: Checkpoint) -> TargetScale | None:
    """The scale of a regression's numbers in training; None if they were not standardized."""
    if _HEAD not in checkpoint.manifest["files"]:
        return None
    tensors = load_tensors(checkpoint.read(_HEAD))
    return TargetScale(mean=float(tensors[_MEAN]), deviation=float(tensors[_DEVIATION]))


def scaler_state(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """The gradient scaler's state, if the checkpoint has one."""
    if _SCALER not in checkpoint.manifest["files"]:
        return None
    state: dict[str, Any] = json.loads(checkpoint.read(_SCALER))
    return state


def progress_of(checkpoint: Checkpoint) -> Progress:
    return Progress.of_json(json.loads(checkpoint.read(_STATE)))

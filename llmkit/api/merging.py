"""`merge`: an adapter and its base model as one plain model folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from llmkit.api.verbs import USES, verb_of_model
from llmkit.atomic import publish_folder
from llmkit.errors import MachineError, ModelError, UsageError


@dataclass(frozen=True)
class Merged:
    """A new model folder."""

    folder: Path
    base: str
    """The base model of the adapter."""


def merge(model: str, *, output: str | Path) -> Merged:
    """Add an adapter to its base model, and write the result as a plain model folder.

    Args:
        model: a run that was saved as an adapter, an adapter's folder or hub id.
        output: the new folder.
    Raises:
        UsageError: `output` exists.
        ModelError: no adapter, or one that cannot be opened.
        MachineError: the folder cannot be written.
    """
    folder = Path(output)
    if folder.exists():
        raise UsageError(f"--output {folder} exists already; choose another name.")
    from llmkit.models.export import model_files
    from llmkit.models.loading import load_model
    from llmkit.models.resolve import find_model

    resolved = find_model(model)
    if resolved.adapter is None:
        raise ModelError(f"{model} is no adapter but a whole model; there is nothing to merge.")
    if not resolved.config.get("architectures"):
        raise ModelError(f"{model}: its config names no class (architectures), so its head is not known.")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MachineError(
            f"--output {folder}: the folder {folder.parent} cannot be made ({error.strerror})."
        ) from error
    loaded = load_model(model, head=USES[verb_of_model(resolved.config)].head)
    about = {"format": 1, "adapter": model, "base": resolved.adapter.base}
    publish_folder(folder, model_files(loaded), about=about, next_step="merge again")
    return Merged(folder, resolved.adapter.base)

"""`merge`: an adapter and its base model as one plain model folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.atomic import publish_folder
from llmkit.errors import ModelError, UsageError

if TYPE_CHECKING:
    from llmkit.models.loaded import Head

_HEADS: Mapping[str, Head] = {
    "ForConditionalGeneration": "seq2seq-lm",
    "ForMaskedLM": "masked-lm",
    "ForQuestionAnswering": "question-answering",
    "ForSequenceClassification": "classification",
    "ForTokenClassification": "token-classification",
    "LMHeadModel": "causal-lm",
}
"""By the end of the class that the model's config names."""


@dataclass(frozen=True)
class Merged:
    """A new model folder."""

    folder: Path
    base: str
    """What the adapter was added to."""


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
    from llmkit.models.places import find_model

    place = find_model(model)
    if place.adapter is None:
        raise ModelError(f"{model} is no adapter but a whole model; there is nothing to merge.")
    loaded = load_model(model, head=_head(place.config, name=model))
    folder.parent.mkdir(parents=True, exist_ok=True)
    publish_folder(folder, model_files(loaded), about={"format": 1, "adapter": model, "base": place.adapter.base})
    return Merged(folder, place.adapter.base)


def _head(config: Mapping[str, Any], *, name: str) -> Head:
    architecture = str((config.get("architectures") or [""])[0])
    for end, head in _HEADS.items():
        if architecture.endswith(end):
            return head
    raise ModelError(f"{name}: its config names no head that llmkit knows, but {architecture or 'none'}.")

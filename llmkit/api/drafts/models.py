"""The model that a new recipe starts from: a small published one that reads the texts, or random weights."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from llmkit.errors import UsageError, nearest
from llmkit.recipe.blocks import ScratchModel
from llmkit.tasks import RECIPES

SIZES: tuple[str, ...] = get_args(ScratchModel.model_fields["size"].annotation)


@dataclass(frozen=True)
class ChosenModel:
    """What `model:` is in a new recipe."""

    name: str | None
    """A hub id, a folder or a run; None for random weights."""
    architecture: str
    """Of random weights."""
    size: str
    comment: str


def choose_model(task: str, *, texts: Iterable[str], given: str | None) -> ChosenModel:
    """The model of a new recipe.

    Args:
        texts: what it has to read and to write.
        given: a hub id, a folder, a run, or a size of random weights.
    Raises:
        UsageError: `given` is none of these.
    """
    recipe, read = RECIPES[task], list(texts)
    architecture = recipe.FAMILIES[0]
    if given is not None:
        return _given(given, architecture)
    published = next((model for model in recipe.DRAFT.MODELS if model.reads(read)), None)
    change = f"A published one: --model ID, of {', '.join(recipe.FAMILIES[:4])} and others (docs/models.md)."
    if published is None:
        reason = (
            "no small published model is known to llmkit init for this alphabet"
            if recipe.DRAFT.MODELS
            else "the task trains a new model"
        )
        return ChosenModel(None, architecture, "tiny", f"Random weights: {reason}. {change}")
    if _is_offline() and not _is_cached(published.name):
        reason = f"HF_HUB_OFFLINE is set, and {published.name} is not in the cache"
        return ChosenModel(None, architecture, "tiny", f"Random weights: {reason}. {change}")
    scratch = f"Without a download: {{architecture: {architecture}, size: tiny}}, random weights."
    return ChosenModel(published.name, architecture, "tiny", f"{published.reason}; downloaded once. {scratch}")


def _given(model: str, architecture: str) -> ChosenModel:
    if model in SIZES and not Path(model).is_dir():
        return ChosenModel(None, architecture, model, "Random weights, and a tokenizer that is trained on the rows.")
    if "/" not in model and not Path(model).is_dir():
        raise UsageError(
            f"--model {model}: is no folder and no size.{nearest(model, SIZES)} Give a hub id in full, such as "
            f"google-bert/bert-base-uncased, a folder, a run, or a size of random weights: {', '.join(SIZES)}."
        )
    return ChosenModel(model, architecture, "tiny", "A hub id, a folder or a run.")


def _is_offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def _is_cached(name: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(name, "config.json"), str)


def sample_texts(values: Iterable[object], *, most: int = 200) -> list[str]:
    """The texts inside some values."""
    from llmkit.data.column_types import texts_in

    texts: Sequence[str] = [text for value in values for text in texts_in(value)]
    return list(texts[:: max(1, len(texts) // most)])

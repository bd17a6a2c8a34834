"""A recipe's task around a model without weights: its config, its tokenizer and the shapes of its parameters."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from llmkit.data.caches import one_at_a_time
from llmkit.models.loaded import LoadedModel
from llmkit.models.loading import create_model, load_tokenizer
from llmkit.models.outline import outline
from llmkit.models.resolve import find_model
from llmkit.recipe.blocks import ScratchModel, TokenizerBlock
from llmkit.tasks.base import Task, TaskRecipe
from llmkit.tasks.build import build_task
from llmkit.training.prepare import partly_trained, set_window, tokenizer_file, training_texts
from llmkit.training.splits import SplitRows

TOKENIZER_CHARACTERS = 20_000_000
"""A tokenizer that is not in the cache is trained on at most so much text here."""


@dataclass(frozen=True)
class Unweighted:
    """A task that can encode rows, but neither learn nor predict."""

    task: Task
    estimates: tuple[str, ...] = ()
    """What is not exactly as in training, and why."""
    same_tokenizer: bool = True
    """Whether the tokenizer is that of the training."""


def unweighted_task(
    recipe: TaskRecipe, rows: SplitRows, *, labels: tuple[str, ...] | None, characters: int
) -> Unweighted:
    """The recipe's task; nothing is downloaded but configs and a tokenizer.

    Args:
        rows: of the training split, for a tokenizer.
        labels: names of the model's classes.
        characters: of these rows' texts.
    Raises:
        LlmkitError: as `prepare`, but for what only weights show.
    """
    same_tokenizer = True
    if isinstance(recipe.model, ScratchModel):
        loaded, estimates = _scratch(recipe, recipe.model, rows, labels=labels, characters=characters)
        same_tokenizer = not estimates
    else:
        loaded, estimates = _pretrained(recipe, recipe.model, labels=labels), ()
    set_window(recipe, loaded)
    with torch.device("meta"):
        loaded = partly_trained(loaded, recipe, head=recipe.HEAD)
        return Unweighted(build_task(recipe, loaded), estimates, same_tokenizer)


def _scratch(
    recipe: TaskRecipe, block: ScratchModel, rows: SplitRows, *, labels: tuple[str, ...] | None, characters: int
) -> tuple[LoadedModel, tuple[str, ...]]:
    cached, estimates = tokenizer_file(block, rows), tuple[str, ...]()
    if cached is not None and not cached.exists() and characters > TOKENIZER_CHARACTERS:
        assert isinstance(block.tokenizer, TokenizerBlock), "else nothing is trained"
        most = min(block.tokenizer.max_characters or TOKENIZER_CHARACTERS, TOKENIZER_CHARACTERS)
        block = block.model_copy(update={"tokenizer": block.tokenizer.model_copy(update={"max_characters": most})})
        cached = None
        estimates = (
            f"the tokenizer is trained on {most:,} of {characters:,} characters here, so tokens are estimated",
        )
    with nullcontext() if cached is None else one_at_a_time(cached), torch.device("meta"):
        loaded = create_model(
            block,
            head=recipe.HEAD,
            labels=labels,
            texts=lambda: training_texts(recipe, rows),
            max_tokens=recipe.window_tokens,
            seed=recipe.train.seed,
            cached_tokenizer=cached,
        )
    return loaded, estimates


def _pretrained(recipe: TaskRecipe, name: str, *, labels: tuple[str, ...] | None) -> LoadedModel:
    any_order = getattr(recipe, "labels", None) is None
    with TemporaryDirectory() as headers:
        resolved = find_model(name, revision=recipe.revision, headers_in=Path(headers))
        tokenizer = load_tokenizer(resolved)
        loaded = outline(resolved, tokenizer, head=recipe.HEAD, labels=labels, any_order=any_order, new_head=True)
    loaded.family.prepare(loaded.model, tokenizer, recipe.HEAD)
    return replace(loaded, name=name, adapter=None)

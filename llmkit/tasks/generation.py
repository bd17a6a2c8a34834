"""The generation options of a task in training and evaluation: the recipe's over the model's own."""

from __future__ import annotations

import logging
from typing import Any

from llmkit.errors import UsageError
from llmkit.models.generation import (
    SAMPLING,
    config_options,
    options_in_words,
    options_not_followed,
    without_sampling,
)
from llmkit.models.loaded import LoadedModel
from llmkit.recipe.blocks import Block
from llmkit.recipe.generation import BEAM_OPTIONS, GenerationBlock

logger = logging.getLogger("llmkit")
NOT_FOLLOWED = (
    "%s: llmkit does not follow these generation options of its configs: %s. Its texts may differ from those of "
    "transformers"
)
"""A warning, about a model and its options."""


def task_options(loaded: LoadedModel, block: Block, *, default_limit: int) -> GenerationBlock:
    """The keys of a recipe's `generation` that are not None, over the options of the model's configs, without sampling.

    What comes from the model is logged, and so is what llmkit does not follow.

    Args:
        default_limit: `max_new_tokens` where neither has one.
    Raises:
        UsageError: keys of the recipe that do not fit the model's options.
        ModelError: an option of the model outside its range.
    """
    given = {key: value for key, value in block.model_dump().items() if value is not None}
    config = config_options(loaded)
    if names := options_not_followed(loaded):
        logger.warning(NOT_FOLLOWED, loaded.name, ", ".join(names))
    if not config.keys().isdisjoint(SAMPLING):
        logger.info("generation: %s samples by default; an evaluation does not", loaded.name)
    options = {"max_new_tokens": default_limit, **without_sampling(config), **given}
    if (most := loaded.most_new_tokens) is not None:
        if given.get("max_new_tokens", 0) > most:
            raise UsageError(
                f"generation.max_new_tokens: {given['max_new_tokens']:,}, but {loaded.name} writes {most:,} tokens at most."
            )
        options["max_new_tokens"] = min(options["max_new_tokens"], most)
    if options.get("beams", 1) == 1:
        if wrong := [key for key in BEAM_OPTIONS if key in given]:
            raise UsageError(f"generation.{wrong[0]}: applies only to beam search. Set generation.beams to 2 or more.")
        options = {key: value for key, value in options.items() if key not in BEAM_OPTIONS}
    if "max_new_tokens" in config or "max_new_tokens" in given:
        options.pop("max_length", None)
    if options.get("min_new_tokens", 0) > options["max_new_tokens"]:
        if "min_new_tokens" in given:
            limit = f"{options['max_new_tokens']:,}"
            raise UsageError(f"generation.min_new_tokens: {given['min_new_tokens']:,} exceeds the maximum of {limit}.")
        options["min_new_tokens"] = options["max_new_tokens"]
    inherited = {key: value for key, value in options.items() if key in config and key not in given}
    if shown := options_in_words(inherited):
        logger.info("generation: %s, from the configs of %s", shown, loaded.name)
    return GenerationBlock(**options)


def with_limit(options: GenerationBlock, limit: int, *, least: int | None) -> GenerationBlock:
    """The options with a length limit that was computed from the targets.

    Args:
        least: `min_new_tokens` of the recipe, which raises the limit; a minimum of the model's configs that the limit
            excludes is dropped instead, with a warning.
    """
    changes: dict[str, Any] = {"max_new_tokens": max(limit, least or 0), "max_length": None}
    if least is None and options.min_new_tokens >= limit:
        logger.warning(
            "generation: min_new_tokens %s of the model's configs is dropped, since 99 %% of the training targets "
            "need %s tokens at most",
            *(f"{options.min_new_tokens:,}", f"{limit:,}"),
        )
        changes["min_new_tokens"] = 0
    return options.model_copy(update=changes)

"""Generation options for a model: the user's, the model's, and llmkit's defaults."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from llmkit.api.options import generation_options
from llmkit.errors import UsageError
from llmkit.models.generation import (
    SAMPLING,
    config_options,
    fault_in_token_ids,
    options_in_words,
    options_not_followed,
    sampling_options,
    without_sampling,
)
from llmkit.models.loaded import LoadedModel
from llmkit.recipe.generation import BEAM_OPTIONS, GenerationBlock
from llmkit.tasks.generation import NOT_FOLLOWED
from llmkit.tasks.seq2seq.saved import SavedSeq2Seq, text_to_text_config

logger = logging.getLogger("llmkit")
_NEW_TOKENS = 128
"""Default length where neither the user nor the model has one; transformers would stop at 20 without a warning."""


def model_options(loaded: LoadedModel, values: Mapping[str, Any], *, saved: SavedSeq2Seq) -> GenerationBlock:
    """The options that are not None, else the model's, else llmkit's defaults.

    Args:
        saved: what the model's config says about the task.
    Raises:
        UsageError: an option outside its range, with the range; or one that does not apply.
        ModelError: one of the model's own options is outside its range.
    """
    options = {key: value for key, value in values.items() if value is not None}
    block = generation_options({**model_defaults(loaded, options, saved=saved), **options})
    given = [key for key in BEAM_OPTIONS if key in options]
    if given and block.beams == 1:
        raise UsageError(f"{given[0]}: applies only to beam search. Set beams to 2 or more.")
    if block.max_length is not None and loaded.family.is_encoder_decoder:
        raise UsageError(f"max_length: {loaded.name} does not continue its prompt. Set max_new_tokens.")
    if block.max_length is not None and block.max_length > loaded.window:
        raise UsageError(f"max_length: {block.max_length:,}, but {loaded.name} reads {loaded.window:,} tokens at most.")
    most = loaded.most_new_tokens
    if most is not None and block.max_new_tokens is not None and block.max_new_tokens > most:
        raise UsageError(f"max_new_tokens: {block.max_new_tokens:,}, but {loaded.name} writes {most:,} tokens at most.")
    if (fault := fault_in_token_ids(loaded, block)) is not None:
        raise UsageError(f"{fault}.")
    return block


def model_defaults(loaded: LoadedModel, options: Mapping[str, Any], *, saved: SavedSeq2Seq) -> dict[str, Any]:
    """The model's options, or llmkit's defaults, for what a user's options leave open.

    Sampling turns off the model's beam search, and beams turn off its sampling.
    """
    keys = config_options(loaded, saved.generation_entry)
    if not options.keys().isdisjoint(SAMPLING):
        keys = {**{key: value for key, value in keys.items() if key != "beams"}, **sampling_options(loaded)}
    elif "beams" in options:
        keys = without_sampling(keys)
    if "max_new_tokens" in options:
        keys.pop("max_length", None)
    if "min_new_tokens" in options:
        keys.pop("min_length", None)
    if {**keys, **options}.get("beams", 1) == 1:
        keys = {key: value for key, value in keys.items() if key not in BEAM_OPTIONS}
    if "max_length" in keys:
        keys["max_length"] = min(keys["max_length"], loaded.window)
    keys.setdefault("max_new_tokens", _new_tokens(loaded, keys.get("max_length")))
    keys["max_new_tokens"] = min(keys["max_new_tokens"], loaded.most_new_tokens or keys["max_new_tokens"])
    if "min_new_tokens" in keys:  # as in generate(): the maximum counts
        keys["min_new_tokens"] = min(keys["min_new_tokens"], options.get("max_new_tokens", keys["max_new_tokens"]))
    return {key: value for key, value in keys.items() if key not in options}


def describe_options(loaded: LoadedModel, values: Mapping[str, Any], *, saved: SavedSeq2Seq) -> tuple[str, str]:
    """In words: the model's own options that apply besides the user's, and those that llmkit does not follow."""
    options = {key: value for key, value in values.items() if value is not None}
    applied = options_in_words(model_defaults(loaded, options, saved=saved))
    return applied, ", ".join(options_not_followed(loaded, saved.generation_entry))


class OptionsLog:
    """Logs once which of a model's own options apply, and which are not followed."""

    def __init__(self) -> None:
        self._logged: set[str] = set()

    def add(self, loaded: LoadedModel, values: Mapping[str, Any], *, saved: SavedSeq2Seq) -> None:
        """Log them for a call with the user's options `values`, unless an earlier call had the same."""
        applied, unfollowed = describe_options(loaded, values, saved=saved)
        if applied and applied not in self._logged:
            logger.info("model: %s has its own generation options: %s", loaded.name, applied)
        if unfollowed and unfollowed not in self._logged:
            logger.warning(NOT_FOLLOWED, loaded.name, unfollowed)
        self._logged |= {applied, unfollowed}


def prompt_config(loaded: LoadedModel) -> SavedSeq2Seq:
    """What the model's config says about prompts of any kind."""
    return text_to_text_config(loaded) if loaded.family.is_encoder_decoder else SavedSeq2Seq()


def _new_tokens(loaded: LoadedModel, max_length: int | None) -> int:
    if max_length is not None:
        return max(1, max_length - 1)
    # At most half of the window, so that the default leaves room for a prompt.
    return max(1, min(_NEW_TOKENS, loaded.window // 2))

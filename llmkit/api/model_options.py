"""Generation options for a model: the user's, the model's, and llmkit's defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmkit.api.options import generation_options
from llmkit.models.loaded import LoadedModel
from llmkit.recipe.blocks import GenerationBlock
from llmkit.tasks.seq2seq.saved import SavedSeq2Seq, text_to_text_config

_NEW_TOKENS = 128
"""Default length where neither the user nor the model has one; transformers would stop at 20 without a warning."""


def model_options(loaded: LoadedModel, values: Mapping[str, Any], *, saved: SavedSeq2Seq) -> GenerationBlock:
    """The options that are not None, else the model's, else llmkit's defaults.

    Args:
        saved: what the model's config says about the task.
    Raises:
        UsageError: an option outside its range, with the range.
    """
    options = {key: value for key, value in values.items() if value is not None}
    return generation_options({**_config_options(loaded, options, saved), **options})


def prompt_config(loaded: LoadedModel) -> SavedSeq2Seq:
    """What the model's config says about prompts of any kind."""
    return text_to_text_config(loaded) if loaded.family.is_encoder_decoder else SavedSeq2Seq()


def _config_options(loaded: LoadedModel, options: Mapping[str, Any], saved: SavedSeq2Seq) -> dict[str, Any]:
    """Length and beams from the model's configs: ours in generation_config, those of T5 from 2019 by task."""
    generation = loaded.model.generation_config
    sampling = not {"temperature", "top_k", "top_p"}.isdisjoint(options)
    beams = 1 if sampling else generation.num_beams or saved.num_beams or 1
    # At most half of the window, so that the default leaves room for a prompt.
    default = max(1, min(_NEW_TOKENS, loaded.window // 2))
    new_tokens = generation.max_new_tokens or saved.max_length or default
    penalty = {"repetition_penalty": generation.repetition_penalty} if generation.repetition_penalty else {}
    return {**penalty, "max_new_tokens": new_tokens, "beams": beams}

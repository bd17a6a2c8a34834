"""The arguments of transformers' generate(). Knows neither tokenizers nor batches."""

from __future__ import annotations

import copy
from typing import Any

from transformers import GenerationConfig

from llmkit.inference.engines.special_ids import SpecialIds
from llmkit.recipe.generation import GenerationBlock


def token_limit(options: GenerationBlock) -> int:
    if options.max_new_tokens is None:
        raise ValueError("max_new_tokens must be set before an engine generates")
    return options.max_new_tokens


def generation_config(options: GenerationBlock, ids: SpecialIds) -> GenerationConfig:
    """The options that generate() handles. It always takes the best score: our processors do the sampling."""
    return GenerationConfig(
        max_new_tokens=token_limit(options),
        do_sample=False,
        num_beams=options.beams,
        length_penalty=options.length_penalty,
        early_stopping=options.early_stopping,
        num_return_sequences=options.num_return_sequences if options.beams > 1 else 1,
        **ids.as_generation_keys(),
    )


def without_generation_config(model: Any, ids: SpecialIds) -> Any:
    """The same model, weights and all, for one call of generate(), which fills each value that its argument leaves unset
    from the model's own generation config. The model itself does not change, since other threads may use it."""
    model_copy = copy.copy(model)
    model_copy.generation_config = GenerationConfig(**ids.as_generation_keys())
    return model_copy

"""A folder's config.json as a transformers config, after checking its numbers. Opens no file, builds no model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers import PreTrainedConfig, PreTrainedModel

from llmkit.errors import ModelError
from llmkit.models.adapters import MODEL_CONFIG
from llmkit.models.families import family_of
from llmkit.models.resolve import CONFIG, ResolvedModel
from llmkit.models.weights import first_line, quiet_transformers

_MOST, _MOST_LAYERS = 10_000_000, 1_000
"""Larger numbers are errors. Smaller numbers are compared with the weights."""
_MOST_LABELS = 100_000
"""transformers makes a name for each, even without weights."""


def read_config(cls: type[PreTrainedModel], resolved: ResolvedModel) -> PreTrainedConfig:
    """The config of a resolved model, for a class.

    Raises:
        ModelError: the class cannot be built from it.
    """
    file = CONFIG if resolved.adapter is None else MODEL_CONFIG
    _check_labels(resolved.config, resolved=resolved, file=file)
    for key in resolved.config:
        if callable(getattr(cls.config_class, key, None)):
            raise ModelError(
                f"{resolved.name}: {file} has the key {key!r}, which would replace a part of transformers."
            )
    try:
        with quiet_transformers():
            config: PreTrainedConfig = cls.config_class.from_dict(dict(resolved.config))
    except Exception as error:  # transformers raises whatever its checks raise; the folder is at fault in every case
        raise ModelError(f"{resolved.name}: its {file} is not valid ({first_line(error)}).") from error
    for key in family_of(resolved.config.get("model_type"), name=resolved.name).size_keys:
        value = getattr(config, key)
        maximum = _MOST_LAYERS if key.endswith("_layers") else _MOST
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= maximum:
            raise ModelError(f"{resolved.name}: {file} has {key}: {value!r}, which is not valid.")
    return config


def _check_labels(config: Mapping[str, Any], *, resolved: ResolvedModel, file: str) -> None:
    names, count = config.get("id2label"), config.get("num_labels")
    for key, number in (("id2label", len(names) if isinstance(names, dict | list) else 0), ("num_labels", count)):
        if number is None:
            continue
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= _MOST_LABELS:
            raise ModelError(
                f"{resolved.name}: {file} has {key}: {str(number)[:80]}; at most {_MOST_LABELS:,} are supported."
            )

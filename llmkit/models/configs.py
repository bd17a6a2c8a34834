"""A folder's config.json as a transformers config, after checking its numbers. Opens no file, builds no model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from transformers import PreTrainedConfig, PreTrainedModel

from llmkit.errors import ModelError
from llmkit.models.adapters import MODEL_CONFIG
from llmkit.models.families import family_of
from llmkit.models.folder_values import Ids, ModelValues, check_values
from llmkit.models.resolve import CONFIG, ResolvedModel
from llmkit.models.value_types import ClassValues
from llmkit.models.weights import first_line, quiet_transformers

_MOST, _MOST_LAYERS = 10_000_000, 1_000
"""Larger numbers are errors. Smaller numbers are compared with the weights."""
_INTERNAL = {*dir(PreTrainedConfig), *(field.name for field in fields(PreTrainedConfig))}
"""Names that transformers itself uses in a config: how keys are renamed, what a model returns, parts for many devices."""
_OF_SOME_CLASSES = {"experts_implementation", *ClassValues.model_fields}
"""Names that transformers reads from any config, such as for the cache of keys and values, but which mean something only
for classes that have them."""
_USED = {"_attn_implementation", "model_type", "transformers_version"}
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
    family = family_of(resolved.config.get("model_type"), name=resolved.name)
    content = {key: value for key, value in resolved.config.items() if not _is_internal(key, cls)}
    check_values(content, ClassValues, name=resolved.name, file=file)
    try:
        with quiet_transformers():
            config: PreTrainedConfig = cls.config_class.from_dict(content)
    except Exception as error:  # transformers raises whatever its checks raise; the folder is at fault in every case
        raise ModelError(f"{resolved.name}: its {file} is not valid ({first_line(error)}).") from error
    if config.is_encoder_decoder and not family.is_encoder_decoder:
        raise ModelError(f"{resolved.name}: {file} has is_encoder_decoder: true; a {family.name} model is not one.")
    for key in family.size_keys:
        value = getattr(config, key)
        maximum = _MOST_LAYERS if key.endswith("_layers") else _MOST
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= maximum:
            raise ModelError(f"{resolved.name}: {file} has {key}: {value!r}, which is not valid.")
    return config


def _is_internal(key: str, cls: type[PreTrainedModel]) -> bool:
    """Whether a key of a file is left out, since it would change how transformers works instead of the model."""
    own = {field.name for field in fields(cls.config_class)} - {field.name for field in fields(PreTrainedConfig)}
    if key in own or key in _OF_SOME_CLASSES:
        return key not in own
    return key not in ModelValues.model_fields.keys() | _USED and (key.startswith("_") or key in _INTERNAL)


def check_ids(config: PreTrainedConfig, resolved: ResolvedModel) -> None:
    """Compare the token ids of a config with its vocabulary.

    The default of the config's class (GPT-2's 50256) is skipped, since transformers writes it into every config.

    Raises:
        ModelError: an id that the vocabulary does not have.
    """
    file = CONFIG if resolved.adapter is None else MODEL_CONFIG
    for key in Ids.model_fields:
        value = resolved.config.get(key)
        for token in value if isinstance(value, list) else [value]:
            if token is not None and token >= config.vocab_size and token != getattr(type(config)(), key, None):
                raise ModelError(
                    f"{resolved.name}: {file} has {key}: {token}, but its vocabulary has the ids 0 to "
                    f"{config.vocab_size - 1:,}."
                )


def _check_labels(config: Mapping[str, Any], *, resolved: ResolvedModel, file: str) -> None:
    names, count = config.get("id2label"), config.get("num_labels")
    for key, number in (("id2label", len(names) if isinstance(names, dict | list) else 0), ("num_labels", count)):
        if number is None:
            continue
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= _MOST_LABELS:
            raise ModelError(
                f"{resolved.name}: {file} has {key}: {str(number)[:80]}; at most {_MOST_LABELS:,} are supported."
            )

"""Check that stored weights match a model, by names and shapes only, before either uses memory.

Older checkpoints name the same weight in several ways: with or without the prefix of the body, `gamma` for a norm's
weight. A config is untrusted: no model is built before its layers are compared with the names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

import torch
from transformers import PreTrainedConfig, PreTrainedModel

from llmkit.errors import ModelError
from llmkit.models.families import Family, family_of
from llmkit.models.files import listed
from llmkit.models.stored import StoredTensor

_IDLE = re.compile(
    r"cls\.seq_relationship\..*|embeddings\.(position_ids|token_type_ids)"
    r"|h\.\d+\.(attn|crossattention)\.(bias|masked_bias)"
    r"|decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\.weight"
)
"""BERT's next-sentence head; masks and counters, which older versions saved; an unused weight of T5."""
_NUMBERS = {"BF16", "F16", "F32", "F64"}


def fit(
    build: Callable[[], PreTrainedModel],
    cls: type[PreTrainedModel],
    config: PreTrainedConfig,
    stored: Mapping[str, StoredTensor],
    *,
    instead: Mapping[str, StoredTensor],
    name: str,
) -> tuple[dict[str, StoredTensor], list[str]]:
    """The stored tensors by the model's own names, and the model's names that none is stored for.

    Args:
        build: makes the model; called on the meta device, where tensors have shapes but no numbers.
        instead: what takes the place of stored tensors of the same name, as an adapter's own head does.
    Raises:
        ModelError: the config cannot be built; shapes differ; weights are not floating-point; tensors are unused.
    """
    family = family_of(cls.config_class.model_type, name=name)
    found = {**_by_plain_name(stored, cls, name=name), **_by_plain_name(instead, cls, name=name)}
    missing = _missing_layers(family, cls, config, found)
    if missing:
        return {}, missing
    try:
        with torch.device("meta"):
            model = build()
    except Exception as error:  # torch and transformers raise what they like; the config is at fault in every case
        first = str(error).strip().splitlines() or [""]
        raise ModelError(f"{name}: its config is not valid ({type(error).__name__}: {first[0][:200]}).") from error
    own = {_plain(key, cls): (key, tuple(tensor.shape)) for key, tensor in model.state_dict().items()}
    _check_used({key: tensor for key, tensor in found.items() if key in own}, own, name=name)
    parts = {plain.split(".")[0] for plain in own}
    others = [head for head in family.other_parts if head not in parts]
    idle = [key for key in found if key not in own and not (key.split(".")[0] in others or _IDLE.fullmatch(key))]
    if idle:
        raise ModelError(
            f"{name}: its weights cannot be loaded: the model that its config describes does not use {listed(idle)}"
            f"{_layers_said(family, config, idle)}."
        )
    fitting = {own[plain][0]: tensor for plain, tensor in found.items() if plain in own}
    tied: Mapping[str, str] = model.all_tied_weights_keys  # second name -> first
    there = {*fitting, *(tied[key] for key in fitting if key in tied)}
    return fitting, [key for key in model.state_dict() if not (key in there or key in tied)]


def _plain(key: str, cls: type[PreTrainedModel]) -> str:
    """A name as every version of it is compared."""
    key = key.removeprefix(f"{cls.base_model_prefix}.")
    return key.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")


def _by_plain_name(
    stored: Mapping[str, StoredTensor], cls: type[PreTrainedModel], *, name: str
) -> dict[str, StoredTensor]:
    found: dict[str, StoredTensor] = {}
    for key, tensor in stored.items():
        plain = _plain(key, cls)
        if plain in found:
            raise ModelError(f"{name}: its weights have {listed([plain])} twice, under two names.")
        found[plain] = tensor
    return found


def _count(names: Iterable[str], prefix: str) -> int:
    pattern = re.compile(re.escape(prefix) + r"(\d+)\.", re.ASCII)
    numbers = (match for match in map(pattern.match, names) if match)
    return len({match[1] for match in numbers})


def _missing_layers(
    family: Family, cls: type[PreTrainedModel], config: PreTrainedConfig, found: Mapping[str, StoredTensor]
) -> list[str]:
    """The first layer that the config has and the weights have not, so that it is not built with all behind it."""
    for key, prefix in family.layers.items():
        if key == "num_decoder_layers" and not cls.__name__.endswith("ForConditionalGeneration"):
            continue  # the bare encoder builds none
        count, wanted = _count(found, prefix), getattr(config, key)
        if count < wanted:
            return [f"{prefix or 'lstm.'}{count} ({key}: {wanted:,}; the weights have {count:,})"]
    return []


def _layers_said(family: Family, config: PreTrainedConfig, idle: Iterable[str]) -> str:
    """What the config says of the layers that are too many."""
    for key, prefix in family.layers.items():
        if _count(idle, prefix):
            return f" ({key}: {getattr(config, key):,})"
    return ""


def _check_used(used: Mapping[str, StoredTensor], own: Mapping[str, tuple[str, tuple[int, ...]]], *, name: str) -> None:
    for plain, tensor in used.items():
        key, shape = own[plain]
        if tensor.shape != shape:
            raise ModelError(
                f"{name}: its weights cannot be loaded: {key} has the shape {tensor.shape}, its config requires {shape}."
            )
        if tensor.dtype not in _NUMBERS:
            raise ModelError(f"{name}: its weights cannot be loaded: {key} is {tensor.dtype}, not floating point.")

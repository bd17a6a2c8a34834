"""Check that stored weights match a model, by names and shapes only, before either uses memory.

Older checkpoints name the same weight in several ways: with or without the prefix of the body, `gamma` for a norm's
weight. A config is untrusted: no model is built before its layers are compared with the names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from transformers import PreTrainedConfig, PreTrainedModel

from llmkit.errors import ModelError
from llmkit.models.families import Family, Head, family_of
from llmkit.models.files import listed
from llmkit.models.stored import StoredTensor

_UNUSED = re.compile(
    r"cls\.seq_relationship\..*|embeddings\.(position_ids|token_type_ids)"
    r"|h\.\d+\.(attn|crossattention|attn\.attention)\.(bias|masked_bias)"
    r"|layers\.\d+\.(attention\.(bias|masked_bias)|(attention|self_attn)\.rotary_emb\.inv_freq)"
    r"|decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\.weight"
    r"|(encoder|decoder)\.(version|embed_positions\.(weights|_float_tensor))"
)
"""BERT's next-sentence head; masks, counters, frequencies and tables of sines, which older versions saved; an unused weight of
T5."""
_MOST_NAMED = 5
_NUMBERS = {"BF16", "F16", "F32", "F64"}


@dataclass(frozen=True)
class Fitting:
    """A model without numbers, and the stored tensors that belong to it."""

    model: PreTrainedModel | None
    """On the meta device; None if whole layers are missing, since a model of any depth must not be built."""
    tensors: dict[str, StoredTensor]
    """By the model's names."""
    missing: list[str]
    """The model's names without a stored tensor."""


def fit(
    build: Callable[[], PreTrainedModel],
    cls: type[PreTrainedModel],
    config: PreTrainedConfig,
    stored: Mapping[str, StoredTensor],
    *,
    head: Head,
    replacing: Mapping[str, StoredTensor],
    name: str,
) -> Fitting:
    """Assign the stored tensors to the names of the model that a config describes.

    Args:
        build: makes the model; called on the meta device, where tensors have shapes but no numbers.
        head: that of the class.
        replacing: used instead of stored tensors of the same name, such as an adapter's head.
    Raises:
        ModelError: the config cannot be built; shapes differ; weights are not floating-point; tensors are unused.
    """
    family = family_of(cls.config_class.model_type, name=name)
    tensors = {**_by_plain_name(stored, cls, name=name), **_by_plain_name(replacing, cls, name=name)}
    missing = _missing_layers(family, head, config, tensors)
    if missing:
        return Fitting(None, {}, missing)
    try:
        with torch.device("meta"):
            model = build()
    except Exception as error:  # torch and transformers raise any exception type; the config is the cause in every case
        first = str(error).strip().splitlines() or [""]
        raise ModelError(f"{name}: its config is not valid ({type(error).__name__}: {first[0][:200]}).") from error
    expected = {_plain(key, cls): (key, tuple(tensor.shape)) for key, tensor in model.state_dict().items()}
    _check_used({key: tensor for key, tensor in tensors.items() if key in expected}, expected, name=name)
    parts = {plain.split(".")[0] for plain in expected}
    others = [head for head in family.other_parts if head not in parts]
    unused = [
        key for key in tensors if key not in expected and not (key.split(".")[0] in others or _UNUSED.fullmatch(key))
    ]
    if unused:
        raise ModelError(
            f"{name}: its weights cannot be loaded: the model that its config describes does not use {listed(unused)}"
            f"{_layer_count(family, config, unused)}."
        )
    fitting = {expected[plain][0]: tensor for plain, tensor in tensors.items() if plain in expected}
    tied: Mapping[str, str] = model.all_tied_weights_keys  # second name -> first
    present = {*fitting, *(tied[key] for key in fitting if key in tied), *_constants(cls)}
    return Fitting(model, fitting, [key for key in model.state_dict() if not (key in present or key in tied)])


def _constants(cls: type[PreTrainedModel]) -> list[str]:
    """Tensors that transformers computes or sets to 0 if they are not stored: sinusoidal positions, a bias of logits."""
    names = getattr(cls, "_keys_to_ignore_on_load_missing", None) or []
    return [name for name in names if name.rpartition(".")[2] == "final_logits_bias" or "embed_positions" in name]


def _plain(key: str, cls: type[PreTrainedModel]) -> str:
    """The name without differences between versions."""
    key = key.removeprefix(f"{cls.base_model_prefix}.")
    for published, new in family_of(cls.config_class.model_type, name=key).published_names.items():
        if key.startswith(published):
            key = new + key.removeprefix(published)
    return key.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")


def _by_plain_name(
    stored: Mapping[str, StoredTensor], cls: type[PreTrainedModel], *, name: str
) -> dict[str, StoredTensor]:
    tensors: dict[str, StoredTensor] = {}
    for key, tensor in stored.items():
        plain = _plain(key, cls)
        if plain in tensors:
            raise ModelError(f"{name}: its weights have {listed([plain])} twice, under two names.")
        tensors[plain] = tensor
    return tensors


def _count(names: Iterable[str], prefix: str) -> int:
    pattern = re.compile(re.escape(prefix) + r"(\d+)\.", re.ASCII)
    numbers = (match for match in map(pattern.match, names) if match)
    return len({match[1] for match in numbers})


def _missing_layers(
    family: Family, head: Head, config: PreTrainedConfig, tensors: Mapping[str, StoredTensor]
) -> list[str]:
    """The first layer of the config that the weights lack: a config with too many layers must not be built."""
    for key, prefix in family.layers_of(head).items():
        count, expected = _count(tensors, prefix), getattr(config, key)
        if count < expected:
            return [f"{prefix or 'lstm.'}{count} ({key}: {expected:,}; the weights have {count:,})"]
    return []


def _layer_count(family: Family, config: PreTrainedConfig, unused: Iterable[str]) -> str:
    """The number of layers in the config, if there are weights of more layers; for the message."""
    for key, prefix in family.layers.items():
        if _count(unused, prefix):
            return f" ({key}: {getattr(config, key):,})"
    return ""


def _check_used(
    used: Mapping[str, StoredTensor], expected: Mapping[str, tuple[str, tuple[int, ...]]], *, name: str
) -> None:
    shapes, types = [], []
    for plain, tensor in used.items():
        key, shape = expected[plain]
        if tensor.shape != shape:
            shapes.append(f"{key} has the shape {tensor.shape}, its config requires {shape}")
        elif tensor.dtype not in _NUMBERS:
            types.append(f"{key} is {tensor.dtype}, not floating point")
    if faults := [*shapes, *types]:
        raise ModelError(f"{name}: its weights cannot be loaded: {'; '.join(faults[:_MOST_NAMED])}.")

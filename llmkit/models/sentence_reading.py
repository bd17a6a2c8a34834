"""Reads and checks the modules of a sentence-transformers folder.

A module that llmkit does not implement is an error: without it, the vectors would be others. Opens no pickle and
imports no code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch import Tensor

from llmkit.errors import ModelError
from llmkit.models.files import find_file, listed, read_json
from llmkit.models.pooling import Pooling, Similarity
from llmkit.models.sentence_files import (
    MODULE_CONFIG,
    MODULE_PICKLE,
    MODULE_WEIGHTS,
    MODULES,
    SETTINGS,
    TRANSFORMER_CONFIGS,
    ListedModule,
    SentenceFolder,
)
from llmkit.models.sentence_modules import ACTIVATIONS, Dense, SentenceModules, UnitLength
from llmkit.models.stored import read_tensors, tensors_of

_FLAGS: Mapping[str, Pooling] = {  # in the order in which sentence-transformers joins them
    "pooling_mode_cls_token": "first",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
"""Before version 5.4."""
_MODES: Mapping[str, Pooling] = {
    "cls": "first",
    "max": "max",
    "mean": "mean",
    "mean_sqrt_len_tokens": "mean_sqrt_len",
    "weightedmean": "weightedmean",
    "lasttoken": "lasttoken",
}
_AS_WITHOUT = {
    "transformer_task": "feature-extraction",
    "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
    "module_output_name": "token_embeddings",
}
"""Keys of the Transformer's config with the only value that llmkit follows: the states of the last layer."""
_ON_VECTORS = {"module_input_name": "sentence_embedding", "module_output_name": "sentence_embedding"}


def read_sentence_modules(folder: SentenceFolder, *, hidden: int, name: str) -> SentenceModules:
    """Read and check all modules and settings of a folder.

    Args:
        hidden: numbers of a token's state.
    Raises:
        ModelError: a module that llmkit does not implement, or in another order; a damaged config; weights that are
            missing, damaged, pickled or of another shape.
    """
    check_modules(folder, name=name)
    reader = _Reader(folder, name)
    settings = read_json(folder.root, SETTINGS, name=name) or {}
    model_type = settings.get("model_type", "SentenceTransformer")
    if model_type != "SentenceTransformer":
        raise ModelError(
            f"{name}: {SETTINGS} says that it is a {model_type}; only a SentenceTransformer gives vectors."
        )
    max_tokens, lowercase = reader.of_transformer(folder.modules[0])
    pooling, include_prompt = reader.of_pooling(folder.modules[1], hidden=hidden)
    layers: list[Dense | UnitLength] = []
    width = hidden * len(pooling)
    for module in folder.modules[2:]:
        if module.kind == "Normalize":
            reader.check_names(module)
            layers.append(UnitLength())
        elif module.kind == "Dense":
            layers.append(dense := reader.dense(module, width=width))
            width = len(dense.weight)
    ends_normalized = bool(layers) and isinstance(layers[-1], UnitLength)
    while layers and isinstance(layers[-1], UnitLength):
        layers.pop()
    prompts, default = _prompts(settings, name=name)
    return SentenceModules(
        pooling=pooling,
        include_prompt=include_prompt,
        layers=tuple(layers),
        normalize=ends_normalized,
        truncate_dim=_whole_number(settings, "truncate_dim", file=SETTINGS, name=name),
        max_tokens=max_tokens,
        lowercase=lowercase,
        prompts=prompts,
        default_prompt_name=default,
        similarity=_similarity(settings, name=name),
    )


def check_modules(folder: SentenceFolder, *, name: str) -> None:
    """
    Raises:
        ModelError: a module that llmkit does not implement, or an order in which they give no vectors.
    """
    first, *others = folder.modules
    after = ("Dense", "Normalize", "Dropout")
    for module in folder.modules:
        if module.kind not in ("Transformer", "Pooling", *after):
            raise ModelError(
                f"{name}: {MODULES} lists the module {module.kind}, which llmkit does not implement; it implements "
                "Transformer, Pooling, Dense, Normalize and Dropout. Embed with sentence-transformers instead."
            )
    kinds = [module.kind for module in others]
    if first.kind != "Transformer" or kinds[:1] != ["Pooling"] or not all(kind in after for kind in kinds[1:]):
        found = ", ".join([first.kind, *kinds])
        raise ModelError(
            f"{name}: {MODULES} lists {found}; llmkit needs a Transformer, then one Pooling, then any of {', '.join(after)}."
        )


@dataclass(frozen=True)
class _Reader:
    """Reads the configs and weights of a folder's modules."""

    folder: SentenceFolder
    name: str

    def of_transformer(self, module: ListedModule) -> tuple[int | None, bool]:
        """The longest text in tokens, and whether texts are in lower case."""
        files = (module.file(file) for file in TRANSFORMER_CONFIGS)
        file = next((file for file in files if find_file(self.folder.root, file, name=self.name)), None)
        config = {} if file is None else self._config(file)
        for key, value in config.items():
            if key not in ("max_seq_length", "do_lower_case") and value and _AS_WITHOUT.get(key) != value:
                raise ModelError(f"{self.name}: {file} has {key}: {str(value)[:80]!r}, which llmkit does not support.")
        return (
            _whole_number(config, "max_seq_length", file=str(file), name=self.name),
            _flag(config, "do_lower_case", default=False, file=str(file), name=self.name),
        )

    def of_pooling(self, module: ListedModule, *, hidden: int) -> tuple[tuple[Pooling, ...], bool]:
        """The modes, and whether a prompt is pooled."""
        file = module.file(MODULE_CONFIG)
        config = self._config(file)
        unknown = [key for key in config if key.startswith("pooling_mode") and key not in (*_FLAGS, "pooling_mode")]
        modes = config.get("pooling_mode")
        if modes is None:
            flags = [key for key in _FLAGS if _flag(config, key, default=False, file=file, name=self.name)]
            pooling = tuple(_FLAGS[key] for key in flags) or ("mean",)
            unknown = [key for key in unknown if config[key]]
        else:
            several = [modes] if isinstance(modes, str) else modes
            if not isinstance(several, list) or not several:
                raise ModelError(f"{self.name}: {file} has pooling_mode: {str(modes)[:80]!r}, which is not a mode.")
            unknown = [str(mode) for mode in several if not isinstance(mode, str) or mode not in _MODES]
            pooling = tuple(_MODES[mode] for mode in several if not unknown)
        if unknown:
            raise ModelError(f"{self.name}: {file} has {unknown[0]}; llmkit has the pooling modes {', '.join(_MODES)}.")
        dimension = config.get("embedding_dimension", config.get("word_embedding_dimension", hidden))
        if dimension != hidden:
            raise ModelError(f"{self.name}: {file} pools {dimension} numbers a token; the model has {hidden:,}.")
        return pooling, _flag(config, "include_prompt", default=True, file=file, name=self.name)

    def check_names(self, module: ListedModule) -> dict[str, Any]:
        """The config of a module that changes vectors, with an empty one for those that need none."""
        file = module.file(MODULE_CONFIG)
        config = read_json(self.folder.root, file, name=self.name) or {} if module.path else {}
        for key, only in _ON_VECTORS.items():
            if config.get(key) not in (None, only):
                raise ModelError(f"{self.name}: {file} has {key}: {str(config[key])[:80]!r}; only {only} is supported.")
        return config

    def dense(self, module: ListedModule, *, width: int) -> Dense:
        """The layer, for vectors of `width` numbers."""
        file = module.file(MODULE_CONFIG)
        self._config(file)
        config = self.check_names(module)
        found = _whole_number(config, "in_features", file=file, name=self.name)
        if found != width:
            raise ModelError(f"{self.name}: {file} has in_features: {found}; the module before it gives {width:,}.")
        outputs = _whole_number(config, "out_features", file=file, name=self.name)
        if outputs is None:
            raise ModelError(f"{self.name}: {file} has no out_features.")
        shapes: dict[str, tuple[int, ...]] = {"linear.weight": (outputs, width)}
        if _flag(config, "bias", default=True, file=file, name=self.name):
            shapes["linear.bias"] = (outputs,)
        residual = _flag(config, "use_residual", default=False, file=file, name=self.name)
        if residual and outputs != width:
            shapes["residual.weight"] = (outputs, width)
        tensors = self._tensors(module, shapes)
        return Dense(
            weight=tensors["linear.weight"],
            bias=tensors.get("linear.bias"),
            activation=_activation(config.get("activation_function", "torch.nn.Tanh"), file=file, name=self.name),
            residual=tensors.get("residual.weight", "input") if residual else None,
        )

    def _config(self, file: str) -> dict[str, Any]:
        content = read_json(self.folder.root, file, name=self.name)
        if content is None:
            raise ModelError(f"{self.name}: the file {file} of a module in {MODULES} is missing.")
        return content

    def _tensors(self, module: ListedModule, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
        """Weights of these shapes and no others, in float32."""
        file = module.file(MODULE_WEIGHTS)
        path = find_file(self.folder.root, file, name=self.name)
        if path is None and (self.folder.root / module.file(MODULE_PICKLE)).exists():
            raise ModelError(
                f"{self.name}: {module.path} has its weights only as {MODULE_PICKLE}, a pickle, which can run code. "
                f"Open the folder with sentence-transformers and save it again: that writes {MODULE_WEIGHTS}."
            )
        if path is None:
            raise ModelError(f"{self.name}: the weight file {file} is missing.")
        stored = tensors_of(path, name=self.name, file=file)
        if (found := {key: tensor.shape for key, tensor in stored.items()}) != shapes:
            fault = sorted(key for key in {*found, *shapes} if found.get(key) != shapes.get(key))[0]
            raise ModelError(
                f"{self.name}: {file} has {listed([fault])} of shape {found.get(fault)}; its config needs "
                f"{shapes.get(fault)}."
            )
        tensors = {key: tensor.float() for key, tensor in read_tensors(stored, name=self.name).items()}
        damaged = [key for key, tensor in tensors.items() if not torch.isfinite(tensor).all()]
        if damaged:
            raise ModelError(f"{self.name}: {file} has weights that are not finite numbers: {damaged[0]}.")
        return {key: tensor.clone() for key, tensor in tensors.items()}  # out of the memory-mapped file


def _activation(path: Any, *, file: str, name: str) -> str:
    parts = path.split(".") if isinstance(path, str) else []
    if parts[:2] != ["torch", "nn"] or parts[-1] not in ACTIVATIONS:
        allowed = ", ".join(ACTIVATIONS)
        raise ModelError(
            f"{name}: {file} has activation_function: {str(path)[:80]!r}; llmkit has these of torch.nn: {allowed}."
        )
    return str(parts[-1])


def _prompts(settings: Mapping[str, Any], *, name: str) -> tuple[Mapping[str, str], str | None]:
    """The prompts by name, and the name of the one that is used by default."""
    found = settings.get("prompts") or {}
    if not isinstance(found, dict) or not all(isinstance(prompt, str | None) for prompt in found.values()):
        raise ModelError(f"{name}: {SETTINGS} has prompts: {str(found)[:80]!r}, which is not a mapping to texts.")
    prompts = {key: prompt or "" for key, prompt in found.items()}
    default = settings.get("default_prompt_name")
    if default is not None and not (isinstance(default, str) and default in prompts):
        raise ModelError(
            f"{name}: {SETTINGS} has default_prompt_name: {str(default)[:80]!r}, which is none of its prompts: "
            f"{', '.join(prompts) or 'it has none'}."
        )
    return prompts, default


def _similarity(settings: Mapping[str, Any], *, name: str) -> Similarity:
    found = settings.get("similarity_fn_name") or "cosine"
    for known in get_args(Similarity):
        if found == known:
            return known  # type: ignore[no-any-return]
    raise ModelError(
        f"{name}: {SETTINGS} has similarity_fn_name: {str(found)[:80]!r}; use {', '.join(get_args(Similarity))}."
    )


def _whole_number(config: Mapping[str, Any], key: str, *, file: str, name: str) -> int | None:
    value = config.get(key)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise ModelError(f"{name}: {file} has {key}: {str(value)[:80]!r}, which is not a whole number from 1 upwards.")
    return value


def _flag(config: Mapping[str, Any], key: str, *, default: bool, file: str, name: str) -> bool:
    value = config.get(key)
    if not isinstance(value, bool | None):
        raise ModelError(f"{name}: {file} has {key}: {str(value)[:80]!r}, which is not true or false.")
    return default if value is None else value

"""LoRA adapters (Hu et al. 2021) with peft: added to a model, saved as files, loaded, merged.

The model keeps its class, and the rest of llmkit uses it as before: only its adapted matrices become modules with two
additional low-rank matrices. Only trained weights are saved. The files are peft's own (`adapter_config.json`,
`adapter_model.safetensors`), so that plain peft opens them, together with the config of the whole model.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from llmkit.errors import ModelError, UsageError, nearest
from llmkit.models.families import PEFT_TASKS, Head, family_of
from llmkit.models.folder_values import AdapterValues, check_values
from llmkit.models.layers import label_heads, layer_stacks
from llmkit.models.loaded import Adapter, LoadedModel
from llmkit.models.stored import StoredTensor
from llmkit.recipe.blocks import LoraBlock

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
MODEL_CONFIG, BASE = "model_config.json", "base.json"
"""Written by llmkit alone: the config of the whole model, under a name that transformers does not open as a model; and
the weights that the adapter was trained on."""
ADAPTER_PREFIX = "base_model.model."
"""Prefix of each name in peft's files."""
_NAME = "default"
"""peft's name for the only adapter; part of the names of parameters, not of those in files."""
_SUPPORTED: Mapping[str, tuple[Any, ...]] = {
    "bias": ("none",),
    "megatron_core": ("megatron.core",),
    "qalora_group_size": (16,),
    "peft_type": ("LORA",),
}
"""Keys of adapter_config.json with their only supported values."""
_IGNORED = {"auto_mapping", "inference_mode", "peft_version", "task_type"}
"""Keys that do not concern the weights."""
_INITIALIZATIONS: tuple[Any, ...] = (None, True, False, "gaussian", "eva", "orthogonal", "mica")
"""Initializations that do not change the base; pissa and similar ones subtract the adapter from the base."""
_READ = {
    "base_model_name_or_path",
    "fan_in_fan_out",
    "init_lora_weights",
    "lora_alpha",
    "lora_dropout",
    "modules_to_save",
    "r",
    "revision",
    "target_modules",
    "use_rslora",
}


def add_adapter(
    loaded: LoadedModel, block: LoraBlock, *, head: Head, seed: int, whole: Sequence[str] = ()
) -> LoadedModel:
    """The same model with a new adapter in it, and nothing else trainable but new and labelled heads.

    The low-rank matrices are initialized with `seed`; their product is 0, so the model's output does not change.

    Args:
        whole: more modules to train and store in full.
    Raises:
        UsageError: no such matrix; a new head that would not be trained; a base that is itself an adapter.
    """
    model = loaded.model
    if loaded.base is None:
        raise UsageError(
            f"train.lora: the weights of {loaded.name} are not in a model folder that an adapter can refer to. Merge an "
            "adapter into a model with `llmkit merge`."
        )
    whole = [*label_heads(model), *_owners(loaded.new_weights), *whole]
    vocabulary = model.get_output_embeddings()
    for name in whole:
        if any(module is vocabulary for module in model.get_submodule(name).modules()):
            raise UsageError(
                f"train.lora: {loaded.name} has no weights for {name}, which would stay random with an adapter. "
                "Train without lora."
            )
    adapter = Adapter(
        base=loaded.base,
        revision=loaded.revision,
        rank=block.rank,
        alpha=block.alpha,
        dropout=block.dropout,
        targets=_targets(loaded, block),
        whole=tuple(name for name in dict.fromkeys(whole) if not any(name.startswith(f"{outer}.") for outer in whole)),
        peft_task=PEFT_TASKS.get(head),
    )
    inject(model, adapter, seed=seed)
    hashed = None if model.device.type == "meta" else base_hash(model)  # an outline has no numbers
    return replace(loaded, adapter=replace(adapter, base_sha256=hashed))


def inject(model: PreTrainedModel, adapter: Adapter, *, seed: int) -> None:
    """Add low-rank matrices with product 0 to a model; only they and the modules in `whole` are then trainable."""
    from peft import inject_adapter_in_model

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(_peft_config(adapter, model), model)
    for name in adapter.whole:
        model.get_submodule(name).requires_grad_(True)


def adapter_files(model: PreTrainedModel, adapter: Adapter) -> dict[str, bytes]:
    """File name -> content of a folder that peft opens, without the tokenizer."""
    model.config.architectures = [type(model).__name__]
    model.config.dtype = model.dtype
    content = _peft_config(adapter, model).to_dict()
    content.pop("runtime_config", None)
    content |= {"inference_mode": True, "modules_to_save": list(adapter.whole) or None}
    plain = {key: sorted(value) if isinstance(value, set) else value for key, value in content.items()}
    base = {"name": adapter.base, "revision": adapter.revision, "sha256": adapter.base_sha256}
    files = {
        ADAPTER_WEIGHTS: save(trained_tensors(model), metadata={"format": "pt"}),
        ADAPTER_CONFIG: _json(plain),
        BASE: _json(base),
        MODEL_CONFIG: model.config.to_json_string().encode(),
    }
    if model.can_generate():
        files["generation_config.json"] = model.generation_config.to_json_string().encode()
    return files


def trained_tensors(model: PreTrainedModel) -> dict[str, Tensor]:
    """Low-rank matrices and heads under the names of peft's files, on the CPU."""
    return {name: tensor.detach().to("cpu").contiguous() for name, tensor in _stored(model)}


def put_tensors(model: PreTrainedModel, tensors: Mapping[str, Tensor], *, name: str) -> None:
    """Set the adapter's weights.

    Raises:
        ModelError: names or shapes do not match this adapter, or a weight is not finite.
    """
    check_tensors(model, tensors, name=name)
    parameters = dict(_stored(model))
    tensors = {key: tensor for key, tensor in tensors.items() if key in parameters}
    if integers := [key for key, tensor in tensors.items() if not tensor.is_floating_point()]:
        raise ModelError(f"{name}: weights that are not floating-point numbers: {', '.join(integers[:5])}.")
    damaged = [key for key, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if damaged:
        raise ModelError(f"{name}: weights that are not finite numbers: {', '.join(damaged[:5])}.")
    with torch.no_grad():
        for key, parameter in parameters.items():
            parameter.copy_(tensors[key])


def check_tensors(model: PreTrainedModel, tensors: Mapping[str, Tensor | StoredTensor], *, name: str) -> None:
    """Compare the names and shapes of an adapter's tensors with those of its parameters in the model.

    Raises:
        ModelError: they do not match.
    """
    parameters = dict(_stored(model))
    # Embeddings that peft saves beside an adapter are part of the base already, in place of its own.
    saved_embeddings = {ADAPTER_PREFIX + key for key in _embedding_names(model)} - parameters.keys()
    other = sorted(parameters.keys() ^ (tensors.keys() - saved_embeddings)) or [
        key for key, parameter in parameters.items() if tuple(parameter.shape) != tuple(tensors[key].shape)
    ]
    if other:
        raise ModelError(f"{name}: its weights do not belong to this adapter: {', '.join(other[:5])}.")


def _embedding_names(model: PreTrainedModel) -> set[str]:
    """Names of the matrices with a row for each token, also those of tied weights."""
    output = model.get_output_embeddings()
    matrices = {id(model.get_input_embeddings().weight), *([] if output is None else [id(output.weight)])}
    return {name for name, weight in model.named_parameters(remove_duplicate=False) if id(weight) in matrices}


def merge_adapter(model: PreTrainedModel) -> None:
    """Add the products to the adapted matrices, and restore the original modules."""
    from peft.tuners.lora import LoraLayer

    adapted = [(name, module) for name, module in model.named_modules() if isinstance(module, LoraLayer)]
    for name, module in adapted:
        module.merge(safe_merge=True)
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, module.get_base_layer())
    del model.peft_config
    model.requires_grad_(True)


def read_adapter(content: Mapping[str, Any], *, name: str) -> Adapter:
    """An adapter's config, reading only known keys: peft has keys that download, run or compute something.

    Raises:
        ModelError: it is not plain LoRA, or is damaged.
    """
    for key, value in content.items():
        allowed = _SUPPORTED.get(key, (None, False, {}, []))
        if key not in _READ | _IGNORED and value not in allowed:
            raise ModelError(f"{name}: {ADAPTER_CONFIG} has {key}: {value!r}, which llmkit does not support.")
    initialization = content.get("init_lora_weights")
    if initialization not in _INITIALIZATIONS:
        raise ModelError(
            f"{name}: {ADAPTER_CONFIG} has init_lora_weights: {initialization!r}, which changes the weights of the base. "
            "Save it with peft as plain LoRA, with path_initial_model_for_weight_conversion."
        )
    check_values(content, AdapterValues, name=name, file=ADAPTER_CONFIG)
    return Adapter(
        base=content["base_model_name_or_path"],
        revision=content.get("revision"),
        rank=content["r"],
        alpha=content["lora_alpha"],
        dropout=content["lora_dropout"],
        targets=tuple(content["target_modules"]),
        whole=tuple(content.get("modules_to_save") or ()),
        rank_stabilized=bool(content.get("use_rslora")),
        peft_task=content.get("task_type"),
    )


def base_hash(model: PreTrainedModel) -> str:
    """SHA-256 of the weights that an adapter does not change, in the order of their names."""
    digest = hashlib.sha256()
    tensors = {
        name.replace(".base_layer.", "."): parameter
        for name, parameter in model.named_parameters()
        if not parameter.requires_grad
    }
    for name in sorted(tensors):
        digest.update(f"{name} {tuple(tensors[name].shape)}\n".encode())
        digest.update(tensors[name].detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, sort_keys=True) + "\n").encode()


def _peft_config(adapter: Adapter, model: PreTrainedModel) -> Any:
    from peft import LoraConfig

    return LoraConfig(
        task_type=adapter.peft_task,
        base_model_name_or_path=adapter.base,
        revision=adapter.revision,
        r=adapter.rank,
        lora_alpha=adapter.alpha,  # type: ignore[arg-type]  # peft multiplies by it; any number works
        lora_dropout=adapter.dropout,
        target_modules=list(adapter.targets),
        use_rslora=adapter.rank_stabilized,
        fan_in_fan_out=family_of(model.config.model_type, name=adapter.base).swaps_matrices,
    )


def _stored(model: PreTrainedModel) -> Iterator[tuple[str, nn.Parameter]]:
    for name, parameter in model.named_parameters():
        if parameter.requires_grad or f".{_NAME}." in name:
            yield ADAPTER_PREFIX + name.replace(f".{_NAME}.", "."), parameter


def _owners(weights: tuple[str, ...]) -> list[str]:
    """The modules that these parameters belong to."""
    return list(dict.fromkeys(name.rpartition(".")[0] for name in weights))


def _targets(loaded: LoadedModel, block: LoraBlock) -> tuple[str, ...]:
    """Full names of the matrices to adapt: short names could also match modules outside of the layers.

    Raises:
        UsageError: the layers have no matrix, or none of that name.
    """
    name = loaded.name
    matrices = dict(_matrices(loaded.model))
    available = sorted(set(matrices.values()))
    if not available:  # an LSTM's matrices are not separate modules
        raise UsageError(f"train.lora: the layers of {name} have no matrix for an adapter. Train without lora.")
    targets: tuple[str, ...] = tuple(available)
    if block.target == "auto":
        targets = tuple(matrix for matrix in available if matrix in loaded.family.lora_targets)
    elif block.target != "all":
        targets = tuple(block.target)
    unknown = [matrix for matrix in targets if matrix not in available]
    if unknown:
        raise UsageError(
            f"train.lora.target: the layers of {name} have no {unknown[0]!r}.{nearest(unknown[0], available)} "
            f"They have: {', '.join(available)}."
        )
    return tuple(full for full, short in matrices.items() if short in targets)


def _matrices(model: PreTrainedModel) -> Iterator[tuple[str, str]]:
    """Full and last name of each linear map in the layers."""
    for stack, layers in layer_stacks(model).items():
        for inner, module in layers.named_modules():
            if isinstance(module, nn.Linear | Conv1D):
                yield f"{stack}.{inner}", inner.rpartition(".")[2]

"""A model folder as bytes, with only the files that plain transformers opens. Writes nothing itself."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from llmkit.models.adapters import adapter_files
from llmkit.models.families import family_of
from llmkit.models.generator import generator_tensors, is_of_generator
from llmkit.models.loaded import LoadedModel
from llmkit.models.stored import GENERATOR
from llmkit.models.target_scale import in_target_units


def model_files(loaded: LoadedModel) -> dict[str, bytes]:
    """File name -> content of a Hugging Face model folder, with its tokenizer."""
    return {**tokenizer_files(loaded), **changing_files(loaded)}


def changing_files(loaded: LoadedModel) -> dict[str, bytes]:
    """The folder without the tokenizer: the weights, or those of the model's adapter."""
    with in_target_units(loaded):
        if loaded.adapter is not None:
            return adapter_files(loaded.model, loaded.adapter)
        generator = generator_tensors(loaded.model)
        beside = {GENERATOR: save(generator, metadata={"format": "pt"})} if generator else {}
        return {**weight_files(loaded.model), **beside}


def weight_files(model: PreTrainedModel) -> dict[str, bytes]:
    """The weights and their configs."""
    model.config.architectures = [type(model).__name__]
    model.config.dtype = model.dtype
    files = {
        "model.safetensors": save(_published(model, unique_tensors(model)), metadata={"format": "pt"}),
        "config.json": model.config.to_json_string().encode(),
    }
    if model.can_generate():
        files["generation_config.json"] = model.generation_config.to_json_string().encode()
    return files


def _published(model: PreTrainedModel, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors by the names that they have in published files."""
    new_to_published = {new: published for published, new in _published_names(model).items()}
    return {_renamed(name, new_to_published): tensor for name, tensor in tensors.items()}


def by_class_name(model: PreTrainedModel, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of `weight_files` by the names that they have in the model."""
    return {_renamed(name, _published_names(model)): tensor for name, tensor in tensors.items()}


def _published_names(model: PreTrainedModel) -> Mapping[str, str]:
    return family_of(model.config.model_type, name=type(model).__name__).published_names


def _renamed(name: str, starts: Mapping[str, str]) -> str:
    start = next((start for start in starts if name.startswith(start)), None)
    return name if start is None else starts[start] + name.removeprefix(start)


def unique_tensors(model: PreTrainedModel) -> dict[str, Tensor]:
    """The state dict without the second names of tied weights, on the CPU; safetensors stores no tensor twice.

    A generator beside the model has a file of its own.
    """
    tied = model.all_tied_weights_keys
    return {
        name: tensor.detach().to("cpu").contiguous()
        for name, tensor in model.state_dict().items()
        if name not in tied and not is_of_generator(name)
    }


def weights_sha256(model: PreTrainedModel) -> str:
    """Hash of all weights with their names, independent of how they are split into files."""
    digest = hashlib.sha256()
    for name, tensor in sorted(unique_tensors(model).items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.numpy().data.cast("B"))
    return digest.hexdigest()


def tokenization_sha256(tokenizer: PreTrainedTokenizerFast) -> str:
    """Hash of everything that determines the ids of a text or a conversation, and the maximum length.

    The same before and after a tokenizer is used, saved and loaded. The bytes of its files are not: a published
    tokenizer.json has truncation and padding in it, or lacks keys that newer libraries write.
    """
    backend = json.loads(tokenizer.backend_tokenizer.to_str())
    special_tokens = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
    content = {
        "backend": {key: value for key, value in backend.items() if key not in ("truncation", "padding")},
        "special": {role: getattr(tokenizer, f"{role}_token_id") for role in special_tokens},
        "split_special_tokens": tokenizer.split_special_tokens,
        "max_tokens": tokenizer.model_max_length,
        "chat_template": tokenizer.chat_template,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def tokenizer_files(loaded: LoadedModel) -> dict[str, bytes]:
    """Constant during a run, so read once: transformers can write a tokenizer only to a folder.

    Raises:
        OSError: the temporary folder cannot be written.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            loaded.tokenizer.save_pretrained(folder)
        except Exception as error:  # tokenizers raises no OSError, but a bare Exception: `File too large (os error 27)`
            code = re.search(r"\(os error (\d+)\)", str(error))
            if code is None:
                raise
            raise OSError(int(code[1]), os.strerror(int(code[1])), folder) from error
        files = {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}
    config = json.loads(files["tokenizer_config.json"])
    for key in ("is_local", "local_files_only"):  # how it was opened, not what it is: a copy of a copy is the same
        config.pop(key, None)
    text = json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    return {**files, "tokenizer_config.json": text.encode()}

"""From the user's name for a model to a local folder that is safe to open.

A name is a run, a folder, or a hub id; a typo in a path and a typo in a hub id give different errors. From a hub model
only JSON, text and safetensors files are downloaded. Nothing here reads weights.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from llmkit.errors import ModelError, nearest
from llmkit.models.adapters import ADAPTER_CONFIG, ADAPTER_WEIGHTS, BASE, MODEL_CONFIG, read_adapter
from llmkit.models.download import download, download_headers
from llmkit.models.families import family_of
from llmkit.models.files import find_file, read_json
from llmkit.models.folder_values import BaseValues, GenerationValues, ModelValues, TokenizerValues, check_values
from llmkit.models.integrity import check_saved_files, unless_replaced
from llmkit.models.loaded import Adapter
from llmkit.models.sentence_files import MODULES, SentenceFolder, read_sentence_folder
from llmkit.models.stored import GENERATOR, INDEX, WEIGHTS, weight_files
from llmkit.models.tokenizer_files import OTHER_TEMPLATES, SPECIAL_TOKENS, TOKENIZER_CONFIG, TOKENIZER_FILES
from llmkit.models.value_types import Values

_DOWNLOADED = ["*.json", "*.txt", "*.model", "*.spm", "*.jinja", "model*.safetensors", ADAPTER_WEIGHTS, GENERATOR]
CONFIG, GENERATION_CONFIG = "config.json", "generation_config.json"
_READ = (CONFIG, GENERATION_CONFIG, WEIGHTS, INDEX, ADAPTER_CONFIG, ADAPTER_WEIGHTS, MODEL_CONFIG, BASE, GENERATOR)
_CHECKED: Mapping[str, type[Values]] = {
    BASE: BaseValues,
    GENERATION_CONFIG: GenerationValues,
    TOKENIZER_CONFIG: TokenizerValues,
    SPECIAL_TOKENS: TokenizerValues,
}
_OTHER_LOADERS = ("transformers_weights", "quantization_config", "fusion_config", "configuration_files")
"""Keys that change how transformers reads weights or configs; None and empty count as absent."""
_CODE_KEYS = ("auto_map", "trust_remote_code")
_ATTENTION_KEYS = ("attn_implementation", "_attn_implementation")
_KNOWN_ATTENTION = (None, "eager", "sdpa")  # not a set: a config may have any value, such as a dict


@dataclass(frozen=True)
class ResolvedModel:
    """A checked folder, and the origin of its model."""

    folder: Path
    name: str
    revision: str | None
    """The commit of a hub model; None for a folder."""
    config: dict[str, Any]
    """The model's config; for an adapter, that of the whole model."""
    sentence: SentenceFolder | None = None
    """The modules around the model in a folder of sentence-transformers; for an adapter, its own, else its base's."""
    base: ResolvedModel | None = None
    """The model that the adapter changes."""
    adapter: Adapter | None = None
    """The adapter in the folder, if any."""


@unless_replaced
def find_model(name: str, *, revision: str | None = None, headers_in: Path | None = None) -> ResolvedModel:
    """Resolve and check a model's name.

    Args:
        headers_in: a folder for the files of hub models, of whose weights only the headers are then downloaded.
    Raises:
        ModelError: no such folder or hub model; a run without a finished model; a folder that is not a model, or
            whose files would load code, pickle, or files from elsewhere; one that llmkit saved and that was damaged.
        MachineError: the hub is needed and cannot be reached.
    """
    root, commit = folder_of(name, revision=revision, headers_in=headers_in)
    if os.path.lexists(root / ADAPTER_CONFIG):
        return _resolve_adapter(root, name=name, commit=commit, headers_in=headers_in)
    return _resolve_model(root, name=name, commit=commit, headers_in=headers_in)


def _resolve_model(root: Path, *, name: str, commit: str | None, headers_in: Path | None) -> ResolvedModel:
    """A model's folder; where sentence-transformers saved it, the model itself may be in a subfolder."""
    sentence = read_sentence_folder(root, name=name)
    if sentence is not None and commit is not None and sentence.weights:
        _fetch(name, revision=commit, files=sentence.weights, headers_in=headers_in)
    if sentence is not None and sentence.modules[0].kind != "Transformer" and not (root / CONFIG).exists():
        raise ModelError(
            f"{name}: {MODULES} begins with the module {sentence.modules[0].kind}, which llmkit does not implement; it "
            "needs a Transformer. Use sentence-transformers instead."
        )
    folder = root if sentence is None else sentence.transformer
    if not folder.is_dir():
        raise ModelError(f"{name}: not a model, it has no folder {folder.name}.")
    config = check_folder(folder, name=name)
    return ResolvedModel(folder=folder, name=name, revision=commit, config=config, sentence=sentence)


def folder_of(name: str, *, revision: str | None, headers_in: Path | None = None) -> tuple[Path, str | None]:
    """Folder of a model, and its commit if it is from the hub; checks nothing in it.

    Args:
        headers_in: as in `find_model`.
    Raises:
        ModelError, MachineError: as `find_model`.
    """
    path = Path(name)
    if path.is_dir() and revision is not None:
        raise ModelError(f"{name}: a folder has no revision {revision!r}; revisions are for hub models.")
    if path.is_dir():
        return _model_folder(path), None
    if _looks_like_path(name):
        raise ModelError(f"{name}: there is no such folder.{_sibling(path)}")
    folder = _fetch(name, revision=revision, files=_DOWNLOADED, headers_in=headers_in)
    return folder, folder.name


def _fetch(name: str, *, revision: str | None, files: list[str], headers_in: Path | None) -> Path:
    """The folder of a hub model, named by its commit."""
    if headers_in is None:
        return download(name, revision=revision, files=files)
    return download_headers(name, revision=revision, files=files, place=headers_in)


def _resolve_adapter(folder: Path, *, name: str, commit: str | None, headers_in: Path | None) -> ResolvedModel:
    """An adapter's folder, and the model that it changes, which is resolved and checked like any other."""
    if any(os.path.lexists(folder / file) for file in (CONFIG, WEIGHTS, INDEX)):
        raise ModelError(f"{name}: it is both a model and an adapter ({ADAPTER_CONFIG}). Keep them in two folders.")
    _check_files(folder, name=name)
    if find_file(folder, ADAPTER_WEIGHTS, name=name) is None:
        raise ModelError(f"{name}: the weight file {ADAPTER_WEIGHTS} is missing.")
    content = _required_json(folder, ADAPTER_CONFIG, name=name)
    _check_entries(content, name=name, file=ADAPTER_CONFIG)
    adapter = read_adapter(content, name=name)
    adapter = replace(adapter, base_sha256=(read_json(folder, BASE, name=name) or {}).get("sha256"))
    folder_of_base, commit_of_base = folder_of(adapter.base, revision=adapter.revision, headers_in=headers_in)
    if os.path.lexists(folder_of_base / ADAPTER_CONFIG):
        raise ModelError(f"{name}: its base model {adapter.base} is itself an adapter. Merge that with `llmkit merge`.")
    base = _resolve_model(folder_of_base, name=adapter.base, commit=commit_of_base, headers_in=headers_in)
    config = base.config
    adapter_config = read_json(folder, MODEL_CONFIG, name=name)  # an adapter that llmkit did not make has none
    if adapter_config is not None:
        _check_entries(adapter_config, name=name, file=MODEL_CONFIG)
        _check_config(adapter_config, name=name, file=MODEL_CONFIG)
        config = adapter_config
    return ResolvedModel(
        folder=folder,
        name=name,
        revision=commit,
        config=config,
        sentence=read_sentence_folder(folder, name=name) or base.sentence,
        base=base,
        adapter=adapter,
    )


def check_folder(folder: Path, *, name: str) -> dict[str, Any]:
    """Check that a folder is a plain safetensors model, and return its config.

    A config is an attack surface: `auto_map` imports code, an unknown `attn_implementation` reaches a loader of
    kernels, `transformers_weights` and a weight map with `../` read other files, pickles among them.
    """
    _check_files(folder, name=name)
    config = _required_json(folder, CONFIG, name=name)
    _check_entries(config, name=name, file=CONFIG)
    try:
        _check_config(config, name=name, file=CONFIG)
        weight_files(folder, name=name)
    except ModelError:
        # Of an architecture that llmkit does not have, that is the reason: Swin has a list of num_heads.
        family_of(config.get("model_type"), name=name, architectures=config.get("architectures"))
        raise
    return config


def _check_files(folder: Path, *, name: str) -> None:
    """Check that every file that could be opened is a regular file inside the folder, and as llmkit saved it, if it did;
    and check the values in its JSON."""
    try:
        files = list(folder.iterdir())
    except OSError as error:  # a checkpoint that a training has just deleted
        raise ModelError(f"{name}: the folder cannot be read ({error.strerror}).") from error
    for file in files:
        if file.exists() and not file.is_file() and not file.is_dir():
            raise ModelError(f"{name}: {file.name} is not a regular file; reading it could block forever.")
    templates = folder / OTHER_TEMPLATES
    others = [f"{OTHER_TEMPLATES}/{file.name}" for file in templates.iterdir()] if templates.is_dir() else []
    for known in (*_READ, *TOKENIZER_FILES, *others):
        find_file(folder, known, name=name)
    check_saved_files(folder, name=name, read=(*_READ, *TOKENIZER_FILES, MODULES, OTHER_TEMPLATES))
    for known, values in _CHECKED.items():
        check_values(read_json(folder, known, name=name) or {}, values, name=name, file=known)


def _check_config(config: dict[str, Any], *, name: str, file: str) -> None:
    for key in _OTHER_LOADERS:
        if config.get(key):
            raise ModelError(f"{name}: {file} has {key}: {str(config[key])[:80]!r}, which llmkit does not support.")
    check_values(config, ModelValues, name=name, file=file)


def _check_entries(config: dict[str, Any], *, name: str, file: str) -> None:
    for key, value in _entries(config):
        if key in _CODE_KEYS and value:
            raise ModelError(f"{name}: {file} requires its own code ({key}), which llmkit never runs.")
        if key in _ATTENTION_KEYS and value not in _KNOWN_ATTENTION:
            raise ModelError(f"{name}: {file} names the attention {value!r}; eager and sdpa are allowed.")


def _model_folder(path: Path) -> Path:
    """A run's finished model, or the folder itself."""
    if not (path / "run.json").exists():
        if (path / "recipe.yaml").exists() and (path / "model").is_dir():
            raise ModelError(f"{path}: the run has lost its run.json. Restore it, or use its model, {path / 'model'}.")
        return path
    model = path / "model"
    if not model.is_dir():
        raise ModelError(f"{path}: the run has no finished model. Continue it with `llmkit finetune --resume {path}`.")
    if model.resolve().parent != path.resolve():
        raise ModelError(f"{path}: its model is a link to {model.resolve()}, outside the run; give that path instead.")
    return model


def _looks_like_path(name: str) -> bool:
    return (
        name.startswith((".", "/", "~", "runs/"))
        or name.count("/") > 1
        or (os.sep in name.rstrip("/")[:-1] and (Path(name).parent.is_dir()))
    )


def _sibling(path: Path) -> str:
    parent = path.parent
    if not parent.is_dir():
        return f" There is no folder {parent} either."
    return nearest(path.name, (entry.name for entry in parent.iterdir() if entry.is_dir()))


def _required_json(folder: Path, file: str, *, name: str) -> dict[str, Any]:
    content = read_json(folder, file, name=name)
    if content is None:
        raise ModelError(f"{name}: not a model, it has no {file}.")
    return content


def _entries(content: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Keys with their values, at any depth; a stack, since JSON may nest deeper than Python calls."""
    pending: list[object] = [content]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            yield from value.items()
            pending += value.values()
        elif isinstance(value, list):
            pending += value

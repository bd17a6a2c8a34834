"""The files of a model folder that belong to the model, by their known names. Other files are never sent to the hub."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from llmkit.models.adapters import ADAPTER_CONFIG, ADAPTER_WEIGHTS, BASE, MODEL_CONFIG
from llmkit.models.files import find_file
from llmkit.models.resolve import CONFIG, GENERATION_CONFIG, ResolvedModel
from llmkit.models.sentence_files import MODULE_CONFIG, MODULES, SETTINGS, TRANSFORMER_CONFIGS
from llmkit.models.stored import GENERATOR, INDEX, weight_files
from llmkit.models.tokenizer_files import TOKENIZER_FILES

CARD = "README.md"
_ALONGSIDE = (CARD, "LICENSE", "LICENSE.txt", "LICENSE.md", "NOTICE")
_CONFIGS = (CONFIG, GENERATION_CONFIG, INDEX, GENERATOR, ADAPTER_CONFIG, ADAPTER_WEIGHTS, MODEL_CONFIG, BASE)


def model_file_names(resolved: ResolvedModel, root: Path) -> list[str]:
    """Paths from the root of the folder, sorted.

    Args:
        root: the folder; a model of sentence-transformers may be in a subfolder of it.
    Raises:
        ModelError: a file is a link to elsewhere, or is not a regular file.
    """
    names = dict.fromkeys((*_ALONGSIDE, *_names_of_model(resolved, root)))
    return sorted(name for name in names if find_file(root, name, name=resolved.name) is not None)


def other_file_names(root: Path, *, sent: list[str]) -> list[str]:
    """The other files of the folder, at any depth, sorted."""
    found = (Path(folder, file).relative_to(root).as_posix() for folder, _, files in os.walk(root) for file in files)
    return sorted(set(found) - set(sent))


def _names_of_model(resolved: ResolvedModel, root: Path) -> Iterator[str]:
    inside = os.path.relpath(resolved.folder, root)
    names = [*_CONFIGS, *TOKENIZER_FILES]
    if resolved.adapter is None:
        names += weight_files(resolved.folder, name=resolved.name)
    yield from (Path(inside, name).as_posix() for name in names)
    if resolved.sentence is not None and resolved.sentence.root == root:
        yield from (MODULES, SETTINGS, *TOKENIZER_FILES)
        for module in resolved.sentence.modules:
            yield from (module.file(name) for name in (MODULE_CONFIG, *TRANSFORMER_CONFIGS))
            if module.kind != "Transformer":
                yield module.file("model.safetensors")

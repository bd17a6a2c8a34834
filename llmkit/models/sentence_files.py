"""The modules that a sentence-transformers folder lists in modules.json, and where each of them is.

`sentence_reading.py` reads what these files contain.
"""

from __future__ import annotations

from dataclasses import dataclass
from glob import escape
from pathlib import Path, PurePosixPath
from typing import Any

from llmkit.errors import ModelError
from llmkit.models.files import find_file, read_json_list

MODULES, SETTINGS = "modules.json", "config_sentence_transformers.json"
MODULE_CONFIG, MODULE_WEIGHTS, MODULE_PICKLE = "config.json", "model.safetensors", "pytorch_model.bin"
TRANSFORMER_CONFIGS = tuple(
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
"""Of these names, the first one that a folder has is read, as in sentence-transformers."""
_PACKAGE = "sentence_transformers."


@dataclass(frozen=True)
class ListedModule:
    kind: str
    """Its class, such as Pooling; the whole import path for a class outside sentence-transformers."""
    path: str
    """Its folder, relative to the root; empty for the root itself."""

    def file(self, name: str) -> str:
        return f"{self.path}/{name}" if self.path else name


@dataclass(frozen=True)
class SentenceFolder:
    """A folder that sentence-transformers saved."""

    root: Path
    modules: tuple[ListedModule, ...]

    @property
    def transformer(self) -> Path:
        """The folder of the model itself: the root, or 0_Transformer in old folders."""
        first = self.modules[0]
        return self.root / first.path if first.kind == "Transformer" else self.root

    @property
    def weights(self) -> list[str]:
        """Patterns of the weight files that are not in the root."""
        with_weights = (module for module in self.modules if module.path and module.kind in ("Transformer", "Dense"))
        return [f"{escape(module.path)}/model*.safetensors" for module in with_weights]


def read_sentence_folder(root: Path, *, name: str) -> SentenceFolder | None:
    """What modules.json lists; None for a folder without it.

    Raises:
        ModelError: it is damaged, or names a folder elsewhere; a file of a module is a link to elsewhere, or is not a
            regular file.
    """
    content = read_json_list(root, MODULES, name=name)
    if content is None:
        return None
    if not content:
        raise ModelError(f"{name}: {MODULES} lists no modules.")
    folder = SentenceFolder(root, tuple(_listed(entry, name=name) for entry in content))
    for file in (SETTINGS, *(f"{folder.modules[0].file(file)}" for file in TRANSFORMER_CONFIGS)):
        find_file(root, file, name=name)
    for module in folder.modules:
        for file in (MODULE_CONFIG, MODULE_WEIGHTS):
            find_file(root, module.file(file), name=name)
    return folder


def _listed(entry: Any, *, name: str) -> ListedModule:
    if not isinstance(entry, dict) or not all(isinstance(entry.get(key), str) for key in ("type", "path")):
        raise ModelError(f"{name}: {MODULES} has the entry {str(entry)[:80]!r}, which has no type and path.")
    kind, path = entry["type"], entry["path"]
    parts = PurePosixPath(path).parts
    if path.startswith("/") or ".." in parts or "\\" in path or ":" in path or not path.isprintable():
        raise ModelError(f"{name}: {MODULES} names {path!r}, which is outside the folder.")
    return ListedModule(kind.rpartition(".")[2] if kind.startswith(_PACKAGE) else kind, "/".join(parts))

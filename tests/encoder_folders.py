"""Saved models whose encoders give vectors, and one that cannot: the smallest of each kind."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from builders import tiny_model

from llmkit.models.export import model_files
from llmkit.models.loaded import LoadedModel


def encoder_folders() -> Path:
    """A folder with the models masked-lm, classifier, t5 and gpt2; the two BERTs have one encoder. Change none."""
    return Path(_made().name)


@cache
def _made() -> TemporaryDirectory[str]:
    """Made once in each process, and deleted with it."""
    temporary = TemporaryDirectory(prefix="llmkit-encoders-")
    folder = Path(temporary.name)
    masked, classifier = tiny_model("bert", head="masked-lm", layers=2), tiny_model("bert", layers=2)
    classifier.model.bert.load_state_dict(masked.model.bert.state_dict(), strict=False)
    for name, loaded in {
        "masked-lm": masked,
        "classifier": classifier,
        "t5": tiny_model("t5", layers=2),
        "gpt2": tiny_model("gpt2"),
    }.items():
        save(loaded, folder / name)
    return temporary


def save(loaded: LoadedModel, folder: Path) -> Path:
    folder.mkdir()
    for name, content in model_files(loaded).items():
        (folder / name).write_bytes(content)
    return folder

"""Files of the validation and test rows beside a file of training rows, by their names."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Mapping
from pathlib import Path

from llmkit.data.readers import format_of
from llmkit.data.sources import column_names
from llmkit.recipe.blocks import Quoting

logger = logging.getLogger("llmkit")
_WORDS: Mapping[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev", "eval"),
    "test": ("test", "testing"),
}
"""Split -> how names of files call it."""
_TRAIN = re.compile(r"(?<![^\W_])(train|training)(?![^\W\d_])", re.IGNORECASE)


def training_file(source: str) -> str:
    """The training file of a folder that has one; any other source unchanged."""
    folder = Path(source)
    if not folder.is_dir():
        return source
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and format_of(path) is not None]
    named = [path for path in files if _TRAIN.search(path.name)]
    return named[0].as_posix() if len(named) == 1 else source


def sibling_splits(source: str, *, columns: Collection[str], quoting: Quoting) -> dict[str, str]:
    """`validation` and `test` -> the file beside the training file, if there is one with its columns.

    Args:
        columns: those that the task reads.
    """
    path = Path(source)
    if not path.is_file():
        return {}
    found = {}
    for split in ("validation", "test"):
        file = next((file for file in _names(path, _WORDS[split]) if file.is_file() and file != path), None)
        if file is None:
            continue
        missing = set(columns) - set(_columns(file, columns, quoting))
        if missing:
            logger.info("%s is not used: it has no column %r", file.as_posix(), min(missing))
        else:
            found[split] = file.as_posix()
    return found


def _names(path: Path, words: tuple[str, ...]) -> list[Path]:
    """`train.csv` with another word for `train`; or `reviews.csv` with a word before the extension."""
    if _TRAIN.search(path.name):
        return [path.with_name(_TRAIN.sub(word, path.name)) for word in words]
    stem, dot, extensions = path.name.partition(".")
    return [path.with_name(f"{stem}{sign}{word}{dot}{extensions}") for word in words for sign in (".", "-", "_")]


def _columns(file: Path, needed: Collection[str], quoting: Quoting) -> list[str]:
    """The file's columns, and the keys that are looked for inside them."""
    names = list(needed) if format_of(file) == "text" else column_names(file.as_posix(), quoting=quoting)
    return [*names, *(name for name in needed if name.partition(".")[0] in names)]

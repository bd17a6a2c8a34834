"""The names of data sets of the Hugging Face hub: `hub:OWNER/NAME[@REVISION][:CONFIG][#SPLIT]`.

For example `hub:stanfordnlp/imdb@refs/pr/3:plain_text#test`. Imports no library of the hub.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from llmkit.data.readers import format_of
from llmkit.errors import DataError

_SYNTAX = "hub:OWNER/NAME[@REVISION][:CONFIG][#SPLIT]"
_PATTERN = re.compile(r"hub:(?P<name>[^@:#]*)(@(?P<revision>[^:#]+))?(:(?P<config>[^#]+))?(#(?P<split>.+))?")
_NAME = re.compile(r"([\w.-]+/)?[\w.-]+", re.ASCII)


class HubSource(NamedTuple):
    name: str
    revision: str
    config: str | None
    split: str


def parse_hub_source(source: str, *, default_split: str) -> HubSource:
    """The parts of `hub:OWNER/NAME[@REVISION][:CONFIG][#SPLIT]`; without a revision, the branch main.

    Raises:
        DataError: the text is not of this form, or looks like a local path.
    """
    match = _PATTERN.fullmatch(source)
    name = match["name"] if match else source
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or "\\" in name or format_of(Path(name)) is not None:
        raise DataError(
            f"{source}: looks like a local path; remove hub: for a local file. For a data set, write {_SYNTAX}."
        )
    if not match or not _NAME.fullmatch(name):
        raise DataError(f"{source}: is not the name of a hub data set. Write {_SYNTAX}.")
    return HubSource(name, match["revision"] or "main", match["config"], match["split"] or default_split)

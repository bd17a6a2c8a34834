"""Names of class numbers that Parquet files carry in their metadata, as `datasets` writes them for the hub.

`{"info": {"features": {"label": {"names": ["neg", "pos"], "_type": "ClassLabel"}}}}` under the key `huggingface`. The
columns themselves are numbers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from llmkit.errors import RowError

_KEY = b"huggingface"


def class_names_in(metadata: Mapping[bytes, bytes] | None) -> dict[str, tuple[str, ...]]:
    """The names of the classes of each column of class numbers, or of lists of them; empty where nothing names them.

    Args:
        metadata: of the schema of a Parquet file.
    """
    try:
        content = json.loads((metadata or {}).get(_KEY, b"{}"))
    except (ValueError, RecursionError):
        return {}
    for key in ("info", "features"):
        content = content.get(key) if isinstance(content, dict) else None
    features = content if isinstance(content, dict) else {}
    names = {column: _names(feature) for column, feature in features.items()}
    return {column: found for column, found in names.items() if found}


def named_classes(names: Sequence[str], numbers: Any, *, place: str, column: str) -> Any:
    """The name of a class number, or of each of a list; None for -1, which means that the label is not published.

    A text is a name already.

    Raises:
        RowError: a number that has no name.
    """
    if isinstance(numbers, list):
        return [named_classes(names, number, place=place, column=column) for number in numbers]
    if numbers is None or numbers == -1:
        return None
    if isinstance(numbers, str):
        return numbers
    if not isinstance(numbers, int) or not 0 <= numbers < len(names):
        fault = f"{column!r} is {numbers!r:.40}, and the file names the classes 0 to {len(names) - 1}. Correct it."
        raise RowError(place, fault, reason=f"a number in {column!r} that names no class")
    return names[numbers]


def _names(feature: object) -> tuple[str, ...]:
    """Of a `ClassLabel`, or of a list of them in the spelling of any version of `datasets`."""
    if isinstance(feature, list) and len(feature) == 1:
        return _names(feature[0])
    if not isinstance(feature, Mapping):
        return ()
    if feature.get("_type") == "ClassLabel":
        names = feature.get("names")
        return tuple(map(str, names)) if isinstance(names, list) else ()
    return _names(feature.get("feature"))

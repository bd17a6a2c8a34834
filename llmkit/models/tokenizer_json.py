"""The structure of a tokenizer.json, checked before the tokenizers library reads it.

The library guesses the kind of a part that has no type, reads random subwords with dropout, and lets two subwords have
the same id.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from llmkit.errors import ModelError
from llmkit.models.files import listed, read_large_json
from llmkit.models.threads import is_of_tokenizers

TOKENIZER = "tokenizer.json"
_PARTS = ("normalizer", "pre_tokenizer", "post_processor", "decoder")
_LISTS = ("normalizers", "pretokenizers", "processors", "decoders")
"""Where a part consists of several."""
_MOST_GROWTH = 1_000
"""How much longer the replacements of all parts together may make a text."""
_EMPTY: Mapping[str, Any] = {
    "version": "1.0",
    **dict.fromkeys(("truncation", "padding", *_PARTS)),
    "added_tokens": [],
    "model": {"type": "WordLevel", "vocab": {"x": 0}, "unk_token": "x"},
}


def check_tokenizer_json(folder: Path, *, name: str) -> None:
    """
    Raises:
        ModelError: the folder's tokenizer.json is damaged, splits texts at random, or has an id twice; names the key.
    """
    content = read_large_json(folder, TOKENIZER, name=name)
    if content is None:
        return
    for key in _PARTS:
        growth = 1
        for place, part in _parts(content.get(key), place=key):
            if not isinstance(part, dict):
                raise _fault(place, part, "a part must be an object with a type", name=name)
            if not _is_whole_charsmap(part.get("precompiled_charsmap")):
                raise _fault(f"{place}.precompiled_charsmap", part["precompiled_charsmap"], "it is damaged", name=name)
            if part.get("type") == "TemplateProcessing":
                _check_template(part, place=place, name=name)
            growth *= max(
                len(text) for text in ("x", part.get("content"), part.get("prepend")) if isinstance(text, str)
            )
            if growth > _MOST_GROWTH:
                raise _fault(place, part, f"texts would become more than {_MOST_GROWTH:,} times as long", name=name)
    model = content.get("model")
    if not isinstance(model, dict):
        raise _fault("model", model, "it must be an object", name=name)
    if model.get("dropout"):
        raise _fault("model.dropout", model["dropout"], "subwords would be random; set it to null", name=name)
    vocabulary = model.get("vocab")
    if isinstance(vocabulary, dict):
        _check_ids(vocabulary, name=name)


def faulty_part(folder: Path, *, name: str) -> str | None:
    """The first part of tokenizer.json that the tokenizers library cannot read, and why; None if all can be read."""
    content = read_large_json(folder, TOKENIZER, name=name) or {}
    for key, value in content.items():
        try:
            Tokenizer.from_str(json.dumps({**_EMPTY, key: value}))
        except BaseException as error:
            if not is_of_tokenizers(error):
                raise
            return f"{TOKENIZER} has a faulty {listed([key])}: {error}"
    return None


def _parts(part: Any, *, place: str) -> Iterator[tuple[str, Any]]:
    """A part and those in it, with their places."""
    if part is None:
        return
    yield place, part
    for key in _LISTS:
        inner = part.get(key) if isinstance(part, dict) else None
        if isinstance(inner, list):
            for number, one in enumerate(inner):
                yield from _parts({} if one is None else one, place=f"{place}.{key}.{number}")


def _check_template(part: Mapping[str, Any], *, place: str, name: str) -> None:
    """Compare the texts in the templates of a post-processor with those that it is for: one, and a pair."""
    for key, texts in (("single", ["A"]), ("pair", ["A", "B"])):
        pieces = part.get(key)
        pieces = (
            [piece.get("Sequence") for piece in pieces if isinstance(piece, dict)] if isinstance(pieces, list) else []
        )
        found = [str(piece.get("id")) for piece in pieces if isinstance(piece, dict)]
        if sorted(found) != texts:
            raise _fault(
                f"{place}.{key}", part.get(key), f"it must have the text {' and '.join(texts)} once", name=name
            )


def _is_whole_charsmap(charsmap: object) -> bool:
    """Whether a table of SentencePiece is as long as its first four bytes say: the library would reserve that memory."""
    if charsmap is None:
        return True
    try:
        content = base64.b64decode(charsmap, validate=True) if isinstance(charsmap, str) else b""
    except ValueError:
        return False
    size = int.from_bytes(content[:4], "little")
    return len(content) >= 4 and size % 4 == 0 and 0 < size <= len(content) - 4


def _check_ids(vocabulary: Mapping[str, Any], *, name: str) -> None:
    for token, number in vocabulary.items():
        if type(number) is not int or not 0 <= number < 2**32:
            raise _fault(f"model.vocab.{listed([token])}", number, "an id is a whole number from 0 upwards", name=name)
    if len(set(vocabulary.values())) == len(vocabulary):
        return
    first: dict[int, str] = {}
    for token, number in vocabulary.items():
        if number in first:
            other = listed([first[number]])
            raise _fault(f"model.vocab.{listed([token])}", number, f"{other} has the same id", name=name)
        first[number] = token


def _fault(place: str, value: object, fault: str, *, name: str) -> ModelError:
    return ModelError(f"{name}: {TOKENIZER} has {place[:100]}: {value!r:.80}; {fault}.")

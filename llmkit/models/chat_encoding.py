"""Rendered conversations to token ids: user text is never a special token, and only the start of a text is its start.

The tokenizer encodes pieces of a text, between the names of special tokens, and where an answer begins. SentencePiece puts
a space in front of a text; inside of one there must be none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakKeyDictionary

from llmkit.errors import DataError
from llmkit.models.threads import locked_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast


_NONCHARACTERS = tuple(chr(code) for code in range(0xFDD0, 0xFDF0))
"""Unicode noncharacters, which occur in no text."""
Before = Literal["nothing", "name", "text"]
"""What precedes a piece: it is the start of the text, or follows a special token or text."""


@dataclass(frozen=True)
class _Inside:
    """How a tokenizer that puts a space in front of a text encodes inside of one."""

    backend: Tokenizer
    """The same tokenizer without the space."""
    space_after_names: bool
    """Whether it also puts a space after each special token."""


_INSIDE: WeakKeyDictionary[PreTrainedTokenizerFast, _Inside | None] = WeakKeyDictionary()


class ChatEncoder:
    """Hides names of special tokens in user text from the tokenizer, but not those that the template writes."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, chats: Sequence[Sequence[Mapping[str, str]]]) -> None:
        self._tokenizer = tokenizer
        special = {token.content for token in self._tokenizer.added_tokens_decoder.values() if token.special}
        longest_first = sorted(special, key=lambda name: (-len(name), name))
        self._names = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
        texts = [message["content"] for chat in chats for message in chat]
        free = (mark for mark in _NONCHARACTERS if not any(mark in text for text in texts))
        mark = next(free, None)
        if mark is None:
            raise DataError("these messages contain all of U+FDD0 to U+FDEF, which are not characters. Remove them.")
        self._mark = mark

    def hidden(self, messages: Sequence[Mapping[str, str]]) -> Sequence[Mapping[str, str]]:
        """The messages with a mark between the characters of each such name."""

        def hide(match: re.Match[str]) -> str:
            return self._mark.join(match[0]) + self._mark

        return [{"role": message["role"], "content": self._names.sub(hide, message["content"])} for message in messages]

    def encode(self, texts: Sequence[str], *, continued: Sequence[bool] | None = None) -> list[list[int]]:
        """Ids of rendered texts: the names that are left are the template's, and become special ids.

        Args:
            continued: for each text, whether it continues the one before it; None if none does.
        """
        split = [self._split(text) for text in texts]
        with locked_tokenizer(self._tokenizer):
            inside = _inside_of(self._tokenizer)
            pieces: dict[bool, list[str]] = {False: [], True: []}  # whether a piece has no space in front
            kinds: list[bool] = []
            before: Before = "nothing"
            for parts, continues in zip(split, continued or [False] * len(texts), strict=True):
                before = before if continues else "nothing"
                for part, is_name in parts:
                    if not is_name:
                        kinds.append(inside is not None and _without_space(inside, before))
                        pieces[kinds[-1]].append(part.replace(self._mark, ""))
                    before = "name" if is_name else "text"
            ids = {
                False: iter(self._ids(pieces[False])),
                True: iter([] if inside is None else _plain_ids(inside.backend, pieces[True])),
            }
        order = iter(kinds)
        return [
            [
                token
                for part, is_name in parts
                for token in ([self._tokenizer.convert_tokens_to_ids(part)] if is_name else next(ids[next(order)]))
            ]
            for parts in split
        ]

    def _ids(self, texts: list[str]) -> list[list[int]]:
        if not texts:
            return []
        encoded: list[list[int]] = self._tokenizer(
            texts, add_special_tokens=False, split_special_tokens=True, truncation=False, verbose=False
        )["input_ids"]
        return encoded

    def _split(self, text: str) -> list[tuple[str, bool]]:
        """Plain text and names of special tokens in order, and whether each is a name."""
        parts: list[tuple[str, bool]] = []
        start = 0
        for match in self._names.finditer(text):
            parts += [(text[start : match.start()], False), (match[0], True)]
            start = match.end()
        parts.append((text[start:], False))
        return [(part, is_name) for part, is_name in parts if part]


def _without_space(inside: _Inside, before: Before) -> bool:
    return before == "text" or (before == "name" and not inside.space_after_names)


def _plain_ids(backend: Tokenizer, texts: list[str]) -> list[list[int]]:
    return [encoding.ids for encoding in backend.encode_batch(texts, add_special_tokens=False)]


def _inside_of(tokenizer: PreTrainedTokenizerFast) -> _Inside | None:
    """None if the tokenizer puts no space in front of a text."""
    if tokenizer not in _INSIDE:
        _INSIDE[tokenizer] = _made_inside(tokenizer.backend_tokenizer)
    return _INSIDE[tokenizer]


def _made_inside(backend: Tokenizer) -> _Inside | None:
    from tokenizers import Tokenizer

    small = {
        key: None if part is None else json.loads(part.__getstate__())
        for key, part in (("normalizer", backend.normalizer), ("pre_tokenizer", backend.pre_tokenizer))
    }
    spaces = [found for key in small for found in _remove_spaces(small, key)]
    if not spaces:
        return None
    copy = Tokenizer.from_str(json.dumps({**json.loads(backend.to_str()), **small}))
    copy.encode_special_tokens = True
    return _Inside(copy, space_after_names="always" in spaces)


def _remove_spaces(owner: dict[str, Any], key: str) -> list[Literal["always", "first"]]:
    """Change the part `owner[key]` of a tokenizer so that it adds no space in front; returns where it did: after each special
    token, or at the start alone."""
    part = owner[key]
    if not isinstance(part, dict):
        return []
    inner = next((name for name in ("normalizers", "pretokenizers") if name in part), None)
    if inner is not None:
        parts = {str(number): one for number, one in enumerate(part[inner])}
        found = [space for number in list(parts) for space in _remove_spaces(parts, number)]
        part[inner] = [one for one in parts.values() if one is not None]
        return found
    if part["type"] == "Prepend":
        owner[key] = None
        return ["always"]
    if part["type"] == "Metaspace" and part["prepend_scheme"] != "never":
        where: Literal["always", "first"] = part["prepend_scheme"]
        part["prepend_scheme"] = "never"
        return [where]
    if part.get("add_prefix_space"):
        part["add_prefix_space"] = False
        return ["always"]
    return []

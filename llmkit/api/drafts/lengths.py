"""Length limits for a new recipe, estimated from the texts: there is no tokenizer yet."""

from __future__ import annotations

from collections.abc import Sequence

from llmkit.data.column_types import parsed_list, texts_in
from llmkit.data.profiles import Column

_STEPS = (16, 32, 64, 96, 128, 192, 256, 384, 512)
_CHARACTERS_PER_TOKEN = 3.5
"""Of letters in ASCII; other letters count as a token each."""
_TOKENS_PER_WORD = 1.5
"""Of words in lists."""
_SHARE = 0.95
"""Of the rows, which fit."""


def token_limit(columns: Sequence[Column], *, least: int, most: int) -> int:
    """A round limit that about 95 % of the rows fit in, with the special tokens.

    Args:
        columns: what stands in one sequence.
    """
    needed = 4 + sum(_quantile([_tokens(value) for value in column.values]) for column in columns)
    return next((step for step in _STEPS if needed <= step and least <= step <= most), most)


def _tokens(value: object) -> float:
    if isinstance(value, str):
        value = parsed_list(value) or value
    if isinstance(value, list) and all(isinstance(word, str) for word in value):
        return _TOKENS_PER_WORD * len(value)
    return sum(_text_tokens(text) for text in texts_in(value))


def _text_tokens(text: str) -> float:
    ascii_characters = sum(map(str.isascii, text))
    return ascii_characters / _CHARACTERS_PER_TOKEN + len(text) - ascii_characters


def _quantile(lengths: Sequence[float]) -> float:
    return sorted(lengths)[int(_SHARE * (len(lengths) - 1))] if lengths else 0.0

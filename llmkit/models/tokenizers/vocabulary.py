"""Functions that all training algorithms share. Knows no algorithm."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from llmkit.errors import UsageError


def refuse_below(vocab_size: int, least: int, why: str) -> None:
    if vocab_size < least:
        raise UsageError(f"model.tokenizer.vocab_size: {vocab_size} is too small; {why} alone take {least}.")


def most_frequent_first(texts: Iterable[str]) -> list[str]:
    """Their characters; equally frequent ones by code point."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    return sorted(counts, key=lambda char: (-counts[char], char))

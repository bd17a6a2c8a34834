"""Totals of text that a tokenizer cannot represent, and what is logged about it. Knows no tokenizers.

Unknown tokens stand for text that a model can neither read nor write. Deleted characters are those that the tokenizer
drops, or whose vowel or voicing mark it drops; the accents of Latin, Greek and Cyrillic letters are not counted.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

_SHOWN = 10
"""Number of characters that a message lists."""
logger = logging.getLogger("llmkit")


@dataclass
class UnknownTotals:
    texts: int = 0
    tokens: int = 0
    """Without the special tokens around a text."""
    unknown_texts: int = 0
    """Texts with an unknown token."""
    unknown_tokens: int = 0
    lost_characters: int = 0
    """Characters that unknown tokens stand for."""
    deleting_texts: int = 0
    """Texts with a deleted character."""
    deleted_characters: int = 0
    lost_bytes: int = 0
    """UTF-8 bytes of the text that no token spells."""
    unwritable_texts: int = 0
    """Texts to be written that differ after encoding and decoding."""
    unwritable_example: tuple[str, str] | None = None
    """One of these, and what it becomes."""
    characters: Counter[str] = field(default_factory=Counter)
    """The characters that unknown tokens stand for; where these are words of known characters, all of the word."""
    deleted: Counter[str] = field(default_factory=Counter)

    def __bool__(self) -> bool:
        return bool(self.unknown_tokens or self.deleted_characters or self.unwritable_texts)

    def add_unknown(self, spans: Iterable[str], *, unreadable: Iterable[str]) -> None:
        """Count a text with unknown tokens.

        Args:
            spans: the text that each unknown token stands for.
            unreadable: characters that are unknown by themselves, too.
        """
        self.unknown_texts += 1
        alone = set(unreadable)
        for span in spans:
            characters = [char for char in span if not char.isspace()]
            self.unknown_tokens += 1
            self.lost_characters += len(characters)
            self.lost_bytes += len(span.encode("utf-8", "surrogatepass"))
            self.characters.update([char for char in characters if char in alone] or characters)

    def add_deleted(self, counts: Counter[str], *, lost_bytes: int) -> None:
        """Count a text with deleted characters."""
        self.deleting_texts += 1
        self.deleted_characters += counts.total()
        self.lost_bytes += lost_bytes
        self.deleted.update(counts)

    def warn(self, what: str, *, written: bool = False) -> None:
        """Log the totals, if there is anything.

        Args:
            what: the texts, such as `text` or `summary`.
            written: the model is to write them, not to read them.
        """
        if self.unknown_tokens:
            logger.warning(
                "%s: %s of %s tokens (%s) are unknown to the tokenizer, in %s of %s texts: the model cannot %s %s "
                "characters, most often %s",
                what,
                *(f"{number:,}" for number in (self.unknown_tokens, self.tokens)),
                _percent(self.unknown_tokens, self.tokens),
                *(f"{number:,}" for number in (self.unknown_texts, self.texts)),
                "write" if written else "read",
                f"{self.lost_characters:,}",
                shown_counts(self.characters),
            )
        if self.deleted_characters:
            logger.warning(
                "%s: the tokenizer deletes %s characters or their vowel and voicing marks, in %s of %s texts, most often %s",
                what,
                *(f"{number:,}" for number in (self.deleted_characters, self.deleting_texts, self.texts)),
                shown_counts(self.deleted),
            )

        if self.unwritable_example is not None:
            logger.warning(
                "%s: %s of %s texts can never be written as they are: for the tokenizer, %.80r is %.80r",
                what,
                f"{self.unwritable_texts:,}",
                f"{self.texts:,}",
                *self.unwritable_example,
            )

    def record(self) -> dict[str, Any]:
        """Plain JSON values: the totals, and the most frequent characters."""
        return {
            "texts": self.texts,
            "tokens": self.tokens,
            "unknown_texts": self.unknown_texts,
            "unknown_tokens": self.unknown_tokens,
            "lost_characters": self.lost_characters,
            "deleting_texts": self.deleting_texts,
            "deleted_characters": self.deleted_characters,
            "lost_bytes": self.lost_bytes,
            "unwritable_texts": self.unwritable_texts,
            "unwritable_example": self.unwritable_example,
            "characters": dict(_ranked(self.characters)),
            "deleted": dict(_ranked(self.deleted)),
        }

    @classmethod
    def of_record(cls, record: dict[str, Any]) -> UnknownTotals:
        return cls(**{**record, "characters": Counter(record["characters"]), "deleted": Counter(record["deleted"])})


def shown_counts(counts: Counter[str]) -> str:
    """The most frequent characters with their counts, for messages."""
    return ", ".join(f"{char!r} ({count:,})" for char, count in _ranked(counts))


def _ranked(counts: Counter[str]) -> list[tuple[str, int]]:
    """The most frequent ones; of equally frequent ones, by code point."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:_SHOWN]


def _percent(part: int, whole: int) -> str:
    share = part / max(1, whole)
    return f"{share:.1%}" if share >= 0.001 else "under 0.1%"

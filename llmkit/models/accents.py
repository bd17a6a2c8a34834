"""Which combining marks are accents of Latin, Greek and Cyrillic letters, without which a word is still the same word.

Other marks are vowels, tones or voicing (Thai, the scripts of India, Hebrew, Arabic, Japanese): without them it is another
word.
"""

from __future__ import annotations

import re

ACCENTS = (
    "\u0300-\u036f"  # diacritical marks
    "\u0483-\u0487\ua66f\ua674-\ua67d\ua69e\ua69f\u2de0-\u2dff"  # of Cyrillic
    "\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20dc\u20e1\u20e5-\u20f0\ufe20-\ufe2f"  # diacritical marks, extended, for symbols and half marks
)
"""Ranges of these marks, for a character class of a regular expression."""
VARIATION_SELECTORS = "\ufe00-\ufe0f\U000e0100-\U000e01ef"
"""Ranges of characters that choose a form of the character before, such as a colored emoji."""
_ACCENT = re.compile(f"[{ACCENTS}]")
_VARIATION_SELECTOR = re.compile(f"[{VARIATION_SELECTORS}]")


def is_accent(char: str) -> bool:
    return _ACCENT.fullmatch(char) is not None


def is_variation_selector(char: str) -> bool:
    return _VARIATION_SELECTOR.fullmatch(char) is not None

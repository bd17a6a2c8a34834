"""The characters of tokens. Legend: offsets are characters of a text, the end exclusive."""

from __future__ import annotations


def without_spaces(text: str, start: int, end: int) -> tuple[int, int]:
    """The offsets of a token or a word without the white space around it; for white space alone, an empty span at its end.

    Byte-level BPE and some SentencePiece tokenizers count the space before a word to its first token.
    """
    part = text[start:end]
    start = end - len(part.lstrip())
    return start, max(start, end - len(part) + len(part.rstrip()))

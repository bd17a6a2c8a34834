"""Single tokens as text that people can read: spaces as they are, parts of characters as escapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_METASPACE = "\u2581"


def token_texts(tokenizer: PreTrainedTokenizerFast, ids: Sequence[int]) -> list[str]:
    """The text of each token. `##ing` of WordPiece stays; the byte E4 alone, a part of a Chinese character, is `\\xe4`."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    pieces = [str(piece) for piece in tokenizer.convert_ids_to_tokens(list(ids))]
    if "ByteLevel" not in repr(tokenizer.backend_tokenizer.decoder):
        return [_of_byte(piece).replace(_METASPACE, " ") for piece in pieces]
    byte_of = {letter: byte for byte, letter in bytes_to_unicode().items()}
    special = set(tokenizer.get_added_vocab())
    return [
        piece
        if piece in special or any(letter not in byte_of for letter in piece)
        else bytes(byte_of[letter] for letter in piece).decode("utf-8", errors="backslashreplace")
        for piece in pieces
    ]


def _of_byte(piece: str) -> str:
    """`<0xE4>`, which SentencePiece writes for a byte, as an escape."""
    is_byte = len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">")
    return bytes([int(piece[3:5], 16)]).decode("utf-8", errors="backslashreplace") if is_byte else piece

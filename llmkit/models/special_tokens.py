"""Which ids of a tokenizer are no text: its special tokens, except words that have a special role."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_MARKUP = re.compile(r"\W*[<\[{(|#].*[>\]})|#]\W*|_{1,2}.+_{1,2}", re.DOTALL)
"""How special tokens are written: `<pad>`, `[SEP]`, `<|endoftext|>`."""
LANGUAGE = re.compile(r"[a-z]{2,3}_([A-Z]{2}|[A-Z][a-z]{3})|__[a-z]{2,3}__")
"""How special tokens name a language: `en_XX`, `eng_Latn`, `__en__`."""


def special_ids_of(tokenizer: PreTrainedTokenizerFast) -> dict[int, str]:
    """Id -> name of the special tokens.

    A word of the vocabulary that a tokenizer uses as padding, such as `!`, is text all the same.
    """
    added = {token: str(content) for token, content in tokenizer.added_tokens_decoder.items() if content.special}
    roles = dict(zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True))
    words = tokenizer.backend_tokenizer.model
    return {
        token: name
        for token, name in {**roles, **added}.items()
        if _MARKUP.fullmatch(name) or LANGUAGE.fullmatch(name) or words.token_to_id(name) is None
    }

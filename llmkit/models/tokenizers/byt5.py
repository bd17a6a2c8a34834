"""ByT5's tokenizer (Xue et al. 2022), which transformers has in Python only, for the tokenizers library.

The ids are the same: the special tokens, the 256 bytes, the sentinels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

if TYPE_CHECKING:
    from transformers import ByT5Tokenizer


def from_python(tokenizer: ByT5Tokenizer) -> PreTrainedTokenizerFast:
    """The same tokenizer with the tokenizers library, with which every task and command works."""
    first = tokenizer.offset  # id of the byte 0
    bytes_as_text = {byte: char for char, byte in _byte_of_char().items()}
    vocab = {bytes_as_text[byte]: first + byte for byte in range(256)}
    added = tokenizer.added_tokens_decoder
    backend = Tokenizer(models.BPE(vocab | {str(token): number for number, token in added.items()}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([_special(added[number]) for number in sorted(added)])
    end, end_id = str(tokenizer.eos_token), tokenizer.eos_token_id
    backend.post_processor = processors.TemplateProcessing(
        single=f"$A {end}", pair=f"$A {end} $B {end}", special_tokens=[(end, end_id)]
    )
    roles = {role: str(token) for role, token in tokenizer.special_tokens_map.items() if isinstance(token, str)}
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=tokenizer.model_max_length,
        clean_up_tokenization_spaces=False,
        padding_side=tokenizer.padding_side,
        **roles,
    )
    wrapped.chat_template = tokenizer.chat_template
    return wrapped


def _special(token: AddedToken) -> AddedToken:
    return AddedToken(token.content, lstrip=token.lstrip, rstrip=token.rstrip, normalized=False, special=True)


def _byte_of_char() -> dict[str, int]:
    """How the library writes bytes as characters: those that print as they are, the others from U+0100 upwards."""
    printing = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printing]
    return {chr(byte): byte for byte in printing} | {chr(256 + number): byte for number, byte in enumerate(others)}

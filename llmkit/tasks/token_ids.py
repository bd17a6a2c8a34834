"""Texts to token ids with a tokenizer, whole or cut; very long texts piece by piece."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from llmkit.models.threads import locked_tokenizer
from llmkit.tasks.long_texts import LONG_CHARACTERS, long_text_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def cuts_start(tokenizer: PreTrainedTokenizerFast) -> bool:
    """Whether the tokenizer truncates a text at its start."""
    return bool(tokenizer.truncation_side == "left")


def start_ids(tokenizer: PreTrainedTokenizerFast) -> list[int]:
    """The id that the tokenizer puts in front of every text, if that is its beginning of text (Llama, OPT), else none."""
    with locked_tokenizer(tokenizer):
        empty: list[int] = tokenizer("")["input_ids"]
    return [token for token in empty[:1] if token == tokenizer.bos_token_id]


def cut_ids(tokenizer: PreTrainedTokenizerFast, text: str, *, max_tokens: int) -> list[int]:
    """Ids of a text that is too long, truncated before its closing special token."""
    if len(text) > LONG_CHARACTERS and not cuts_start(tokenizer):
        return long_text_ids(tokenizer, text, special=True, names_are_text=False, most=max_tokens)
    with locked_tokenizer(tokenizer):
        ids: list[int] = tokenizer(text, truncation=True, max_length=max_tokens)["input_ids"]
    return ids


def token_ids(
    tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], *, special: bool, names_are_text: bool = False
) -> list[list[int]]:
    """All ids of each text, never truncated.

    Args:
        special: add special tokens.
        names_are_text: the name of a special token in a text does not become that token, save T5's `<pad>` and `</s>`,
            which are ordinary entries of its vocabulary.
    """
    if any(len(text) > LONG_CHARACTERS for text in texts):
        return [
            long_text_ids(tokenizer, text, special=special, names_are_text=names_are_text)
            if len(text) > LONG_CHARACTERS
            else token_ids(tokenizer, [text], special=special, names_are_text=names_are_text)[0]
            for text in texts
        ]
    with locked_tokenizer(tokenizer):
        encoding = tokenizer(
            list(texts),
            add_special_tokens=special,
            split_special_tokens=names_are_text or tokenizer.split_special_tokens,
            truncation=False,
            padding=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,  # its own warning about long texts: ours has the numbers
        )
    ids: list[list[int]] = encoding["input_ids"]
    return ids

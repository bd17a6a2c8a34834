"""The special ids that generation needs: padding, the ends of text, and the decoder's start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llmkit.models.ends import decoder_start_id, end_ids, pad_id
from llmkit.models.loaded import LoadedModel
from llmkit.models.special_tokens import special_ids_of
from llmkit.recipe.generation import GenerationBlock


@dataclass(frozen=True)
class SpecialIds:
    pad: int
    ends: tuple[int, ...]
    decoder_start: int
    padding_is_text: bool = False
    """Padding is also a word, or stands for unknown ones."""

    def without(self, new_ids: Sequence[int]) -> list[int]:
        """New ids up to the first end of text, with which generation pads; without padding, unless that is text."""
        end = next((position for position, token in enumerate(new_ids) if token in self.ends), len(new_ids))
        return [token for token in new_ids[:end] if not self.is_padding(token)]

    def is_padding(self, token: int) -> bool:
        return token == self.pad and not self.padding_is_text

    def as_generation_keys(self) -> dict[str, Any]:
        return {
            "pad_token_id": self.ends[0],
            "eos_token_id": list(self.ends),
            "decoder_start_token_id": self.decoder_start,
        }


def special_ids(loaded: LoadedModel, options: GenerationBlock | None = None) -> SpecialIds:
    """The ids that `models.ends` takes from the tokenizer and the model's configs.

    Args:
        options: may name another start of the decoder.
    Raises:
        ModelError: no end-of-text token, or one that the vocabulary does not have.
    """
    pad, tokenizer = pad_id(loaded), loaded.tokenizer
    padding_is_text = pad == tokenizer.unk_token_id or pad not in special_ids_of(tokenizer)
    start = None if options is None else options.decoder_start_token_id
    start = decoder_start_id(loaded) if start is None else start
    return SpecialIds(pad, end_ids(loaded), start, padding_is_text=padding_is_text)

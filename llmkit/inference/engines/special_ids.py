"""The special ids that generation needs: padding, the ends of text, and the decoder's start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llmkit.models.ends import decoder_start_id, end_ids, pad_id
from llmkit.models.loaded import LoadedModel


@dataclass(frozen=True)
class SpecialIds:
    pad: int
    ends: tuple[int, ...]
    decoder_start: int

    def without(self, new_ids: Sequence[int]) -> list[int]:
        """New ids up to the first end of text, which is what generation pads with: padding may be a word, too."""
        end = next((position for position, token in enumerate(new_ids) if token in self.ends), len(new_ids))
        return list(new_ids[:end])

    def as_generation_keys(self) -> dict[str, Any]:
        return {
            "pad_token_id": self.ends[0],
            "eos_token_id": list(self.ends),
            "decoder_start_token_id": self.decoder_start,
        }


def special_ids(loaded: LoadedModel) -> SpecialIds:
    """The ids that `models.ends` takes from the tokenizer and the model's configs.

    Raises:
        ModelError: no end-of-text token, or one that the vocabulary does not have.
    """
    return SpecialIds(pad=pad_id(loaded), ends=end_ids(loaded), decoder_start=decoder_start_id(loaded))

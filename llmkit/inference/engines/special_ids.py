"""The ids that generation needs besides text: padding, the ends of text, and the decoder's start."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from llmkit.errors import ModelError
from llmkit.models.loaded import LoadedModel


@dataclass(frozen=True)
class SpecialIds:
    pad: int
    ends: tuple[int, ...]
    decoder_start: int

    @property
    def both(self) -> frozenset[int]:
        """All that is never part of a result."""
        return frozenset((self.pad, *self.ends))

    def without(self, new_ids: Sequence[int]) -> list[int]:
        """New ids up to the first end of text, without padding."""
        end = next((place for place, token in enumerate(new_ids) if token in self.ends), len(new_ids))
        return [token for token in new_ids[:end] if token != self.pad]

    def as_generation_keys(self) -> dict[str, Any]:
        return {
            "pad_token_id": self.pad,
            "eos_token_id": list(self.ends),
            "decoder_start_token_id": self.decoder_start,
        }


def special_ids(loaded: LoadedModel) -> SpecialIds:
    """From the model's generation config, else its config, else the tokenizer; only ids that the vocabulary holds.

    Without padding of its own (GPT-2), a model is padded with its end of text, under an attention mask.

    Raises:
        ModelError: no end-of-text token, so that nothing could say when a text is complete.
    """
    model: Any = loaded.model
    sources = (model.generation_config, model.config, loaded.tokenizer)
    vocab_size: int = model.get_input_embeddings().num_embeddings
    ends = _first_known((getattr(source, "eos_token_id", None) for source in sources), vocab_size)
    if not ends:
        raise ModelError(f"{loaded.name}: has no end-of-text token; set eos_token_id in its config.json")
    pad = _first_known((getattr(source, "pad_token_id", None) for source in sources), vocab_size) or ends
    starts = (getattr(source, "decoder_start_token_id", None) for source in sources)
    start = _first_known(starts, vocab_size) or pad  # T5 starts from padding
    return SpecialIds(pad=pad[0], ends=ends, decoder_start=start[0])


def _first_known(candidates: Iterable[int | list[int] | None], vocab_size: int) -> tuple[int, ...]:
    """The first candidate with ids inside the vocabulary: GPT2Config says 50256, however small the model."""
    for candidate in candidates:
        listed = candidate if isinstance(candidate, list) else [] if candidate is None else [candidate]
        if known := tuple(token for token in listed if 0 <= token < vocab_size):
            return known
    return ()

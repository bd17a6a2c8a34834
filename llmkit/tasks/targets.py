"""Whether a model can write its targets: they are encoded, decoded again and compared.

White space is not compared, as in `exact_text`. Special tokens in a target are text.
"""

from __future__ import annotations

from collections.abc import Sequence

from llmkit.models.loaded import LoadedModel
from llmkit.models.special_tokens import special_ids_of
from llmkit.tasks.decoding import TextDecoder, edge_ids
from llmkit.tasks.saved import SavedWriting


class TargetCheck:
    """Counts the targets that differ after encoding and decoding."""

    def __init__(self, loaded: LoadedModel) -> None:
        special = special_ids_of(loaded.tokenizer)
        without_text = {*edge_ids(loaded), loaded.tokenizer.unk_token_id}
        self._names = {token: name for token, name in special.items() if token not in without_text}
        names = list(self._names.values())
        self._decoders = {
            spaced: TextDecoder(loaded, written=SavedWriting(special_tokens=names, spaced_special_tokens=spaced))
            for spaced in (False, True)
        }
        self._special: set[str] = set()
        self._differing = {False: 0, True: 0}
        self._examples: dict[bool, tuple[str, str]] = {}

    def add(self, texts: Sequence[str], ids: Sequence[Sequence[int]]) -> None:
        """Check texts, given with their ids, which are not truncated."""
        for text, text_ids in zip(texts, ids, strict=True):
            names = {self._names[token] for token in text_ids if token in self._names}
            self._special |= names
            decoded = self._decoders[False].text(text_ids)
            self._compare(text, decoded, spaced=False)
            self._compare(text, self._decoders[True].text(text_ids) if names else decoded, spaced=True)

    @property
    def written(self) -> SavedWriting:
        """The special tokens in the targets, and what gives most of these back."""
        if not self._special:
            return SavedWriting()
        return SavedWriting(special_tokens=sorted(self._special), spaced_special_tokens=self._spaced)

    @property
    def differing(self) -> int:
        return self._differing[self._spaced]

    @property
    def example(self) -> tuple[str, str] | None:
        """A target that differs, and what it becomes; None if none does."""
        return self._examples.get(self._spaced)

    @property
    def _spaced(self) -> bool:
        return self._differing[True] < self._differing[False]

    def _compare(self, text: str, decoded: str, *, spaced: bool) -> None:
        if text.split() != decoded.split():
            self._differing[spaced] += 1
            self._examples.setdefault(spaced, (text, decoded))


def joined(first: SavedWriting, second: SavedWriting) -> SavedWriting:
    """Both their special tokens, spaced as the first says, if it has any."""
    names = dict.fromkeys((*(first.special_tokens or ()), *(second.special_tokens or ())))
    spaced = (first if first.special_tokens else second).spaced_special_tokens
    return SavedWriting(special_tokens=list(names) or None, spaced_special_tokens=spaced)

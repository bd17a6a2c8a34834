"""Counts the text that a tokenizer cannot represent, as texts are encoded: for training, evaluation and use alike.

The texts and their ids are not changed.
"""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from llmkit.data.unknown import UnknownTotals
from llmkit.models.accents import is_accent, is_variation_selector
from llmkit.models.threads import locked_tokenizer
from llmkit.tasks.long_texts import LONG_CHARACTERS, token_runs

if TYPE_CHECKING:
    from tokenizers import Encoding
    from transformers import PreTrainedTokenizerFast

    from llmkit.data.examples import Examples
    from llmkit.tasks.targets import TargetCheck

Offsets = Iterable[tuple[int, int]]
_HALF_CHARACTER = "\N{REPLACEMENT CHARACTER}"
_INVISIBLE = {"Cc", "Cf", "Cs", "Zl", "Zp", "Zs"}
"""Categories of characters that are no text: white space, controls, joiners."""


class UnknownCount:
    """Counts of one kind of text under one tokenizer."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerFast, what: str = "text", *, targets: TargetCheck | None = None
    ) -> None:
        """
        Args:
            what: the texts in messages, such as `text` or `summary`.
            targets: checks whether the model can write the texts; None for texts that it reads.
        """
        self.totals = UnknownTotals()
        self.what = what
        self._targets = targets
        self._tokenizer = tokenizer
        self._unknown = unknown_ids(tokenizer)
        self._names = {tokenizer.backend_tokenizer.id_to_token(token) for token in self._unknown}
        self._seen: dict[str, tuple[bool, bool]] = {}
        """Character -> whether it is unreadable, and whether the tokenizer deletes it or its mark."""

    def add(
        self, texts: Sequence[str], ids: Sequence[Sequence[int]] | None = None, *, names_are_text: bool = True
    ) -> list[int]:
        """Count texts; returns the unknown tokens of each.

        Args:
            ids: of each text, which may have more ids around it; None to encode the texts here.
            names_are_text: the names of special tokens were encoded as text.
        """
        suspects = [number for number in range(len(texts)) if ids is None or not self._unknown.isdisjoint(ids[number])]
        counts = [0] * len(texts)
        encoded = self._unknown_places([texts[number] for number in suspects], names_are_text=names_are_text)
        for number, (tokens, places) in zip(suspects, encoded, strict=True):
            counts[number] = self._add_unknown(texts[number], places)
            self.totals.tokens += tokens if ids is None else 0
        self.totals.tokens += 0 if ids is None else sum(map(len, ids))
        self.totals.texts += len(texts)
        self._add_deleted(texts)
        if self._targets is not None and ids is not None:
            self._targets.add(texts, ids)
            self.totals.unwritable_texts = self._targets.differing
            self.totals.unwritable_example = self._targets.example
        return counts

    def add_encoding(self, text: str, encoding: Encoding) -> None:
        """Count a text that was encoded without special tokens."""
        self.totals.texts += 1
        self.totals.tokens += len(encoding)
        if not self._unknown.isdisjoint(encoding.ids):
            self._add_unknown(text, self._of_unknown(encoding.ids, encoding.offsets))
        self._add_deleted([text])

    def report(self) -> None:
        """Log the totals, if anything is lost."""
        self.totals.warn(self.what, written=self._targets is not None)

    def _of_unknown(self, ids: Sequence[int], offsets: Offsets) -> list[tuple[int, int]]:
        """The characters of the unknown tokens."""
        return [place for token, place in zip(ids, offsets, strict=True) if token in self._unknown]

    def _add_unknown(self, text: str, places: Offsets) -> int:
        spans = [text[start:end] for start, end in places]
        lost = [span for span in spans if span.strip() not in self._names]  # a text may name the token itself
        if lost:
            characters = set().union(*lost)
            self._look_at(characters)
            self.totals.add_unknown(lost, unreadable=[char for char in characters if self._seen[char][0]])
        return len(lost)

    def _add_deleted(self, texts: Sequence[str]) -> None:
        characters = set().union(*texts)
        self._look_at(characters)
        deleted = {char for char in characters if self._seen[char][1]}
        for text in texts if deleted else ():
            counts = Counter({char: text.count(char) for char in deleted if char in text})
            if counts:
                gone = (char for char in counts if len(unicodedata.normalize("NFD", char)) == 1)
                size = sum(counts[char] * len(char.encode()) for char in gone)
                self.totals.add_deleted(counts, lost_bytes=size)

    def _look_at(self, characters: Iterable[str]) -> None:
        """Find out about characters that were not seen before."""
        new = sorted(char for char in characters if char not in self._seen)
        for char, encoding in zip(new, self._encoded(new, names_are_text=True), strict=True):
            ids = encoding.ids
            if _is_invisible(char):
                self._seen[char] = (False, False)
                continue
            partial = bool(ids) and self._is_partial(char, ids)
            unreadable = partial or not self._unknown.isdisjoint(ids)
            deleted = partial or (not ids and not is_accent(char)) or self._loses_mark(char)
            self._seen[char] = (unreadable, deleted)

    def _is_partial(self, char: str, ids: Sequence[int]) -> bool:
        """Whether a vocabulary of bytes lacks some of its bytes."""
        with locked_tokenizer(self._tokenizer):
            return char != _HALF_CHARACTER and _HALF_CHARACTER in self._tokenizer.backend_tokenizer.decode(list(ids))

    def _loses_mark(self, char: str) -> bool:
        """Whether a vowel or voicing mark, be it the character or a part of it, is missing after normalization."""
        normalizer = self._tokenizer.backend_tokenizer.normalizer
        marks = _marks(char)
        return bool(marks) and normalizer is not None and not marks <= _marks(normalizer.normalize_str(char))

    def _unknown_places(
        self, texts: Sequence[str], *, names_are_text: bool
    ) -> Iterator[tuple[int, list[tuple[int, int]]]]:
        """The number of tokens of each text, and the characters of the unknown ones."""
        if all(len(text) <= LONG_CHARACTERS for text in texts):
            for encoding in self._encoded(texts, names_are_text=names_are_text):
                yield len(encoding), self._of_unknown(encoding.ids, encoding.offsets)
            return
        for text in texts:
            tokens, places = 0, []
            for run in token_runs(self._tokenizer, text, names_are_text=names_are_text):
                tokens += len(run)
                places += self._of_unknown(run.ids, zip(run.starts, run.ends, strict=True))
            yield tokens, places

    def _encoded(self, texts: Sequence[str], *, names_are_text: bool) -> list[Encoding]:
        """The tokens of each text, without special tokens around it."""
        with locked_tokenizer(self._tokenizer):
            backend = self._tokenizer.backend_tokenizer
            backend.no_truncation()
            backend.no_padding()
            backend.encode_special_tokens = names_are_text
            encodings: list[Encoding] = backend.encode_batch(list(texts), add_special_tokens=False)
        return encodings


def with_unknown(examples: Examples, *counts: UnknownCount) -> Examples:
    """Log the counts, and keep them with the examples."""
    for count in counts:
        count.report()
    return replace(examples, unknown={count.what: count.totals.record() for count in counts if count.totals})


def unknown_ids(tokenizer: PreTrainedTokenizerFast) -> frozenset[int]:
    """The ids that stand for unknown text; none for a tokenizer that has no such token, or never needs it."""
    from tokenizers.models import Unigram

    backend = tokenizer.backend_tokenizer
    model = backend.model
    if isinstance(model, Unigram):  # it names its token nowhere but in its file
        token = tokenizer.unk_token_id
        unknown = json.loads(backend.to_str())["model"]["unk_id"] if token is None else token
    else:
        unknown = None if model.unk_token is None else backend.token_to_id(model.unk_token)
    return frozenset() if unknown is None else frozenset((unknown,))


def _marks(text: str) -> set[str]:
    decomposed = unicodedata.normalize("NFD", text)
    return {
        char
        for char in decomposed
        if unicodedata.category(char) in ("Mn", "Mc") and not (is_accent(char) or _is_invisible(char))
    }


def _is_invisible(char: str) -> bool:
    return unicodedata.category(char) in _INVISIBLE or is_variation_selector(char)

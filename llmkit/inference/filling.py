"""Candidates for the masks of a text, with an engine and a tokenizer that has a mask token.

Every mask is filled independently: the model sees the others as masks. Texts keep their order and are read in chunks.
Knows no files and no commands.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from llmkit.errors import DataError, ModelError, UsageError
from llmkit.models.loaded import LoadedModel
from llmkit.tasks.encoding import token_ids
from llmkit.tasks.inputs import check_texts, numbered_chunks

if TYPE_CHECKING:
    import numpy as np

MASK = "[MASK]"
"""Understood with every model, beside its own spelling."""
FILL_CHUNK_ROWS = 512

FillOverflow = Literal["error", "window"]
logger = logging.getLogger("llmkit")


class MaskEngine(Protocol):
    """An engine that can predict the tokens at a position."""

    def most_probable_tokens(
        self,
        sequences: Sequence[Sequence[int]],
        positions: Sequence[Sequence[int]],
        *,
        top_k: int,
        never: Sequence[int],
    ) -> list[list[tuple[np.ndarray, np.ndarray]]]:
        """For each position of each sequence, `top_k` ids and their probabilities, the most probable first."""
        ...


@dataclass(frozen=True)
class Candidate:
    token: str
    """As in the vocabulary; `##` marks a subword that continues the previous word."""
    probability: float
    """Over all the model's ids; special tokens, and ids that the tokenizer lacks, have a share and are no candidates."""
    text: str
    """The text with this token in the mask's place."""


@dataclass(frozen=True)
class FilledMask:
    position: int
    """Character of the text at which the mask begins, from 0."""
    length: int
    """Characters of the mask as it was written."""
    candidates: list[Candidate]
    """The most probable first."""
    truncated_tokens: int
    """Tokens of the text that the model did not see for this mask; 0 where the whole text fitted."""


@dataclass(frozen=True)
class Filling:
    text: str
    masks: list[FilledMask]
    """In the order of the text, at least one."""


@dataclass(frozen=True)
class _Asked:
    """One sequence for the engine."""

    text: int
    """Its number in the chunk."""
    ids: list[int]
    positions: list[int]
    truncated_tokens: int


def fill_texts(
    loaded: LoadedModel, engine: MaskEngine, texts: Iterable[str], *, top_k: int, overflow: FillOverflow
) -> Iterator[Filling]:
    """Candidates for every mask of each text; a mask is written `[MASK]`, or as the model's own mask token.

    Args:
        overflow: for a text longer than `loaded.window`: `window` shows the model the tokens around each mask, as
            many before as behind where there are, and the number of such texts is logged once, as a warning, when the
            results end.
    Raises:
        UsageError: `top_k` is not between 1 and the number of tokens that can be candidates.
        DataError: a text without a mask, empty, no valid Unicode, or too long under `error`.
        ModelError: the tokenizer has no mask token, or the model gives no finite numbers.
    """
    if loaded.tokenizer.mask_token is None:
        raise ModelError(f"{loaded.name}: its tokenizer has no mask token; fill needs one such as {MASK}.")
    never = _no_candidates(loaded)
    most = loaded.model.config.vocab_size - len(never)
    if not 1 <= top_k <= most:
        raise UsageError(f"top_k is {top_k:,}; {loaded.name} can return 1 to {most:,} candidates for a mask.")
    rows = wide = 0
    try:
        for first_row, chunk in numbered_chunks(texts, size=FILL_CHUNK_ROWS):
            check_texts(chunk, first_row=first_row, may_be_empty=False)
            spans = [_mask_spans(loaded, text, row=row) for row, text in enumerate(chunk, first_row)]
            asked = list(_asked(loaded, chunk, spans, first_row=first_row, overflow=overflow))
            found = engine.most_probable_tokens(
                [one.ids for one in asked], [one.positions for one in asked], top_k=top_k, never=never
            )
            tokens = _by_text(loaded, asked, found)
            rows += len(chunk)
            wide += len({one.text for one in asked if one.truncated_tokens})
            for number, text in enumerate(chunk):
                masks = zip(spans[number], tokens[number], strict=True)
                yield Filling(text, [_filled(text, span, *mask) for span, mask in masks])
    finally:
        if wide:
            logger.warning(
                "%s of %s texts were too long for %s (window %s tokens): only the tokens around each mask were read",
                *(f"{number:,}" for number in (wide, rows)),
                loaded.name,
                f"{loaded.window:,}",
            )


def _no_candidates(loaded: LoadedModel) -> list[int]:
    """Ids of special tokens, and those that the tokenizer lacks where the model's table of embeddings is longer."""
    words = set(loaded.tokenizer.get_vocab().values()) - set(loaded.tokenizer.all_special_ids)
    return [token for token in range(loaded.model.config.vocab_size) if token not in words]


def _mask_spans(loaded: LoadedModel, text: str, *, row: int) -> list[tuple[int, int]]:
    """Start and end of each mask."""
    spans = [match.span() for match in re.finditer(_mask_pattern(loaded), text)]
    if not spans:
        own = loaded.tokenizer.mask_token
        spelling = MASK if own == MASK else f"{MASK} or {own}"
        raise DataError(f"row {row:,}: the text has no mask; write {spelling} in place of a word")
    return spans


def _mask_pattern(loaded: LoadedModel) -> str:
    own = loaded.tokenizer.mask_token
    assert isinstance(own, str)  # a model without one was refused
    return "|".join(re.escape(spelling) for spelling in dict.fromkeys((own, MASK)))


def _asked(
    loaded: LoadedModel,
    texts: Sequence[str],
    spans: Sequence[Sequence[tuple[int, int]]],
    *,
    first_row: int,
    overflow: FillOverflow,
) -> Iterator[_Asked]:
    """A sequence for each text with all its masks; for a text that is too long, one for each mask."""
    mask_token, mask_id = loaded.tokenizer.mask_token, loaded.tokenizer.mask_token_id
    assert isinstance(mask_token, str)
    begin, end = loaded.tokenizer.cls_token_id, loaded.tokenizer.sep_token_id
    room = loaded.window - 2  # [CLS] and [SEP] stand around
    pattern = re.compile(_mask_pattern(loaded))
    spelt = [pattern.sub(lambda _: mask_token, text) for text in texts]
    for number, ids in enumerate(token_ids(loaded.tokenizer, spelt, special=False)):
        places = [place for place, token in enumerate(ids) if token == mask_id]
        if len(places) != len(spans[number]):
            raise ModelError(
                f"{loaded.name}: its tokenizer does not encode {mask_token} as one token, which fill requires."
            )
        if len(ids) <= room:
            yield _Asked(number, [begin, *ids, end], [place + 1 for place in places], 0)
            continue
        if overflow == "error":
            raise DataError(
                f"row {first_row + number:,}: the text has {len(ids) + 2:,} tokens, but {loaded.name} reads "
                f"{loaded.window:,} at most; shorten it, or read a window around each mask with overflow window"
            )
        for place in places:
            start = min(max(place - room // 2, 0), len(ids) - room)
            around = [begin, *ids[start : start + room], end]
            yield _Asked(number, around, [place - start + 1], len(ids) - room)


def _by_text(
    loaded: LoadedModel, asked: Sequence[_Asked], found: Sequence[Sequence[tuple[np.ndarray, np.ndarray]]]
) -> dict[int, list[tuple[int, list[tuple[str, float]]]]]:
    """For each text and each of its masks, the tokens not read, and (token, probability)."""
    tokens: dict[int, list[tuple[int, list[tuple[str, float]]]]] = {}
    for one, masks in zip(asked, found, strict=True):
        for ids, probabilities in masks:
            names = loaded.tokenizer.convert_ids_to_tokens(ids.tolist())
            pairs = list(zip(names, probabilities.tolist(), strict=True))
            tokens.setdefault(one.text, []).append((one.truncated_tokens, pairs))
    return tokens


def _filled(text: str, span: tuple[int, int], truncated_tokens: int, tokens: Sequence[tuple[str, float]]) -> FilledMask:
    start, end = span
    candidates = [Candidate(token, share, _with_token(text[:start], token, text[end:])) for token, share in tokens]
    return FilledMask(start, end - start, candidates, truncated_tokens)


def _with_token(before: str, token: str, behind: str) -> str:
    """All but the mask stays as it was written; a piece that goes on with a word is set against it."""
    if token.startswith("##") and len(token) > 2:
        return before.rstrip() + token[2:] + behind
    return before + token + behind

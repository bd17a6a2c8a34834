"""Candidates for the masks of a text, with an engine and a tokenizer that has a mask token.

Every mask is filled independently: the model sees the others as masks. Texts keep their order and are read in chunks.
Knows no files and no commands.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from tokenizers import decoders

from llmkit.errors import DataError, ModelError, UsageError
from llmkit.models.loaded import LoadedModel
from llmkit.tasks.inputs import check_texts, numbered_chunks
from llmkit.tasks.token_ids import token_ids
from llmkit.tasks.unknown import UnknownCount

if TYPE_CHECKING:
    import numpy as np

MASK = "[MASK]"
"""Accepted with every model, besides its own mask token."""
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
    """As in the vocabulary; `##` marks a subword that continues the previous word, and `Ġ` or `▁` a space."""
    probability: float
    """Over all the model's ids; special tokens, and ids that the tokenizer lacks, have a probability but are no candidates."""
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
    """Tokens of the text that the model did not see for this mask; 0 if the whole text fits."""


@dataclass(frozen=True)
class Filling:
    text: str
    masks: list[FilledMask]
    """In the order of the text, at least one."""
    unknown_tokens: int = 0
    """Tokens that stand for text that the model cannot read."""


@dataclass(frozen=True)
class _MaskedSequence:
    """One sequence for the engine."""

    text: int
    """Index of the text in the chunk."""
    ids: list[int]
    positions: list[int]
    truncated_tokens: int


def fill_texts(
    loaded: LoadedModel, engine: MaskEngine, texts: Iterable[str], *, top_k: int, overflow: FillOverflow
) -> Iterator[Filling]:
    """Candidates for every mask of each text; a mask is written `[MASK]`, or as the model's own mask token.

    Args:
        overflow: for a text longer than `loaded.window`: `window` shows the model the tokens around each mask, as
            many before as after it if possible, and the number of such texts is logged once, as a warning, when the
            results end.
    Raises:
        UsageError: `top_k` is not between 1 and the number of tokens that can be candidates.
        DataError: a text without a mask, empty, not valid Unicode, or too long under `error`.
        ModelError: the tokenizer has no mask token, or the model gives no finite numbers.
    """
    if loaded.tokenizer.mask_token is None:
        raise ModelError(f"{loaded.name}: its tokenizer has no mask token; fill needs one such as {MASK}.")
    never = _no_candidates(loaded)
    max_candidates = loaded.model.config.vocab_size - len(never)
    if not 1 <= top_k <= max_candidates:
        raise UsageError(f"top_k is {top_k:,}; {loaded.name} can return 1 to {max_candidates:,} candidates for a mask.")
    rows = long_texts = 0
    unknown = UnknownCount(loaded.tokenizer)
    decoder = loaded.tokenizer.backend_tokenizer.decoder
    try:
        for first_row, chunk in numbered_chunks(texts, size=FILL_CHUNK_ROWS):
            check_texts(chunk, first_row=first_row, may_be_empty=False)
            spans = [_mask_spans(loaded, text, row=row) for row, text in enumerate(chunk, first_row)]
            sequences = list(_masked_sequences(loaded, chunk, spans, first_row=first_row, overflow=overflow))
            predictions = engine.most_probable_tokens(
                [sequence.ids for sequence in sequences],
                [sequence.positions for sequence in sequences],
                top_k=top_k,
                never=never,
            )
            tokens = _by_text(loaded, sequences, predictions)
            rows += len(chunk)
            long_texts += len({sequence.text for sequence in sequences if sequence.truncated_tokens})
            counts = unknown.add(chunk, names_are_text=loaded.tokenizer.split_special_tokens)
            for number, text in enumerate(chunk):
                masks = zip(spans[number], tokens[number], strict=True)
                yield Filling(
                    text, [_filled(text, span, *mask, decoder=decoder) for span, mask in masks], counts[number]
                )
        unknown.report()
    finally:
        if long_texts:
            logger.warning(
                "%s of %s texts were too long for %s (window %s tokens): only the tokens around each mask were read",
                *(f"{number:,}" for number in (long_texts, rows)),
                loaded.name,
                f"{loaded.window:,}",
            )


def _no_candidates(loaded: LoadedModel) -> list[int]:
    """Ids of special tokens, and those that the tokenizer lacks where the model's embedding matrix is larger."""
    candidates = set(loaded.tokenizer.get_vocab().values()) - set(loaded.tokenizer.all_special_ids)
    return [token for token in range(loaded.model.config.vocab_size) if token not in candidates]


def _mask_spans(loaded: LoadedModel, text: str, *, row: int) -> list[tuple[int, int]]:
    """Start and end of each mask."""
    spans = [match.span() for match in re.finditer(_mask_pattern(loaded), text)]
    if not spans:
        mask_token = loaded.tokenizer.mask_token
        spellings = MASK if mask_token == MASK else f"{MASK} or {mask_token}"
        raise DataError(f"row {row:,}: the text has no mask; write {spellings} in place of a word")
    return spans


def _mask_pattern(loaded: LoadedModel) -> str:
    mask_token = loaded.tokenizer.mask_token
    assert isinstance(mask_token, str)  # checked by fill_texts
    return "|".join(re.escape(spelling) for spelling in dict.fromkeys((mask_token, MASK)))


def _masked_sequences(
    loaded: LoadedModel,
    texts: Sequence[str],
    spans: Sequence[Sequence[tuple[int, int]]],
    *,
    first_row: int,
    overflow: FillOverflow,
) -> Iterator[_MaskedSequence]:
    """A sequence for each text with all its masks; for a text that is too long, one for each mask."""
    mask_token, mask_id = loaded.tokenizer.mask_token, loaded.tokenizer.mask_token_id
    assert isinstance(mask_token, str)
    begin, end = loaded.tokenizer.cls_token_id, loaded.tokenizer.sep_token_id
    room = loaded.window - 2  # without [CLS] and [SEP]
    pattern = re.compile(_mask_pattern(loaded))
    masked_texts = [pattern.sub(lambda _: mask_token, text) for text in texts]
    for number, ids in enumerate(token_ids(loaded.tokenizer, masked_texts, special=False)):
        positions = [position for position, token in enumerate(ids) if token == mask_id]
        if len(positions) != len(spans[number]):
            raise ModelError(
                f"{loaded.name}: its tokenizer does not encode {mask_token} as one token, which fill requires."
            )
        if len(ids) <= room:
            yield _MaskedSequence(number, [begin, *ids, end], [position + 1 for position in positions], 0)
            continue
        if overflow == "error":
            raise DataError(
                f"row {first_row + number:,}: the text has {len(ids) + 2:,} tokens, but {loaded.name} reads "
                f"{loaded.window:,} at most; shorten it, or read a window around each mask with overflow window"
            )
        for position in positions:
            start = min(max(position - room // 2, 0), len(ids) - room)
            window = [begin, *ids[start : start + room], end]
            yield _MaskedSequence(number, window, [position - start + 1], len(ids) - room)


def _by_text(
    loaded: LoadedModel,
    sequences: Sequence[_MaskedSequence],
    predictions: Sequence[Sequence[tuple[np.ndarray, np.ndarray]]],
) -> dict[int, list[tuple[int, list[tuple[str, float]]]]]:
    """For each text and each of its masks, the tokens not read, and (token, probability)."""
    tokens: dict[int, list[tuple[int, list[tuple[str, float]]]]] = {}
    for sequence, masks in zip(sequences, predictions, strict=True):
        for ids, probabilities in masks:
            names = loaded.tokenizer.convert_ids_to_tokens(ids.tolist())
            pairs = list(zip(names, probabilities.tolist(), strict=True))
            tokens.setdefault(sequence.text, []).append((sequence.truncated_tokens, pairs))
    return tokens


def _filled(
    text: str, span: tuple[int, int], truncated_tokens: int, tokens: Sequence[tuple[str, float]], *, decoder: Any
) -> FilledMask:
    start, end = span
    candidates = [
        Candidate(token, share, _with_token(text[:start], token, text[end:], decoder=decoder))
        for token, share in tokens
    ]
    return FilledMask(start, end - start, candidates, truncated_tokens)


def _with_token(before: str, token: str, after: str, *, decoder: Any) -> str:
    """The text around the mask does not change; a subword that continues a word is attached to it.

    Args:
        decoder: of the tokenizer; None for one that has none.
    """
    if decoder is None or isinstance(decoder, decoders.WordPiece):
        if token.startswith("##") and len(token) > 2:
            return before.rstrip() + token[2:] + after
        return before + token + after
    written: str = decoder.decode(["a", token]).removeprefix("a")  # the space before a word belongs to its first token
    if not before or before[-1].isspace():
        return (before + written[1:] if written[:1] == " " else before.rstrip() + written) + after
    return before + written + after

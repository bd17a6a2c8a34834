"""From texts to labels, summaries and continuations, over an engine and a tokenizer.

Texts are pulled chunk by chunk and results keep their order, so that a file of any length runs in bounded memory.
Rows are counted from 1. Nothing is cut in silence. Knows no files and no commands.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from llmkit.errors import DataError, ModelError, UsageError
from llmkit.inference.decoding import cut_at_stop, decode_new, first_stop, settled_text
from llmkit.models.loaded import LoadedModel
from llmkit.recipe.blocks import GenerationBlock
from llmkit.tasks.base import Engine
from llmkit.tasks.encoding import in_chunks
from llmkit.tasks.parts import Cut, write_in_rounds

logger = logging.getLogger("llmkit")

CLASSIFY_CHUNK_ROWS = 2048
"""Enough texts of each length for full batches."""
GENERATE_CHUNK_ROWS = 512
"""Fewer: results of a chunk come together, and writing takes longer than reading."""

LONE_SURROGATE = re.compile("[\ud800-\udfff]")

Overflow = Literal["error", "truncate"]


class StreamingEngine(Engine, Protocol):
    """An engine that can also hand over one sequence token by token."""

    def generate_stream(self, sequence: Sequence[int], options: GenerationBlock) -> Generator[int, None, None]:
        """The ids of `generate([sequence], options)[0][0]` as they come; closing it ends the work."""
        ...


@dataclass(frozen=True)
class Classification:
    text: str
    label: str
    probabilities: dict[str, float]
    """By label, in the order of the model's classes; they add up to 1."""
    truncated_tokens: int
    """Tokens that the model did not see; 0 where the whole text fitted."""


@dataclass(frozen=True)
class Generation:
    prompt: str
    """The text as given, without prefix."""
    texts: list[str]
    """`num_return_sequences` new texts, without the prompt, each up to its first stop text."""
    truncated_tokens: int
    """Tokens of the prompt that the model did not see."""
    parts: int = 1
    """Parts that a long text was cut into, under overflow `window`."""


@dataclass(frozen=True)
class _Encoded:
    ids: list[int]
    truncated_tokens: int


def classify_texts(
    loaded: LoadedModel, engine: Engine, texts: Iterable[str], *, overflow: Overflow
) -> Iterator[Classification]:
    """One label for each text, by the largest of its probabilities.

    Args:
        overflow: what becomes of a text longer than `loaded.window`; a text is cut at its end, and the number of
            texts cut is logged once, as a warning, when the results end.
    Raises:
        DataError: an empty text, one that is no valid Unicode, or one too long under `error`.
        ModelError: the model is not one of two or more classes that exclude each other, or gives no finite numbers.
    """
    _check_classifier(loaded)
    cuts = _Cuts(loaded)
    try:
        for first_row, chunk in _numbered_chunks(texts, size=CLASSIFY_CHUNK_ROWS):
            _check_texts(chunk, first_row=first_row, may_be_empty=False)
            encoded = cuts.count(_encode_whole(loaded, chunk, first_row=first_row, overflow=overflow))
            probabilities = _softmax(engine.class_logits([one.ids for one in encoded]))  # (N, C)
            for text, one, shares in zip(chunk, encoded, probabilities, strict=True):
                by_label = dict(zip(loaded.labels, shares.tolist(), strict=True))
                yield Classification(text, loaded.labels[int(shares.argmax())], by_label, one.truncated_tokens)
    finally:
        cuts.warn()


def summarize_texts(
    loaded: LoadedModel,
    engine: Engine,
    texts: Iterable[str],
    *,
    options: GenerationBlock,
    prefix: str,
    overflow: Overflow,
) -> Iterator[Generation]:
    """The output of an encoder-decoder for `prefix` + each text, such as a summary or a translation.

    Args:
        options: `max_new_tokens` must be set.
        overflow: as for `classify_texts`.
    Raises:
        DataError: an empty text, one that is no valid Unicode, or one too long under `error`.
        ModelError: the model gives no finite numbers.
    """
    yield from _generate(loaded, engine, texts, options=options, prefix=prefix, overflow=overflow, may_be_empty=False)


def summarize_in_parts(
    loaded: LoadedModel,
    engine: Engine,
    texts: Iterable[str],
    *,
    options: GenerationBlock,
    prefix: str,
    overlap_tokens: int | None,
) -> Iterator[Generation]:
    """As `summarize_texts`, with nothing cut off: of a text that is too long the parts are summarized, then their
    summaries together, until one is left.

    Args:
        overlap_tokens: that a part shares with the one before it; None for a quarter of the window.
    Raises:
        UsageError: several summaries of each text are asked for.
        DataError, ModelError: as `summarize_texts`.
    """
    if options.num_return_sequences > 1:
        raise UsageError("overflow window writes one summary of each text; leave num_return_sequences out")
    overlap = loaded.window // 4 if overlap_tokens is None else overlap_tokens
    cut = Cut(loaded.tokenizer, prefix, loaded.window, overlap)
    texts_read = long_texts = 0

    def write(sequences: list[list[int]]) -> list[str]:
        return [cut_at_stop(decode_new(loaded, one[0]), options.stop) for one in engine.generate(sequences, options)]

    for first_row, chunk in _numbered_chunks(texts, size=GENERATE_CHUNK_ROWS):
        _check_texts(chunk, first_row=first_row, may_be_empty=False)
        parts = [cut.parts(text) for text in chunk]
        texts_read += len(chunk)
        long_texts += sum(len(own) > 1 for own in parts)
        for text, own, summary in zip(chunk, parts, write_in_rounds(parts, write=write, cut=cut.parts), strict=True):
            yield Generation(text, [summary], truncated_tokens=0, parts=len(own))
    if long_texts:
        logger.info(
            "%s of %s texts were too long for %s (window %s tokens) and were summarized part by part",
            *(f"{long_texts:,}", f"{texts_read:,}", loaded.name, f"{loaded.window:,}"),
        )


def generate_texts(
    loaded: LoadedModel,
    engine: Engine,
    prompts: Iterable[str],
    *,
    options: GenerationBlock,
    prefix: str = "",
    overflow: Overflow,
) -> Iterator[Generation]:
    """New text for each prompt: its continuation by GPT-2, or T5's output for it.

    Sampling is reproducible: a result depends on the seed, the row and the prompt, whatever else is in the file.

    Args:
        options: `max_new_tokens` must be set.
        overflow: `truncate` drops the start of a prompt for GPT-2, which has to go on from its end, and the end of
            one for T5. An empty prompt is allowed: GPT-2 begins a new text.
    Raises:
        UsageError: GPT-2 has no room for the prompt and `max_new_tokens`.
        DataError: a prompt that is no valid Unicode, or too long for T5 under `error`.
        ModelError: the model gives no finite numbers.
    """
    yield from _generate(loaded, engine, prompts, options=options, prefix=prefix, overflow=overflow, may_be_empty=True)


def stream_text(
    loaded: LoadedModel, engine: StreamingEngine, prompt: str, *, options: GenerationBlock
) -> Iterator[str]:
    """The first text of `generate_texts` in pieces, as they come: whole characters, and nothing of a stop text.

    Closing the iterator ends the work of the engine.

    Raises:
        UsageError, DataError, ModelError: as `generate_texts` with overflow `error`, before the first piece.
    """
    _check_texts([prompt], first_row=1, may_be_empty=True)
    encoded = _encode(loaded, [prompt], first_row=1, options=options, overflow="error")[0]
    ids: list[int] = []
    sent = ""
    with closing(engine.generate_stream(encoded.ids, options)) as tokens:
        for token in tokens:
            ids.append(token)
            text = decode_new(loaded, ids)
            if first_stop(text, options.stop) is not None:
                break
            settled = settled_text(loaded, text, options.stop)
            if len(settled) > len(sent):
                yield settled[len(sent) :]
                sent = settled
    rest = cut_at_stop(decode_new(loaded, ids), options.stop)[len(sent) :]
    if rest:
        yield rest


def _generate(
    loaded: LoadedModel,
    engine: Engine,
    texts: Iterable[str],
    *,
    options: GenerationBlock,
    prefix: str,
    overflow: Overflow,
    may_be_empty: bool,
) -> Iterator[Generation]:
    cuts = _Cuts(loaded)
    try:
        for first_row, chunk in _numbered_chunks(texts, size=GENERATE_CHUNK_ROWS):
            _check_texts(chunk, first_row=first_row, may_be_empty=may_be_empty)
            prompts = [prefix + text for text in chunk]
            encoded = cuts.count(_encode(loaded, prompts, first_row=first_row, options=options, overflow=overflow))
            new = engine.generate([one.ids for one in encoded], _options_of_chunk(options, first_row=first_row))
            for text, one, lists in zip(chunk, encoded, new, strict=True):
                results = [cut_at_stop(decode_new(loaded, ids), options.stop) for ids in lists]
                yield Generation(text, results, one.truncated_tokens)
    finally:
        cuts.warn()


def _options_of_chunk(options: GenerationBlock, *, first_row: int) -> GenerationBlock:
    """An engine counts sequences from 0 in each call: without a new seed, all chunks would draw the same numbers."""
    if first_row == 1:
        return options
    seed = int(np.random.SeedSequence((options.seed, first_row)).generate_state(1)[0])
    return options.model_copy(update={"seed": seed})


def _numbered_chunks(texts: Iterable[str], *, size: int) -> Iterator[tuple[int, list[str]]]:
    """Chunks with the number of their first row."""
    first_row = 1
    for chunk in in_chunks(texts, size=size):
        yield first_row, chunk
        first_row += len(chunk)


def _check_texts(texts: Sequence[str], *, first_row: int, may_be_empty: bool) -> None:
    for row, text in enumerate(texts, start=first_row):
        if not may_be_empty and not text.strip():
            raise DataError(f"row {row:,}: the text is empty; remove the row or fill it")
        if surrogate := LONE_SURROGATE.search(text):
            found = f"U+{ord(surrogate[0]):04X} at character {surrogate.start() + 1:,}"
            raise DataError(f"row {row:,}: not valid Unicode: half a surrogate pair, {found}; write the text as UTF-8")


def _check_classifier(loaded: LoadedModel) -> None:
    problem = loaded.model.config.problem_type
    if problem not in (None, "single_label_classification") or len(loaded.labels) < 2:
        raise ModelError(
            f"{loaded.name}: its {len(loaded.labels)} outputs are not classes of which one is right "
            f"(problem_type {problem or 'not set'}); classify needs a model with two or more such classes"
        )


def _encode(
    loaded: LoadedModel, prompts: Sequence[str], *, first_row: int, options: GenerationBlock, overflow: Overflow
) -> list[_Encoded]:
    if loaded.family == "gpt2":
        return _encode_prompts(loaded, prompts, first_row=first_row, options=options, overflow=overflow)
    return _encode_whole(loaded, prompts, first_row=first_row, overflow=overflow)


def _encode_whole(loaded: LoadedModel, texts: Sequence[str], *, first_row: int, overflow: Overflow) -> list[_Encoded]:
    """Ids with the special tokens around them, at most `loaded.window` of them."""
    window = loaded.window
    encoded = []
    for row, ids in enumerate(_token_ids(loaded, texts, special=True), start=first_row):
        if len(ids) <= window:
            encoded.append(_Encoded(ids, 0))
        elif overflow == "truncate":
            # Again with a limit: the tokenizer knows which special tokens belong at the end.
            kept = loaded.tokenizer(texts[row - first_row], truncation=True, max_length=window)["input_ids"]
            encoded.append(_Encoded(kept, len(ids) - len(kept)))
        else:
            raise DataError(
                f"row {row:,}: the text has {len(ids):,} tokens, and {loaded.name} takes {window:,} at most; "
                "shorten it, or allow it to be cut with overflow truncate"
            )
    return encoded


def _encode_prompts(
    loaded: LoadedModel, prompts: Sequence[str], *, first_row: int, options: GenerationBlock, overflow: Overflow
) -> list[_Encoded]:
    """Ids of GPT-2 prompts that leave room for the new tokens."""
    if options.max_new_tokens is None:
        raise ValueError("max_new_tokens must be set before text is generated")
    room = loaded.window - options.max_new_tokens
    if room < 1:
        raise UsageError(
            f"1 + {options.max_new_tokens:,} > {loaded.window:,}: {loaded.name} has {loaded.window:,} positions for "
            f"a prompt and its new tokens; lower max_new_tokens to {loaded.window - 1:,} or less"
        )
    encoded = []
    for row, ids in enumerate(_token_ids(loaded, prompts, special=False), start=first_row):
        if len(ids) > room and overflow == "error":
            raise UsageError(
                f"row {row:,}: {len(ids):,} + {options.max_new_tokens:,} > {loaded.window:,}: the prompt and "
                f"max_new_tokens exceed the positions of {loaded.name}; lower max_new_tokens, shorten the prompt, "
                "or allow its start to be cut with overflow truncate"
            )
        kept = ids[-room:] or [_start_id(loaded)]
        encoded.append(_Encoded(kept, max(len(ids) - room, 0)))
    return encoded


def _token_ids(loaded: LoadedModel, texts: Sequence[str], *, special: bool) -> list[list[int]]:
    """All ids of each text, never cut."""
    encoding = loaded.tokenizer(
        list(texts),
        add_special_tokens=special,
        truncation=False,
        padding=False,
        return_attention_mask=False,
        return_token_type_ids=False,
        verbose=False,  # its own warning about long texts: ours has the numbers
    )
    ids: list[list[int]] = encoding["input_ids"]
    return ids


def _start_id(loaded: LoadedModel) -> int:
    """What stands before a text in training: GPT-2's end-of-text."""
    for token in (loaded.tokenizer.bos_token_id, loaded.tokenizer.eos_token_id):
        if token is not None:
            return int(token)
    raise UsageError(f"the prompt is empty, and {loaded.name} has no token that begins a text; give a prompt")


def _softmax(logits: np.ndarray) -> np.ndarray:
    """(N, C) float64 probabilities."""
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    shares: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return shares


class _Cuts:
    """Counts what overflow `truncate` cut, for one warning at the end."""

    def __init__(self, loaded: LoadedModel) -> None:
        self._loaded = loaded
        self._texts = self._cut_texts = self._cut_tokens = 0

    def count(self, encoded: list[_Encoded]) -> list[_Encoded]:
        self._texts += len(encoded)
        self._cut_texts += sum(one.truncated_tokens > 0 for one in encoded)
        self._cut_tokens += sum(one.truncated_tokens for one in encoded)
        return encoded

    def warn(self) -> None:
        if self._cut_texts:
            logger.warning(
                "%s of %s texts were too long for %s (window %s tokens) and were cut: %s tokens were not read",
                *(f"{number:,}" for number in (self._cut_texts, self._texts)),
                self._loaded.name,
                f"{self._loaded.window:,}",
                f"{self._cut_tokens:,}",
            )

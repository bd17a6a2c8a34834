"""Documents to a stream of tokens: encoded once, by all cores, cached under a hash of its inputs."""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from llmkit.data.caches import cache_folder, one_at_a_time
from llmkit.data.rows import Row
from llmkit.data.token_store import Encoded, TokenStream, open_stream, stream_in_memory, write_stream
from llmkit.data.unknown import UnknownTotals, shown_counts
from llmkit.errors import DataError, UsageError
from llmkit.models.loaded import LoadedModel
from llmkit.tasks.unknown import UnknownCount

logger = logging.getLogger("llmkit")
_FORMAT = 3
_WHAT = "corpus"
_CHUNK_CHARACTERS = 4_000_000
_REPORT_SECONDS = 20


@runtime_checkable
class IdentifiedRows(Protocol):
    """Rows with a fingerprint, so that their tokens can be cached."""

    def __iter__(self) -> Iterator[Row]: ...

    def identity(self) -> str:
        """Changes with the files' contents and with every option that decides which rows there are."""
        ...


def token_stream(
    rows: Iterable[Row], tokenizer: PreTrainedTokenizerFast, *, end_id: int, start: Sequence[int] = ()
) -> TokenStream:
    """The documents of `rows` without special tokens, each followed by `end_id`, and another `end_id` before the first.

    Tokens of rows with an identity are cached on disk, memory-mapped; of several processes the first writes them and
    the others wait. Without rows there is only the first `end_id`.

    Args:
        start: ids in front of each document.
    Raises:
        DataError: there are rows, but no tokens.
        MachineError: the cache cannot be written.
    """
    # The library's threads encode a chunk on all cores.
    chunks = _encoded(rows, tokenizer, end_id=end_id, start=start)
    if not isinstance(rows, IdentifiedRows):
        return _checked(stream_in_memory(chunks, end_id=end_id), start=start)
    path = cache_folder() / "tokens" / f"{_key(rows, tokenizer, end_id=end_id, start=start)}.arrow"
    with one_at_a_time(path):
        cached = open_stream(path)
        if cached is not None:
            logger.info("corpus: %s tokens, from the cache", f"{cached.count.tokens:,}")
            return _checked(cached, start=start)
        return _checked(write_stream(path, chunks, end_id=end_id, vocab_size=len(tokenizer)), start=start)


def block_tokens_of(block_tokens: int | None, loaded: LoadedModel) -> int:
    """Tokens of a block: those of the recipe, or the model's window.

    Raises:
        UsageError: more than the model's window.
    """
    if block_tokens is not None and block_tokens > loaded.window:
        raise UsageError(f"block_tokens: {block_tokens:,}, but {loaded.name} reads {loaded.window:,} tokens at most.")
    return block_tokens or loaded.window


def unknown_of(stream: TokenStream, *, start: Sequence[int] = ()) -> dict[str, Any]:
    """For `Examples.unknown`.

    Args:
        start: as in `token_stream`.
    Raises:
        DataError: all of the text is unknown.
    """
    count = stream.count
    if not count.unknown:
        return {}
    totals = UnknownTotals.of_record(dict(count.unknown))
    if totals.unknown_tokens == count.tokens - _special_tokens(stream, start):
        raise DataError(
            f"the tokenizer can read nothing of the corpus: each of its {totals.unknown_tokens:,} tokens is unknown, most "
            f"often {shown_counts(totals.characters)}. Use a model or a tokenizer for this script."
        )
    return {_WHAT: dict(count.unknown)}


def bytes_of(stream: TokenStream, *, share: float = 1.0) -> int:
    """UTF-8 bytes that the targets spell, if they are this share of the tokens; at least 1 if there is any text."""
    return max(1, round(stream.count.spelled_bytes * share)) if stream.count.utf8_bytes else 0


def _special_tokens(stream: TokenStream, start: Sequence[int]) -> int:
    return stream.count.documents * (1 + len(start)) + 1


def _checked(stream: TokenStream, *, start: Sequence[int]) -> TokenStream:
    """Log the text that the tokenizer cannot represent.

    Raises:
        DataError: no text gives a token.
    """
    if stream.count.documents and stream.count.tokens == _special_tokens(stream, start):
        raise DataError("the corpus has no text that gives a token.")
    if stream.count.unknown:
        UnknownTotals.of_record(dict(stream.count.unknown)).warn(_WHAT)
    return stream


def _key(rows: IdentifiedRows, tokenizer: PreTrainedTokenizerFast, *, end_id: int, start: Sequence[int]) -> str:
    key_parts = [_FORMAT, rows.identity(), tokenizer.backend_tokenizer.to_str(), end_id, *start]
    return hashlib.sha256(json.dumps(key_parts).encode()).hexdigest()[:32]


def _encoded(
    rows: Iterable[Row], tokenizer: PreTrainedTokenizerFast, *, end_id: int, start: Sequence[int]
) -> Iterator[Encoded]:
    """The tokens of some million characters at a time."""
    backend, unknown = _without_limits(tokenizer), UnknownCount(tokenizer, _WHAT)
    utf8_bytes, reported = 0, time.monotonic()
    for texts in _chunks(rows):
        ids, starts = [], []
        for text, encoding in zip(texts, backend.encode_batch(texts, add_special_tokens=False), strict=True):
            unknown.add_encoding(text, encoding)
            words = np.asarray([-1 if word is None else word for word in encoding.word_ids], dtype=np.int64)
            ids.append(np.asarray([*start, *encoding.ids, end_id], dtype=np.int32))
            starts += [np.ones(len(start), dtype=np.bool_), np.diff(words, prepend=-2) != 0, np.ones(1, dtype=np.bool_)]
        size = sum(len(text.encode()) for text in texts)
        utf8_bytes += size
        if time.monotonic() - reported > _REPORT_SECONDS:
            reported = time.monotonic()
            logger.info("corpus: %s MB encoded", f"{utf8_bytes / 1e6:,.0f}")
        record = unknown.totals.record() if unknown.totals else {}
        yield Encoded(np.concatenate(ids), np.concatenate(starts), len(texts), utf8_bytes=size, unknown=record)


def _without_limits(tokenizer: PreTrainedTokenizerFast) -> Tokenizer:
    """A copy without truncation and padding, which many a tokenizer.json on the hub sets."""
    backend: Tokenizer = copy.deepcopy(tokenizer.backend_tokenizer)
    backend.no_truncation()
    backend.no_padding()
    return backend


def _chunks(rows: Iterable[Row]) -> Iterator[list[str]]:
    texts: list[str] = []
    characters = 0
    for row in rows:
        text = row.fields["text"]
        texts.append(text)
        characters += len(text)
        if characters >= _CHUNK_CHARACTERS:
            yield texts
            texts, characters = [], 0
    if texts:
        yield texts

"""A corpus as a single stream of token ids: on disk in Arrow, memory-mapped, so that it can be larger than memory.

Documents are concatenated, each followed by the end id, and one end id precedes the first. Blocks are cut from the
stream on demand, so one store works for every block length.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from llmkit.atomic import TEMPORARY, replace_file
from llmkit.data.examples import Ragged
from llmkit.errors import MachineError

BATCH_TOKENS = 2**20
"""Tokens of an Arrow record batch; all but the last are full, so division gives the batch of a position."""


@dataclass(frozen=True)
class Encoded:
    """Consecutive documents: their ids, including each document's end id."""

    ids: NDArray[np.int32]
    word_starts: NDArray[np.bool_]
    """True where a token starts a word; an end id is a word of its own."""
    documents: int
    utf8_bytes: int
    unknown: Mapping[str, Any] = field(default_factory=dict)
    """What the tokenizer could not represent in the documents up to here (`UnknownTotals.record`)."""


@dataclass(frozen=True)
class StreamCount:
    documents: int = 0
    utf8_bytes: int = 0
    """Size of the documents' text, without end ids."""
    tokens: int = 0
    """Including all end ids."""
    unknown: Mapping[str, Any] = field(default_factory=dict)
    """As in `Encoded`, of all documents."""

    @property
    def spelled_bytes(self) -> int:
        """Size of the text without what no token spells: a language model is not measured on it."""
        return max(0, self.utf8_bytes - int(self.unknown.get("lost_bytes", 0)))


@dataclass(frozen=True)
class TokenStream:
    """Record batches of `BATCH_TOKENS` tokens, except the last; arrays in memory or views of a mapped file."""

    batches: Sequence[tuple[NDArray[Any], NDArray[Any]]]
    count: StreamCount

    def ids(self, start: int, stop: int) -> NDArray[np.int32]:
        """A copy of the ids at these positions."""
        return self._slice(0, start, stop).astype(np.int32)

    def word_starts(self, start: int, stop: int) -> NDArray[np.bool_]:
        """True where a token starts a word."""
        return self._slice(1, start, stop).astype(np.bool_)

    def _slice(self, column: int, start: int, stop: int) -> NDArray[Any]:
        first, last = start // BATCH_TOKENS, max(start, stop - 1) // BATCH_TOKENS
        arrays = [self.batches[number][column] for number in range(first, last + 1)]
        joined = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
        offset = first * BATCH_TOKENS
        return joined[start - offset : stop - offset]


@dataclass(frozen=True)
class Blocks:
    """Overlapping or adjacent blocks of a stream, as a column of examples; the last block may be shorter.

    Block i is `stream[first + i * stride : ... + block_tokens]`.
    """

    stream: TokenStream
    block_tokens: int
    stride: int
    first: int
    keep_last: bool
    """Whether to keep a last block that is not full."""

    def __len__(self) -> int:
        """Number of full blocks, plus a shorter one if enough tokens remain for a target."""
        available = self.stream.count.tokens - self.first
        overlap = self.block_tokens - self.stride
        full = max(0, (available - overlap) // self.stride) if available >= self.block_tokens else 0
        rest = available - overlap - full * self.stride
        return full + (1 if self.keep_last and rest > 0 else 0)

    @property
    def left_out(self) -> int:
        """Number of tokens after the last block."""
        last = (len(self) - 1) * self.stride + self.block_tokens if len(self) else 0
        return max(0, self.stream.count.tokens - self.first - last)

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """(N,)"""
        lengths = np.full(len(self), self.block_tokens, dtype=np.int64)
        if len(lengths):
            start = self.first + (len(lengths) - 1) * self.stride
            lengths[-1] = min(self.block_tokens, self.stream.count.tokens - start)
        return lengths

    def span(self, index: int) -> tuple[int, int]:
        """Start and stop in the stream."""
        start = self.first + int(index) * self.stride
        return start, start + int(self.lengths[index])

    def __getitem__(self, index: int) -> NDArray[np.int32]:
        return self.stream.ids(*self.span(index))

    def word_starts(self, index: int) -> NDArray[np.bool_]:
        return self.stream.word_starts(*self.span(index))

    def take(self, indices: Sequence[int]) -> Ragged:
        return Ragged.of([self[index] for index in indices])


def stream_in_memory(chunks: Iterable[Encoded], *, end_id: int) -> TokenStream:
    """The whole stream in memory, for small data that needs no file."""
    batches: list[tuple[NDArray[Any], NDArray[Any]]] = []
    count = StreamCount()
    for ids, starts, so_far in _in_batches(chunks, end_id=end_id):
        batches.append((ids, starts))
        count = so_far
    return TokenStream(batches, count)


def write_stream(path: Path, chunks: Iterable[Encoded], *, end_id: int, vocab_size: int) -> TokenStream:
    """Write a stream to a file atomically, and open it. The caller must have locked it.

    Raises:
        MachineError: the file cannot be written.
    """
    temporary = path.with_name(f"{TEMPORARY}{path.name}")  # the next write replaces the file of a killed process
    ids_type = pa.uint16() if vocab_size <= 2**16 else pa.int32()
    schema = pa.schema([("ids", ids_type), ("word_starts", pa.uint8())])
    count = StreamCount()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with pa.OSFile(str(temporary), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
            for ids, starts, so_far in _in_batches(chunks, end_id=end_id):
                columns = [pa.array(ids, type=ids_type), pa.array(starts.astype("uint8"))]
                writer.write_batch(pa.record_batch(columns, schema=schema))
                count = so_far
        _sync(temporary)
        metadata = {**asdict(count), "bytes": temporary.stat().st_size}
        replace_file(_metadata_path(path), json.dumps(metadata).encode())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise MachineError(f"{path.parent}: the encoded corpus cannot be written ({error.strerror}).") from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    stream = open_stream(path)
    assert stream is not None, "it has just been written"
    return stream


def open_stream(path: Path) -> TokenStream | None:
    """An existing stream, memory-mapped; None if it is missing or damaged."""
    try:
        metadata = json.loads(_metadata_path(path).read_text())
        if path.stat().st_size != metadata.pop("bytes"):
            return None
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
    except (OSError, ValueError, KeyError, pa.ArrowException):
        return None
    record_batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
    batches = [(batch.column(0).to_numpy(), batch.column(1).to_numpy()) for batch in record_batches]  # views, no copies
    return TokenStream(batches, StreamCount(**metadata))


def _metadata_path(path: Path) -> Path:
    return path.with_suffix(".json")


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _in_batches(
    chunks: Iterable[Encoded], *, end_id: int
) -> Iterator[tuple[NDArray[np.int32], NDArray[np.bool_], StreamCount]]:
    """Full batches and a last batch, each with the total count so far."""
    ids = np.asarray([end_id], dtype=np.int32)
    starts = np.ones(1, dtype=np.bool_)
    documents = utf8_bytes = written = 0
    unknown: Mapping[str, Any] = {}
    for chunk in chunks:
        documents, utf8_bytes = documents + chunk.documents, utf8_bytes + chunk.utf8_bytes
        unknown = chunk.unknown
        ids, starts = np.concatenate([ids, chunk.ids]), np.concatenate([starts, chunk.word_starts])
        while len(ids) >= BATCH_TOKENS:
            written += BATCH_TOKENS
            yield ids[:BATCH_TOKENS], starts[:BATCH_TOKENS], StreamCount(documents, utf8_bytes, written, unknown)
            ids, starts = ids[BATCH_TOKENS:], starts[BATCH_TOKENS:]
    yield ids, starts, StreamCount(documents, utf8_bytes, written + len(ids), unknown)

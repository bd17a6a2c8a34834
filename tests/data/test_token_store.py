"""A stream of tokens is given back as it was written, in blocks that lose and repeat nothing, from memory or a file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from builders import full_disk
from facts import facts
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.data import token_store
from llmkit.data.token_store import Blocks, Encoded, TokenStream, open_stream, stream_in_memory, write_stream
from llmkit.errors import DataError, MachineError

END = 0
BATCH = 7
"""Tokens of a record batch in these tests: every stream of some length crosses several."""


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_store, "BATCH_TOKENS", BATCH)


def parts_of(documents: list[list[int]], *, together: int = 2) -> list[Encoded]:
    """So many documents in each part; an odd token begins a word."""
    parts = []
    for start in range(0, len(documents), together):
        group = documents[start : start + together]
        ids = np.asarray([token for document in group for token in (*document, END)], dtype=np.int32)
        parts.append(Encoded(ids, (ids % 2 == 1) | (ids == END), documents=len(group), utf8_bytes=sum(map(sum, group))))
    return parts


def flat(documents: list[list[int]]) -> list[int]:
    return [END, *(token for document in documents for token in (*document, END))]


def in_memory(documents: list[list[int]]) -> TokenStream:
    return stream_in_memory(parts_of(documents), end_id=END)


def of_length(tokens: int) -> TokenStream:
    """A stream of 0, 1, 2 and so on."""
    numbers = np.arange(1, tokens, dtype=np.int32)
    return stream_in_memory([Encoded(numbers, np.ones(len(numbers), dtype=bool), 1, 0)], end_id=END)


def held(blocks: Blocks) -> list[list[int]]:
    return [blocks[index].tolist() for index in range(len(blocks))]


corpora = st.lists(st.lists(st.integers(1, 300), max_size=12), max_size=12)


# ---- the stream


@given(corpora, st.integers(1, 4))
def test_the_stream_is_an_end_then_every_document_with_its_end(documents: list[list[int]], together: int) -> None:
    stream = stream_in_memory(parts_of(documents, together=together), end_id=END)
    wanted = flat(documents)
    assert stream.ids(0, len(wanted)).tolist() == wanted
    assert stream.word_starts(0, len(wanted)).tolist() == [token % 2 == 1 or token == END for token in wanted]
    assert (stream.count.tokens, stream.count.documents) == (len(wanted), len(documents))
    assert stream.count.utf8_bytes == sum(map(sum, documents))
    assert all(len(ids) == BATCH for ids, _ in stream.batches[:-1])


@given(corpora, st.data())
def test_any_cut_of_the_stream_is_that_slice(documents: list[list[int]], data: st.DataObject) -> None:
    wanted, stream = flat(documents), in_memory(documents)
    start = data.draw(st.integers(0, len(wanted)))
    stop = data.draw(st.integers(start, len(wanted)))
    assert stream.ids(start, stop).tolist() == wanted[start:stop]
    assert len(stream.word_starts(start, stop)) == stop - start


def test_what_is_cut_is_a_copy_that_may_be_changed() -> None:
    stream = of_length(20)
    stream.ids(0, 5)[:] = 99
    assert stream.ids(0, 5).tolist() == [0, 1, 2, 3, 4]


# ---- blocks

sizes = st.integers(1, 40)
block_sizes = st.integers(2, 12)


@given(sizes, block_sizes)
def test_overlapping_blocks_have_every_token_but_the_first_as_a_target_once(tokens: int, block_tokens: int) -> None:
    stream = of_length(tokens)
    blocks = Blocks(stream, block_tokens=block_tokens, stride=block_tokens - 1, first=0, keep_last=True)
    found = held(blocks)
    assert [token for block in found for token in block[1:]] == list(range(1, tokens))
    assert all(len(block) == block_tokens for block in found[:-1])
    assert all(2 <= len(block) <= block_tokens for block in found)
    assert all(found[number][-1] == found[number + 1][0] for number in range(len(found) - 1))
    assert blocks.left_out == 0 or not found


@given(sizes, block_sizes, st.integers(0, 1))
def test_adjoining_blocks_have_every_token_once(tokens: int, block_tokens: int, first: int) -> None:
    blocks = Blocks(of_length(tokens), block_tokens=block_tokens, stride=block_tokens, first=first, keep_last=True)
    found = held(blocks)
    assert [token for block in found for token in block] == list(range(first, tokens))
    assert all(len(block) == block_tokens for block in found[:-1])
    assert all(found)
    assert blocks.left_out == 0


@given(sizes, block_sizes, st.integers(0, 1))
def test_full_blocks_leave_out_exactly_what_they_say(tokens: int, block_tokens: int, first: int) -> None:
    blocks = Blocks(of_length(tokens), block_tokens=block_tokens, stride=block_tokens, first=first, keep_last=False)
    found = held(blocks)
    assert all(len(block) == block_tokens for block in found)
    assert blocks.left_out == tokens - first - len(found) * block_tokens < block_tokens
    assert [token for block in found for token in block] == list(range(first, tokens - blocks.left_out))


@given(sizes, block_sizes, st.integers(0, 1), st.booleans(), st.booleans())
def test_lengths_are_those_of_the_blocks(
    tokens: int, block_tokens: int, first: int, overlap: bool, keep_last: bool
) -> None:
    stride = block_tokens - overlap
    blocks = Blocks(of_length(tokens), block_tokens=block_tokens, stride=stride, first=first, keep_last=keep_last)
    assert blocks.lengths.tolist() == list(map(len, held(blocks)))
    assert blocks.lengths.tolist() == [len(blocks.word_starts(index)) for index in range(len(blocks))]
    chosen = list(range(len(blocks)))[::-2]
    taken = blocks.take(chosen)
    assert [taken[index].tolist() for index in range(len(taken))] == [blocks[index].tolist() for index in chosen]


@pytest.mark.parametrize("keep_last", [True, False])
@pytest.mark.parametrize(("stride", "first"), [(4, 0), (5, 0), (5, 1)])
def test_a_stream_without_documents_has_no_blocks(stride: int, first: int, keep_last: bool) -> None:
    stream = stream_in_memory([], end_id=END)
    assert stream.count.tokens == 1
    blocks = Blocks(stream, block_tokens=5, stride=stride, first=first, keep_last=keep_last)
    assert len(blocks) == (1 if (stride, first, keep_last) == (5, 0, True) else 0)  # the one end, for who wants it
    assert len(blocks.lengths) == len(blocks)


def test_one_token_is_a_block_of_its_own_or_left_out() -> None:
    stream = of_length(2)
    short = {keep: Blocks(stream, block_tokens=5, stride=5, first=1, keep_last=keep) for keep in (True, False)}
    assert held(short[True]) == [[1]]
    assert held(short[False]) == []
    assert short[False].left_out == 1


# ---- the file


@settings(deadline=None, max_examples=20)
@given(corpora)
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, documents: list[list[int]]) -> None:
    path = tmp_path_factory.mktemp("store") / "a.arrow"
    written = write_stream(path, parts_of(documents), end_id=END, vocab_size=301)
    opened = open_stream(path)
    assert opened is not None
    wanted = in_memory(documents)
    for stream in (written, opened):
        tokens = stream.count.tokens
        assert stream.count == wanted.count
        assert stream.ids(0, tokens).tolist() == flat(documents)
        assert stream.word_starts(0, tokens).tolist() == wanted.word_starts(0, tokens).tolist()
    assert sorted(file.name for file in path.parent.iterdir()) == ["a.arrow", "a.json"]


@pytest.mark.parametrize(("vocab_size", "largest", "kept"), [(2**16, 2**16 - 1, "uint16"), (2**16 + 1, 2**16, "int32")])
def test_ids_take_two_bytes_where_the_vocabulary_allows(
    vocab_size: int, largest: int, kept: str, tmp_path: Path
) -> None:
    documents = [[1, largest], [largest]]
    stream = write_stream(tmp_path / "a.arrow", parts_of(documents), end_id=END, vocab_size=vocab_size)
    assert stream.batches[0][0].dtype == kept
    assert stream.ids(0, 6).tolist() == [0, 1, largest, 0, largest, 0]
    assert stream.ids(0, 6).dtype == np.int32


def test_an_opened_stream_is_a_view_of_the_file_and_not_a_copy(tmp_path: Path) -> None:
    stream = write_stream(tmp_path / "a.arrow", parts_of([[1, 2, 3]]), end_id=END, vocab_size=10)
    assert not any(array.flags.owndata or array.flags.writeable for batch in stream.batches for array in batch)


def damaged(path: Path, kind: str) -> None:
    about, content = path.with_suffix(".json"), path.read_bytes()
    match kind:
        case "no file":
            path.unlink()
        case "cut file":
            path.write_bytes(content[:-1])
        case "half a file":
            path.write_bytes(content[: len(content) // 2])
        case "longer file":
            path.write_bytes(content + b"\0")
        case "no Arrow":
            path.write_bytes(bytes(len(content)))
        case "the file of another store":  # a kill between the two writes leaves such a pair
            write_stream(path.with_name("b.arrow"), parts_of([[5] * 40]), end_id=END, vocab_size=10)
            path.with_name("b.arrow").replace(path)
        case "no about file":
            about.unlink()
        case "empty about file":
            about.write_text("")
        case "cut about file":
            about.write_text(about.read_text()[:-3])
        case "about without its size":
            about.write_text(json.dumps({"documents": 1, "utf8_bytes": 1, "tokens": 5}))


@pytest.mark.parametrize(
    "kind",
    [
        "no file",
        "cut file",
        "half a file",
        "longer file",
        "no Arrow",
        "the file of another store",
        "no about file",
        "empty about file",
        "cut about file",
        "about without its size",
    ],
)
def test_a_damaged_store_is_not_opened_and_can_be_written_again(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a.arrow"
    parts = parts_of([[1, 2, 3], [4]])
    write_stream(path, parts, end_id=END, vocab_size=10)
    assert open_stream(path) is not None
    damaged(path, kind)
    assert open_stream(path) is None
    again = write_stream(path, parts, end_id=END, vocab_size=10)
    assert again.ids(0, 7).tolist() == [0, 1, 2, 3, 0, 4, 0]


def test_documents_that_fail_leave_nothing_behind(tmp_path: Path) -> None:
    def failing() -> Iterator[Encoded]:
        yield from parts_of([[1] * 3 * BATCH])  # some batches are on the disk by then
        raise DataError("rows.txt:9")

    path = tmp_path / "tokens" / "a.arrow"
    with pytest.raises(DataError, match=facts("rows.txt:9")):
        write_stream(path, failing(), end_id=END, vocab_size=10)
    assert list(path.parent.iterdir()) == []
    assert open_stream(path) is None


def test_what_a_kill_left_half_written_is_written_over(tmp_path: Path) -> None:
    """Each attempt had a name of its own, and a corpus of some gigabytes stayed for good."""

    class Killed(Exception):
        pass

    left: list[bytes] = []

    def killed() -> Iterator[Encoded]:
        yield from parts_of([[1] * 3 * BATCH])
        left.extend(file.name.encode() for file in tmp_path.iterdir())
        raise Killed

    path = tmp_path / "a.arrow"
    with pytest.raises(Killed):
        write_stream(path, killed(), end_id=END, vocab_size=10)
    [name] = left
    (tmp_path / name.decode()).write_bytes(b"half")
    write_stream(path, parts_of([[1]]), end_id=END, vocab_size=10)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.arrow", "a.json"]


def test_a_full_disk_is_told_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "tokens" / "a.arrow"
    with (
        full_disk(file_bytes=2000),
        pytest.raises(MachineError, match=facts("tokens:", "File too large")),
    ):
        write_stream(path, parts_of([[1] * 5000]), end_id=END, vocab_size=10)
    assert list(path.parent.iterdir()) == []

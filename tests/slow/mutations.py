"""Mutations of bytes, of JSON values and of tables, each drawn from a seeded generator."""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

NESTED = "[" * 3000 + "]" * 3000
TOKENS: Sequence[bytes] = (
    b"\0", b"\xff", b"\xc3", b"\xef\xbb\xbf", b"\xff\xfe", b"\xed\xa0\x80", b"\xe2\x80\xa8", b"\r", b"\r\n", b"\n\n", b"\t",
    b'"', b"'", b"\\", b"\\u0000", b"\\ud800", b",", b";", b":", b": ", b"- ", b"{", b"}", b"[", b"]", b"#", b"%", b"&a ",
    b"*a ", b"<<: ", b"!!python/object/apply:os.system ", b"!foo ", b"---\n", b"...\n", b"|\n ", b"? ", b"NaN", b"Infinity",
    b"-1", b"0", b"1e400", b"1e-400", b"0x10", b"1_000", b"010", b"1:30", b"2020-01-01", b".nan", b"null", b"true", b"no", b"~",
    b"9" * 5000, NESTED.encode(), b"(" * 2000, b"x" * 20_000, b" " * 5000, b"\x1b[31m", "\u202e\U0001f600e\u0301".encode(),
    b"../../etc/passwd", b"$HOME", b"${HF_TOKEN}", b"builtin:", b"hub:", b"PAR1", b"\x1f\x8b", b"# text = ", b"1-2\t", b"-DOCSTART-",
)  # fmt: skip
ODD_TEXTS: Sequence[str] = (
    "", " ", "\0", "\ud800", "\u2028", "\ufeff", "\u200b", "\U0001f600", "e\u0301", "\x1b[2J", "a\nb", "\r", "nan", "NaN",
    "inf", "-0", "0", "1", "1.0", "1e5", "1e400", "007", "\uff11", "1_000", "null", "True", "x" * 20_000, "(" * 3000,
    "[]", "{}", '["a"]', '[{"a": 1}]', NESTED, "[" * 150, "O", "B-", "I-A", "B-\0", "<|endoftext|>", "[MASK]", "[SEP]", "#", "\t",
)  # fmt: skip
ODD_VALUES: Sequence[Any] = (
    None, True, False, 0, 1, -1, 2**63, -(2**70), 10**400, 0.0, 1.0, -0.0, 1.5, 1e308, 1e-320, float("nan"), float("inf"),
    [], {}, [[]], [None], [""], [1, "a"], {"": 1}, {"text": []}, {"text": ["a"], "answer_start": ["b"]}, {"a": {"b": 1}},
    [{"start": 5, "end": 1, "label": "A"}], [{"start": -3, "end": 10**9, "label": "A"}], [{"role": "user"}], [[[[[[]]]]]],
)  # fmt: skip


def mutated(content: bytes, rng: random.Random) -> bytes:
    """The content after one to four changes."""
    for _ in range(rng.choice((1, 1, 2, 4))):
        content = rng.choice(_CHANGES)(content, rng)
    return content


def _place(content: bytes, rng: random.Random) -> tuple[int, int]:
    start = rng.randint(0, len(content))
    return start, min(len(content), start + rng.choice((1, 1, 3, 20, 200)))


def _flip(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    if changed:
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _insert(content: bytes, rng: random.Random) -> bytes:
    start, _ = _place(content, rng)
    return content[:start] + rng.choice(TOKENS) + content[start:]


def _replace(content: bytes, rng: random.Random) -> bytes:
    start, end = _place(content, rng)
    return content[:start] + rng.choice(TOKENS) + content[end:]


def _delete(content: bytes, rng: random.Random) -> bytes:
    start, end = _place(content, rng)
    return content[:start] + content[end:]


def _repeat(content: bytes, rng: random.Random) -> bytes:
    start, end = _place(content, rng)
    return content[:start] + content[start:end] * rng.choice((2, 3, 500)) + content[end:]


def _truncate(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randint(0, len(content))]


def _move_line(content: bytes, rng: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    if lines:
        lines.insert(rng.randint(0, len(lines)), lines[rng.randrange(len(lines))])
    return b"".join(lines)


_CHANGES: Sequence[Callable[[bytes, random.Random], bytes]] = (
    _flip, _insert, _insert, _replace, _replace, _delete, _repeat, _truncate, _move_line
)  # fmt: skip


def odd_value(rng: random.Random) -> Any:
    return rng.choice(ODD_TEXTS) if rng.random() < 0.5 else rng.choice(ODD_VALUES)


def changed_value(value: Any, rng: random.Random) -> Any:
    """A copy of a JSON value with an odd value, or a missing or additional part, somewhere in it."""
    if isinstance(value, dict) and value and rng.random() < 0.8:
        key = rng.choice(list(value))
        copy = dict(value)
        match rng.randrange(8):
            case 0:
                del copy[key]
            case 1:
                copy[rng.choice(ODD_TEXTS)] = copy.pop(key)
            case 2:
                copy[rng.choice(list(value))] = copy[key]
            case _:
                copy[key] = changed_value(copy[key], rng)
        return copy
    if isinstance(value, list) and value and rng.random() < 0.8:
        place, items = rng.randrange(len(value)), list(value)
        match rng.randrange(6):
            case 0:
                del items[place]
            case 1:
                items *= rng.choice((2, 100))
            case _:
                items[place] = changed_value(items[place], rng)
        return items
    return [value] if rng.random() < 0.1 else odd_value(rng)


def as_json(value: Any, rng: random.Random) -> bytes:
    """JSON, also of NaN and of half of a surrogate pair."""
    text = json.dumps(value, ensure_ascii=rng.random() < 0.7)
    return text.encode("utf-8", "surrogatepass")


def as_csv(records: Sequence[dict[str, Any]], rng: random.Random, *, delimiter: str) -> bytes:
    """A table in which some cells, rows or names of columns are odd."""
    rows = [list(records[0]), *(list(record.values()) for record in records)]
    for _ in range(rng.choice((1, 1, 3))):
        row = rng.choice(rows)
        if row and rng.random() < 0.8:
            row[rng.randrange(len(row))] = rng.choice(ODD_TEXTS)
        elif rng.random() < 0.5:
            row.append(rng.choice(ODD_TEXTS))
        elif row:
            row.pop()
    file = io.StringIO(newline="")
    quoting = rng.choice((csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
    writer = csv.writer(file, delimiter=delimiter, quoting=quoting, lineterminator=rng.choice(("\n", "\r\n")))
    writer.writerows([cell if isinstance(cell, str) else json.dumps(cell) for cell in row] for row in rows)
    return file.getvalue().encode("utf-8", "surrogatepass")


def as_parquet(records: list[dict[str, Any]], rng: random.Random, *, odd: bool) -> bytes:
    """A table of which one column has another type, where `odd`."""
    columns: dict[str, Any] = {key: [record[key] for record in records] for key in records[0]}
    key, count = rng.choice(list(columns)), len(records)
    arrays = {name: pa.array(values) for name, values in columns.items()}
    if odd:
        arrays[key] = rng.choice(_ODD_ARRAYS)(count)
    file = io.BytesIO()
    pq.write_table(pa.table(arrays), file)
    return file.getvalue()


_ODD_ARRAYS: Sequence[Callable[[int], Any]] = (
    lambda count: pa.array([1.0] * count),
    lambda count: pa.array([float("nan")] * count),
    lambda count: pa.array([None] * count, pa.string()),
    lambda count: pa.nulls(count),
    lambda count: pa.array([b"\xff"] * count),
    lambda count: pa.array(range(count), pa.timestamp("ns")),
    lambda count: pa.array(range(count), pa.date32()),
    lambda count: pa.array(range(count), pa.duration("s")),
    lambda count: pa.array([str(number) for number in range(count)]).cast(pa.decimal128(9, 2)),
    lambda count: pa.array(["a"] * count).dictionary_encode(),
    lambda count: pa.array([{"a": 1}] * count),
    lambda count: pa.array([[("a", 1)]] * count, pa.map_(pa.string(), pa.int64())),
    lambda count: pa.array([[[1]]] * count),
    lambda count: pa.array([True] * count),
    lambda count: pa.array([2**63] * count, pa.uint64()),
    lambda count: pa.array(["a", *[None] * (count - 1)], pa.large_string()),
)

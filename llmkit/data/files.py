"""Safe opening of data files: regular files only, type detection by the first bytes, UTF-8 lines. Knows no formats."""

from __future__ import annotations

import codecs
import gzip
import io
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from llmkit.errors import DataError, MachineError

MAX_LINE_CHARACTERS = 64 * 1024 * 1024
"""A longer line or quoted cell is treated as a mistake: it would have to fit into memory."""

_HEAD_BYTES = 512
_CHUNK_BYTES = 1024 * 1024
_ANY_EXPANDED_BYTES, _MAX_EXPANSION = 4 * 1024**2, 200
"""Compressed text may expand to the first, and beyond that to this multiple of what was read; real text to about 20."""
_TO_UTF8 = "Save it as UTF-8 (spreadsheets call it 'CSV UTF-8'), or convert it: iconv -f ENCODING -t UTF-8"

_MAGIC: tuple[tuple[bytes, int, str], ...] = (  # bytes, their offset, what they mean
    (b"\x1f\x8b", 0, "gzip data"),
    (b"PK\x03\x04", 0, "a zip archive (.xlsx workbooks are also zip archives)"),
    (b"PK\x05\x06", 0, "an empty zip archive"),
    (b"ustar", 257, "a tar archive"),
    (b"BZh91AY&SY", 0, "bzip2 data"),
    (b"\xfd7zXZ\0", 0, "xz data"),
    (b"\x28\xb5\x2f\xfd", 0, "zstandard data"),
    (b"7z\xbc\xaf\x27\x1c", 0, "a 7-Zip archive"),
    (b"PAR1", 0, "a Parquet file"),
    (b"ARROW1", 0, "an Arrow file"),
    (b"%PDF-", 0, "a PDF document"),
    (b"SQLite format 3\0", 0, "an SQLite database"),
    (b"\x89PNG", 0, "a PNG image"),
    (b"\xff\xd8\xff", 0, "a JPEG image"),
    (b"\xd0\xcf\x11\xe0", 0, "an old Microsoft Office document"),
    (b"\x89HDF", 0, "an HDF5 file"),
    (b"\x7fELF", 0, "a program"),
    (b"\x80\x04\x95", 0, "a pickle, which llmkit never reads"),
    (b"version https://git-lfs", 0, "a Git LFS pointer, not the data itself (run: git lfs pull)"),
    (b"<!DOCTYPE html", 0, "a web page"),
    (b"<!doctype html", 0, "a web page"),
    (b"<html", 0, "a web page"),
)


def open_regular_file(path: Path, name: str) -> BinaryIO:
    """Open for reading; a pipe or a device is an error and never blocks.

    Raises:
        DataError: there is no such file, or it is not a regular file.
        MachineError: reading it is not permitted.
    """
    # Without O_NONBLOCK, opening a named pipe waits forever for a writer.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags)
    except PermissionError as error:
        raise MachineError(f"{name}: cannot be read ({error.strerror}). Check its permissions.") from error
    except (OSError, ValueError) as error:  # ValueError: NUL in a name
        raise DataError(f"{name}: cannot be opened ({error}). Give a regular file.") from error
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise DataError(f"{name}: is {_kind(mode)}, not a regular file. Write its content to a file first.")
    return os.fdopen(descriptor, "rb")


def detected_type(file: BinaryIO) -> str | None:
    """The file type by its first bytes; None for plain text and unknown types. The file is rewound."""
    head = file.read(_HEAD_BYTES)
    file.seek(0)
    for magic, offset, meaning in _MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return meaning
    return "UTF-16 text" if _is_utf16(head) else None


@contextmanager
def open_uncompressed(path: Path, name: str) -> Iterator[BinaryIO]:
    """Open for reading; a file whose name ends in .gz is decompressed as a stream.

    Raises:
        DataError: no regular file, or damaged gzip data, or data that expand like a decompression bomb.
    """
    with open_regular_file(path, name) as file:
        if path.suffix.lower() != ".gz":
            yield file
            return
        meaning = detected_type(file)
        if meaning != "gzip data":
            raise DataError(f"{name}: is {meaning or 'of an unknown type'}, not gzip data. Rename it, or compress it.")
        try:
            with io.BufferedReader(_Limited(gzip.GzipFile(fileobj=file), name, file)) as expanded:
                yield expanded
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataError(f"{name}: damaged gzip data ({error}). Copy or compress it again.") from error


class _Limited(io.RawIOBase):
    """Decompressed data, up to a limit that grows with the compressed data that was read."""

    def __init__(self, file: gzip.GzipFile, name: str, compressed: BinaryIO) -> None:
        self._file, self._name, self._compressed = file, name, compressed

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        limit = max(_ANY_EXPANDED_BYTES, self._compressed.tell() * _MAX_EXPANSION)
        if self._file.tell() > limit:
            raise DataError(
                f"{self._name}: expands to more than {limit:,} bytes, {_MAX_EXPANSION} times its size. Decompress it if it "
                "is right."
            )
        return len(data)


def _encoding(file: BinaryIO, name: str) -> str:
    """`utf-8-sig` or `utf-16`, which drop a byte order mark.

    Raises:
        DataError: the file is of another type.
    """
    head = file.read(2)
    file.seek(0)
    if head in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return "utf-16"
    if meaning := detected_type(file):
        advice = _TO_UTF8 if meaning.startswith("UTF-16") else "Give the plain text file itself."
        if meaning == "gzip data":
            advice = "If it is compressed text, add .gz to its name, as in rows.csv.gz."
        raise DataError(f"{name}: is {meaning}, not UTF-8 text. {advice}")
    return "utf-8-sig"


def text_lines(path: Path, name: str, *, translate: bool) -> Iterator[str]:
    """The lines of a UTF-8 file, or of a UTF-16 file with a byte order mark, without the mark. LF, CRLF and CR end a line; U+2028, VT, FF and NEL do not.

    Args:
        translate: convert every line break to LF; otherwise keep it.
    Raises:
        DataError: the file is not regular, of another type, not UTF-8, or contains a NUL or an overlong line.
    """
    with open_uncompressed(path, name) as file:
        encoding = _encoding(file, name)
        # Errors are located in a second pass, so the common path stays in C.
        text = io.TextIOWrapper(file, encoding=encoding, newline=None if translate else "")
        try:
            for number, line in enumerate(iter(partial(text.readline, MAX_LINE_CHARACTERS), ""), 1):
                if "\0" in line:
                    raise DataError(
                        f"{name}:{number}: contains a NUL character. Remove it, or check that this is text."
                    )
                if len(line) == MAX_LINE_CHARACTERS:
                    raise DataError(f"{name}:{number}: this line is longer than {MAX_LINE_CHARACTERS:,} characters.")
                yield line
        except UnicodeDecodeError as error:
            if encoding == "utf-16":
                raise DataError(f"{name}: is damaged UTF-16 text ({error.reason}). {_TO_UTF8}") from error
            raise _not_utf8(path, name) from error


def stream_lines(stream: BinaryIO, name: str) -> Iterator[str]:
    """The lines of a stream such as standard input, as soon as they arrive, by the rules of `text_lines`.

    Every line break is converted to LF.

    Raises:
        DataError: it is not UTF-8, or contains a NUL or an overlong line.
    """
    number = 0
    raw_lines = iter(partial(stream.readline, MAX_LINE_CHARACTERS), b"")
    for raw_number, raw in enumerate(raw_lines, 1):
        if len(raw) == MAX_LINE_CHARACTERS:
            raise DataError(f"{name}:{number + 1}: this line is longer than {MAX_LINE_CHARACTERS:,} bytes.")
        try:
            text = raw.decode("utf-8-sig" if raw_number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            fault = f"byte 0x{raw[error.start]:02X} at offset {error.start} is not UTF-8"
            raise DataError(f"{name}:{number + 1}: {fault}. Save the text as UTF-8.") from error
        for line in io.StringIO(text, newline=None):  # a lone CR ends a line as well
            number += 1
            if "\0" in line:
                raise DataError(f"{name}:{number}: contains a NUL character. Remove it, or check that this is text.")
            yield line


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder"
    if stat.S_ISFIFO(mode):
        return "a named pipe"
    return "a device or a socket"


def _is_utf16(head: bytes) -> bool:
    """Detected by its byte order mark, or because every other byte of western text is then NUL."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return True
    most = len(head) // 2 * 0.8
    return len(head) >= 8 and (head[0::2].count(0) > most) != (head[1::2].count(0) > most)


def _not_utf8(path: Path, name: str) -> DataError:
    """Read the file again to locate the first invalid byte."""
    with open_uncompressed(path, name) as file:
        bad_byte = _first_bad_byte(file)
        if bad_byte is None:
            return DataError(f"{name}: changed while it was being read. Start again when it is complete.")
        offset, byte = bad_byte
        line = _line_at(file, offset)
    return DataError(f"{name}:{line}: byte 0x{byte:02X} at offset {offset} is not UTF-8. {_TO_UTF8}")


def _first_bad_byte(file: BinaryIO) -> tuple[int, int] | None:
    """Offset and value of the first byte that is not valid UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    start = 0  # offset of the first byte that the decoder has not decoded yet
    while True:
        chunk = file.read(_CHUNK_BYTES)
        pending = decoder.getstate()[0]
        try:
            decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            return start + error.start, (pending + chunk)[error.start]
        if not chunk:
            return None
        start += len(pending) + len(chunk) - len(decoder.getstate()[0])


def _line_at(file: BinaryIO, offset: int) -> int:
    """The line of the byte at the offset, from 1."""
    file.seek(0)
    line, last = 1, b""
    while offset > 0:
        chunk = file.read(min(offset, _CHUNK_BYTES))
        line += chunk.count(b"\n") + chunk.count(b"\r") - (last + chunk).count(b"\r\n")
        last, offset = chunk[-1:], offset - len(chunk)
    return line

"""Characters that show a fault of encoding or of extraction."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from llmkit.inspection.findings import Finding, FoundRow, found, share
from llmkit.inspection.rows import Inspection

_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f]")
"""Control characters but for tab, line ends and the next line of EBCDIC, U+0085."""
_SHOWN = 30
"""Characters around a fault."""


def _misread(codec: str, *, least: int) -> re.Pattern[str]:
    """UTF-8 bytes of two or more that were read as a codec of single bytes: `Ã©` for `é`.

    Args:
        least: such characters in a row.
    """
    table = {byte: _decoded(byte, codec) for byte in range(0x80, 0xF5)}
    follow = "".join(re.escape(table[byte]) for byte in range(0x80, 0xC0))

    def sequences(first: int, last: int, count: int) -> str:
        leads = "".join(re.escape(table[byte]) for byte in range(first, last + 1))
        return f"[{leads}][{follow}]{{{count}}}"

    two, three, four = sequences(0xC2, 0xDF, 1), sequences(0xE0, 0xEF, 2), sequences(0xF0, 0xF4, 3)
    return re.compile(f"(?:{four}|{three}|{two}){{{least},}}")


def _decoded(byte: int, codec: str) -> str:
    """As browsers decode it: bytes that the codec does not define are control characters."""
    return bytes([byte]).decode(codec, errors="ignore") or chr(byte)


_MISREAD = (_misread("cp1252", least=1), _misread("cp1251", least=3))
"""In Cyrillic, one such pair of letters may be text."""


def faulty_characters(inspection: Inspection) -> Iterator[Finding]:
    """Texts that were decoded wrongly, or have replacement or control characters."""
    kinds: dict[str, tuple[str, Callable[[str], int | None]]] = {
        "encoding": ("look like UTF-8 that was read as another encoding, such as Ã© for é", _first_misread),
        "replacement": ("have the replacement character U+FFFD: bytes that could not be decoded", _first_replaced),
        "control-characters": ("have control characters", _first_control),
    }
    hits: dict[str, list[FoundRow]] = {name: [] for name in kinds}
    for row in inspection.rows:
        for name, (_, first) in kinds.items():
            hit = _hit(inspection.texts_of(row), first)
            if hit is not None:
                hits[name].append(FoundRow(row.place, hit))
    for name, (message, _) in kinds.items():
        if hits[name]:
            count = len(hits[name])
            yield found(
                name, "warning", f"{share(count, inspection.row_count)} rows {message}", rows=hits[name], count=count
            )


def _hit(texts: list[str], first: Callable[[str], int | None]) -> str | None:
    """The part of the first text around its fault."""
    for text in texts:
        place = first(text)
        if place is not None:
            return text[max(0, place - _SHOWN) : place + _SHOWN]
    return None


def _first_misread(text: str) -> int | None:
    if text.isascii():
        return None
    return next((match.start() for pattern in _MISREAD if (match := pattern.search(text))), None)


def _first_replaced(text: str) -> int | None:
    place = text.find("\N{REPLACEMENT CHARACTER}")
    return None if place < 0 else place


def _first_control(text: str) -> int | None:
    match = None if text.isprintable() else _CONTROLS.search(text)
    return None if match is None else match.start()

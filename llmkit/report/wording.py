"""Numbers, names and values as a report writes them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

_BIDIRECTIONAL = (*range(0x200E, 0x2010), *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x061C, 0xFEFF)
"""Characters that change the direction of what follows, and would let a text look like another one."""
_ESCAPES = {
    **{code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n"},
    **{code: f"\\u{code:04x}" for code in (*_BIDIRECTIONAL, 0x2028, 0x2029, *range(0xD800, 0xE000))},
}


def visible(text: str) -> str:
    """The text with control characters, and what HTML cannot have, as escapes; line ends and tabs stay."""
    return text.translate(_ESCAPES)


def count(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else text_of(value)


def short_count(value: object) -> str:
    """`1.5 M`, `23 k`, `812`."""
    if not isinstance(value, int | float):
        return text_of(value)
    for size, unit in ((1e15, " P"), (1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:,.0f}"


def score(value: float | int | None) -> str:
    """Four decimals, of numbers over 100 two."""
    if value is None or not math.isfinite(value):
        return "not finite"
    return f"{value:,.2f}" if abs(value) >= 100 else f"{value:.4f}"


def percent(share: float) -> str:
    return f"{share:.1%}"


def duration(seconds: object) -> str:
    """`2 h 5 min`, `3 min 20 s`, `4.2 s`."""
    if not isinstance(seconds, int | float) or not math.isfinite(seconds):
        return text_of(seconds)
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes} min" if hours else f"{minutes} min {rest} s"


def text_of(value: object) -> str:
    """A value of a JSON file as text."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return "\n".join(value)
    if isinstance(value, list) and all(isinstance(item, Mapping) and "content" in item for item in value):
        return "\n".join(f"{item.get('role', '')}: {item['content']}" for item in value)
    return json.dumps(value, ensure_ascii=False)


def shortened(text: str, most: int) -> str:
    """The beginning of a long text, with the number of characters that are left out."""
    return text if len(text) <= most else f"{text[:most]} […{len(text) - most:,} more characters]"


def file_name(place: str) -> str:
    """A source or a place in it without the folders above the file: `reviews.csv:7`."""
    return place if place.startswith(("hub:", "builtin:")) else place.rpartition("/")[2]


def interval_of(value: Any) -> tuple[float, float] | None:
    """The bounds of an interval in a JSON file."""
    bounds = [value.get("low"), value.get("high")] if isinstance(value, Mapping) else value
    if not isinstance(bounds, list | tuple) or len(bounds) < 2:
        return None
    low, high = bounds[0], bounds[1]
    if not all(isinstance(bound, int | float) and math.isfinite(bound) for bound in (low, high)):
        return None
    return float(low), float(high)


def interval_text(value: Any) -> str:
    bounds = interval_of(value)
    return "" if bounds is None else f"{score(bounds[0])} to {score(bounds[1])}"

"""Scripts and languages of the texts, column by column, and rows in another one than the rest.

Languages are found by py3langid (Lui and Baldwin 2012): naive Bayes on the bytes of a text. Its model is part of that
package.
"""

from __future__ import annotations

import random
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from llmkit.inspection.findings import Finding, FoundRow, found, share
from llmkit.inspection.rows import InspectedRow, Inspection

_RARE = 0.05
"""A script or language of fewer rows than this share is rare."""
_LISTED = 10
_MOST_ROWS = 20_000
"""Of a column, whose languages are looked for: 100,000 would take a quarter of a minute."""
_FIRST_CHARACTERS = 300
"""Of a text, which decide its language."""
_LEAST_BYTES = 20
"""The language of a shorter text, in UTF-8, is not certain: 20 letters of English, 7 of Chinese."""
_CERTAIN = 0.8
"""The least probability of a language. From 0.7 on, some short English texts would be Latin or Pidgin."""
_EXCLUDED = 0.05
"""A row is in a rare language only if all the usual ones are less likely than this."""
_NO_LANGUAGE = "zxx"
"""ISO 639's code for what is no language, such as numbers or markup."""


class _Text(NamedTuple):
    """The text of a column in a row."""

    row: InspectedRow
    text: str


_Kinds = dict[str, list[_Text]]
"""Script or language -> its texts, the most frequent first."""


def scripts(inspection: Inspection) -> Iterator[Finding]:
    """The scripts of each text column, and the rows in a rare one."""
    for column, texts in _columns(inspection).items():
        kinds, _ = _by_kind(texts, main_script)
        if kinds:
            yield Finding("scripts", "info", f"{column}: scripts of most letters of a row: {_listed(kinds)}")
            yield from _rare_rows(kinds, _rare(kinds), column=column, noun="script")


def languages(inspection: Inspection) -> Iterator[Finding]:
    """The languages of each text column, and the rows in a rare one."""
    for column, texts in _columns(inspection).items():
        of = ""
        if len(texts) > _MOST_ROWS:
            of = f" of {_MOST_ROWS:,} of {len(texts):,} rows, chosen at random"
            texts = [texts[index] for index in sorted(random.Random(0).sample(range(len(texts)), _MOST_ROWS))]
        kinds, uncertain = _by_kind(texts, _language)
        if not kinds:
            continue
        rest = f"; {uncertain:,} are not certain" if uncertain else ""
        yield Finding("languages", "info", f"{column}: languages{of}: {_listed(kinds)}{rest}")
        kinds.pop(_NO_LANGUAGE, None)
        rare = _rare(kinds)
        usual = kinds.keys() - rare.keys()
        rare = {code: [text for text in rare[code] if not _may_be(text.text, usual)] for code in rare}
        yield from _rare_rows(kinds, rare, column=column, noun="language")


def main_script(text: str) -> str | None:
    """The script of most letters, such as `Latin`; None without letters."""
    if text.isascii():
        return "Latin" if any(map(str.isalpha, text)) else None
    counts: Counter[str] = Counter()
    for char, count in Counter(text).items():
        if char.isalpha():
            counts[_script_of(char)] += count
    return max(counts, key=counts.__getitem__, default=None)


@lru_cache(maxsize=100_000)
def _script_of(char: str) -> str:
    """By the first word of the letter's name; Han is what Chinese, Japanese and Korean share."""
    words = unicodedata.name(char, "UNKNOWN").split()
    first = words[1] if words[0] in ("FULLWIDTH", "HALFWIDTH") and len(words) > 1 else words[0]
    return {"CJK": "Han", "IDEOGRAPHIC": "Han"}.get(first, first.capitalize())


def _language(text: str) -> str | None:
    """The ISO 639 code of a text's language, `zxx` for none; None where it is not certain."""
    beginning = text[:_FIRST_CHARACTERS]
    if len(beginning.encode("utf-8", errors="replace")) < _LEAST_BYTES:
        return None
    code, probability = _identifier().classify(beginning)
    return str(code) if probability >= _CERTAIN else None


def _may_be(text: str, codes: set[str]) -> bool:
    """Whether a text may be in one of these languages."""
    ranked = _identifier().rank(text[:_FIRST_CHARACTERS])
    return any(code in codes and probability >= _EXCLUDED for code, probability in ranked)


@lru_cache(maxsize=1)
def _identifier() -> Any:
    """Read once: it takes a second and 120 MB."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def _columns(inspection: Inspection) -> dict[str, list[_Text]]:
    """The texts of each column that have any."""
    columns: dict[str, list[_Text]] = {}
    for row in inspection.rows:
        for column, text in inspection.column_texts(row):
            if text.strip():
                columns.setdefault(column, []).append(_Text(row, text))
    return columns


def _by_kind(texts: Sequence[_Text], kind_of: Callable[[str], str | None]) -> tuple[_Kinds, int]:
    """The texts of each script or language, and how many have none."""
    kinds: dict[str | None, list[_Text]] = {}
    for text in texts:
        kinds.setdefault(kind_of(text.text), []).append(text)
    unknown = kinds.pop(None, [])
    ranked = sorted(kinds.items(), key=lambda item: -len(item[1]))
    return {str(kind): of_kind for kind, of_kind in ranked}, len(unknown)


def _listed(kinds: _Kinds) -> str:
    """Each with its rows and their share."""
    total = sum(map(len, kinds.values()))
    listed = [f"{kind} {len(texts):,} ({len(texts) / total:.1%})" for kind, texts in kinds.items()]
    more = f" and {len(listed) - _LISTED} more" if len(listed) > _LISTED else ""
    return ", ".join(listed[:_LISTED]) + more


def _rare(kinds: _Kinds) -> _Kinds:
    total = sum(map(len, kinds.values()))
    return {kind: texts for kind, texts in kinds.items() if len(texts) < _RARE * total}


def _rare_rows(kinds: _Kinds, rare: _Kinds, *, column: str, noun: str) -> Iterator[Finding]:
    count = sum(map(len, rare.values()))
    if count:
        of = share(count, sum(map(len, kinds.values())))
        yield found(
            f"rare-{noun}s",
            "info",
            f"{column}: {of} rows are in a {noun} that fewer than {_RARE:.0%} of the rows have",
            rows=(FoundRow(row.place, text, kind) for kind, texts in rare.items() for row, text in texts),
            count=count,
        )

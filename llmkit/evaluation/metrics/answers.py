r"""Metrics of extractive question answering, as in SQuAD (Rajpurkar et al. 2016 and 2018), for any script.

Texts are compared in lower case, without punctuation, articles and spare white space. Punctuation is what Unicode
calls so and what ASCII has, and in scripts that write no spaces each character is a word: so does MLQA (Lewis et al.
2020). Articles are left out of English only, which references are taken for if at least 99 % of their letters are
ASCII; other languages have words such as `a` and `an` too.
"""

from __future__ import annotations

import math
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any

from llmkit.tasks.base import Scores

ASCII_SHARE_FOR_ENGLISH = 0.99
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")

Reference = str | Sequence[str]
"""All correct answers, empty if there is none; a single text is one answer, an empty text is none."""


def squad(predictions: Sequence[str], references: Sequence[Reference]) -> Scores:
    """`exact_match` and `answer_f1`, means over rows; for each row the best-matching correct answer counts.

    A row without an answer scores 1 for an empty prediction, else 0.

    Returns:
        Details `squad`: `has_answer` and `no_answer`, each with its rows and, where there are any, their means;
        `articles`, whether English ones were left out.
    """
    wanted = [_answers(reference) for reference in references]
    english = _is_english(wanted)
    scored = [_score(prediction, answers, english) for prediction, answers in zip(predictions, wanted, strict=True)]
    parts = {
        name: [score for score, answers in zip(scored, wanted, strict=True) if bool(answers) == has]
        for name, has in (("has_answer", True), ("no_answer", False))
    }
    details: dict[str, Any] = {name: {"rows": len(part), **_means(part)} for name, part in parts.items()}
    return Scores(_means(scored), {"squad": {**details, "articles": "left out" if english else "kept"}})


def _answers(reference: Reference) -> list[str]:
    texts = [reference] if isinstance(reference, str) else reference
    return [text for text in texts if text.strip()]


def _is_english(references: Sequence[Sequence[str]]) -> bool:
    letters = [char for answers in references for text in answers for char in text if char.isalpha()]
    return sum(char.isascii() for char in letters) >= ASCII_SHARE_FOR_ENGLISH * len(letters)


def _means(scores: Sequence[tuple[float, float]]) -> dict[str, float]:
    if not scores:
        return {}
    names = ("exact_match", "answer_f1")
    return {
        name: math.fsum(column) / len(scores) for name, column in zip(names, zip(*scores, strict=True), strict=True)
    }


def _score(prediction: str, answers: Sequence[str], english: bool) -> tuple[float, float]:
    """Exact match and F1 of one row."""
    if not answers or not prediction.strip():
        right = float(not answers and not prediction.strip())
        return right, right
    said = _normalised(prediction, english=english)
    pairs = [(said, _normalised(answer, english=english)) for answer in answers]
    return max(float(one == other) for one, other in pairs), max(
        _f1(_words(one), _words(other)) for one, other in pairs
    )


def _normalised(text: str, *, english: bool) -> str:
    """What is compared. A text of punctuation or articles alone is compared as it stands: it would equal any other."""
    lowered = text.lower()
    bare = "".join(char for char in lowered if not _is_punctuation(char))
    kept = _ARTICLES.sub(" ", bare) if english else bare
    return " ".join(kept.split()) or " ".join(lowered.split())


@cache
def _is_punctuation(char: str) -> bool:
    return char in string.punctuation or unicodedata.category(char).startswith("P")


def _words(text: str) -> list[str]:
    """Runs without white space; each character (with its marks) where a script writes no spaces."""
    import regex

    unspaced = r"[[\p{L}\p{N}]&&[\p{scx=Han}\p{scx=Hiragana}\p{scx=Katakana}\p{Line_Break=SA}]]"
    words: list[str] = regex.findall(rf"(?V1){unspaced}\p{{M}}*|(?:(?!{unspaced})\S)+", text)
    return words


def _f1(said: Sequence[str], wanted: Sequence[str]) -> float:
    """Harmonic mean of precision and recall over words, each as often as it stands there."""
    common = (Counter(said) & Counter(wanted)).total() if said and wanted else 0
    return 2 * common / (len(said) + len(wanted)) if common else 0.0

r"""Metrics of extractive question answering, as in SQuAD (Rajpurkar et al. 2016 and 2018), for any script.

Texts are compared in lower case, without punctuation, articles and spare white space. Punctuation is that of
Unicode and of ASCII, and in scripts without spaces each character is a word, as in MLQA (Lewis et al. 2020). Articles
are removed from English only, which is assumed if at least 99 % of the references' letters are ASCII; other languages
have words such as `a` and `an` too.
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
_SCORES = ("exact_match", "answer_f1")
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")

Reference = str | Sequence[str]
"""All correct answers, empty if there is none; a single text is one answer, an empty text is none."""


def squad(predictions: Sequence[str], references: Sequence[Reference]) -> Scores:
    """`exact_match` and `answer_f1`, means over rows; for each row the best-matching correct answer counts.

    A row without an answer scores 1 for an empty prediction, else 0.

    Returns:
        Details `squad`: `has_answer` and `no_answer`, each with its rows and, where there are any, their means;
        `articles`, whether English ones were removed.
    """
    from llmkit.evaluation.uncertainty.statistics import of_means

    all_answers = [_answers(reference) for reference in references]
    english = _is_english(all_answers)
    row_scores = [_score(text, answers, english) for text, answers in zip(predictions, all_answers, strict=True)]
    groups = {
        name: [score for score, answers in zip(row_scores, all_answers, strict=True) if bool(answers) == has_answer]
        for name, has_answer in (("has_answer", True), ("no_answer", False))
    }
    details: dict[str, Any] = {name: {"rows": len(group), **_means(group)} for name, group in groups.items()}
    return Scores(
        _means(row_scores),
        {"squad": {**details, "articles": "left out" if english else "kept"}},
        of_means(dict(zip(_SCORES, zip(*row_scores, strict=True), strict=True))),
    )


def _answers(reference: Reference) -> list[str]:
    texts = [reference] if isinstance(reference, str) else reference
    return [text for text in texts if text.strip()]


def _is_english(references: Sequence[Sequence[str]]) -> bool:
    letters = [char for answers in references for text in answers for char in text if char.isalpha()]
    return sum(char.isascii() for char in letters) >= ASCII_SHARE_FOR_ENGLISH * len(letters)


def _means(scores: Sequence[tuple[float, float]]) -> dict[str, float]:
    if not scores:
        return {}
    return {
        name: math.fsum(column) / len(scores) for name, column in zip(_SCORES, zip(*scores, strict=True), strict=True)
    }


def _score(prediction: str, answers: Sequence[str], english: bool) -> tuple[float, float]:
    """Exact match and F1 of one row."""
    if not answers or not prediction.strip():
        correct = float(not answers and not prediction.strip())
        return correct, correct
    text = _normalise(prediction, english=english)
    references = [_normalise(answer, english=english) for answer in answers]
    exact_match = float(text in references)
    return exact_match, max(_f1(_words(text), _words(reference)) for reference in references)


def _normalise(text: str, *, english: bool) -> str:
    """The text to compare. A text of punctuation or articles alone is only lowercased: it would equal any other."""
    lowered = text.lower()
    bare = "".join(char for char in lowered if not _is_punctuation(char))
    content = _ARTICLES.sub(" ", bare) if english else bare
    return " ".join(content.split()) or " ".join(lowered.split())


@cache
def _is_punctuation(char: str) -> bool:
    return char in string.punctuation or unicodedata.category(char).startswith("P")


def _words(text: str) -> list[str]:
    """Runs without white space; each character (with its marks) in scripts without spaces."""
    import regex

    unspaced = r"[[\p{L}\p{N}]&&[\p{scx=Han}\p{scx=Hiragana}\p{scx=Katakana}\p{Line_Break=SA}]]"
    words: list[str] = regex.findall(rf"(?V1){unspaced}\p{{M}}*|(?:(?!{unspaced})\S)+", text)
    return words


def _f1(prediction: Sequence[str], reference: Sequence[str]) -> float:
    """Harmonic mean of precision and recall over words, each counted as often as it occurs."""
    common = (Counter(prediction) & Counter(reference)).total() if prediction and reference else 0
    return 2 * common / (len(prediction) + len(reference)) if common else 0.0

r"""ROUGE (Lin 2004) as the rouge-score package computes it, for every script. Knows neither tasks nor recipes.

rouge-score's own tokenizer matches only `[a-z0-9]`, so that identical Chinese, Russian, Hindi or Arabic texts score
0.0. Where the references are not ASCII, the tokenizers of this file replace it. `rouge_rows.py` computes the scores.

Punctuation and emoji are not words. A text of such characters alone has no tokens and scores
0.0 even against itself, as in rouge-score; references of that kind are counted in the details and in a
warning. The tokenizer `characters` counts every character but space, and so scores them too.
"""

from __future__ import annotations

import logging
import math
import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from importlib.metadata import version
from string import ascii_letters
from typing import TYPE_CHECKING, Any, Literal, Protocol

from typing_extensions import assert_never  # in typing from Python 3.11

from llmkit.errors import DataError
from llmkit.evaluation.metrics.references import References, all_texts, by_row
from llmkit.tasks.base import Scores

if TYPE_CHECKING:
    from llmkit.evaluation.metrics.rouge_rows import FloatArray, IntArray

logger = logging.getLogger("llmkit")

RougeTokenizer = Literal["auto", "rouge-score", "unicode", "characters"]
ChosenTokenizer = Literal["rouge-score", "unicode", "characters"]

ROUGE_SCORES = ("rouge1", "rouge2", "rougeL", "rougeLsum")
ASCII_SHARE_FOR_ROUGE_SCORE = 0.99
_ROWS_AT_ONCE = 4096
_NO_ASCII_LETTERS = dict.fromkeys(map(ord, ascii_letters))


class _Tokenizer(Protocol):
    def tokenize(self, text: str) -> list[str]: ...


def rouge(predictions: Sequence[str], references: References, *, tokenizer: RougeTokenizer = "auto") -> Scores:
    """Mean F-measures over rows, 0..1, of ROUGE-1, ROUGE-2, ROUGE-L and summary-level ROUGE-L (Lin 2004).

    A reference of one token has no bigram, and its rouge2 is 0.0 whatever the prediction. In rougeLsum a line is a
    sentence, as in rouge-score with split_summaries=False. If a row has several references, each score is that of the
    reference with the best F-measure, as in rouge-score's `score_multi`.

    Args:
        predictions: one text per row; as many as references, and at least one.
        tokenizer: `rouge-score`, the package's own with the Porter stemmer; `unicode`, words of any script without
            stemming, one character per token in scripts without spaces; `characters`, everything but space;
            `auto`, rouge-score if at least 99 % of the references' letters are ASCII, else unicode.
    Returns:
        Scores rouge1, rouge2, rougeL, rougeLsum; details `rouge`: tokenizer, why, stemmer, rouge_score (its
        version), references_without_tokens, references_without_bigrams (rows whose score can only be 0.0).
    """
    from llmkit.evaluation.uncertainty.statistics import of_means

    chosen, why = _choose_tokenizer(tokenizer, all_texts(references))
    rows, token_counts = rouge_rows(predictions, references, tokenizer=chosen)
    # fsum is exact before its one rounding, so that the order of the rows does not matter.
    scores = {name: math.fsum(rows[name]) / len(rows[name]) for name in ROUGE_SCORES}
    return Scores(scores, {"rouge": _details(chosen, why, token_counts)}, of_means(rows))


def rouge_rows(
    predictions: Sequence[str], references: References, *, tokenizer: ChosenTokenizer
) -> tuple[dict[str, FloatArray], IntArray]:
    """(rows,) the F-measures of each row by score, and the number of tokens of its longest reference.

    Raises:
        DataError: a row without a reference.
    """
    import numpy as np

    texts = by_row(references)
    if [] in texts:
        raise DataError(f"row {texts.index([]) + 1:,}: no reference; rouge needs one in every row.")
    lines_of = _line_reader(tokenizer)
    pairs = list(zip(predictions, texts, strict=True))
    chunks = [
        _rows_of_chunk(pairs[start : start + _ROWS_AT_ONCE], lines_of) for start in range(0, len(pairs), _ROWS_AT_ONCE)
    ]
    scores = {name: np.concatenate([chunk[name] for chunk, _ in chunks]) for name in ROUGE_SCORES}
    return scores, np.concatenate([counts for _, counts in chunks])


def _rows_of_chunk(
    pairs: Sequence[tuple[str, Sequence[str]]], lines_of: Callable[[str], list[list[int]]]
) -> tuple[dict[str, FloatArray], IntArray]:
    """As `rouge_rows`. Each reference is compared, and the best F-measure of a row counts."""
    import numpy as np

    from llmkit.evaluation.metrics.rouge_rows import f_measures

    targets = [[lines_of(text) for text in texts] for _, texts in pairs]
    predictions = [lines_of(prediction) for prediction, _ in pairs]
    counts = [len(row) for row in targets]
    starts = np.cumsum([0, *counts[:-1]])
    flat = [lines for row in targets for lines in row]
    repeated = [lines for lines, count in zip(predictions, counts, strict=True) for _ in range(count)]
    scores = f_measures(flat, repeated)
    tokens = np.array([sum(map(len, lines)) for lines in flat], dtype=np.int64)
    best = {name: np.maximum.reduceat(values, starts) for name, values in scores.items()}
    return best, np.maximum.reduceat(tokens, starts)


def _details(chosen: ChosenTokenizer, why: str, token_counts: IntArray) -> dict[str, Any]:
    without_tokens = int((token_counts == 0).sum())
    if without_tokens:
        logger.warning(
            "rouge: %d of %d references have no token for the tokenizer %s and score 0.0.",
            without_tokens,
            len(token_counts),
            chosen,
        )
    return {
        "tokenizer": chosen,
        "why": why,
        "stemmer": chosen == "rouge-score",
        "rouge_score": version("rouge_score"),
        "references_without_tokens": without_tokens,
        "references_without_bigrams": int((token_counts < 2).sum()),
    }


def _choose_tokenizer(requested: RougeTokenizer, references: Sequence[str]) -> tuple[ChosenTokenizer, str]:
    """The tokenizer to use, and the reason in one sentence."""
    if requested != "auto":
        return requested, "It was requested."
    letters = [_count_letters(text) for text in references]
    counted, in_ascii, unit = sum(total for total, _ in letters), sum(plain for _, plain in letters), "letters"
    if not counted:
        digits = [char for reference in references for char in reference if char.isnumeric()]
        counted, in_ascii, unit = len(digits), sum(map(str.isascii, digits)), "digits"
    if not counted:
        return "rouge-score", "The references have neither letters nor digits."
    share = in_ascii / counted
    why = f"{share:.2%} of the references' {unit} are ASCII; rouge-score's own tokenizer needs 99 %."
    return ("rouge-score" if share >= ASCII_SHARE_FOR_ROUGE_SCORE else "unicode"), why


def _count_letters(text: str) -> tuple[int, int]:
    """The number of letters (categories L*), and of those in ASCII."""
    in_ascii = len(text) - len(text.translate(_NO_ASCII_LETTERS))
    return (in_ascii if text.isascii() else sum(map(str.isalpha, text))), in_ascii


def _line_reader(chosen: ChosenTokenizer) -> Callable[[str], list[list[int]]]:
    """A function that returns the tokens of each line of a text, as numbers that equal tokens share.

    No token of these tokenizers reaches over a line end, so the tokens of the lines are those of the text.
    """
    match chosen:
        case "rouge-score":
            words, numbers = re.compile("[a-z0-9]+"), _StemNumbers()
            return lambda text: [
                list(map(numbers.__getitem__, words.findall(line))) for line in text.lower().split("\n")
            ]
        case "unicode":
            return _numbered(UnicodeWords())
        case "characters":
            return _numbered(_Characters())
        case _:
            assert_never(chosen)


def _numbered(tokenizer: _Tokenizer) -> Callable[[str], list[list[int]]]:
    numbers: dict[str, int] = {}
    return lambda text: [
        [numbers.setdefault(token, len(numbers)) for token in tokenizer.tokenize(line)] for line in text.split("\n")
    ]


class _StemNumbers(dict[str, int]):
    """The number of each word's stem."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def __missing__(self, word: str) -> int:
        self[word] = number = self._numbers.setdefault(_stem(word), len(self._numbers))
        return number


@lru_cache(maxsize=2**18)
def _stem(word: str) -> str:
    """rouge-score's token for a word of the letters a to z and digits."""
    [stem] = _stemming_tokenizer().tokenize(word)
    return str(stem)


@cache
def _stemming_tokenizer() -> _Tokenizer:
    from rouge_score.tokenizers import DefaultTokenizer

    tokenizer: _Tokenizer = DefaultTokenizer(use_stemmer=True)  # nltk's Porter stemmer, which reads no data files
    return tokenizer


class UnicodeWords:
    """Words of any script: runs of letters, marks and digits, folded as Unicode's NFKC_Casefold folds them.

    One character (with its marks) is a token in Han, Hiragana, Katakana and Hangul, and in the scripts that need a
    dictionary to find words (Thai, Lao, Khmer, Myanmar and the rest of line-breaking class SA, UAX #14).
    """

    def __init__(self) -> None:
        import regex

        unspaced = r"[[\p{L}\p{N}]&&[\p{scx=Han}\p{scx=Hiragana}\p{scx=Katakana}\p{scx=Hangul}\p{Line_Break=SA}]]"
        spaced = r"[[\p{L}\p{N}]--[\p{scx=Han}\p{scx=Hiragana}\p{scx=Katakana}\p{scx=Hangul}\p{Line_Break=SA}]]"
        # Marks belong to the letter before them: without \p{M} a Devanagari word is split at each vowel sign.
        self._words = regex.compile(rf"(?V1){unspaced}\p{{M}}*|(?:{spaced}\p{{M}}*)+")
        # Joiners and soft hyphens are invisible parts of a word. The zero-width space is not: it separates words.
        self._ignorable = regex.compile(r"(?!\u200B)\p{Default_Ignorable_Code_Point}")

    def tokenize(self, text: str) -> list[str]:
        words: list[str] = self._words.findall(self._ignorable.sub("", _fold(text)))
        return words


class _Characters:
    """Every grapheme cluster (UAX #29) but white space: punctuation and emoji count too."""

    def __init__(self) -> None:
        import regex

        self._grapheme = regex.compile(r"\X")

    def tokenize(self, text: str) -> list[str]:
        return [grapheme for grapheme in self._grapheme.findall(_fold(text)) if not grapheme.isspace()]


def _fold(text: str) -> str:
    """Compatibility forms and case removed. Twice NFKC, since folding the case can undo the first."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())

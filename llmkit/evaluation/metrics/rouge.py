r"""ROUGE (Lin 2004) by the rouge-score package, with tokenizers for every script. Knows neither tasks nor recipes.

rouge-score's own tokenizer matches only `[a-z0-9]`, so that identical Chinese, Russian, Hindi or Arabic texts score
0.0. Where the references are not ASCII, the tokenizers of this file replace it; the scoring is the package's.

Punctuation and emoji are not words. A text of such characters alone has no tokens and scores
0.0 even against itself, as in rouge-score; references of that kind are counted in the details and in a
warning. The tokenizer `characters` counts every character but space, and so scores them too.
"""

from __future__ import annotations

import logging
import math
import unicodedata
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, Literal, Protocol

from typing_extensions import assert_never  # in typing from Python 3.11

from llmkit.evaluation.metrics.references import References, all_texts, by_row
from llmkit.evaluation.uncertainty.statistics import of_means
from llmkit.tasks.base import Scores

logger = logging.getLogger("llmkit")

RougeTokenizer = Literal["auto", "rouge-score", "unicode", "characters"]
ChosenTokenizer = Literal["rouge-score", "unicode", "characters"]

ROUGE_SCORES = ("rouge1", "rouge2", "rougeL", "rougeLsum")
ASCII_SHARE_FOR_ROUGE_SCORE = 0.99


class _Tokenizer(Protocol):
    """The part of rouge_score.tokenizers.Tokenizer that its scorer calls."""

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
    from rouge_score.rouge_scorer import RougeScorer

    chosen, why = _choose_tokenizer(tokenizer, all_texts(references))
    tokens_of = _build_tokenizer(chosen)
    scorer = RougeScorer(list(ROUGE_SCORES), split_summaries=False, tokenizer=tokens_of)
    rows = [
        scorer.score_multi(targets=texts, prediction=prediction)
        for prediction, texts in zip(predictions, by_row(references), strict=True)
    ]
    # fsum is exact before its one rounding, so that the order of the rows does not matter.
    columns = {name: [row[name].fmeasure for row in rows] for name in ROUGE_SCORES}
    scores = {name: math.fsum(column) / len(rows) for name, column in columns.items()}
    return Scores(scores, {"rouge": _details(chosen, why, tokens_of, references)}, of_means(columns))


def _details(chosen: ChosenTokenizer, why: str, tokens_of: _Tokenizer, references: References) -> dict[str, Any]:
    token_counts = [max(len(tokens_of.tokenize(text)) for text in texts) for texts in by_row(references)]
    without_tokens = token_counts.count(0)
    if without_tokens:
        logger.warning(
            "rouge: %d of %d references have no token for the tokenizer %s and score 0.0.",
            without_tokens,
            len(references),
            chosen,
        )
    return {
        "tokenizer": chosen,
        "why": why,
        "stemmer": chosen == "rouge-score",
        "rouge_score": version("rouge_score"),
        "references_without_tokens": without_tokens,
        "references_without_bigrams": sum(count < 2 for count in token_counts),
    }


def _choose_tokenizer(requested: RougeTokenizer, references: Sequence[str]) -> tuple[ChosenTokenizer, str]:
    """The tokenizer to use, and the reason in one sentence."""
    if requested != "auto":
        return requested, "It was requested."
    letters = [char for reference in references for char in reference if char.isalpha()]  # categories L*
    counted, unit = letters, "letters"
    if not letters:
        counted, unit = [char for reference in references for char in reference if char.isnumeric()], "digits"
    if not counted:
        return "rouge-score", "The references have neither letters nor digits."
    share = sum(char.isascii() for char in counted) / len(counted)
    why = f"{share:.2%} of the references' {unit} are ASCII; rouge-score's own tokenizer needs 99 %."
    return ("rouge-score" if share >= ASCII_SHARE_FOR_ROUGE_SCORE else "unicode"), why


def _build_tokenizer(chosen: ChosenTokenizer) -> _Tokenizer:
    match chosen:
        case "rouge-score":
            from rouge_score.tokenizers import DefaultTokenizer

            stemming: _Tokenizer = DefaultTokenizer(
                use_stemmer=True
            )  # nltk's Porter stemmer, which reads no data files
            return stemming
        case "unicode":
            return UnicodeWords()
        case "characters":
            return _Characters()
        case _:
            assert_never(chosen)


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

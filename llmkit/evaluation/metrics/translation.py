"""BLEU, chrF and TER of whole data sets by sacrebleu, whose signatures go into the details.

A row may have several references, and different numbers of them.

Their scales are sacrebleu's, 0 to 100. chrF needs no words. BLEU and TER do, and their tokenizer is chosen here: by the
language of the references if it is known, else by their script.
"""

from __future__ import annotations

import logging
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

from llmkit.evaluation.metrics.references import References, all_texts, by_number, by_row
from llmkit.tasks.base import RowStatistics, Scores

if TYPE_CHECKING:
    from llmkit.evaluation.uncertainty.statistics import FloatArray

logger = logging.getLogger("llmkit")
_UNSPACED = {"th": "Thai", "lo": "Lao", "km": "Khmer", "my": "Burmese", "bo": "Tibetan", "dz": "Dzongkha"}
"""Languages written without spaces between words, besides Chinese and Japanese; sacrebleu has no tokenizer for them."""
_LANGUAGE_OF_SCRIPT = {
    "HIRAGANA": "ja",
    "KATAKANA": "ja",
    "CJK": "zh",
    "HANGUL": "ko",
    "THAI": "th",
    "LAO": "lo",
    "KHMER": "km",
    "MYANMAR": "my",
    "TIBETAN": "bo",
}
_SCRIPT_SHARE = 0.25
"""Of the letters; a Japanese text with many kanji has no more kana."""


class Words(NamedTuple):
    """The tokenizer, and the reason for it."""

    tokenizer: str
    """Of sacrebleu."""
    why: str


def bleu(predictions: Sequence[str], references: References, *, language: str | None = None) -> Scores:
    """BLEU (Papineni et al. 2002) with up to four words in a row, exponential smoothing.

    Args:
        language: code of the references' language; None to judge by their script.
    """
    from sacrebleu.metrics.bleu import BLEU

    from llmkit.evaluation.metrics.translation_sums import bleu_of_sums

    words = words_of(all_texts(references), language=language)
    # force: no warning about texts that look tokenized; a model wrote them.
    metric = BLEU(tokenize=words.tokenizer, force=True)
    score, statistics = _corpus_score("bleu", metric, list(predictions), by_number(references), bleu_of_sums)
    details = {
        "signature": metric.get_signature().format(),
        "words": words._asdict(),
        "precisions": list(score.precisions),
        "brevity_penalty": score.bp,
    }
    return Scores({"bleu": score.score}, {"bleu": details}, statistics)


def chrf(predictions: Sequence[str], references: References) -> Scores:
    """chrF2 (Popović 2015): F-score of up to six characters in a row, white space left out."""
    return _chrf("chrf", predictions, references, words=0)


def chrf_plus_plus(predictions: Sequence[str], references: References) -> Scores:
    """chrF2++ (Popović 2017): chrF with single words and pairs of words as well."""
    return _chrf("chrf++", predictions, references, words=2)


def _chrf(name: str, predictions: Sequence[str], references: References, *, words: int) -> Scores:
    from sacrebleu.metrics.chrf import CHRF

    from llmkit.evaluation.metrics.translation_sums import chrf_of_sums

    metric = CHRF(word_order=words)
    score, statistics = _corpus_score(name, metric, list(predictions), by_number(references), chrf_of_sums)
    return Scores({name: score.score}, {name: {"signature": metric.get_signature().format()}}, statistics)


def ter(predictions: Sequence[str], references: References, *, language: str | None = None) -> Scores:
    """Translation edit rate (Snover et al. 2006): edits and shifts of words for each word of the reference, in %.

    Args:
        language: as for `bleu`; where BLEU counts characters as words, so does TER.
    """
    from sacrebleu.metrics.ter import TER
    from sacrebleu.tokenizers.tokenizer_char import TokenizerChar

    from llmkit.evaluation.metrics.translation_sums import ter_of_sums

    words = words_of(all_texts(references), language=language)
    asian = words.tokenizer in ("zh", "ja-mecab")
    metric = TER(normalized=asian, asian_support=asian)
    texts, streams = list(predictions), by_number(references)
    if words.tokenizer == "char":
        spaced: Callable[[str], str] = TokenizerChar()  # type: ignore[no-untyped-call]
        texts = [spaced(text) for text in texts]
        streams = [[None if text is None else spaced(text) for text in stream] for stream in streams]
    score, statistics = _corpus_score("ter", metric, texts, streams, ter_of_sums)
    unit = "characters" if words.tokenizer == "char" or asian else "words"
    details = {"signature": metric.get_signature().format(), "unit": unit}
    return Scores({"ter": score.score}, {"ter": details}, statistics)


def _corpus_score(
    name: str,
    metric: Any,
    predictions: list[str],
    streams: list[list[Any]],
    score_of_sums: Callable[[FloatArray], FloatArray],
) -> tuple[Any, RowStatistics]:
    """sacrebleu's score of the whole corpus, and its statistics of each row, from which it computes the score.

    sacrebleu's own bootstrap (`significance.py`) calls the same two functions of a metric.
    """
    import numpy as np

    from llmkit.evaluation.uncertainty.statistics import of_sums

    metric._check_corpus_score_args(predictions, streams)
    rows = metric._extract_corpus_statistics(predictions, streams)
    statistics = of_sums(np.array(rows, dtype=np.float64), lambda sums: {name: score_of_sums(sums)})
    return metric._aggregate_and_compute(rows), statistics


def exact_text(predictions: Sequence[str], references: References) -> Scores:
    """The share of rows whose text equals a reference, letter by letter; runs of white space count as one space."""
    from llmkit.evaluation.uncertainty.statistics import of_means

    rows = zip(predictions, by_row(references), strict=True)
    equal = [prediction.split() in [text.split() for text in texts] for prediction, texts in rows]
    return Scores({"exact_text": sum(equal) / len(references)}, statistics=of_means({"exact_text": equal}))


def words_of(references: Sequence[str], *, language: str | None) -> Words:
    """sacrebleu's tokenizer for a language: the language's tokenizer if there is one and it is installed, else 13a or characters."""
    code = language or _language_by_script(references)
    reason = f"the language is {code}" if language else f"the references look like {code}"
    if code in ("zh", "yue"):
        return Words("zh", reason)
    for language_code, package in (("ja", "MeCab"), ("ko", "mecab_ko")):
        if code == language_code:
            if find_spec(package) is not None:
                return Words(f"{code}-mecab", reason)
            logger.warning("BLEU counts characters: its tokenizer for %s needs `pip install sacrebleu[%s]`", code, code)
            return Words("char", f"{reason}, and sacrebleu[{code}] is not installed")
    if code in _UNSPACED:
        return Words("char", f"{reason}, which has no spaces between words")
    return Words("13a", reason if language else "the references have spaces between words")


def _language_by_script(references: Sequence[str]) -> str | None:
    """A language whose script has no spaces between words, or Korean; None for all others."""
    counts: Counter[str] = Counter()
    letters = 0
    for text in references:
        if text.isascii():
            letters += sum(map(str.isalpha, text))
            continue
        for character in text:
            if character.isalpha():
                letters += 1
                counts[unicodedata.name(character, "").split(" ")[0].partition("-")[0]] += 1
    languages: Counter[str] = Counter()
    for script, count in counts.items():
        if script in _LANGUAGE_OF_SCRIPT:
            languages[_LANGUAGE_OF_SCRIPT[script]] += count
    if (
        languages["ja"]
        and languages["ja"] + languages["zh"] >= _SCRIPT_SHARE * letters
        and languages["ja"] >= 0.05 * letters
    ):
        return "ja"
    code, count = max(languages.items(), key=lambda item: item[1], default=("", 0))
    return code if count and count >= _SCRIPT_SHARE * letters else None

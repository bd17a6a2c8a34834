"""BLEU, chrF, TER and exact texts: against sacrebleu's own functions, by hand, and for scripts without spaces."""

from __future__ import annotations

import logging
import re
from importlib.util import find_spec

import pytest
import sacrebleu

from llmkit.evaluation.metrics import SCORES, is_better, score_texts
from llmkit.evaluation.metrics.translation import words_of

PREDICTIONS = ["the cat sat on the mat", "a quiet dog sleeps here", ""]
REFERENCES = ["the cat sat on a mat", "a quiet dog sleeps there", "two words"]


def test_figures_are_those_of_sacrebleu_on_its_own_scale() -> None:
    scores = score_texts(["bleu", "chrf", "ter"], PREDICTIONS, REFERENCES).values
    assert scores == {
        "bleu": sacrebleu.corpus_bleu(PREDICTIONS, [REFERENCES]).score,
        "chrf": sacrebleu.corpus_chrf(PREDICTIONS, [REFERENCES]).score,
        "ter": sacrebleu.corpus_ter(PREDICTIONS, [REFERENCES]).score,
    }
    assert 20 < scores["bleu"] < 100


def test_equal_texts_have_the_best_figures_and_ter_is_better_low() -> None:
    scores = score_texts(["bleu", "chrf", "ter", "exact_text"], REFERENCES, REFERENCES).values
    assert scores == pytest.approx({"bleu": 100, "chrf": 100, "ter": 0, "exact_text": 1})
    assert SCORES["ter"].better == "lower"
    assert is_better("ter", 10.0, 20.0)
    assert is_better("chrf", 20.0, 10.0)


def test_ter_by_hand_is_edits_in_percent_of_the_references_words() -> None:
    assert score_texts(["ter"], ["a b x d"], ["a b c d"]).values["ter"] == pytest.approx(25)
    assert score_texts(["ter"], ["w x y z"], ["a b"]).values["ter"] == pytest.approx(200)


def test_nothing_written_scores_nothing_and_is_no_error() -> None:
    scores = score_texts(["bleu", "chrf", "ter", "exact_text"], ["", ""], ["a b", "c"]).values
    assert scores == {"bleu": 0.0, "chrf": 0.0, "ter": 100.0, "exact_text": 0.0}


def test_exact_texts_differ_by_a_letter_or_case_but_not_by_white_space() -> None:
    scores = score_texts(["exact_text"], ["a  b\n", "A b", "a b.", ""], ["a b", "a b", "a b", ""])
    assert scores.values["exact_text"] == 0.5


def test_the_signatures_are_kept() -> None:
    details = score_texts(["bleu", "chrf", "ter"], PREDICTIONS, REFERENCES).details
    assert details["bleu"]["signature"].startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:")
    assert "nc:6" in details["chrf"]["signature"]
    assert "tok:tercom" in details["ter"]["signature"]


CHINESE, JAPANESE, KOREAN = "今天天气很好。", "今日はとても良い天気です。", "오늘은 날씨가 좋습니다."
THAI, GERMAN, RUSSIAN = "วันนี้อากาศดีมาก", "Heute ist das Wetter schön.", "Сегодня хорошая погода."


@pytest.mark.parametrize(
    ("language", "text", "tokenizer"),
    [
        ("de", GERMAN, "13a"),
        ("ru", RUSSIAN, "13a"),
        ("zh", CHINESE, "zh"),
        ("ja", JAPANESE, "ja-mecab" if find_spec("MeCab") else "char"),
        ("ko", KOREAN, "ko-mecab" if find_spec("mecab_ko") else "char"),
        ("th", THAI, "char"),
    ],
)
def test_words_are_found_by_the_language_or_the_script(language: str, text: str, tokenizer: str) -> None:
    by_language = words_of(["whatever"], language=language)
    by_script = words_of([f"{text} Linux"], language=None)
    assert by_language.tokenizer == by_script.tokenizer == tokenizer
    assert re.search(rf"\b{language}\b", by_language.why)


def test_a_foreign_word_does_not_change_the_script() -> None:
    assert words_of([f"The Chinese word {CHINESE[:2]} means today."], language=None).tokenizer == "13a"


def test_a_tokenizer_that_is_not_installed_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="llmkit"):
        words = words_of([JAPANESE], language="ja")
    assert (words.tokenizer == "ja-mecab") != ("pip install sacrebleu[ja]" in caplog.text)


@pytest.mark.parametrize(("language", "text"), [("zh", CHINESE), ("th", THAI)])
def test_a_line_without_spaces_is_more_than_one_word(language: str, text: str) -> None:
    near = text[:-2] + text[-1]
    scores = score_texts(["bleu", "ter"], [near], [text], language=language).values
    assert 20 < scores["bleu"] < 100
    assert 0 < scores["ter"] < 50

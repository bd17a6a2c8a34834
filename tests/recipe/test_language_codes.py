"""Codes of languages that people get wrong."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from builders import recipe_of
from pydantic import ValidationError

from llmkit.recipe.languages import language_code, likely_mistake


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("jp", "ja"), ("iw", "he"), ("cn", "zh"), ("gr", "el"), ("cz", "cs"), ("dk", "da"), ("ua", "uk"), ("us", "en"),
        ("in", "id"), ("jp-JP", "ja"), ("CN", "zh"), ("deu", "de"), ("kor", "ko"), ("Farsi", "fa"), ("Mandarin", "zh"),
        ("simplified Chinese", "zh"),
    ],
)  # fmt: skip
def test_a_wrong_code_is_refused_with_the_one_that_is_meant(written: str, meant: str) -> None:
    with pytest.raises(ValueError, match=f"'{meant}'"):
        language_code(written)
    with pytest.raises(ValidationError, match=f"'{meant}'"):
        recipe_of("translation", source_language=written)


@pytest.mark.parametrize(
    ("written", "meant"), [("kr", "Korean is ko"), ("se", "Swedish is sv"), ("tw", "Chinese is zh")]
)
def test_a_code_that_is_better_known_as_a_country_is_read_with_a_warning(
    written: str, meant: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert language_code(written) == written
    with caplog.at_level(logging.WARNING, logger="llmkit"):
        recipe_of("translation", target_language=written)
    assert meant in caplog.text


@pytest.mark.parametrize("code", ["ko", "sv", "uk", "de", "pt-BR", "German"])
def test_usual_codes_are_no_mistakes(code: str) -> None:
    assert likely_mistake(code) is None
    assert language_code(code)


def test_every_suggestion_is_a_language() -> None:
    from llmkit.recipe import languages

    meant: Any = {*languages._MEANT.values(), *languages._COUNTRIES.values()}
    assert {language_code(code) for code in meant} == meant
    assert not any(name in languages._languages() for name in languages._MEANT)

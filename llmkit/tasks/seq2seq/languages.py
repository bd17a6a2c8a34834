"""The languages of a translation: their names in recipes and configs, and T5's prefix for a pair."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from llmkit.recipe.languages import english_name, language_code

_OTHER_WORDS = frozenset({"text", "sentence", "source", "target", "src", "tgt", "translation"})
"""Words beside the language in the name of a column."""


def _known(language: str) -> str:
    """The name unchanged, if it is a language."""
    language_code(language)
    return language


Language = Annotated[str, AfterValidator(_known), Field(examples=["en"])]
"""A code such as `en` or `pt-BR`, or an English name."""


def is_same(first: str, second: str) -> bool:
    """Whether two names mean the same language; variants of two regions are different languages."""
    names = {language.casefold().replace("_", "-") for language in (first, second)}
    has_region = any("-" in language for language in names)
    return len(names) == 1 or (not has_region and language_code(first) == language_code(second))


def translation_prefix(source: str, target: str) -> str:
    """T5's prefix for two codes (Raffel et al. 2020, appendix D): `translate English to German: `."""
    return f"translate {english_name(source)} to {english_name(target)}: "


def language_in(name: str) -> str | None:
    """The code of the language that a column's name says: `de` for `de`, `text_de` and `translation.de`."""
    words = [word for word in re.split(r"[^\w]+|_", name.rpartition(".")[2]) if word]
    left = [word for word in words if word.casefold() not in _OTHER_WORDS]
    if len(left) != 1 or not left[0].isalpha():
        return None
    try:
        return language_code(left[0])
    except ValueError:
        return None

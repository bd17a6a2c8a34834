"""The languages of a translation: their names in recipes and configs, and T5's prefix for a pair."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from llmkit.recipe.languages import english_name, language_code


def _known(language: str) -> str:
    """The name unchanged, if it is a language."""
    language_code(language)
    return language


Language = Annotated[str, AfterValidator(_known)]
"""A code such as `en` or `pt-BR`, or an English name."""


def is_same(first: str, second: str) -> bool:
    """Whether two names mean the same language; variants of two regions are different languages."""
    names = {language.casefold().replace("_", "-") for language in (first, second)}
    has_region = any("-" in language for language in names)
    return len(names) == 1 or (not has_region and language_code(first) == language_code(second))


def translation_prefix(source: str, target: str) -> str:
    """T5's prefix for two codes (Raffel et al. 2020, appendix D): `translate English to German: `."""
    return f"translate {english_name(source)} to {english_name(target)}: "

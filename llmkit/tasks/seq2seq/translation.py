"""A text in another language, with T5 or mT5."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator

from llmkit.recipe.blocks import Kind
from llmkit.recipe.languages import english_name, language_code
from llmkit.tasks.seq2seq.recipe import Seq2SeqRecipe


def _known(language: str) -> str:
    """As it was written, if it is a language."""
    language_code(language)
    return language


Language = Annotated[str, AfterValidator(_known)]


class TranslationRecipe(Seq2SeqRecipe):
    VERB: ClassVar[str] = "translate"
    USE: ClassVar[str] = "llmkit translate FILE --model {model}"
    HUB_DEFAULT: ClassVar[str] = "google-t5/t5-small"
    ROLES: ClassVar[Mapping[str, Kind]] = {"source": "text", "target": "text"}
    READ_ROLES: ClassVar[tuple[str, ...]] = ("source",)
    METRICS: ClassVar[tuple[str, ...]] = ("bleu", "chrf", "ter")
    # BLEU is 0 until four words in a row are right, and TER may exceed its bad end: chrF tells early models apart.
    BEST: ClassVar[str] = "chrf"
    SOURCE: ClassVar[str] = "source"
    TARGET: ClassVar[str] = "target"

    task: Literal["translation"]
    source_language: Language
    """A code such as `en` or `pt-BR`, or an English name."""
    target_language: Language
    """As `source_language`; BLEU finds words as is usual for it."""
    max_source_tokens: Annotated[int, Field(ge=4)] = 256
    max_target_tokens: Annotated[int, Field(ge=2)] = 256
    overflow: Literal["error", "truncate", "drop"] = "truncate"
    """What happens to longer texts and translations, always with counts."""

    @property
    def own_prefix(self) -> str:
        return translation_prefix(language_code(self.source_language), language_code(self.target_language))

    @property
    def remembered(self) -> dict[str, Any]:
        return {"source_language": self.source_language, "target_language": self.target_language}

    @property
    def written_language(self) -> str | None:
        return language_code(self.target_language)

    @model_validator(mode="after")
    def _two_languages(self) -> TranslationRecipe:
        if _is_same(self.source_language, self.target_language):
            raise ValueError(f"target_language: is the source_language, {self.source_language}")
        return self


def _is_same(first: str, second: str) -> bool:
    """Whether two languages are one, by whatever names; that of a region is another than that of the next."""
    spelt = {language.casefold().replace("_", "-") for language in (first, second)}
    has_region = any("-" in language for language in spelt)
    return len(spelt) == 1 or (not has_region and language_code(first) == language_code(second))


def translation_prefix(source: str, target: str) -> str:
    """T5's own words for two codes (Raffel et al. 2020, appendix D): `translate English to German: `."""
    return f"translate {english_name(source)} to {english_name(target)}: "

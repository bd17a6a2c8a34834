"""A text in another language, with T5 or mT5."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from llmkit.errors import UsageError
from llmkit.models.languages import own_pair
from llmkit.recipe.blocks import ColumnType
from llmkit.recipe.languages import code_of_model, language_code, likely_mistake
from llmkit.tasks.draft import TaskDraft
from llmkit.tasks.saved import saved_entries
from llmkit.tasks.seq2seq.draft import TranslationDraft
from llmkit.tasks.seq2seq.languages import Language, is_same, translation_prefix
from llmkit.tasks.seq2seq.recipe import Seq2SeqRecipe
from llmkit.tasks.seq2seq.saved import SavedSeq2Seq, SavedTranslation

if TYPE_CHECKING:
    from llmkit.models.loaded import LoadedModel

logger = logging.getLogger("llmkit")


class TranslationRecipe(Seq2SeqRecipe):
    VERB: ClassVar[str] = "translate"
    USE: ClassVar[str] = "llmkit translate FILE --model {model}"
    PURPOSE: ClassVar[str] = "translates a text"
    PIPELINE_TAG: ClassVar[str] = "translation"
    HUB_DEFAULT: ClassVar[str] = "google-t5/t5-small"
    COLUMN_TYPES: ClassVar[Mapping[str, ColumnType]] = {"source": "text", "target": "text"}
    READ_FIELDS: ClassVar[tuple[str, ...]] = ("source",)
    TARGET_FIELDS: ClassVar[tuple[str, ...]] = ("target",)
    METRICS: ClassVar[tuple[str, ...]] = ("bleu", "chrf", "ter")
    # BLEU is 0 until four words in a row are right, and TER can exceed 100: chrF distinguishes early models.
    BEST: ClassVar[str] = "chrf"
    BASELINES: ClassVar[tuple[str, ...]] = ("copy",)
    DRAFT: ClassVar[TaskDraft] = TranslationDraft()
    SOURCE: ClassVar[str] = "source"
    TARGET: ClassVar[str] = "target"
    TARGET_LENGTH: ClassVar[Literal["shorter", "similar", "any"]] = "similar"
    SAVED: ClassVar[type[SavedSeq2Seq]] = SavedTranslation

    task: Literal["translation"]
    source_language: Language
    """A code such as `en` or `pt-BR`, or an English name."""
    target_language: Language
    """As `source_language`; it decides how BLEU splits words."""
    max_source_tokens: Annotated[int, Field(ge=4)] = 256
    max_target_tokens: Annotated[int, Field(ge=2)] = 256
    overflow: Literal["error", "truncate", "drop"] = "truncate"
    """What happens to longer texts and translations, always with counts."""

    @property
    def task_prefix(self) -> str:
        return translation_prefix(language_code(self.source_language), language_code(self.target_language))

    @property
    def languages(self) -> tuple[str | None, str | None]:
        return self.source_language, self.target_language

    def saved_config(self, *, prefix: str) -> SavedTranslation:
        return SavedTranslation(
            prefix=prefix, source_language=self.source_language, target_language=self.target_language
        )

    @classmethod
    def has_trained(cls, loaded: LoadedModel) -> bool:
        """Also true for a published translator of a single pair."""
        source, target = own_pair(loaded.tokenizer)
        is_published = not saved_entries(loaded) and None not in (source, target) and source != target
        return cls.SAVED.is_in(loaded) or is_published

    @classmethod
    def keys_of_model(cls, loaded: LoadedModel) -> dict[str, Any]:
        if not cls.has_trained(loaded):
            raise UsageError(
                f"{loaded.name}: translates several languages, and its configs do not say which of them these texts have. "
                "Write the translations with `llmkit translate FILE --from CODE --to CODE --output FILE`, and score them with "
                "`llmkit evaluate --predictions FILE --references FILE --metric bleu`."
            )
        pair = zip(("source_language", "target_language"), own_pair(loaded.tokenizer), strict=True)
        own = {key: code_of_model(code) if len(code) == 3 else code for key, code in pair if code is not None}
        return {**own, **super().keys_of_model(loaded)}

    @property
    def written_language(self) -> str | None:
        return language_code(self.target_language)

    @model_validator(mode="after")
    def _two_languages(self) -> TranslationRecipe:
        if is_same(self.source_language, self.target_language):
            raise ValueError(f"target_language: is the source_language, {self.source_language}")
        for language in (self.source_language, self.target_language):
            if (mistake := likely_mistake(language)) is not None:
                logger.warning("languages: %s", mistake)
        return self

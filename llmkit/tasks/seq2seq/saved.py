"""What an encoder-decoder saves in its config for inference: prefix and options, by task.

llmkit writes one entry, named by the task it trained. Google's T5 of 2019 has several, such as `translation_en_to_de`,
with beams and lengths, which llmkit writes into generation_config.json.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from llmkit.errors import ModelError, UsageError
from llmkit.models.generation import OPTIONS
from llmkit.models.languages import Direction, direction_of, find_language, language_ids, own_pair, target_prefixes
from llmkit.recipe.blocks import PositiveInt
from llmkit.recipe.languages import language_code, likely_mistake
from llmkit.tasks.saved import SavedWriting, saved_entries
from llmkit.tasks.seq2seq.languages import Language, translation_prefix

if TYPE_CHECKING:
    from llmkit.models.loaded import LoadedModel

_PAIR = re.compile(r"translation_([a-z]{2,3})_to_([a-z]{2,3})")


class SavedSeq2Seq(SavedWriting):
    model_config = ConfigDict(extra="allow")  # generation options, which `generation_entry` reads

    prefix: str | None = None
    """Put before every text."""
    num_beams: Annotated[int, Field(ge=1, le=64)] | None = None
    """Only read from Google's T5, as is `max_length`."""
    max_length: PositiveInt | None = None
    """Tokens at most, the decoder's start included."""

    @property
    def generation_entry(self) -> dict[str, Any]:
        """Generation options in the words of transformers, such as those of Google's T5."""
        return {key: value for key, value in self.model_dump(exclude_none=True).items() if key in OPTIONS}


class SavedSummarization(SavedSeq2Seq):
    TASK: ClassVar[str] = "summarization"

    overflow: Literal["error", "truncate", "window"] | None = None
    """What happens to a text that is too long."""
    window_overlap: Annotated[int, Field(ge=0)] | None = None
    """Tokens that neighbouring chunks share."""


class SavedTranslation(SavedSeq2Seq):
    TASK: ClassVar[str] = "translation"

    source_language: Language
    target_language: Language


class SavedTextToText(SavedSeq2Seq):
    TASK: ClassVar[str] = "text-to-text"

    overflow: Literal["error", "truncate", "window"] | None = None
    """What becomes of a text that is too long; only a model for summaries reads windows."""


_VERBS = {
    SavedSummarization.TASK: "summarize",
    SavedTranslation.TASK: "translate",
    SavedTextToText.TASK: "generate",
}


def summarization_config(loaded: LoadedModel) -> SavedSummarization:
    """Prefix and options for summaries; a text-to-text model may be used for them, too.

    Raises:
        ModelError: llmkit trained the model for translation; or a damaged entry.
    """
    for saved in (SavedSummarization, SavedTextToText):
        if saved.is_in(loaded):
            return SavedSummarization.load(loaded, entry=saved.TASK)
    _refuse_other(loaded, verb="summarize")
    return SavedSummarization(prefix=loaded.family.default_prefix(loaded.model.config, "summarize: "))


def text_to_text_config(loaded: LoadedModel) -> SavedTextToText:
    """Prefix and options for text of any kind; no prefix where the config has none: the user then writes it.

    Raises:
        ModelError: a damaged entry.
    """
    if SavedTextToText.is_in(loaded):
        return SavedTextToText.load(loaded)
    saved = SavedTextToText.load(loaded, entry=SavedSummarization.TASK)
    return SavedTextToText(prefix="", num_beams=saved.num_beams, max_length=saved.max_length)


def translation_config(loaded: LoadedModel, *, source: str | None, target: str | None) -> SavedSeq2Seq:
    """Prefix and options for a pair of languages.

    Args:
        source: code or name; None where the model has only one.
        target: as `source`.
    Raises:
        UsageError: no such language, or the model does not translate this pair, or several fit.
        ModelError: the model does not translate; or a damaged entry.
    """
    pairs = _pairs(loaded)
    if not pairs:
        _refuse_other(loaded, verb="translate")
        return _by_tokenizer(loaded, source=source, target=target)
    pair = _chosen(pairs, loaded, source=source, target=target)
    saved = pairs[pair]
    if saved.prefix is not None:
        return saved
    try:
        pair = language_code(pair[0]), language_code(pair[1])
    except ValueError as error:
        raise ModelError(f"{loaded.name}: config.json has no prefix for {' to '.join(pair)}: {error}.") from error
    prefix = loaded.family.default_prefix(loaded.model.config, translation_prefix(*pair))
    return saved.model_copy(update={"prefix": prefix})


def translation_direction(loaded: LoadedModel, *, source: str | None, target: str | None) -> Direction | None:
    """The languages to set a multilingual model to, for what `translation_config` accepts; None for all other models.

    Raises:
        UsageError: its tokenizer does not have a language, or the model does not translate this pair.
    """
    pairs = _pairs(loaded)
    if pairs:
        pair = _chosen(pairs, loaded, source=source, target=target)
        saved = pairs[pair]
        is_whole = isinstance(saved, SavedTranslation)
        source, target = (saved.source_language, saved.target_language) if is_whole else pair  # type: ignore[attr-defined]
    return direction_of(loaded, source=source, target=target)


def _chosen(
    pairs: Mapping[tuple[str, str], SavedSeq2Seq], loaded: LoadedModel, *, source: str | None, target: str | None
) -> tuple[str, str]:
    """The only pair with these languages; see `translation_config`."""
    requested = tuple(None if language is None else _code(language) for language in (source, target))
    matching = [
        pair for pair in pairs if all(code in (None, known) for code, known in zip(requested, pair, strict=True))
    ]
    available = ", ".join(f"{source} to {target}" for source, target in pairs)
    if not matching:
        options = " ".join(f"--{option} {code}" for option, code in zip(("from", "to"), requested, strict=True) if code)
        mistakes = [likely_mistake(code) for code in requested if code is not None]
        hint = "".join(f" {mistake}." for mistake in mistakes if mistake is not None)
        raise UsageError(f"{options}: {loaded.name} does not translate that. It translates {available}.{hint}")
    if len(matching) > 1:
        raise UsageError(f"{loaded.name} translates {available}. Choose with --from and --to.")
    return matching[0]


def _by_tokenizer(loaded: LoadedModel, *, source: str | None, target: str | None) -> SavedSeq2Seq:
    """For a model whose config has no entry: one of its tokenizer's languages, or its only pair."""
    codes, prefixes = language_ids(loaded.tokenizer), target_prefixes(loaded.tokenizer)
    own_source, own_target = own_pair(loaded.tokenizer)
    if not codes and not prefixes and not (own_source and own_target):
        raise ModelError(
            f"{loaded.name}: its config names no languages that it translates. Finetune it on translation first."
        )
    if codes:
        for option, language in (("--from", source or own_source), ("--to", target or own_target)):
            if language is None:
                shown = ", ".join([*codes][:12])
                raise UsageError(
                    f"{loaded.name} translates between {len(codes):,} languages: {shown} and others. Choose one with {option}."
                )
            find_language(language, codes, what=option, name=loaded.name)
        return SavedSeq2Seq(prefix="")
    if source is not None and own_source:
        find_language(source, [own_source], what="--from", name=loaded.name)
    if not prefixes:
        if target is not None and own_target:
            find_language(target, [own_target], what="--to", name=loaded.name)
        return SavedSeq2Seq(prefix="")
    if target is None:
        raise UsageError(f"{loaded.name} translates into {', '.join(prefixes)}. Choose one with --to.")
    return SavedSeq2Seq(prefix=prefixes[find_language(target, prefixes, what="--to", name=loaded.name)])


def _pairs(loaded: LoadedModel) -> dict[tuple[str, str], SavedSeq2Seq]:
    """The codes of each pair of languages, with its entry."""
    pairs: dict[tuple[str, str], SavedSeq2Seq] = {}
    for name in saved_entries(loaded):
        if name == SavedTranslation.TASK:
            saved = SavedTranslation.load(loaded)
            pairs[language_code(saved.source_language), language_code(saved.target_language)] = saved
        elif match := _PAIR.fullmatch(name):
            pairs[match[1], match[2]] = SavedSeq2Seq.load(loaded, entry=name)
    return pairs


def _refuse_other(loaded: LoadedModel, *, verb: str) -> None:
    """
    Raises:
        ModelError: llmkit trained the model for something else.
    """
    entries = saved_entries(loaded)
    for task, task_verb in _VERBS.items():
        if task in entries:
            raise ModelError(f"{loaded.name}: was trained for {task}, not to {verb}. Use `llmkit {task_verb}`.")


def _code(language: str) -> str:
    try:
        return language_code(language)
    except ValueError as error:
        raise UsageError(f"{error}.") from error

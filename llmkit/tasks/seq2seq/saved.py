"""What a T5 or mT5 says about its own use: the entries of `task_specific_params` in its config.

llmkit leaves one, named by the task it trained. Google's T5 has several, such as `translation_en_to_de`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llmkit.errors import ModelError, UsageError
from llmkit.recipe.languages import language_code
from llmkit.tasks.seq2seq.task import task_entries
from llmkit.tasks.seq2seq.translation import translation_prefix

if TYPE_CHECKING:
    from llmkit.models.loaded import LoadedModel

_PAIR = re.compile(r"translation_([a-z]{2,3})_to_([a-z]{2,3})")
_VERBS = {"summarization": "summarize", "translation": "translate", "text-to-text": "generate"}


def summarization_entry(loaded: LoadedModel) -> Mapping[str, Any]:
    """Prefix and options for summaries; a text-to-text model may be used for them, too.

    Raises:
        ModelError: llmkit trained the model for translation.
    """
    entries = task_entries(loaded.model.config)
    for task in ("summarization", "text-to-text"):
        if task in entries:
            return entries[task]
    _refuse_other(loaded, entries, wanted="summarize")
    return {"prefix": loaded.family.default_prefix(loaded.model.config, "summarize: ")}


def text_to_text_entry(loaded: LoadedModel) -> Mapping[str, Any]:
    """Prefix and options for text of any kind; without a word of the model's no prefix, which the user then writes."""
    entries = task_entries(loaded.model.config)
    if "text-to-text" in entries:
        return entries["text-to-text"]
    return {**entries.get("summarization", {}), "prefix": ""}


def translation_entry(loaded: LoadedModel, *, source: str | None, target: str | None) -> Mapping[str, Any]:
    """Prefix and options for a pair of languages.

    Args:
        source: code or name; None where the model leaves no choice.
        target: as `source`.
    Raises:
        UsageError: no such language, or the model does not translate this pair, or several would fit.
        ModelError: the model does not translate.
    """
    wanted = tuple(None if language is None else _code(language) for language in (source, target))
    entries = task_entries(loaded.model.config)
    pairs = _pairs(entries)
    if not pairs:
        _refuse_other(loaded, entries, wanted="translate")
        raise ModelError(
            f"{loaded.name}: its config names no languages that it translates. Finetune it on translation first."
        )
    fitting = [pair for pair in pairs if all(want in (None, has) for want, has in zip(wanted, pair, strict=True))]
    there = ", ".join(f"{source} to {target}" for source, target in pairs)
    if not fitting:
        asked = " ".join(f"--{way} {code}" for way, code in zip(("from", "to"), wanted, strict=True) if code)
        raise UsageError(f"{asked}: {loaded.name} does not translate that. It translates {there}.")
    if len(fitting) > 1:
        raise UsageError(f"{loaded.name} translates {there}. Say which with --from and --to.")
    entry = pairs[fitting[0]]
    return {"prefix": translation_prefix(*fitting[0]), **entry}


def _pairs(entries: Mapping[str, Mapping[str, Any]]) -> dict[tuple[str, str], Mapping[str, Any]]:
    """The codes of each pair of languages, with its entry."""
    pairs = {}
    for name, entry in entries.items():
        if name == "translation":
            pairs[language_code(entry["source_language"]), language_code(entry["target_language"])] = entry
        elif match := _PAIR.fullmatch(name):
            pairs[match[1], match[2]] = entry
    return pairs


def _refuse_other(loaded: LoadedModel, entries: Mapping[str, Mapping[str, Any]], *, wanted: str) -> None:
    """
    Raises:
        ModelError: llmkit trained the model for something else.
    """
    for task, verb in _VERBS.items():
        if task in entries:
            raise ModelError(f"{loaded.name}: was trained for {task}, not to {wanted}. Use `llmkit {verb}`.")


def _code(language: str) -> str:
    try:
        return language_code(language)
    except ValueError as error:
        raise UsageError(f"{error}.") from error

"""The languages of a multilingual model: their codes in its tokenizer, and what a pair of them changes.

mBART, M2M100 and NLLB mark the language of each text with a token, such as `en_XX`, `__en__` and `eng_Latn`. A Marian model
with several target languages reads the target in front of the source, such as `>>fra<<`.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from llmkit.errors import UsageError, nearest
from llmkit.models.special_tokens import LANGUAGE
from llmkit.recipe.languages import code_of_model, language_code

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from llmkit.models.loaded import LoadedModel

_PREFIX = re.compile(r">>(.+)<<")
_MOST_LISTED = 12


@dataclass(frozen=True)
class Direction:
    """From a language to another, by the codes of a tokenizer."""

    source: str
    target: str


def language_ids(tokenizer: PreTrainedTokenizerFast) -> dict[str, int]:
    """Code -> id of the token that marks a text of this language; empty where texts are not marked."""
    if not isinstance(getattr(type(tokenizer), "src_lang", None), property):
        return {}
    tokens = {str(token): number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    return {token.strip("_"): number for token, number in tokens.items() if LANGUAGE.fullmatch(token)}


def target_prefixes(tokenizer: PreTrainedTokenizerFast) -> dict[str, str]:
    """Code -> what stands in front of a source to choose the target language; empty where there is no choice."""
    added = [str(token) for token in tokenizer.added_tokens_decoder.values() if not token.special]
    return {match[1]: f"{token} " for token in added if (match := _PREFIX.fullmatch(token))}


def own_pair(tokenizer: PreTrainedTokenizerFast) -> tuple[str | None, str | None]:
    """The source and the target language that the tokenizer's config names, as Marian's for a single pair."""
    keys: Mapping[str, Any] = tokenizer.init_kwargs
    return keys.get("source_lang") or keys.get("src_lang"), keys.get("target_lang") or keys.get("tgt_lang")


def find_language(language: str, codes: Iterable[str], *, what: str, name: str) -> str:
    """The code of a language among those of a model: `en_XX` for `en_XX`, `en`, `en-US` and `English`.

    Args:
        what: the key or option, for the message.
        name: the model's, for the message.
    Raises:
        UsageError: none of the codes is of this language, or several are; names the candidates.
    """
    known = list(codes)
    plain = language.strip("_<> ").replace("-", "_").casefold()
    exact = [code for code in known if code.casefold() == plain]
    wanted = _primary(language)
    matching = exact or [code for code in known if code_of_model(code) == wanted]
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise UsageError(
            f"{what} {language!r}: {name} has several codes of that language: {', '.join(matching)}. Choose one."
        )
    shown = ", ".join(known[:_MOST_LISTED]) + (f" and {len(known) - _MOST_LISTED} more" * (len(known) > _MOST_LISTED))
    raise UsageError(f"{what} {language!r}: {name} does not have it.{nearest(language, known)} Its codes: {shown}.")


def direction_of(loaded: LoadedModel, *, source: str | None, target: str | None) -> Direction | None:
    """The codes of two languages; None for a model that does not mark them.

    Args:
        source: a code or a name; None for what its tokenizer is set to.
        target: as `source`.
    Raises:
        UsageError: the tokenizer does not have a language.
    """
    tokenizer: Any = loaded.tokenizer
    codes = language_ids(tokenizer)
    if not codes:
        return None
    first, second = (
        None if language is None else find_language(language, codes, what=what, name=loaded.name)
        for language, what in ((source, "source language"), (target, "target language"))
    )
    first = first or tokenizer.src_lang
    return Direction(first, second or tokenizer.tgt_lang or first)


def target_tokenizer(loaded: LoadedModel, direction: Direction | None) -> PreTrainedTokenizerFast:
    """The tokenizer of target texts; most models have one tokenizer for both."""
    tokenizer: Any = loaded.tokenizer
    if direction is None:
        return getattr(tokenizer, "targets", None) or loaded.tokenizer
    return _marking(tokenizer, direction.target)


def set_direction(loaded: LoadedModel, direction: Direction) -> None:
    """Let the model read the source language and write the target language, as saved, too."""
    tokenizer: Any = loaded.tokenizer
    tokenizer.src_lang, tokenizer.tgt_lang = direction.source, direction.target
    configs: list[Any] = [loaded.model.config, loaded.model.generation_config]
    for key, token in _target_keys(loaded, direction).items():
        for config in configs if key == "decoder_start_token_id" else configs[1:]:
            setattr(config, key, token)


def directed(loaded: LoadedModel, direction: Direction) -> tuple[LoadedModel, dict[str, int]]:
    """A model that reads the source language, without changing the given one, and the generation options for the target."""
    tokenizer = _marking(loaded.tokenizer, direction.source)
    return replace(loaded, tokenizer=tokenizer), _target_keys(loaded, direction)


def _target_keys(loaded: LoadedModel, direction: Direction) -> dict[str, int]:
    return loaded.family.target_language_keys(loaded.tokenizer, language_ids(loaded.tokenizer)[direction.target])


def _marking(tokenizer: Any, code: str) -> Any:
    """A copy that marks texts as of a language."""
    marking = copy.deepcopy(tokenizer)
    marking.src_lang = code
    return marking


def _primary(language: str) -> str:
    """`en` for `en`, `eng`, `eng_Latn` and `English`; what is no language unchanged."""
    plain = language.strip("_<> ")
    try:
        return language_code(plain)
    except ValueError:
        return code_of_model(plain)

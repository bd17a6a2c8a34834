"""The token ids that end, start and pad a text, if tokenizer, config.json and generation_config.json differ.

A model learns the end token of its tokenizer and its chat template. A config may have another one: if the tokenizer was
changed later, it still has the old end token, and a default such as GPT-2's 50256 may be a word.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llmkit.errors import ModelError
from llmkit.models.chat import answer_ends
from llmkit.models.loaded import LoadedModel

_FILES = {"generation_config": "generation_config.json", "config": "config.json"}
"""Attribute of a model -> file, in order of precedence."""


def end_ids(loaded: LoadedModel) -> tuple[int, ...]:
    """The ids that end a text: the tokenizer's end, the template's end of an answer, and those of generation_config
    that are special tokens. A word never ends a text, whatever a config says.

    Raises:
        ModelError: there is none, so that generation could not stop; or a config has an id outside the vocabulary.
    """
    tokenizer_end = loaded.tokenizer.eos_token_id
    listed = [token for file, _, token in _named(loaded, "eos_token_id") if file == "generation_config.json"]
    special = _special_tokens(loaded)
    ends = [token for token in (tokenizer_end, *_template_end(loaded)) if token is not None]
    ends += [token for token in listed if token in special]
    if not ends:
        raise ModelError(f"{loaded.name}: has no end-of-text token; set eos_token in its tokenizer_config.json")
    return tuple(dict.fromkeys(ends))


def decoder_start_id(loaded: LoadedModel) -> int:
    """The id that a decoder starts with; T5's is padding.

    Raises:
        ModelError: a config has an id outside the vocabulary.
    """
    named = [token for _, _, token in _named(loaded, "decoder_start_token_id")]
    return named[0] if named else pad_id(loaded)


def pad_id(loaded: LoadedModel) -> int:
    """The tokenizer's padding id; without one (GPT-2) its end of text, which the attention mask hides."""
    padding: int | None = loaded.tokenizer.pad_token_id
    return end_ids(loaded)[0] if padding is None else padding


def refuse_impossible_ids(loaded: LoadedModel) -> None:
    """
    Raises:
        ModelError: a config has an id of a special token outside the vocabulary.
    """
    for key in ("eos_token_id", "decoder_start_token_id", "bos_token_id", "pad_token_id"):
        list(_named(loaded, key))


def name_special_ids(loaded: LoadedModel, *, taught: int) -> None:
    """Write the end tokens of training into both configs, so that the saved model stops correctly in transformers.

    Args:
        taught: the end of text in the targets.
    """
    tokenizer, config, generation = loaded.tokenizer, loaded.model.config, loaded.model.generation_config
    ends = tuple(dict.fromkeys((taught, *end_ids(loaded))))
    start = decoder_start_id(loaded)
    config.eos_token_id = taught
    generation.eos_token_id = taught if len(ends) == 1 else list(ends)
    first: int = taught if tokenizer.bos_token_id is None else tokenizer.bos_token_id
    for settings in (config, generation):
        if getattr(settings, "bos_token_id", None) is not None:
            settings.bos_token_id = first
        if config.is_encoder_decoder or getattr(settings, "pad_token_id", None) is not None:
            settings.pad_token_id = pad_id(loaded)
        if config.is_encoder_decoder:
            settings.decoder_start_token_id = start


def _template_end(loaded: LoadedModel) -> tuple[int, ...]:
    if loaded.tokenizer.chat_template is None:
        return ()
    try:
        return answer_ends(loaded)[:1]
    except ModelError:  # a template that rejects a plain exchange; chatting with it reports the error
        return ()


def _special_tokens(loaded: LoadedModel) -> set[int]:
    """Ids of special tokens, except those that replace text: unknown and mask."""
    tokenizer = loaded.tokenizer
    special = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    return {*special, *tokenizer.all_special_ids} - {tokenizer.unk_token_id, tokenizer.mask_token_id}


def _named(loaded: LoadedModel, key: str) -> Iterator[tuple[str, str, int]]:
    """File, key and each id that a config names there.

    The default of the config's class (GPT-2's 50256) is skipped if the vocabulary is smaller: it was not chosen.

    Raises:
        ModelError: an id that the vocabulary does not have.
    """
    model: Any = loaded.model
    size: int = model.get_input_embeddings().num_embeddings
    for attribute, file in _FILES.items():
        value = getattr(getattr(model, attribute), key, None)
        for token in value if isinstance(value, list) else [] if value is None else [value]:
            if isinstance(token, int) and not isinstance(token, bool) and 0 <= token < size:
                yield file, key, token
            elif token != getattr(type(model.config)(), key, None):
                raise ModelError(
                    f"{loaded.name}: {key} in its {file} is {token!r}, but its vocabulary has the ids 0 to "
                    f"{size - 1:,}. Use one of these, such as {loaded.tokenizer.eos_token_id}, which is "
                    f"{loaded.tokenizer.eos_token} in its tokenizer."
                )

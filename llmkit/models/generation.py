"""The generation options of a model's own configs, as keys of `GenerationBlock`, and those that llmkit does not follow.

Options of generation_config.json, or of config.json where there is no such file, precede those of a task's entry in
`task_specific_params`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from llmkit.errors import ModelError
from llmkit.models.loaded import LoadedModel
from llmkit.recipe.generation import GenerationBlock

SAME_NAME = (
    "max_new_tokens",
    "min_new_tokens",
    "length_penalty",
    "early_stopping",
    "repetition_penalty",
    "no_repeat_ngram_size",
    "encoder_no_repeat_ngram_size",
    "bad_words_ids",
    "suppress_tokens",
    "begin_suppress_tokens",
    "forced_bos_token_id",
    "forced_eos_token_id",
)
"""Options with the same name and meaning in transformers and in `GenerationBlock`."""
_CONVERTED = ("num_beams", "max_length", "min_length", "do_sample", "temperature", "top_k", "top_p")
_NOT_FOLLOWED: Mapping[str, tuple[Any, ...]] = {
    "constraints": (),
    "diversity_penalty": (0,),
    "dola_layers": (),
    "encoder_repetition_penalty": (1,),
    "exponential_decay_length_penalty": (),
    "force_words_ids": (),
    "forced_decoder_ids": (),
    "guidance_scale": (1,),
    "max_time": (),
    "num_beam_groups": (1,),
    "num_return_sequences": (1,),
    "penalty_alpha": (0,),
    "renormalize_logits": (False,),
    "sequence_bias": (),
    "stop_strings": (),
    "token_healing": (False,),
    "watermarking_config": (),
}
"""Options of transformers that change a text, with the values that change nothing."""
_NOT_FOLLOWED_IN_SAMPLING: Mapping[str, tuple[Any, ...]] = {
    "epsilon_cutoff": (0,),
    "eta_cutoff": (0,),
    "min_p": (0,),
    "top_h": (),
    "typical_p": (1,),
}
OPTIONS = frozenset((*SAME_NAME, *_CONVERTED, *_NOT_FOLLOWED, *_NOT_FOLLOWED_IN_SAMPLING))
"""All options of transformers that change a text."""
_TRANSFORMERS_TOP_K = 50
"""top_k of generate() where a config samples without one."""
SAMPLING = ("temperature", "top_k", "top_p")


def config_options(loaded: LoadedModel, entry: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The options of a model's configs as keys of `GenerationBlock`, only those that are set.

    Args:
        entry: the options of its task in `task_specific_params`.
    Raises:
        ModelError: a value outside its range.
    """
    keys: dict[str, Any] = {}
    for values in (entry or {}, _file_options(loaded)):
        keys |= _as_block_keys(values, encoder_decoder=loaded.family.is_encoder_decoder)
    if keys.get("beams", 1) > 1:
        keys = {key: value for key, value in keys.items() if key not in SAMPLING}
    if "max_new_tokens" in keys and "min_new_tokens" in keys:  # as generate(), which only warns
        keys["min_new_tokens"] = min(keys["min_new_tokens"], keys["max_new_tokens"])
    try:
        block = GenerationBlock.model_validate(keys)
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0])
        name = {"beams": "num_beams"}.get(key, key)
        raise ModelError(f"{loaded.name}: its configs have {name} {first['input']!r:.40}: {first['msg']}.") from error
    if (fault := fault_in_token_ids(loaded, block)) is not None:
        raise ModelError(f"{loaded.name}: its configs have {fault}.")
    return keys


def sampling_options(loaded: LoadedModel) -> dict[str, Any]:
    """`temperature`, `top_k` and `top_p` of the configs, which apply where a user turns on sampling."""
    return _sampling_keys(_file_options(loaded))


def options_not_followed(loaded: LoadedModel, entry: Mapping[str, Any] | None = None) -> list[str]:
    """Name and value of each option of the configs that llmkit does not follow, such as `diversity_penalty 0.5`."""
    values = {**(entry or {}), **_file_options(loaded)}
    unfollowed = dict(_NOT_FOLLOWED)
    if values.get("do_sample") is True:
        unfollowed |= _NOT_FOLLOWED_IN_SAMPLING
        if (values.get("num_beams") or 1) > 1:
            unfollowed["do_sample"] = ()
    if not loaded.family.is_encoder_decoder:
        unfollowed["forced_bos_token_id"] = ()
    return [
        f"{name} {values[name]}"
        for name, neutral in unfollowed.items()
        if values.get(name) is not None and values[name] not in neutral
    ]


def options_not_read(config: Mapping[str, Any], generation: Mapping[str, Any]) -> list[str]:
    """Name and value of the options of a config.json that transformers does not read, since there is a
    generation_config.json."""
    defaults = {name: GenerationBlock.model_fields[name].default for name in SAME_NAME}
    defaults |= {"num_beams": 1, "max_length": 20, "min_length": 0, "do_sample": False}
    defaults |= {"temperature": 1, "top_k": _TRANSFORMERS_TOP_K, "top_p": 1}
    neutral = {**_NOT_FOLLOWED, **_NOT_FOLLOWED_IN_SAMPLING, **{name: (value,) for name, value in defaults.items()}}
    return [
        f"{name} {config[name]}"
        for name, values in neutral.items()
        if config.get(name) not in (None, [], generation.get(name), *values)
    ]


def fault_in_token_ids(loaded: LoadedModel, options: GenerationBlock) -> str | None:
    """The first option with a token id outside the vocabulary, in words; None where there is none."""
    ends = options.forced_eos_token_id
    by_option = {
        "bad_words_ids": [token for words in options.bad_words_ids for token in words],
        "suppress_tokens": list(options.suppress_tokens),
        "begin_suppress_tokens": list(options.begin_suppress_tokens),
        "forced_bos_token_id": [] if options.forced_bos_token_id is None else [options.forced_bos_token_id],
        "forced_eos_token_id": [] if ends is None else [ends] if isinstance(ends, int) else ends,
    }
    size: int = loaded.model.config.vocab_size
    for option, ids in by_option.items():
        for token in ids:
            if token >= size:
                return f"{option} {token:,}, but the vocabulary has the ids 0 to {size - 1:,}"
    return None


def without_sampling(keys: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in keys.items() if key not in SAMPLING}


def options_in_words(keys: Mapping[str, Any]) -> str:
    """`beams 4, length_penalty 0.6`: the options that change something, without the length limit."""
    limits = ("max_new_tokens", "max_length")
    defaults = {name: field.default for name, field in GenerationBlock.model_fields.items()}
    shown = [f"{key} {value}" for key, value in keys.items() if key not in limits and value != defaults[key]]
    return ", ".join(shown)


def save_options(loaded: LoadedModel, options: GenerationBlock) -> None:
    """Write options into the model's generation config, in the words of transformers; those that change nothing are
    left out, and sampling stays as it is."""
    generation: Any = loaded.model.generation_config
    for name in SAME_NAME:
        value = getattr(options, name)
        neutral = value == GenerationBlock.model_fields[name].default
        setattr(generation, name, None if neutral else _as_lists(value))
    generation.num_beams = options.beams
    generation.max_length = None  # max_new_tokens says it
    generation.min_length = options.min_length or None


def _as_lists(value: Any) -> Any:
    """Tuples as lists, as they are in JSON and in the checks of transformers."""
    return [_as_lists(item) for item in value] if isinstance(value, tuple) else value


def _file_options(loaded: LoadedModel) -> dict[str, Any]:
    generation: Any = loaded.model.generation_config
    return {name: value for name in OPTIONS if (value := getattr(generation, name, None)) is not None}


def _as_block_keys(values: Mapping[str, Any], *, encoder_decoder: bool) -> dict[str, Any]:
    keys = {name: values[name] for name in SAME_NAME if values.get(name) is not None}
    if values.get("num_beams") is not None:
        keys["beams"] = values["num_beams"]
    lengths = {name: values[name] for name in ("max_length", "min_length") if values.get(name) is not None}
    if not encoder_decoder:
        keys.pop("forced_bos_token_id", None)
    for name, length in lengths.items():
        new = name.replace("length", "new_tokens")
        if new in keys:
            continue
        if encoder_decoder and isinstance(length, int):
            keys[new] = max(length - 1, 1 if name == "max_length" else 0)  # the decoder's start token counts
        else:
            keys[name] = length
    if values.get("do_sample") is True:
        sampling = _sampling_keys({"top_k": _TRANSFORMERS_TOP_K, **values})
        keys |= sampling or {"temperature": 1.0}
    return keys


def _sampling_keys(values: Mapping[str, Any]) -> dict[str, Any]:
    """Those that change something."""
    off = {"temperature": 1, "top_k": 0, "top_p": 1}
    return {key: values[key] for key in SAMPLING if values.get(key) not in (None, off[key])}

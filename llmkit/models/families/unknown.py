"""What a checkpoint is whose `model_type` is that of no family: misspelled, of another kind, or not for text at all.

The kinds are those of the tables of transformers' auto classes, which are read only for an error.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches

from llmkit.errors import ModelError
from llmkit.models.families.base import Family

_CLOSE = 0.6
_OTHER_NAMES = {
    "byt5": "t5",
    "flan-t5": "t5",
    "deberta-v3": "deberta-v2",
    "gpt-neo": "gpt_neo",
    "mbart-50": "mbart",
    "mt0": "mt5",
    "nllb": "m2m_100",
    "opus-mt": "marian",
    "pythia": "gpt_neox",
    "smollm": "llama",
    "smollm2": "llama",
    "xlm-r": "xlm-roberta",
}
"""Names of published models -> the type in their config.json."""
_TABLE = "MODEL_FOR_{}_MAPPING_NAMES"
_KINDS = {"encoder-decoder": "SEQ_TO_SEQ_CAUSAL_LM", "encoder": "MASKED_LM", "decoder": "CAUSAL_LM"}
"""Kind of a text model -> transformers' table of it; a type in several is of the first."""
_OTHER_INPUTS = {
    "a speech model (audio)": ("AUDIO", "CTC", "RNNT", "TDT", "SPEECH", "SPECTROGRAM", "WAVEFORM"),
    "a multimodal model (text with images or audio)": ("TEXT_TO_TEXT", "MULTIMODAL", "VISUAL", "DOCUMENT", "ZERO_SHOT"),
    "a vision model (images)": (
        *("IMAGE", "VIDEO", "DEPTH", "OBJECT", "SEGMENTATION", "KEYPOINT", "BACKBONE", "MASK_GENERATION"),
        *("POINTMAP", "POSE", "NORMAL_ESTIMATION", "RECOGNITION"),
    ),
    "a model of time series": ("TIME_SERIES",),
}
"""Models whose input is not text alone -> words in the names of transformers' tables; of several, the first."""
_PARTS = {"audio": "a speech model (audio)", "vision": "a vision model (images)", "image": "a vision model (images)"}
"""The same by the names of types that are in no table, such as `clip_vision_model`."""


def unknown_type(
    model_type: object, families: Collection[Family], *, name: str, architectures: object = None
) -> ModelError:
    """The error for a type of no family: what the model is, and the nearest types that llmkit has.

    Args:
        model_type: as config.json has it; None if it has none.
        name: the model's, for the message.
        architectures: the classes in config.json, which say what a model without a type is.
    """
    types = [kind for family in families for kind in family.model_types]
    supported = f"llmkit supports {', '.join(types)}."
    if model_type is None:
        fault, implied = f"{name}: its config.json has no model_type", _type_of_class(architectures)
        if implied is None:
            return ModelError(f'{fault}. Add it, such as "model_type": "bert"; {supported}')
        fault += f"; by its architectures ({_first(architectures)}) it is {implied}"
        if implied in types:
            return ModelError(f'{fault}. Add "model_type": "{implied}".')
        return ModelError(f"{fault}, {_difference(implied, families)} {supported}")
    if not isinstance(model_type, str):
        return ModelError(f"{name}: its model_type is {model_type!r:.80}, which is not a name; {supported}")
    fault = f"{name}: its type is {model_type[:80]!r}"
    if _is_of_transformers(model_type):
        return ModelError(f"{fault}, {_difference(model_type, families)} {supported}")
    return ModelError(f"{fault}.{_suggestion(model_type, types)} {supported}")


def _difference(model_type: str, families: Collection[Family]) -> str:
    """What a model of another type of transformers is, and which types are nearest to it."""
    other, kind = _other_input(model_type), _kind(model_type)
    if other is not None:
        return f"{other}; llmkit works with text only."
    if kind is None:
        return "whose architecture llmkit does not implement."
    nearest = ", ".join(_nearest(model_type, [family for family in families if _kind_of_family(family) == kind]))
    article = "a" if kind == "decoder" else "an"
    return f"{article} {kind} whose architecture llmkit does not implement. The nearest {kind}s: {nearest}."


def _first(architectures: object) -> str:
    return str(architectures[0]) if isinstance(architectures, list) and architectures else ""


def _type_of_class(architectures: object) -> str | None:
    """The type with this class in transformers; None for a class that it does not have."""
    first = _first(architectures)
    for table in _tables().values():
        for model_type, names in table.items():
            if first in ([names] if isinstance(names, str) else list(names)):
                return model_type
    return None


def _tables() -> Mapping[str, Mapping[str, str | Iterable[str]]]:
    """`CAUSAL_LM` -> its table from types to names of classes."""
    from transformers.models.auto import modeling_auto

    start, _, end = _TABLE.partition("{}")
    return {
        table.removeprefix(start).removesuffix(end): getattr(modeling_auto, table)
        for table in dir(modeling_auto)
        if table.startswith(start) and table.endswith(end)
    }


def _is_of_transformers(model_type: str) -> bool:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    return model_type in CONFIG_MAPPING_NAMES


def _other_input(model_type: str) -> str | None:
    """What the model is, if it reads something else than text."""
    tables = [name for name, table in _tables().items() if model_type in table]
    for other, words in _OTHER_INPUTS.items():
        if any(word in table for table in tables for word in words):
            return other
    return next((other for part, other in _PARTS.items() if not tables and part in model_type), None)


def _kind(model_type: str) -> str | None:
    tables = _tables()
    return next((kind for kind, table in _KINDS.items() if model_type in tables[table]), None)


def _kind_of_family(family: Family) -> str | None:
    if family.is_encoder_decoder:
        return "encoder-decoder"
    return "encoder" if "masked-lm" in family.heads else "decoder" if "causal-lm" in family.heads else None


def _nearest(model_type: str, families: Iterable[Family]) -> list[str]:
    """The types of these families, those with a similar name first."""
    types = [kind for family in families for kind in family.model_types]
    similar = get_close_matches(model_type, types, n=len(types) or 1, cutoff=_CLOSE)
    return [*similar, *(kind for kind in types if kind not in similar)]


def _suggestion(model_type: str, types: Collection[str]) -> str:
    """` Did you mean X?` for a misspelled type or the name of a published model, or nothing."""
    plain = {_plain(kind): kind for kind in types}
    plain |= {_plain(other): kind for other, kind in _OTHER_NAMES.items() if kind in types}
    close = get_close_matches(_plain(model_type), list(plain), n=1, cutoff=_CLOSE)
    return f" Did you mean {plain[close[0]]!r}?" if close else ""


def _plain(name: str) -> str:
    return "".join(char for char in name.lower() if char.isalnum())

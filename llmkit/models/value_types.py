"""Types of the values in a model folder's JSON files, for `folder_values.py`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

_LARGEST = 2**31 - 1


def _encodable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("the text has half of a surrogate pair, which no file can contain") from None
    return text


Text = Annotated[str, AfterValidator(_encodable)]
Name = Annotated[str, AfterValidator(_encodable), Field(min_length=1, max_length=4096, pattern=r"^[^\x00]*$")]
"""Of a model: a path or a hub id."""
Count = Annotated[int, Field(ge=1, le=_LARGEST)]
Id = Annotated[int, Field(ge=0, le=_LARGEST)]
SeveralIds = Annotated[list[Id], Field(min_length=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(ge=0)]
Number = Annotated[str, Field(pattern=r"^(0|[1-9][0-9]{0,9})$")]
"""A whole number as a key of JSON."""
Dtype = Annotated[str, Field(pattern=r"^(torch\.)?(float16|float32|float64|bfloat16|auto)$")]
Side = Literal["left", "right"]


class Values(BaseModel):
    """Values of one file. A key without a value here is not in the file."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False, protected_namespaces=())


class AddedToken(Values):
    """A token with its properties, as the tokenizers library writes it."""

    content: Annotated[Text, Field(min_length=1)]
    lstrip: bool = False
    normalized: bool = True
    rstrip: bool = False
    single_word: bool = False
    special: bool = False


Token = Annotated[Text, Field(min_length=1)] | AddedToken

Base = Annotated[float, Field(ge=1, le=1e12)]
"""Of rotary positions: the longest wavelength is about as many tokens."""
RotatedShare = Annotated[float, Field(gt=0, le=1)]
Factor = Annotated[float, Field(ge=1e-6, le=1e6)]


class RopeValues(Values):
    """Rotary positions: the base, and how they are stretched for longer texts."""

    attention_factor: Factor | None = None
    beta_fast: Factor | None = None
    beta_slow: Factor | None = None
    factor: Factor | None = None
    high_freq_factor: Factor | None = None
    long_factor: list[Factor] | None = None
    low_freq_factor: Factor | None = None
    original_max_position_embeddings: Count | None = None
    partial_rotary_factor: RotatedShare | None = None
    rope_theta: Base | None = None
    rope_type: Text | None = None
    short_factor: list[Factor] | None = None
    type: Text | None = None


_MOST_LAYERS = 1_000


def _layer_kinds(groups: list[Any]) -> list[Any]:
    """`[[["global", "local"], 6]]`: six times these two. transformers writes all of them out."""
    layers = 0
    for group in groups:
        if not (isinstance(group, list) and len(group) == 2 and isinstance(group[0], list) and type(group[1]) is int):
            raise ValueError("each entry is a list of kinds and how often they are repeated")
        if any(kind not in ("global", "local") for kind in group[0]):
            raise ValueError("the kinds are global and local")
        layers += len(group[0]) * max(group[1], 0)
    if not 1 <= layers <= _MOST_LAYERS:
        raise ValueError(f"there must be 1 to {_MOST_LAYERS:,} layers")
    return groups


LayerKinds = Annotated[list[Any], AfterValidator(_layer_kinds)]
"""GPT-Neo's attention, layer by layer."""


class ClassValues(Values):
    """The keys of config.json that only some classes have; elsewhere they are ignored."""

    layer_types: list[Literal["full_attention", "sliding_attention"]] | None = None
    rope_parameters: RopeValues | None = None
    sliding_window: Count | None = None

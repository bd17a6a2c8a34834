"""The parts of an encoder-decoder that the loss of its targets and beam search read, in the same words for every family.

Legend: B batch, T tokens, D hidden units, H heads, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmkit.models.families.heads import VocabularyHead

if TYPE_CHECKING:
    from torch import Tensor

Map = Callable[["Tensor"], "Tensor"]


@dataclass(frozen=True)
class Attention:
    """The linear maps of an attention, (..., D) to (..., D)."""

    query: Map
    key: Map
    value: Map
    output: Map
    heads: int
    scale: float = 1.0
    """Factor of the scores; T5 has none, its initial weights are small instead."""


@dataclass(frozen=True)
class DecoderLayer:
    attention: Attention
    """To the tokens before."""
    attention_norm: Map
    cross: Attention
    """To the source."""
    cross_norm: Map
    feed_forward: Map
    """With its norm and the residual connection."""
    norm_first: bool
    """Whether the norms are in front of the attentions, or behind the residual connections."""


@dataclass(frozen=True)
class Seq2SeqParts:
    decoder_inputs: Map
    """Labels (B, T), `IGNORED` where nothing counts, to the ids that the decoder reads in front of each."""
    embed: Callable[[Tensor, int], Tensor]
    """Ids (...) of one position, and its number from 0, to the input of the first layer (..., D)."""
    layers: Sequence[DecoderLayer]
    last_norm: Map
    position_bias: Callable[[int], Tensor] | None
    """Number of positions T to what is added to the scores of attention, (1, H, T, T); None for nothing."""
    head: VocabularyHead
    """From the decoder's last states to logits."""


def shifted_right(labels: Tensor, *, start: int | Tensor, pad: int) -> Tensor:
    """(B, T) the start in front, and each label behind it but the last.

    Args:
        start: an id, or ids (B,).
        pad: takes the place of labels that are no ids.
    """
    shifted = labels.roll(1, dims=1)
    shifted[:, 0] = start
    return shifted.masked_fill_(shifted < 0, pad)

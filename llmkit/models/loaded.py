"""A model with its tokenizer, for all code above `models/`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmkit.models.families import Family

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from llmkit.models.scale import TargetScale


@dataclass(frozen=True)
class Adapter:
    """What an adapter is, but for its weights."""

    base: str
    """Hub id or folder of its base model."""
    revision: str | None
    rank: int
    alpha: float
    dropout: float
    targets: tuple[str, ...]
    """Modules with low-rank matrices."""
    whole: tuple[str, ...]
    """Modules that are trained and saved in full, such as new heads."""
    rank_stabilized: bool = False
    """Scale by the root of the rank (Kalajdzievski 2023); never trained here, but read."""
    peft_task: str | None = None
    base_sha256: str | None = None
    """Of the weights that it was trained on; None where whoever made it did not say."""


@dataclass(frozen=True)
class LoadedModel:
    """A model that is ready to use; `name` is what the user called it, for messages."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    family: Family
    name: str
    revision: str | None = None
    """The commit of a hub model."""
    base: str | None = None
    """Hub id or folder that has these very weights, for an adapter to name; None where nothing has them."""
    new_weights: tuple[str, ...] = ()
    """Parameters that were drawn at random: those that the checkpoint lacked, or all."""
    adapter: Adapter | None = None
    """Of an adapter that is in the model, apart from its weights."""
    target_scale: TargetScale | None = None
    """Of a regression that is being trained: what its outputs are standardised by; None where they are as they are."""

    @property
    def window(self) -> int:
        """The most tokens one sequence may have: the smaller of the model's positions and the tokenizer's limit."""
        positions: int | None = getattr(
            self.model.config, "max_position_embeddings", None
        )  # T5 has relative positions: no limit
        limit: int = self.tokenizer.model_max_length
        return min(limit, positions or limit)

    @property
    def is_bounded(self) -> bool:
        """Whether anything limits a sequence; where nothing does, `window` is the huge number of such a tokenizer."""
        return self.window < 10**9

    @property
    def loss_unit(self) -> float:
        """What a loss is multiplied by for reports: the variance, where it is one of standardised numbers."""
        return 1.0 if self.target_scale is None else self.target_scale.deviation**2

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names in the order of the logits."""
        id2label: dict[int, str] = self.model.config.id2label
        return tuple(id2label[index] for index in range(len(id2label)))

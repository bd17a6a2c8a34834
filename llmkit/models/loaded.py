"""A model with its tokenizer, for all code above `models/`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmkit.models.families import Family

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from llmkit.models.scale import TargetScale
    from llmkit.models.sentence_modules import SentenceModules


@dataclass(frozen=True)
class Adapter:
    """The settings of an adapter, without its weights."""

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
    """Scale by the root of the rank (Kalajdzievski 2023); read, but never trained by llmkit."""
    peft_task: str | None = None
    base_sha256: str | None = None
    """Of the weights that it was trained on; None if unknown."""


@dataclass(frozen=True)
class LoadedModel:
    """A model that is ready to use; `name` is the user's name for it, for messages."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    family: Family
    name: str
    revision: str | None = None
    """The commit of a hub model."""
    base: str | None = None
    """Hub id or folder with the same weights, for an adapter to refer to; None if there is none."""
    new_weights: tuple[str, ...] = ()
    """Parameters with random weights: those that the checkpoint lacked, or all."""
    adapter: Adapter | None = None
    """Settings of the adapter in the model, if any."""
    sentence: SentenceModules | None = None
    """For a model opened to embed texts, what its folder of sentence-transformers says about that."""
    target_scale: TargetScale | None = None
    """For a regression in training with standardized numbers: their mean and deviation; else None."""

    @property
    def positions(self) -> int | None:
        """The most tokens that the model has positions for; None for T5, whose positions are relative."""
        return self.family.positions(self.model.config)

    @property
    def window(self) -> int:
        """Maximum tokens of a sequence: the smaller of the model's positions and the tokenizer's limit."""
        limit: int = self.tokenizer.model_max_length
        return min(limit, self.positions or limit)

    @property
    def most_new_tokens(self) -> int | None:
        """The most tokens that an encoder-decoder can write; None without a limit of its own, and for other models."""
        return self.positions if self.family.is_encoder_decoder else None

    @property
    def is_bounded(self) -> bool:
        """Whether there is a length limit; without one, `window` is the huge number that transformers uses."""
        return self.window < 10**9

    @property
    def loss_unit(self) -> float:
        """Factor of a loss in reports: the variance if the loss is of standardized numbers, else 1."""
        return 1.0 if self.target_scale is None else self.target_scale.deviation**2

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names in the order of the logits."""
        id2label: dict[int, str] = self.model.config.id2label
        return tuple(id2label[index] for index in range(len(id2label)))

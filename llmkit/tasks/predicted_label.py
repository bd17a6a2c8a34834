"""A predicted label with the probability of every label. Knows no models and no tasks.

Legend: C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class PredictedLabel(str):
    """The most probable label. It is text, as any label, so that metrics of labels take it as it is."""

    names: Sequence[str]
    """(C,) the model's labels, shared by all predictions."""
    shares: NDArray[np.float64]
    """(C,) the probability of each."""
    abstained: bool | None
    """Whether the model gives no label, since the probability of this one is too low; None if it always gives one."""

    def __new__(
        cls, label: str, names: Sequence[str], shares: NDArray[np.float64], *, abstained: bool | None = None
    ) -> PredictedLabel:
        prediction = super().__new__(cls, label)
        prediction.names, prediction.shares, prediction.abstained = names, shares, abstained
        return prediction

    def __getnewargs__(self) -> tuple[str, Sequence[str], NDArray[np.float64]]:  # type: ignore[override]
        """For the copies that processes send each other; `abstained` is copied with the other attributes."""
        return str(self), self.names, self.shares

    @property
    def probabilities(self) -> dict[str, float]:
        """By label, in the order of the model's classes."""
        return dict(zip(self.names, self.shares.tolist(), strict=True))

    @property
    def confidence(self) -> float:
        """The probability of this label."""
        return float(self.shares[list(self.names).index(str(self))])

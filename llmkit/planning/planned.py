"""What a plan says. Plain data; imports no model library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmkit.planning.disk import Disk
    from llmkit.planning.memory import Memory
    from llmkit.planning.rows import TextLengths
    from llmkit.planning.timing import Timing
    from llmkit.planning.values import ResolvedValue
    from llmkit.training.device_memory import DeviceMemory
    from llmkit.training.precision import Precision


@dataclass(frozen=True)
class ModelSize:
    name: str
    family: str
    parameters: int
    """With an adapter, those of its base."""
    trainable: int
    """Those that are trained, an adapter's included."""


@dataclass(frozen=True)
class RowCounts:
    rows: int
    examples: int
    """Of training; a long text may give several."""
    tokens: int
    """Of the training examples, without padding."""
    validation_rows: int
    validation_examples: int
    estimated: bool
    """Whether examples and tokens are estimated from a sample."""
    lengths: tuple[TextLengths, ...]


@dataclass(frozen=True)
class Steps:
    total: int
    per_epoch: int
    epochs: float
    batch_size: int
    warmup: int
    tokens: int
    """That the training reads, without padding."""
    padding_share: float
    """Of the positions that are computed."""
    micro_batch_tokens: int
    micro_batches: float
    """Of a step, on average."""


@dataclass(frozen=True)
class RunPlan:
    """Everything that is known before a training starts."""

    recipe: str
    task: str
    values: tuple[ResolvedValue, ...]
    model: ModelSize
    data: RowCounts
    steps: Steps
    device: str
    precision: Precision
    memory: Memory
    memory_needed: int
    """Peak in bytes, without what the libraries take."""
    device_memory: DeviceMemory | None
    """None where the device does not say it."""
    disk: Disk
    time: Timing | None
    """None if it was not measured."""
    fits: bool | None
    """Whether memory and disk suffice; None if that cannot be known."""
    problems: tuple[str, ...]
    """Why it does not fit, and what to change."""
    unknown: tuple[str, ...]
    """What the plan cannot know, or only estimates."""

"""What `llmkit doctor` finds out. Plain data without secrets; imports no model library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Device:
    name: str
    """torch's name, such as `cpu` or `cuda:0`."""
    description: str
    total_bytes: int | None
    free_bytes: int | None
    precision: str
    """The format that `train.precision: auto` chooses."""
    reason: str
    formats: Mapping[str, str]
    """Format -> `yes`, or why it cannot be used."""


@dataclass(frozen=True)
class Cache:
    what: str
    folder: str
    """With `~` for the home folder."""
    exists: bool
    writable: bool
    bytes: int
    free_bytes: int
    """Of its file system."""


@dataclass(frozen=True)
class Hub:
    endpoint: str
    offline: bool
    """Whether HF_HUB_OFFLINE forbids to reach it."""
    reachable: bool | None
    """None if it was not tried."""
    detail: str


@dataclass(frozen=True)
class Diagnosis:
    python: str
    system: str
    versions: Mapping[str, str | None]
    """Package -> version; None if it is not installed."""
    extras: Mapping[str, Mapping[str, str | None]]
    """Extra of llmkit -> its packages with their versions."""
    devices: tuple[Device, ...]
    cpu: Mapping[str, str]
    """Threads, and the instructions that torch uses."""
    caches: tuple[Cache, ...]
    hub: Hub
    free_bytes: int
    """Of the current folder's file system."""
    problems: tuple[str, ...]
    """What is broken, with what to do."""

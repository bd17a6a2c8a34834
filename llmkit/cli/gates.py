"""The gates of `llmkit evaluate`: their options, and what they print."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from llmkit.errors import GateFailed, UsageError

if TYPE_CHECKING:
    from llmkit.api import Gate, Gates

FailUnder = Annotated[
    list[str] | None,
    typer.Option(
        metavar="SCORE=LIMIT",
        help="Exit with 7 if the whole 95 % interval of a score is worse than LIMIT, such as rougeL=0.30. Can be repeated.",
    ),
]
NoWorseThan = Annotated[
    str | None,
    typer.Option(
        metavar="RUN|FILE", help="Exit with 7 if the main score is significantly worse than that of this run or file."
    ),
]
Margin = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[SCORE=]LOSS",
        help="With --no-worse-than, the loss that is allowed, and the score if it is not the main one. Can be repeated.",
    ),
]


def read_gates(fail_under: list[str] | None, no_worse_than: str | None, margin: list[str] | None) -> Gates | None:
    """The gates of the command line; None without any.

    Raises:
        UsageError: an option that is not SCORE=NUMBER, or an unknown score.
    """
    if not fail_under and no_worse_than is None and not margin:
        return None
    from llmkit.api import Gates

    limits = dict(_pair(text, option="--fail-under", needs_name=True) for text in fail_under or ())
    margins = dict(_pair(text, option="--margin", needs_name=False) for text in margin or ())
    gates = Gates(limits, no_worse_than, margins or None)
    gates.check()
    return gates


def _pair(text: str, *, option: str, needs_name: bool) -> tuple[str, float]:
    name, equals, number = text.rpartition("=")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or ((needs_name or equals) and not name):
        example = (
            "SCORE=LIMIT, such as rougeL=0.30" if needs_name else "LOSS or SCORE=LOSS, such as 0.01 or rougeL=0.01"
        )
        raise UsageError(f"{option} {text}: write {example}.")
    return name, value


def raise_failed(results: Sequence[Gate]) -> None:
    """
    Raises:
        GateFailed: a gate has failed.
    """
    failed = [gate for gate in results if not gate.passed]
    if failed:
        raise GateFailed("\n".join(gate.text.removeprefix("failed: ") for gate in failed))

"""How many of the texts that a model wrote were stopped by the length limit, and not by the model."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llmkit.recipe.blocks import GenerationBlock
from llmkit.tasks.base import Engine

if TYPE_CHECKING:
    import numpy as np

_log = logging.getLogger("llmkit")
Counts = tuple[int, int, int]
"""Texts written, those stopped by the limit, and the limit in tokens."""


class WrittenLengths:
    """An engine that counts what it writes; all work is the other's."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.counted: Counts = (0, 0, 0)

    def class_logits(self, sequences: Sequence[Sequence[int]], *, pairs: bool = False) -> np.ndarray:
        return self._engine.class_logits(sequences, pairs=pairs)

    def token_logits(self, sequences: Sequence[Sequence[int]], *, pairs: bool = False) -> list[np.ndarray]:
        return self._engine.token_logits(sequences, pairs=pairs)

    def generate(self, sequences: Sequence[Sequence[int]], options: GenerationBlock) -> list[list[list[int]]]:
        results = self._engine.generate(sequences, options)
        limit = options.max_new_tokens or 0
        lengths = [len(ids) for lists in results for ids in lists]  # without the end of text: so many only if none came
        written, stopped, _ = self.counted
        self.counted = (written + len(lengths), stopped + sum(length >= limit for length in lengths), limit)
        return results


def written_details(counted: Sequence[Counts]) -> dict[str, Any]:
    """`Scores.details` about the texts that several processes wrote, logged too; nothing where none was written."""
    written, stopped = sum(one[0] for one in counted), sum(one[1] for one in counted)
    if not written:
        return {}
    limit = max(one[2] for one in counted)
    _log.info(
        "%s of %s texts written reached the limit of max_new_tokens %s", f"{stopped:,}", f"{written:,}", f"{limit:,}"
    )
    return {"written": {"texts": written, "reached_limit": stopped, "max_new_tokens": limit}}

"""What a task and inference need of an engine. Knows no tokenizers and no recipes: token ids in, logits or token ids out.

Legend: N sequences, T tokens, C classes.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np

    from llmkit.recipe.generation import GenerationBlock


class Engine(Protocol):
    """Token ids in, logits or token ids out, in the same order. It batches any number of sequences itself."""

    def class_logits(self, sequences: Sequence[Sequence[int]], *, pairs: bool = False) -> np.ndarray:
        """(N, C) float32 logits of a classifier."""
        ...

    def token_logits(self, sequences: Sequence[Sequence[int]], *, pairs: bool = False) -> list[np.ndarray]:
        """For each sequence (T, C) float32 logits of its tokens.

        Args:
            pairs: each sequence is two segments with a separator after each; BERT needs their token type ids.
        """
        ...

    def generate(self, sequences: Sequence[Sequence[int]], options: GenerationBlock) -> list[list[list[int]]]:
        """For each sequence, `options.num_return_sequences` lists of new ids, without prompt, padding or end-of-text.

        `options.max_new_tokens` must be set. Sequences are encoder inputs for T5 and prompts for GPT-2.
        """
        ...


class StreamingEngine(Engine, Protocol):
    """An engine that can also generate a sequence token by token."""

    def generate_stream(self, sequence: Sequence[int], options: GenerationBlock) -> Generator[int, None, None]:
        """The ids of `generate([sequence], options)[0][0]` as they are generated; closing it stops."""
        ...

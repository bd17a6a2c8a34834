"""The loss of each row: sums over its examples, such as the windows of a long text. Knows neither models nor files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from llmkit.data.examples import Examples

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True)
class RowLosses:
    """What each row adds to the loss, so that `loss`, `perplexity` and `bits_per_byte` of any rows are quotients of sums.

    Rows are blocks for tasks that need only text.
    """

    nats: NDArray[np.float64]
    """(rows,)"""
    targets: NDArray[np.int64]
    """(rows,) tokens, labels or numbers that count in the loss; 0 for a row that has none."""
    utf8_bytes: NDArray[np.float64] | None = None
    """(rows,) size of the text of the targets; None where bits per byte have no meaning."""

    @classmethod
    def of_examples(
        cls,
        examples: Examples,
        nats: NDArray[np.float64],
        targets: NDArray[np.int64],
        *,
        tokenizer: PreTrainedTokenizerFast | None,
    ) -> RowLosses:
        """
        Args:
            nats: (N,) of each example.
            targets: (N,) of each example.
            tokenizer: to count the bytes of texts; None if they are not needed.
        """
        if examples.row_of is not None:
            nats = np.bincount(examples.row_of, weights=nats, minlength=examples.rows).astype(np.float64)
            targets = np.bincount(examples.row_of, weights=targets, minlength=examples.rows).astype(np.int64)
        if tokenizer is None or not examples.utf8_bytes:
            return cls(nats, targets)
        return cls(nats, targets, _bytes_of_blocks(examples, targets, tokenizer))


def _bytes_of_blocks(
    examples: Examples, targets: NDArray[np.int64], tokenizer: PreTrainedTokenizerFast
) -> NDArray[np.float64]:
    """(N,) the bytes of all examples, divided among them by the length of their text and their share of targets."""
    ids = examples.columns["input_ids"]
    texts = tokenizer.batch_decode([ids[index].tolist() for index in range(len(ids))], skip_special_tokens=True)
    sizes = np.asarray([len(text.encode(errors="replace")) for text in texts], dtype=np.float64)
    weights = sizes * targets / np.maximum(ids.lengths, 1)
    total = weights.sum()
    return weights * (examples.utf8_bytes / total) if total else weights

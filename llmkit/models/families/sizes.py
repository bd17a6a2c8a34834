"""Sizes of models with random weights, and default learning rates."""

from __future__ import annotations

import math
from dataclasses import dataclass

SIZE_KEYS = ("hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size")


@dataclass(frozen=True)
class Size:
    """A transformer's size."""

    layers: int
    """Blocks; in T5, of the encoder and again of the decoder."""
    hidden: int
    heads: int
    feed_forward: int
    head_dim: int
    key_value_heads: int | None = None
    """Heads of keys and values, each for several heads of queries; None for as many as `heads`."""


@dataclass(frozen=True)
class LearningRates:
    """Default peak learning rates of AdamW."""

    pretrained: float
    """Devlin et al. 2019, appendix A.3 (2e-5 to 5e-5) for BERT; the transformers documentation of T5 (1e-4 and 3e-4 work
    well) for T5; Radford et al. give none for GPT-2, 5e-5 is common."""
    random: float
    """Small models with random weights need a much larger rate: 1e-3 reached the best validation loss of 3e-4, 1e-3 and
    3e-3 on a 2-layer BERT."""
    lora: float
    """Hu et al. 2021, appendix D (4e-4 to 5e-4 for RoBERTa base, 2e-4 for GPT-2). They have no T5: 1e-3 is the rate of peft's
    example for mt0-large, an mT5 (examples/conditional_generation/peft_lora_seq2seq.ipynb)."""


def initial_spread(hidden: int) -> float:
    """Standard deviation of random weights: the published 0.02 at the published width of 768 and above it.

    The output of a projection of D inputs has sqrt(D) times that. With 0.02 at D = 128 attention is so weak at the start
    that a masked-lm stays at the unigram loss for thousands of steps, and is a worse start for fine-tuning than none; so
    narrower models get larger weights. T5 scales with its width itself.
    """
    return 0.02 * math.sqrt(max(1, 768 / hidden))


def square(layers: int, hidden: int) -> Size:
    """The proportions of BERT and GPT-2: 64 units per head, feed-forward four times as wide."""
    return Size(layers=layers, hidden=hidden, heads=hidden // 64, feed_forward=4 * hidden, head_dim=64)

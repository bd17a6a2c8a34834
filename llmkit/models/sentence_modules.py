"""How a sentence-transformers folder turns the states of a text's tokens into its vector, and what it puts before texts.

Knows no files: `sentence_reading.py` reads the modules.
Legend: N texts, D numbers of a vector.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import linear, normalize

from llmkit.models.pooling import Pooling, Similarity

ACTIVATIONS = ("ELU", "GELU", "Identity", "LeakyReLU", "Mish", "ReLU", "ReLU6", "SELU", "SiLU", "Sigmoid", "Softplus",
                "Softsign", "Tanh")  # fmt: skip
"""Classes of torch.nn without weights, used with their defaults."""


@dataclass(frozen=True)
class Dense:
    """A linear map with an activation."""

    weight: Tensor
    """(D out, D in)"""
    bias: Tensor | None
    activation: str
    """Of `ACTIVATIONS`."""
    residual: Tensor | Literal["input"] | None
    """What is added: nothing, the input, or a linear map (D out, D in) of it."""

    def __call__(self, vectors: Tensor) -> Tensor:
        output: Tensor = getattr(torch.nn, self.activation)()(linear(vectors, self.weight, self.bias))
        if self.residual is None:
            return output
        return output + (vectors if self.residual == "input" else linear(vectors, self.residual))


@dataclass(frozen=True)
class UnitLength:
    """Scales each vector to length 1."""

    def __call__(self, vectors: Tensor) -> Tensor:
        return normalize(vectors, dim=1)


@dataclass(frozen=True)
class SentenceModules:
    """What to do with a text before and after the model."""

    pooling: tuple[Pooling, ...]
    include_prompt: bool
    """Whether the tokens of a prompt are pooled, too."""
    layers: tuple[Dense | UnitLength, ...]
    """After pooling, without a `UnitLength` at the end."""
    normalize: bool
    """Whether a `UnitLength` is at the end."""
    truncate_dim: int | None
    """Numbers of a vector that are kept."""
    max_tokens: int | None
    """Longest text; None for the model's own limit."""
    lowercase: bool
    prompts: Mapping[str, str]
    """Texts to put before a text, by name."""
    default_prompt_name: str | None
    similarity: Similarity

    @property
    def layers_width(self) -> tuple[int, int] | None:
        """Numbers of a vector before and after the layers; None where they take any."""
        shapes = [layer.weight.shape for layer in self.layers if isinstance(layer, Dense)]
        return (shapes[0][1], shapes[-1][0]) if shapes else None

    def __str__(self) -> str:
        """What it does in one line, for the log."""
        layers = [f"Dense to {len(layer.weight):,}" for layer in self.layers if isinstance(layer, Dense)]
        limit = None if self.max_tokens is None else f"at most {self.max_tokens:,} tokens"
        default = self.prompts.get(self.default_prompt_name or "")
        known = f"prompts {', '.join(self.prompts)}" if any(self.prompts.values()) else None
        parts = [
            f"pooling {'+'.join(self.pooling)}",
            *layers,
            "Normalize" if self.normalize else None,
            None if self.truncate_dim is None else f"the first {self.truncate_dim:,} numbers",
            limit,
            "in lower case" if self.lowercase else None,
            known,
            f"by default {default!r}" if default else None,
            None if self.similarity == "cosine" else f"similarity {self.similarity}",
        ]
        return ", ".join(part for part in parts if part)

    def sha256(self, of_model: str) -> str:
        """One hash of all weights, given that of the model; the same where there are no others."""
        layers = [layer for layer in self.layers if isinstance(layer, Dense)]
        if not layers:
            return of_model
        digest = hashlib.sha256(of_model.encode())
        for layer in layers:
            for tensor in (layer.weight, layer.bias, layer.residual):
                digest.update(tensor.numpy().data.cast("B") if tensor is not None and tensor != "input" else b"")
        return digest.hexdigest()

"""The heads of models: what they put out, and the commands that use them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

Head = Literal[
    "causal-lm",
    "classification",
    "embedding",
    "masked-lm",
    "question-answering",
    "replaced-token-detection",
    "seq2seq-lm",
    "token-classification",
]
"""The outputs: the vocabulary, classes of a text or of its tokens, start and end of an answer, whether each token was replaced,
or hidden states."""
HeadVerb = Literal["answer", "classify", "embed", "fill", "generate", "summarize", "tag"]
VERBS: Mapping[Head, HeadVerb] = {
    "causal-lm": "generate",
    "classification": "classify",
    "embedding": "embed",
    "masked-lm": "fill",
    "question-answering": "answer",
    "replaced-token-detection": "embed",
    "seq2seq-lm": "summarize",
    "token-classification": "tag",
}
"""The command that uses a model with this head."""
PEFT_TASKS: Mapping[Head, str] = {
    "causal-lm": "CAUSAL_LM",
    "classification": "SEQ_CLS",
    "question-answering": "QUESTION_ANS",
    "seq2seq-lm": "SEQ_2_SEQ_LM",
    "token-classification": "TOKEN_CLS",
}
"""peft's names of heads."""
LABELLED_HEADS: frozenset[Head] = frozenset({"classification", "token-classification"})
"""Heads whose outputs have names."""
VOCABULARY_HEADS: frozenset[Head] = frozenset({"causal-lm", "masked-lm", "replaced-token-detection", "seq2seq-lm"})
"""Heads with an output for each token of the vocabulary; of replaced-token detection, that of the generator."""
SPAN_HEADS: frozenset[Head] = frozenset({"question-answering"})
"""Heads that point at tokens of the text: its first and its last."""
TEXT_HEADS: frozenset[Head] = frozenset({"classification"})
"""Heads that run once for a whole text, not at each token."""


@dataclass(frozen=True)
class VocabularyHead:
    """From the body's states (..., D) to logits (..., V): `transform(states) @ weight.T + bias`."""

    transform: Callable[[Tensor], Tensor]
    weight: Tensor
    """(V, D)"""
    bias: Tensor | None
    """(V,), or None for a head without."""

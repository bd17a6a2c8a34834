"""The table of what is tested: families x tasks x invariants. A family is a row of `CASES`.

`test_invariants.py` runs the table, `docs/models.md` shows it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, Protocol

import pytest
from builders import LABELS, TaskName, recipe_of, task_of, tiny_model
from decoder_folders import tiny_decoder
from encoder_decoder_folders import KINDS, Kind, tiny_encoder_decoder

from llmkit.models.families import Head
from llmkit.models.loaded import LoadedModel
from llmkit.tasks.base import Task

Use = TaskName | Literal["embed"]
"""A task, or vectors, which need no training."""
ENCODER_USES: tuple[Use, ...] = (
    "classification",
    "multiple-choice",
    "masked-lm",
    "question-answering",
    "token-classification",
    "embed",
)

DECODER_USES: tuple[Use, ...] = ("causal-lm", "instruction", "classification")


class TinyModel(Protocol):
    """Makes the smallest model of a type with a head, as `builders.tiny_model` does."""

    def __call__(self, *, head: Head, dropout: float, layers: int, labels: tuple[str, ...]) -> LoadedModel: ...


@dataclass(frozen=True)
class Case:
    """A model type, and what is tested with it."""

    model_type: str
    """Of config.json, or the name of one of several kinds of it."""
    build: TinyModel
    uses: tuple[Use, ...]
    lora_targets: frozenset[str]
    """Last names of the modules that LoRA adapts by default."""
    quick: tuple[Use, ...] = ()
    """Those that belong to the quick tests: of one or two types of each kind of architecture; all others are slow."""

    def loaded(self, use: Use, *, layers: int = 1, dropout: float = 0.0) -> LoadedModel:
        head: Head = "embedding" if use == "embed" else recipe_of(use).HEAD
        labels = ("LABEL_0",) if use == "multiple-choice" else LABELS
        return self.build(head=head, layers=layers, dropout=dropout, labels=labels)

    def task(self, name: TaskName, *, layers: int = 1, dropout: float = 0.0) -> Task:
        return task_of(name, loaded=self.loaded(name, layers=layers, dropout=dropout))


def _encoder(
    family: str, targets: Iterable[str], *, model_type: str | None = None, quick: tuple[Use, ...] = ()
) -> Case:
    build = partial(tiny_model, family, model_type=model_type)
    return Case(model_type or family, build, ENCODER_USES, frozenset(targets), quick)


def _decoder(model_type: str, targets: Iterable[str] = ("q_proj", "v_proj"), *, quick: tuple[Use, ...] = ()) -> Case:
    return Case(model_type, partial(tiny_decoder, model_type), DECODER_USES, frozenset(targets), quick)


def _encoder_decoder(kind: Kind) -> Case:
    uses: tuple[Use, ...] = ("summarization", "classification") if kind == "bart" else ("translation",)
    quick: tuple[Use, ...] = uses if kind == "mbart-50" else ()
    return Case(kind, partial(tiny_encoder_decoder, kind), uses, frozenset({"q_proj", "v_proj"}), quick)


CASES = (
    _encoder("bert", ("query", "value")),
    _encoder("distilbert", ("q_lin", "v_lin"), quick=("classification", "question-answering", "masked-lm")),
    _encoder("roberta", ("query", "value"), quick=("classification", "masked-lm", "token-classification", "embed")),
    _encoder("roberta", ("query", "value"), model_type="xlm-roberta"),
    _encoder("roberta", ("query", "value"), model_type="camembert"),
    replace(_encoder("electra", ("query", "value")), uses=(*ENCODER_USES, "replaced-token-detection")),
    _encoder("albert", ("query", "value")),
    _encoder("deberta", ("query_proj", "value_proj"), model_type="deberta-v2"),
    _encoder("mpnet", ("q", "v")),
    _encoder("modernbert", ("Wqkv",), quick=("token-classification", "masked-lm")),
    Case("gpt2", partial(tiny_model, "gpt2"), DECODER_USES, frozenset({"c_attn"})),
    _decoder("llama", quick=("causal-lm",)),
    _decoder("mistral"),
    _decoder("qwen2"),
    _decoder("qwen3"),
    _decoder("gpt_neo"),
    _decoder("gpt_neox", ("query_key_value",)),
    _decoder("opt"),
    Case("t5", partial(tiny_model, "t5"), ("summarization", "span-corruption", "classification"), frozenset("qv")),
    *(_encoder_decoder(kind) for kind in KINDS),
)

Invariant = Literal["loss", "targets", "padding", "micro-batches", "resume", "batch", "saved", "adapter"]
TITLES: dict[Invariant, str] = {
    "loss": "loss and gradients equal those of transformers' own logits",
    "targets": "no logits over the vocabulary are computed for positions that do not count",
    "padding": "padding is never a target and changes no loss",
    "micro-batches": "one micro-batch and many give the same gradients",
    "resume": "a resumed training equals an uninterrupted one bit for bit",
    "batch": "a result does not depend on the other texts of the batch",
    "saved": "the saved model has the same logits in plain transformers",
    "adapter": "a LoRA adapter gives the same merged and beside its base",
}
"""Invariant -> what it says, as in the docs."""


def holds_for(invariant: Invariant, use: Use) -> bool:
    """Whether an invariant is tested for a task: vectors are not trained, the tasks of pretraining encoders
    have no adapters, and a detector of replaced tokens has no use of its own."""
    if use == "embed":
        return invariant in ("batch", "saved")
    if invariant == "targets":
        return recipe_of(use).HEAD in ("causal-lm", "masked-lm", "replaced-token-detection", "seq2seq-lm")
    if use == "replaced-token-detection":
        return invariant not in ("adapter", "batch")
    return not (invariant == "adapter" and use == "masked-lm")


def table_of(invariant: Invariant) -> pytest.MarkDecorator:
    """Parametrize a test with `case` and `use`: all that the invariant is tested for."""
    return pytest.mark.parametrize(
        ("case", "use"),
        [
            pytest.param(case, use, id=f"{case.model_type}-{use}", marks=() if use in case.quick else pytest.mark.slow)
            for case in CASES
            for use in case.uses
            if holds_for(invariant, use)
        ],
    )

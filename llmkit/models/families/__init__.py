"""The architectures. A new one is a file in this folder, a line in this table, and its name in `recipe/blocks.py`."""

from __future__ import annotations

from collections.abc import Mapping

from llmkit.models.families.albert import Albert
from llmkit.models.families.bart import Bart
from llmkit.models.families.base import Family
from llmkit.models.families.bert import Bert
from llmkit.models.families.deberta import Deberta
from llmkit.models.families.distilbert import DistilBert
from llmkit.models.families.electra import Electra
from llmkit.models.families.gpt2 import Gpt2
from llmkit.models.families.gpt_neo import GptNeo
from llmkit.models.families.gpt_neox import GptNeoX
from llmkit.models.families.heads import (
    LABELLED_HEADS,
    PEFT_TASKS,
    SPAN_HEADS,
    TEXT_HEADS,
    VERBS,
    VOCABULARY_HEADS,
    Head,
    HeadVerb,
    VocabularyHead,
)
from llmkit.models.families.llama import Llama
from llmkit.models.families.lstm import Lstm
from llmkit.models.families.m2m100 import M2M100
from llmkit.models.families.marian import Marian
from llmkit.models.families.mbart import Mbart
from llmkit.models.families.modernbert import ModernBert
from llmkit.models.families.mpnet import Mpnet
from llmkit.models.families.opt import Opt
from llmkit.models.families.pegasus import Pegasus
from llmkit.models.families.roberta import Roberta
from llmkit.models.families.t5 import T5
from llmkit.models.families.unknown import unknown_type

__all__ = [
    "FAMILIES",
    "LABELLED_HEADS",
    "PEFT_TASKS",
    "SPAN_HEADS",
    "TEXT_HEADS",
    "VERBS",
    "VOCABULARY_HEADS",
    "Family",
    "Head",
    "VocabularyHead",
    "families_for",
    "families_with",
    "family_of",
    "verb_of_class",
]

FAMILIES: Mapping[str, Family] = {
    family.name: family
    for family in (
        Bert(),
        DistilBert(),
        Roberta(),
        Electra(),
        Albert(),
        Deberta(),
        Mpnet(),
        ModernBert(),
        Gpt2(),
        Llama(),
        GptNeo(),
        GptNeoX(),
        Opt(),
        Lstm(),
        T5(),
        Bart(),
        Mbart(),
        Marian(),
        Pegasus(),
        M2M100(),
    )
}


def families_with(head: Head) -> tuple[str, ...]:
    """Names of the families that have a head."""
    return tuple(family.name for family in FAMILIES.values() if head in family.heads)


def families_for(objective: str) -> tuple[str, ...]:
    """Names of the families that are pretrained with a task."""
    return tuple(family.name for family in FAMILIES.values() if objective in family.objectives)


def verb_of_class(name: str) -> HeadVerb | None:
    """The command for a class in config.json; None if llmkit does not know the class.

    Some types have classes that are named like another's, with letters before: mT5, XLM-RoBERTa.
    """
    for family in FAMILIES.values():
        for head, known in family.heads.items():
            first = next(iter(family.class_prefixes.values()), "")
            ends = (known, *(prefix + known.removeprefix(first) for prefix in family.class_prefixes.values()))
            if name.endswith(ends):
                return VERBS[head]
    return None


def family_of(model_type: object, *, name: str, architectures: object = None) -> Family:
    """The family of a checkpoint.

    Args:
        model_type: of its config.json.
        name: the model's, for the message.
        architectures: of its config.json, for the message about a model without a type.
    Raises:
        ModelError: llmkit has no such family; says what the model is, and which types are nearest to it.
    """
    for family in FAMILIES.values():
        if model_type in family.model_types:
            return family
    raise unknown_type(model_type, FAMILIES.values(), name=name, architectures=architectures)

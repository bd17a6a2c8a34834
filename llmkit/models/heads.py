"""Which transformers class a family has for each head, and which verb uses it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmkit.errors import ModelError
from llmkit.models.loaded import Family, Head
from llmkit.models.places import ModelPlace

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NEW_HEADS = ("classifier.", "score.", "qa_outputs.", "bert.pooler.", "cls.")
"""Weights that training may begin without."""
_ONE_SIDED = (
    "Each of its tokens has seen only what stands before it, so its states are no vectors of a text; "
    "`llmkit embed` takes BERT and T5"
)
VERBS: dict[Head, str] = {
    "causal-lm": "generate",
    "classification": "classify",
    "embedding": "embed",
    "masked-lm": "fill",
    "question-answering": "answer",
    "seq2seq-lm": "summarize",
    "token-classification": "tag",
}


def model_class(family: Family, head: Head) -> type[PreTrainedModel]:
    """The class of a family with a head: transformers' own, but for the LSTM, which it does not have.

    Raises:
        ModelError: the family has no such head here.
    """
    classes = model_classes()
    if (family, head) == ("gpt2", "embedding"):
        raise ModelError(f"a {family} model has no {head} head. {_ONE_SIDED}.")
    if (family, head) not in classes:
        fits = [VERBS[other] for (of, other) in classes if of == family]
        article = "an" if family == "lstm" else "a"
        raise ModelError(f"{article} {family} model has no {head} head; `llmkit {fits[0]}` fits it.")
    return classes[family, head]


def model_classes() -> dict[tuple[Family, Head], type[PreTrainedModel]]:
    from transformers import (
        BertForMaskedLM,
        BertForQuestionAnswering,
        BertForSequenceClassification,
        BertForTokenClassification,
        BertModel,
        GPT2ForSequenceClassification,
        GPT2LMHeadModel,
        T5EncoderModel,
        T5ForConditionalGeneration,
        T5ForTokenClassification,
    )

    from llmkit.models.lstm import LstmForSequenceClassification

    return {
        ("bert", "classification"): BertForSequenceClassification,
        ("bert", "embedding"): BertModel,
        ("bert", "masked-lm"): BertForMaskedLM,
        ("bert", "question-answering"): BertForQuestionAnswering,
        ("bert", "token-classification"): BertForTokenClassification,
        ("gpt2", "causal-lm"): GPT2LMHeadModel,
        ("gpt2", "classification"): GPT2ForSequenceClassification,
        ("lstm", "classification"): LstmForSequenceClassification,
        ("t5", "seq2seq-lm"): T5ForConditionalGeneration,
        ("t5", "embedding"): T5EncoderModel,
        # The encoder with a linear head; what a text has is the mean over its tokens (models/text_logits.py).
        ("t5", "classification"): T5ForTokenClassification,
    }


def class_of(place: ModelPlace, family: Family, head: Head) -> type[PreTrainedModel]:
    """As `model_class`; mT5 is a T5 to all of llmkit, but transformers has classes of its own for it."""
    cls = model_class(family, head)
    if place.config.get("model_type") == "mt5":
        from transformers import MT5ForConditionalGeneration, MT5ForTokenClassification

        by_head: dict[Head, type[PreTrainedModel]] = {
            "classification": MT5ForTokenClassification,
            "seq2seq-lm": MT5ForConditionalGeneration,
        }
        return by_head.get(head, cls)  # the bare encoder is the same, weight for weight
    return cls

"""BERT (Devlin et al. 2019). Its sizes are in encoder.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmkit.models.families.base import Family
from llmkit.models.families.encoder import SegmentEncoder, heads_of
from llmkit.models.families.heads import Head, VocabularyHead

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


class Bert(SegmentEncoder):
    name = "bert"
    model_types = ("bert",)
    heads = heads_of("Bert")
    config_class = "BertConfig"
    size_parameters = {
        "tiny": 1_503_362,
        "mini": 5_405_442,
        "small": 17_233_410,
        "medium": 29_842_946,
        "base": 92_186_882,
        "large": 312_081_410,
    }
    other_parts = ("classifier", "cls", "pooler", "qa_outputs")
    new_weights = (*Family.new_weights, "bert.pooler.")
    vocabulary = "cls.predictions.decoder."

    def prepare(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, head: Head) -> None:
        from llmkit.models.first_token import read_first_token_only

        if head == "classification":
            read_first_token_only(model)

    def masked_lm_head(self, model: Any) -> VocabularyHead:
        head = model.cls.predictions
        return VocabularyHead(head.transform, head.decoder.weight, head.decoder.bias)

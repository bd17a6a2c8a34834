"""ALBERT (Lan et al. 2020): BERT whose layers share their weights, with narrower embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmkit.models.families.base import Family
from llmkit.models.families.encoder import SegmentEncoder, heads_of
from llmkit.models.families.heads import VocabularyHead

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


class Albert(SegmentEncoder):
    name = "albert"
    article = "an"
    model_types = ("albert",)
    heads = heads_of("Albert")
    sizes = {}
    layers = {
        "num_hidden_groups": "encoder.albert_layer_groups.",
        "inner_group_num": "encoder.albert_layer_groups.0.albert_layers.",
    }
    other_parts = ("classifier", "pooler", "predictions", "qa_outputs", "sop_classifier")
    new_weights = (*Family.new_weights, "albert.pooler.", "predictions.")
    vocabulary = "predictions.decoder."

    def layer_repeats(self, config: PreTrainedConfig) -> int:
        repeats: int = config.num_hidden_layers // config.num_hidden_groups
        return repeats

    def masked_lm_head(self, model: Any) -> VocabularyHead:
        head = model.predictions

        def transform(states: Any) -> Any:  # (..., D)
            return head.LayerNorm(head.activation(head.dense(states)))

        return VocabularyHead(transform, head.decoder.weight, head.decoder.bias)

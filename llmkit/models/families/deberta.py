"""DeBERTa v2 and v3 (He et al. 2021): content and relative positions attend to each other apart; no fused kernel."""

from __future__ import annotations

from typing import Any

from llmkit.models.families.base import Family
from llmkit.models.families.encoder import Encoder, heads_of
from llmkit.models.families.heads import VocabularyHead
from llmkit.models.families.sizes import LearningRates


class Deberta(Encoder):
    name = "deberta"
    model_types = ("deberta-v2",)
    heads = heads_of("DebertaV2")
    sizes = {}
    learning_rates = LearningRates(pretrained=2e-5, random=1e-3, lora=4e-4)
    other_parts = ("classifier", "cls", "lm_predictions", "mask_predictions", "pooler", "qa_outputs")
    new_weights = (*Family.new_weights, "pooler.")
    vocabulary = "cls.predictions.decoder."
    lora_targets = ("query_proj", "value_proj")
    attention_kernels = ("eager",)
    has_pooler = False

    def masked_lm_head(self, model: Any) -> VocabularyHead:
        if not model.config.legacy:  # the head of the published v2 models, which shares the embeddings
            own = model.lm_predictions.lm_head
            embeddings = model.deberta.embeddings.word_embeddings.weight

            def transform(states: Any) -> Any:  # (..., D)
                return own.LayerNorm(own.transform_act_fn(own.dense(states)))

            return VocabularyHead(transform, embeddings, own.bias)
        head = model.cls.predictions
        return VocabularyHead(head.transform, head.decoder.weight, head.decoder.bias)

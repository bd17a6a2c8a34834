"""ELECTRA (Clark et al. 2020): BERT with narrower embeddings, pretrained by telling replaced tokens from true ones.

Sizes: small and base from Clark et al. 2020, table 6; large from its table 6, too; tiny and mini are BERT's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmkit.models.families.base import Family, LearningRates, Size, VocabularyHead, square
from llmkit.models.families.encoder import SegmentEncoder, heads_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_MASKED_LM_HEAD = ("generator_predictions", "generator_lm_head")


class Electra(SegmentEncoder):
    name = "electra"
    article = "an"
    model_types = ("electra",)
    heads = heads_of("Electra")
    config_class = "ElectraConfig"
    sizes = {
        "tiny": square(2, 128),
        "mini": square(4, 256),
        "small": Size(layers=12, hidden=256, heads=4, feed_forward=1024, head_dim=64),
        "base": square(12, 768),
        "large": square(24, 1024),
    }
    size_parameters = {
        "tiny": 1_503_362,
        "mini": 4_348_418,
        "small": 10_666_498,
        "base": 92_186_882,
        "large": 312_081_410,
    }
    # Clark et al. 2020, table 7: 3e-4 for small, 1e-4 for base, 5e-5 for large.
    learning_rates = LearningRates(pretrained=1e-4, random=1e-3, lora=4e-4)
    other_parts = ("classifier", "qa_outputs", "discriminator_predictions", *_MASKED_LM_HEAD)
    new_weights = (*Family.new_weights, *(f"{part}." for part in _MASKED_LM_HEAD))
    vocabulary = "generator_lm_head."
    output_modules = ("classifier.out_proj",)
    has_pooler = False

    def scratch_keys(self, tokenizer: PreTrainedTokenizerFast, *, hidden: int) -> dict[str, Any]:
        return {"embedding_size": min(hidden, 128) if hidden <= 256 else hidden}

    def masked_lm_head(self, model: Any) -> VocabularyHead:
        head = model.generator_lm_head
        return VocabularyHead(model.generator_predictions, head.weight, head.bias)

"""ELECTRA (Clark et al. 2020): BERT with narrower embeddings, pretrained by telling replaced tokens from true ones.

Sizes: small and base from Clark et al. 2020, table 6; large from its table 6, too; tiny and mini are BERT's.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from llmkit.errors import UsageError
from llmkit.models.families.base import Family
from llmkit.models.families.encoder import SegmentEncoder, heads_of
from llmkit.models.families.heads import VocabularyHead
from llmkit.models.families.sizes import LearningRates, Size, initial_spread, square

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

_MASKED_LM_HEAD = ("generator_predictions", "generator_lm_head")


class Electra(SegmentEncoder):
    name = "electra"
    article = "an"
    model_types = ("electra",)
    heads = {**heads_of("Electra"), "replaced-token-detection": "ElectraForPreTraining"}
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
    new_weights = (
        *Family.new_weights, "discriminator_predictions.", *(f"{part}." for part in _MASKED_LM_HEAD)
    )  # fmt: skip
    vocabulary = "generator_lm_head."
    output_modules = ("classifier.out_proj",)
    has_pooler = False

    def scratch_keys(self, tokenizer: PreTrainedTokenizerFast, *, hidden: int) -> dict[str, Any]:
        return {"embedding_size": min(hidden, 128) if hidden <= 256 else hidden}

    def new_generator(self, model: Any, *, width: float) -> PreTrainedModel:
        """As Clark et al. 2020, section 3.2: as deep as the discriminator, and with all of its embeddings."""
        from transformers import ElectraForMaskedLM

        config = copy.deepcopy(model.config)
        config.hidden_size = round(width * config.hidden_size)
        config.intermediate_size = round(width * config.intermediate_size)
        config.num_attention_heads = max(1, round(width * config.num_attention_heads))
        if not config.hidden_size or config.hidden_size % config.num_attention_heads:
            raise UsageError(
                f"generator_size: {width:g} of {model.config.hidden_size} units are {config.hidden_size}, which "
                f"{config.num_attention_heads} attention heads cannot share. Give another share, such as 0.25 or 0.5."
            )
        config.initializer_range = max(config.initializer_range, initial_spread(config.hidden_size))
        generator: PreTrainedModel = ElectraForMaskedLM(config)
        embeddings = model.electra.embeddings
        generator.electra.embeddings = embeddings
        generator.generator_lm_head.weight = embeddings.word_embeddings.weight
        return generator

    def masked_lm_head(self, model: Any) -> VocabularyHead:
        head = model.generator_lm_head
        return VocabularyHead(model.generator_predictions, head.weight, head.bias)

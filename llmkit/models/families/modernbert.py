"""ModernBERT (Warner et al. 2024): rotary positions, gated feed-forward layers, and attention to near tokens in two of three
layers; byte-level BPE with BERT's special tokens.

Sizes: base and large from Warner et al. 2024, table 4; the smaller ones have BERT's width and depth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmkit.models.families.base import Family
from llmkit.models.families.encoder import Encoder, heads_of
from llmkit.models.families.heads import VocabularyHead
from llmkit.models.families.sizes import LearningRates, Size, square

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from llmkit.recipe.blocks import ScratchModel


class ModernBert(Encoder):
    name = "modernbert"
    model_types = ("modernbert",)
    heads = heads_of("ModernBert")
    config_class = "ModernBertConfig"
    sizes = {
        "tiny": square(2, 128),
        "mini": square(4, 256),
        "small": square(6, 384),
        "base": Size(layers=22, hidden=768, heads=12, feed_forward=1152, head_dim=64),
        "large": Size(layers=28, hidden=1024, heads=16, feed_forward=2624, head_dim=64),
    }
    size_parameters = {
        "tiny": 1_565_698,
        "mini": 6_310_914,
        "small": 17_381_378,
        "base": 117_067_778,
        "large": 352_448_514,
    }
    learning_rates = LearningRates(pretrained=5e-5, random=1e-3, lora=4e-4)
    tokenizer = "bpe"
    layers = {"num_hidden_layers": "layers."}
    other_parts = ("classifier", "decoder", "head")
    new_weights = (*Family.new_weights, "head.", "decoder.")
    vocabulary = "decoder."
    lora_targets = ("Wqkv",)
    has_pooler = False

    def dropout_keys(self, block: ScratchModel) -> dict[str, float]:
        attention = block.dropout if block.attention_dropout is None else block.attention_dropout
        return {
            "embedding_dropout": block.dropout,
            "mlp_dropout": block.dropout,
            "classifier_dropout": block.dropout,
            "attention_dropout": attention,
        }

    def scratch_keys(self, tokenizer: PreTrainedTokenizerFast, *, hidden: int) -> dict[str, Any]:
        cls, sep = tokenizer.cls_token_id, tokenizer.sep_token_id
        return {"cls_token_id": cls, "bos_token_id": cls, "sep_token_id": sep, "eos_token_id": sep}

    def masked_lm_head(self, model: Any) -> VocabularyHead:
        return VocabularyHead(model.head, model.decoder.weight, model.decoder.bias)

"""RoBERTa (Liu et al. 2019), and the models with its architecture: XLM-RoBERTa (Conneau et al. 2020) and CamemBERT (Martin
et al. 2020), whose classes differ by name and whose tokenizers are SentencePiece.

Sizes: base and large from Liu et al. 2019, section 3.1; the smaller ones are BERT's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmkit.models.families.encoder import RobertaPositions, heads_of
from llmkit.models.families.sizes import LearningRates

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_WINDOW = 512


class Roberta(RobertaPositions):
    name = "roberta"
    model_types = ("roberta", "xlm-roberta", "camembert")
    class_prefixes = {"roberta": "Roberta", "xlm-roberta": "XLMRoberta", "camembert": "Camembert"}
    heads = heads_of("Roberta")
    config_class = "RobertaConfig"
    size_parameters = {
        "tiny": 1_503_490,
        "mini": 5_405_698,
        "small": 17_233_922,
        "medium": 29_843_458,
        "base": 92_187_650,
        "large": 312_082_434,
    }
    # Liu et al. 2019, table 10: 1e-5 to 3e-5 for fine-tuning.
    learning_rates = LearningRates(pretrained=2e-5, random=1e-3, lora=4e-4)
    tokenizer = "bpe"

    def scratch_keys(self, tokenizer: PreTrainedTokenizerFast, *, hidden: int) -> dict[str, Any]:
        ids = {f"{role}_token_id": getattr(tokenizer, f"{role}_token_id") for role in ("bos", "eos")}
        return {"max_position_embeddings": _WINDOW + tokenizer.pad_token_id + 1, "type_vocab_size": 1, **ids}

"""llmkit's own LSTM classifier (lstm_network.py), as a baseline.

Sizes: tiny from Tai et al. 2015, "Improved Semantic Representations From Tree-Structured Long Short-Term Memory Networks",
table 1 (168 units of a direction for sentiment, on word vectors of 300); small from Zhang et al. 2015, "Character-level
Convolutional Networks for Text Classification", section 3.2 (512 units, word vectors of 300).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmkit.models.families.base import Family
from llmkit.models.families.encoder import BERT_TOKENS
from llmkit.models.families.heads import Head
from llmkit.models.families.sizes import LearningRates

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

    from llmkit.recipe.blocks import ScratchModel


@dataclass(frozen=True)
class LstmSize:
    layers: int
    hidden: int
    """Units of each direction."""
    embedding: int


class Lstm(Family):
    name = "lstm"
    article = "an"
    model_types = ("lstm",)
    heads = {"classification": "LstmForSequenceClassification"}
    sizes = {
        "tiny": LstmSize(layers=1, hidden=168, embedding=300),
        "small": LstmSize(layers=1, hidden=512, embedding=300),
    }
    size_keys = ("embedding_size", "hidden_size", "num_hidden_layers", "vocab_size")
    size_parameters = {"tiny": 3_032_354, "small": 5_736_194}
    learning_rates = LearningRates(pretrained=1e-3, random=1e-3, lora=1e-3)
    no_attention_dropout = "an LSTM has no attention"
    tokenizer = "wordpiece"
    special_tokens = BERT_TOKENS
    needed_tokens = ("pad",)
    layers = {"num_hidden_layers": ""}
    attention_kernels = ()
    is_of_transformers = False

    def scratch_config(self, block: ScratchModel, tokenizer: PreTrainedTokenizerFast) -> PreTrainedConfig:
        from llmkit.models.families.lstm_network import LstmConfig

        size = self.size(block.size)
        return LstmConfig(
            vocab_size=len(tokenizer),
            embedding_size=size.embedding,
            hidden_size=size.hidden,
            num_hidden_layers=size.layers,
            dropout=block.dropout,
            pad_token_id=tokenizer.pad_token_id,
        )

    def model_class(self, head: Head, *, model_type: str | None = None) -> type[PreTrainedModel]:
        from llmkit.models.families.lstm_network import LstmForSequenceClassification

        self.check_head(head)
        return LstmForSequenceClassification

    def register(self) -> None:
        from llmkit.models.families.lstm_network import register

        register()

    def refuse_precision(self, precision: str, device: torch.device) -> str | None:
        """Under torch's autocast cuDNN's LSTM computes in fp16, for every format: with bf16, without the
        scaling of the loss that fp16 needs."""
        if precision == "bf16" and device.type == "cuda":
            return "a GPU computes a bf16 LSTM in unscaled fp16"
        return None

    def attention_width(self, config: PreTrainedConfig) -> int:
        return 0  # each direction takes one step per token, without attention

"""RoBERTa (Liu et al. 2019), and the models with its architecture: XLM-RoBERTa (Conneau et al. 2020) and CamemBERT (Martin
et al. 2020), whose classes differ by name and whose tokenizers are SentencePiece.

Sizes: base and large from Liu et al. 2019, section 3.1 (those of BERT); the smaller ones are BERT's (see bert.py).

What differs from BERT: no segments, two separators between the texts of a pair, and positions that begin behind that of
padding, so that 514 of them are 512 tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmkit.models.families.base import Family, Head, LearningRates, VocabularyHead, initial_spread
from llmkit.models.families.bert import Bert

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerFast

    from llmkit.recipe.blocks import ScratchModel

_WINDOW = 512


class Roberta(Family):
    name = "roberta"
    model_types = ("roberta", "xlm-roberta", "camembert")
    class_prefixes = {"roberta": "Roberta", "xlm-roberta": "XLMRoberta", "camembert": "Camembert"}
    heads = {
        "classification": "RobertaForSequenceClassification",
        "embedding": "RobertaModel",
        "masked-lm": "RobertaForMaskedLM",
        "question-answering": "RobertaForQuestionAnswering",
        "token-classification": "RobertaForTokenClassification",
    }
    sizes = Bert.sizes
    # Liu et al. 2019, table 10: 1e-5 to 3e-5 for fine-tuning.
    learning_rates = LearningRates(pretrained=2e-5, random=1e-3, lora=4e-4)
    tokenizer = "bpe"
    special_tokens = {
        "bos_token": "<s>",
        "cls_token": "<s>",
        "pad_token": "<pad>",
        "eos_token": "</s>",
        "sep_token": "</s>",
        "unk_token": "<unk>",
        "mask_token": "<mask>",
    }
    needed_tokens = ("cls", "sep", "pad")
    model_input_names = ("input_ids", "attention_mask")
    separators = 2
    layers = {"num_hidden_layers": "encoder.layer."}
    other_parts = ("classifier", "lm_head", "pooler", "qa_outputs")
    new_weights = (*Family.new_weights, "lm_head.")
    output_modules = ("classifier.out_proj",)
    lora_targets = ("query", "value")

    def scratch_config(self, block: ScratchModel, tokenizer: PreTrainedTokenizerFast) -> PreTrainedConfig:
        from transformers import RobertaConfig

        size = self.size(block.size)
        padding: int = tokenizer.pad_token_id
        return RobertaConfig(
            vocab_size=len(tokenizer),
            hidden_size=size.hidden,
            num_hidden_layers=size.layers,
            num_attention_heads=size.heads,
            intermediate_size=size.feed_forward,
            max_position_embeddings=_WINDOW + padding + 1,
            type_vocab_size=1,
            initializer_range=initial_spread(size.hidden),
            hidden_dropout_prob=block.dropout,
            attention_probs_dropout_prob=block.dropout if block.attention_dropout is None else block.attention_dropout,
            pad_token_id=padding,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )

    def load_options(self, head: Head) -> dict[str, Any]:
        """No pooler for vectors: many checkpoints have none, and random weights must not be used."""
        return {"add_pooling_layer": False} if head == "embedding" else {}

    def masked_lm_head(self, model: Any) -> VocabularyHead:
        head = model.lm_head

        def transform(states: Any) -> Any:  # (..., D)
            from torch.nn import functional

            return head.layer_norm(functional.gelu(head.dense(states)))

        return VocabularyHead(transform, head.decoder.weight, head.decoder.bias)

    def positions(self, config: PreTrainedConfig) -> int | None:
        """Positions are counted from the one after padding's."""
        return int(config.max_position_embeddings) - int(config.pad_token_id) - 1

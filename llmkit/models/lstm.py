"""A text classifier with an LSTM, as texts were read before there were transformers: to compare with, and for speed.

Embeddings, a bidirectional LSTM (Hochreiter and Schmidhuber 1997; Graves and Schmidhuber 2005), the largest value of
each unit over all tokens, and a linear layer. Saved as a transformers model is, but it is none of transformers' own
classes: llmkit alone opens it.

Legend: B batch, T tokens, E embedding, H units of a direction, C classes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput


class LstmConfig(PreTrainedConfig):
    model_type = "lstm"

    vocab_size: int = 8000
    embedding_size: int = 300
    hidden_size: int = 168
    """Units of each direction."""
    num_hidden_layers: int = 1
    dropout: float = 0.1
    """On embeddings, between layers, and in front of the classifier."""
    initializer_range: float = 0.1
    """Embeddings are uniform in this distance from 0."""
    pad_token_id: int | None = 0


class LstmForSequenceClassification(PreTrainedModel):
    config_class = LstmConfig
    config: LstmConfig
    base_model_prefix = "lstm"

    def __init__(self, config: LstmConfig) -> None:
        super().__init__(config)
        self.embeddings = nn.Embedding(config.vocab_size, config.embedding_size, padding_idx=config.pad_token_id)
        widths = [config.embedding_size, *([2 * config.hidden_size] * (config.num_hidden_layers - 1))]
        # Layers of their own, so that dropout between them is a module as everywhere else: the LSTM's own draws from
        # a state of the GPU library.
        self.lstm = nn.ModuleList(
            nn.LSTM(width, config.hidden_size, batch_first=True, bidirectional=True) for width in widths
        )
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(2 * config.hidden_size, config.num_labels)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.embeddings

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> SequenceClassifierOutput:
        """Logits (B, C) of token ids (B, T).

        Args:
            attention_mask: (B, T) 1 for tokens, then 0 for padding, which is never read; None where there is none.
        """
        rows, longest = input_ids.shape
        lengths = torch.full((rows,), longest) if attention_mask is None else attention_mask.sum(dim=1).cpu()
        hidden = self.dropout(self.embeddings(input_ids))  # (B, T, E)
        # A row of nothing but padding would be refused: its first position is read.
        packed = pack_padded_sequence(hidden, lengths.clamp(min=1), batch_first=True, enforce_sorted=False)
        for number, layer in enumerate(self.lstm):
            packed, _ = layer(packed if number == 0 else self._dropped(packed))
        read, _ = pad_packed_sequence(packed, batch_first=True, padding_value=float("-inf"))  # (B, T, 2H)
        logits = self.classifier(self.dropout(read.amax(dim=1)))  # (B, C)
        return SequenceClassifierOutput(logits=logits)

    def _dropped(self, packed: PackedSequence) -> PackedSequence:
        return packed._replace(data=self.dropout(packed.data))

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """torch's own start, but for the embeddings, and a forget gate that is open: long memory is not to be learnt.

        The open gate is that of Jozefowicz et al. 2015, who found it to close the gap to other recurrent networks.
        """
        if isinstance(module, nn.Embedding):
            module.weight.uniform_(-self.config.initializer_range, self.config.initializer_range)
            if module.padding_idx is not None:
                module.weight[module.padding_idx].zero_()
        elif isinstance(module, nn.LSTM):
            module.reset_parameters()
            units = module.hidden_size
            for name, weight in module.named_parameters():
                if name.startswith("bias_hh"):
                    weight[units : 2 * units] += 1
        elif isinstance(module, nn.Linear):
            module.reset_parameters()


def register(auto_config: Any = AutoConfig) -> None:
    """Tell transformers' tokenizer loading what `model_type: lstm` is; it asks every folder's config."""
    auto_config.register("lstm", LstmConfig, exist_ok=True)

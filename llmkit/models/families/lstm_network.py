"""A text classifier with an LSTM, from before transformers: a baseline, and for speed.

Embeddings, a bidirectional LSTM (Hochreiter and Schmidhuber 1997; Graves and Schmidhuber 2005), max pooling over all
tokens, and a linear layer. Saved like a transformers model, but it is not one of transformers' classes: only llmkit
opens it.

Legend: B batch, T tokens, E embedding, H units of a direction, C classes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
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
    """On embeddings, between layers, and before the classifier."""
    initializer_range: float = 0.1
    """Embeddings are uniform between minus this and this."""
    pad_token_id: int | None = 0


class BidirectionalLSTM(nn.Module):
    """An LSTM from the first token on, and one from the last.

    Padding comes after the tokens, so the forward direction does not see it, and the backward direction gets each row
    reversed without it. torch's packed sequences give the same result and take three times as long to train on a CPU.
    """

    def __init__(self, width: int, *, units: int) -> None:
        super().__init__()
        self.forwards = nn.LSTM(width, units, batch_first=True)
        self.backwards = nn.LSTM(width, units, batch_first=True)

    def forward(self, hidden: Tensor, back: Tensor) -> Tensor:
        """(B, T, E) -> (B, T, 2H); outputs at padding are meaningless.

        Args:
            back: (B, T) position of each token when its row is read from the end; applied twice, it is the identity.
        """
        forwards, _ = self.forwards(hidden)  # (B, T, H)
        reversed_, _ = self.backwards(_reordered(hidden, back))  # (B, T, H)
        return torch.cat([forwards, _reordered(reversed_, back)], dim=-1)


def _reordered(hidden: Tensor, positions: Tensor) -> Tensor:
    """The tokens of each row in another order."""
    return hidden.gather(1, positions[..., None].expand_as(hidden))


class LstmForSequenceClassification(PreTrainedModel):
    config_class = LstmConfig
    config: LstmConfig
    base_model_prefix = "lstm"

    def __init__(self, config: LstmConfig) -> None:
        super().__init__(config)
        self.embeddings = nn.Embedding(config.vocab_size, config.embedding_size, padding_idx=config.pad_token_id)
        widths = [config.embedding_size, *([2 * config.hidden_size] * (config.num_hidden_layers - 1))]
        self.lstm = nn.ModuleList(BidirectionalLSTM(width, units=config.hidden_size) for width in widths)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(2 * config.hidden_size, config.num_labels)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.embeddings

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> SequenceClassifierOutput:
        """Logits (B, C) of token ids (B, T).

        Args:
            attention_mask: (B, T) 1 for tokens, then 0 for padding, which is ignored; None without padding.
        """
        inside = torch.ones_like(input_ids) if attention_mask is None else attention_mask  # (B, T)
        # A row of padding alone has no maximum: its first position is used.
        lengths = inside.sum(dim=1, keepdim=True).clamp(min=1)  # (B, 1)
        positions = torch.arange(input_ids.shape[1], device=input_ids.device)[None]  # (1, T)
        back = torch.where(
            positions < lengths, lengths - 1 - positions, positions
        )  # (B, T), each row's tokens from its end
        hidden = self.embeddings(input_ids)  # (B, T, E)
        for layer in self.lstm:
            hidden = layer(self.dropout(hidden), back)  # (B, T, 2H)
        read = hidden.masked_fill((positions >= lengths)[..., None], float("-inf")).amax(dim=1)  # (B, 2H)
        logits = self.classifier(self.dropout(read))  # (B, C)
        return SequenceClassifierOutput(logits=logits)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """torch's initialization, except for the embeddings and an open forget gate for long memory from the start.

        Jozefowicz et al. 2015 found that an open gate closes the gap to other recurrent networks.
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
    """Register `model_type: lstm`, since transformers' tokenizer loading reads every folder's config."""
    auto_config.register("lstm", LstmConfig, exist_ok=True)

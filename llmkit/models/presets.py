"""Sizes from the published tables, and what is common to a family.

Sources of the sizes:
- bert: tiny to base from Turc et al. 2019, "Well-Read Students Learn Better", table 1 (and the google-research/bert
  README); base and large from Devlin et al. 2019, section 3. Feed-forward 4 x hidden, a head per 64 units.
- gpt2: small, medium, large and xl from Radford et al. 2019, table 2. That table starts at 124 M parameters; tiny and
  mini take width and depth of Turc et al., with GPT-2's own block.
- lstm: tiny from Tai et al. 2015, "Improved Semantic Representations From Tree-Structured LSTMs", table 1 (168 units of
  a direction for sentiment, on word vectors of 300); small from Zhang et al. 2015, "Character-level Convolutional
  Networks for Text Classification", section 3.2 (512 units, word vectors of 300).
- t5: tiny and mini from Tay et al. 2021, "Scale Efficiently", table 2; small, base, large and xl (3B) from Raffel et
  al. 2020, section 3.7.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmkit.errors import UsageError
from llmkit.models.loaded import Family

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerFast

    from llmkit.recipe.blocks import ScratchModel


@dataclass(frozen=True)
class Size:
    layers: int
    """Blocks; in T5, of the encoder and again of the decoder."""
    hidden: int
    heads: int
    feed_forward: int
    head_dim: int


@dataclass(frozen=True)
class LstmSize:
    layers: int
    hidden: int
    """Units of each direction."""
    embedding: int


def _square(layers: int, hidden: int) -> Size:
    """The proportions of BERT and GPT-2: 64 units a head, feed-forward four times as wide."""
    return Size(layers=layers, hidden=hidden, heads=hidden // 64, feed_forward=4 * hidden, head_dim=64)


SIZES: Mapping[Family, Mapping[str, Size | LstmSize]] = {
    "bert": {
        "tiny": _square(2, 128),
        "mini": _square(4, 256),
        "small": _square(4, 512),
        "medium": _square(8, 512),
        "base": _square(12, 768),
        "large": _square(24, 1024),
    },
    "gpt2": {
        "tiny": _square(2, 128),
        "mini": _square(4, 256),
        "small": _square(12, 768),
        "medium": _square(24, 1024),
        "large": _square(36, 1280),
        "xl": Size(layers=48, hidden=1600, heads=25, feed_forward=6400, head_dim=64),
    },
    "lstm": {
        "tiny": LstmSize(layers=1, hidden=168, embedding=300),
        "small": LstmSize(layers=1, hidden=512, embedding=300),
    },
    "t5": {
        "tiny": Size(layers=4, hidden=256, heads=4, feed_forward=1024, head_dim=32),
        "mini": Size(layers=4, hidden=384, heads=8, feed_forward=1536, head_dim=32),
        "small": Size(layers=6, hidden=512, heads=8, feed_forward=2048, head_dim=64),
        "base": Size(layers=12, hidden=768, heads=12, feed_forward=3072, head_dim=64),
        "large": Size(layers=24, hidden=1024, heads=16, feed_forward=4096, head_dim=64),
        "xl": Size(layers=24, hidden=1024, heads=32, feed_forward=16384, head_dim=128),
    },
}


def scratch_config(block: ScratchModel, tokenizer: PreTrainedTokenizerFast) -> PreTrainedConfig:
    """The transformers config of random weights of this size, for this tokenizer.

    Raises:
        UsageError: the family has no such size.
    """
    sizes = SIZES[block.architecture]
    if block.size not in sizes:
        raise UsageError(f"model.size: {block.architecture} has no size {block.size!r}; use {', '.join(sizes)}.")
    size = sizes[block.size]
    attention_dropout = block.dropout if block.attention_dropout is None else block.attention_dropout
    if isinstance(size, LstmSize):
        return _lstm_config(size, tokenizer, dropout=block.dropout)
    match block.architecture:
        case "bert":
            return _bert_config(size, tokenizer, dropout=block.dropout, attention_dropout=attention_dropout)
        case "gpt2":
            return _gpt2_config(size, tokenizer, dropout=block.dropout, attention_dropout=attention_dropout)
        case "t5":
            return _t5_config(size, tokenizer, dropout=block.dropout)
        case "lstm":
            raise AssertionError("its sizes are of another type")


def _initial_spread(size: Size) -> float:
    """Standard deviation of random weights: the published 0.02 at the published width of 768 and above it.

    A projection of D inputs spreads by sqrt(D) times that. With 0.02 at D = 128 attention begins so faint that a
    masked-lm stays at the unigram loss for thousands of steps, and is a worse start for fine-tuning than none; so
    narrower models get wider weights. T5 scales with its width itself.
    """
    return 0.02 * math.sqrt(max(1, 768 / size.hidden))


def _bert_config(
    size: Size, tokenizer: PreTrainedTokenizerFast, *, dropout: float, attention_dropout: float
) -> PreTrainedConfig:
    from transformers import BertConfig

    return BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=size.hidden,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        intermediate_size=size.feed_forward,
        initializer_range=_initial_spread(size),
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=attention_dropout,
        pad_token_id=tokenizer.pad_token_id,
    )


def _gpt2_config(
    size: Size, tokenizer: PreTrainedTokenizerFast, *, dropout: float, attention_dropout: float
) -> PreTrainedConfig:
    from transformers import GPT2Config

    return GPT2Config(
        vocab_size=len(tokenizer),
        n_embd=size.hidden,
        n_layer=size.layers,
        n_head=size.heads,
        initializer_range=_initial_spread(size),
        resid_pdrop=dropout,
        embd_pdrop=dropout,
        attn_pdrop=attention_dropout,
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )


def _t5_config(size: Size, tokenizer: PreTrainedTokenizerFast, *, dropout: float) -> PreTrainedConfig:
    from transformers import T5Config

    return T5Config(
        vocab_size=len(tokenizer),
        d_model=size.hidden,
        d_kv=size.head_dim,
        d_ff=size.feed_forward,
        num_layers=size.layers,
        num_heads=size.heads,
        dropout_rate=dropout,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.pad_token_id,  # Raffel et al.: the decoder starts from padding
    )


def _lstm_config(size: LstmSize, tokenizer: PreTrainedTokenizerFast, *, dropout: float) -> PreTrainedConfig:
    from llmkit.models.lstm import LstmConfig

    return LstmConfig(
        vocab_size=len(tokenizer),
        embedding_size=size.embedding,
        hidden_size=size.hidden,
        num_hidden_layers=size.layers,
        dropout=dropout,
        pad_token_id=tokenizer.pad_token_id,
    )

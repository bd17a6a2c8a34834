"""Models that write a known chain of tokens, whatever stands before the last one, to see where each text ends."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from builders import tokenizer_of
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

from llmkit.models.families import FAMILIES
from llmkit.models.loaded import LoadedModel

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def chain_tokenizer(family: str) -> PreTrainedTokenizerFast:
    """With the tokens of ChatML, and <|extra|>, which is special and ends nothing by itself."""
    tokenizer = copy.deepcopy(tokenizer_of(family))
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>", "<|extra|>"]})
    return tokenizer


def chain_model(tokenizer: PreTrainedTokenizerFast, *chains: Sequence[str], family: str = "gpt2") -> LoadedModel:
    """Behind each token of a chain it writes the next one; behind any other, something.

    GPT-2 begins anywhere; T5 begins with padding, which should be the first of a chain.
    """
    links = [pair for chain in chains for pair in pairwise(tokenizer.convert_tokens_to_ids(list(chain)))]
    model = (
        _gpt2(len(tokenizer), links) if family == "gpt2" else _t5(len(tokenizer), links, start=tokenizer.pad_token_id)
    )
    return LoadedModel(model=model.eval(), tokenizer=tokenizer, family=FAMILIES[family], name="chain")


def _gpt2(size: int, links: Sequence[tuple[int, int]]) -> Any:
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=size, n_embd=64, n_layer=1, n_head=1, n_positions=64, tie_word_embeddings=False, eos_token_id=0
    )
    model = GPT2LMHeadModel(config)
    _silence(model.transformer.h[0].attn.c_proj, model.transformer.h[0].mlp.c_proj, model.transformer.wpe)
    table = model.transformer.wte.weight.data.normal_()  # vectors that are nearly at right angles
    head = model.lm_head.weight.data.zero_()
    for token, after in links:
        head[after] += table[token]
    return model


def _t5(size: int, links: Sequence[tuple[int, int]], *, start: int) -> Any:
    """T5's head is its table of embeddings: here both are the identity, and the last layer takes the step."""
    config = T5Config(
        vocab_size=size, d_model=size, d_kv=8, d_ff=size, num_layers=1, num_heads=1, decoder_start_token_id=start
    )
    model: Any = T5ForConditionalGeneration(config)
    own, cross, forward = model.decoder.block[0].layer
    _silence(own.SelfAttention.o, cross.EncDecAttention.o, forward.DenseReluDense.wo)
    model.shared.weight.data.copy_(torch.eye(size))
    forward.DenseReluDense.wi.weight.data.copy_(torch.eye(size))
    for token, after in links:
        forward.DenseReluDense.wo.weight.data[after, token] = 10.0
    model.decoder.final_layer_norm.weight.data.fill_(20.0)
    return model


def _silence(*layers: nn.Module) -> None:
    """What a token is decides alone what comes behind it."""
    for layer in layers:
        for weight in layer.parameters():
            weight.data.zero_()


def set_ids(loaded: LoadedModel, **ids: Any) -> None:
    """Write the same ids into both configs, as a model has them that transformers made."""
    for config in (loaded.model.config, loaded.model.generation_config):
        for key, value in ids.items():
            setattr(config, key, value)

"""A BERT classifier whose last layer works for its first token alone: the same numbers with less work."""

from __future__ import annotations

import copy

import pytest
import torch
from builders import tiny_model
from torch import Tensor, nn
from transformers import BertForSequenceClassification

from llmkit.models.cpu import speed_up_on_cpu
from llmkit.models.first_token import read_first_token_only

IDS = torch.tensor([[2, 7, 8, 9, 10, 3], [2, 11, 3, 0, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0]])


def plain_model(attention: str = "sdpa") -> BertForSequenceClassification:
    """The tiny BERT of the tests, as transformers itself computes it."""
    config = copy.deepcopy(tiny_model("bert", layers=3).model.config)
    config._attn_implementation = attention
    torch.manual_seed(5)
    return BertForSequenceClassification(config)


def logits_and_gradients(model: BertForSequenceClassification, mask: Tensor | None) -> list[Tensor]:
    logits = model(input_ids=IDS if mask is not None else IDS[:1], attention_mask=mask).logits
    model.zero_grad()
    logits.square().sum().backward()
    return [logits.detach(), *(weight.grad for weight in model.parameters() if weight.grad is not None)]


@pytest.mark.parametrize("mask", [MASK, None], ids=["padded", "whole"])
@pytest.mark.parametrize("attention", ["sdpa", "eager", "trained on a CPU"])
def test_logits_and_all_gradients_are_those_of_the_plain_model(attention: str, mask: Tensor | None) -> None:
    plain = plain_model("sdpa" if attention == "trained on a CPU" else attention)
    model = copy.deepcopy(plain)
    if attention == "trained on a CPU":
        speed_up_on_cpu(model)
    read_first_token_only(model)
    expected, found = logits_and_gradients(plain, mask), logits_and_gradients(model, mask)
    assert len(expected) == len(found) == 1 + sum(1 for _ in plain.parameters())
    for theirs, ours in zip(expected, found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_the_feed_forward_of_the_last_layer_sees_one_token_a_text() -> None:
    model = plain_model()
    read_first_token_only(model)
    seen: list[int] = []

    def note(module: nn.Module, inputs: tuple[Tensor]) -> None:
        seen.append(inputs[0].shape[1])

    for layer in model.bert.encoder.layer:
        layer.intermediate.register_forward_pre_hook(note)
    model(input_ids=IDS, attention_mask=MASK)
    assert seen == [6, 6, 1]


def test_a_copy_computes_with_its_own_weights_and_names_stay() -> None:
    model = tiny_model("bert").model
    copied = copy.deepcopy(model)
    names = list(copied.state_dict())
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
    assert copied(input_ids=IDS).logits.abs().max() > 0
    assert names == list(BertForSequenceClassification(model.config).state_dict())

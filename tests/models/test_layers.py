"""Embeddings, layers and heads are told apart by the structure of a model, tied names counted once."""

from __future__ import annotations

from typing import Any

import pytest
from builders import tiny_model
from facts import facts
from torch import nn
from transformers import (
    BertConfig,
    BertForQuestionAnswering,
    BertForTokenClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    T5Config,
    T5ForSequenceClassification,
    T5ForTokenClassification,
)

from llmkit.errors import UsageError
from llmkit.models.layers import freeze, label_heads, layer_stacks, levels_from_top

BERT = BertConfig(vocab_size=30, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=8)
GPT2 = GPT2Config(vocab_size=30, n_embd=8, n_layer=2, n_head=2, n_positions=8)
T5 = T5Config(vocab_size=30, d_model=8, d_kv=4, d_ff=8, num_layers=2, num_heads=2)


def frozen(model: nn.Module) -> set[str]:
    return {name for name, parameter in model.named_parameters() if not parameter.requires_grad}


@pytest.mark.parametrize(
    ("family", "stacks"),
    [
        ("bert", ["bert.encoder.layer"]),
        ("gpt2", ["transformer.h"]),
        ("t5", ["encoder.block", "decoder.block"]),
    ],
)
def test_stacks_are_the_outermost_lists_of_layers(family: str, stacks: list[str]) -> None:
    found = layer_stacks(tiny_model(family, layers=3).model)
    assert list(found) == stacks
    assert [len(layers) for layers in found.values()] == [3] * len(stacks)


@pytest.mark.parametrize(
    ("family", "levels"),
    [
        (
            "bert",
            {
                "bert.embeddings.word_embeddings.weight": 3,
                "bert.embeddings.LayerNorm.bias": 3,
                "bert.encoder.layer.0.attention.self.query.weight": 2,
                "bert.encoder.layer.2.output.dense.bias": 0,
                "bert.pooler.dense.weight": 0,
                "classifier.weight": 0,
            },
        ),
        (
            "gpt2",
            {
                "transformer.wte.weight": 3,
                "transformer.wpe.weight": 3,
                "transformer.h.1.mlp.c_fc.weight": 1,
                "transformer.ln_f.weight": 0,
            },
        ),
        (
            "t5",
            {
                "shared.weight": 3,
                "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight": 2,
                "decoder.block.1.layer.1.EncDecAttention.q.weight": 1,
                "decoder.final_layer_norm.weight": 0,
            },
        ),
    ],
)
def test_layer_l_of_3_stands_3_less_l_below_the_top_and_embeddings_3(family: str, levels: dict[str, int]) -> None:
    model = tiny_model(family, layers=3).model
    found = levels_from_top(model)
    assert {name: found[name] for name in levels} == levels
    assert found.keys() == dict(model.named_parameters()).keys()


def test_an_output_matrix_of_its_own_is_no_embedding() -> None:
    config = GPT2Config(**{**GPT2.to_dict(), "tie_word_embeddings": False})
    assert levels_from_top(GPT2LMHeadModel(config))["lm_head.weight"] == 0


@pytest.mark.parametrize("family", ["bert", "gpt2", "t5"])
def test_frozen_layers_are_the_first_of_each_stack_and_nothing_else(family: str) -> None:
    loaded = tiny_model(family, layers=3)
    freeze(loaded, embeddings=False, layers=2)
    first = tuple(f"{stack}.{number}." for stack in layer_stacks(loaded.model) for number in range(2))
    assert frozen(loaded.model) == {name for name, _ in loaded.model.named_parameters() if name.startswith(first)}


def test_frozen_embeddings_are_frozen_in_a_tied_head_too() -> None:
    for family, table in (("gpt2", "transformer.wte.weight"), ("t5", "shared.weight")):
        loaded = tiny_model(family)  # type: ignore[arg-type]  # the two literals above
        freeze(loaded, embeddings=True, layers=0)
        model: Any = loaded.model
        assert table in frozen(model)
        assert not model.lm_head.weight.requires_grad
        assert all(name.endswith(("wte.weight", "wpe.weight", "shared.weight")) for name in frozen(model))


def test_more_frozen_layers_than_there_are_is_an_error_with_their_number() -> None:
    with pytest.raises(UsageError, match=facts("layers", 4, "tiny-t5", "encoder.block", "decoder.block", 3)):
        freeze(tiny_model("t5", layers=3), embeddings=False, layers=4)


@pytest.mark.parametrize(
    ("model", "heads"),
    [
        (tiny_model("bert").model, ["classifier"]),
        (tiny_model("bert", head="masked-lm").model, []),
        (tiny_model("gpt2").model, []),
        (tiny_model("t5").model, []),
        (BertForQuestionAnswering(BERT), ["qa_outputs"]),
        (BertForTokenClassification(BERT), ["classifier"]),
        (GPT2ForSequenceClassification(GPT2), ["score"]),
        (T5ForSequenceClassification(T5), ["classification_head"]),
        (T5ForTokenClassification(T5), ["classifier"]),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_label_heads_are_what_stands_on_the_body_but_no_vocabulary(model: Any, heads: list[str]) -> None:
    assert label_heads(model) == heads

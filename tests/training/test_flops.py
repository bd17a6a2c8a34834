"""FLOPs of a training: the formula against torch's own count of real steps, and the table of GPUs."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    AlbertConfig,
    AlbertForSequenceClassification,
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    MT5Config,
    MT5ForConditionalGeneration,
    T5Config,
    T5ForConditionalGeneration,
)

from llmkit.training.flops import MatrixSizes, matrix_sizes, peak_flops, train_flops_per_token

BATCH, SOURCE, TARGET = 3, 11, 7
BERT = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 40,
    "max_position_embeddings": 32,
    "num_labels": 5,
}
GPT2 = {"vocab_size": 50, "n_embd": 16, "n_layer": 3, "n_head": 2, "n_positions": 32}
T5 = {
    "vocab_size": 50,
    "d_model": 16,
    "d_kv": 5,  # heads x d_kv is not d_model
    "d_ff": 24,
    "num_layers": 3,
    "num_decoder_layers": 2,
    "num_heads": 2,
    "decoder_start_token_id": 0,
}


def small(kind: str) -> Any:
    eager: dict[str, Any] = {"attn_implementation": "eager"}  # plain matrix products, which the counter sees
    match kind:
        case "gpt2":
            return GPT2LMHeadModel._from_config(GPT2Config(**GPT2), **eager)
        case "bert, classes":
            return BertForSequenceClassification._from_config(BertConfig(**BERT), **eager)
        case "bert, masked":
            return BertForMaskedLM._from_config(BertConfig(**BERT), **eager)
        case "albert, classes":  # 3 layers, computed with the weights of one
            return AlbertForSequenceClassification._from_config(AlbertConfig(**BERT, embedding_size=16), **eager)
        case "t5":
            return T5ForConditionalGeneration._from_config(T5Config(**T5), **eager)
        case "mt5":
            return MT5ForConditionalGeneration._from_config(MT5Config(**T5), **eager)
        case "t5, gated":
            return T5ForConditionalGeneration._from_config(T5Config(**T5, feed_forward_proj="gated-gelu"), **eager)
        case "gpt2, untied":
            return GPT2LMHeadModel._from_config(GPT2Config(**GPT2, tie_word_embeddings=False), **eager)
        case "bert, masked, untied":
            return BertForMaskedLM._from_config(BertConfig(**BERT, tie_word_embeddings=False), **eager)
    raise AssertionError(kind)


def sizes_of(model: Any) -> MatrixSizes:
    return matrix_sizes({name: tuple(weight.shape) for name, weight in model.named_parameters()}, config=model.config)


def counted(model: Any, **inputs: torch.Tensor) -> int:
    """What torch counts in a forward and a backward pass."""
    with FlopCounterMode(display=False) as counter:
        model(**inputs).logits.sum().backward()
    return counter.get_total_flops()


@pytest.mark.parametrize(
    ("kind", "targets"),
    [
        ("gpt2", SOURCE),
        ("gpt2, untied", SOURCE),
        ("bert, masked", SOURCE),
        ("bert, masked, untied", SOURCE),
        ("bert, classes", 1),
        ("albert, classes", 1),
    ],
)
def test_one_stack_needs_exactly_what_torch_counts(kind: str, targets: int) -> None:
    model = small(kind)
    tokens = torch.ones(BATCH, SOURCE, dtype=torch.long)
    each = train_flops_per_token(model.config, sizes_of(model), source_tokens=SOURCE, targets=targets)
    assert each * BATCH * SOURCE == pytest.approx(counted(model, input_ids=tokens), rel=1e-12)


@pytest.mark.parametrize("kind", ["t5", "t5, gated", "mt5"])
def test_encoder_and_decoder_need_exactly_what_torch_counts(kind: str) -> None:
    model = small(kind)
    source, target = (torch.ones(BATCH, length, dtype=torch.long) for length in (SOURCE, TARGET))
    each = train_flops_per_token(
        model.config, sizes_of(model), source_tokens=SOURCE, target_tokens=TARGET, targets=TARGET
    )
    assert each * BATCH * (SOURCE + TARGET) == pytest.approx(
        counted(model, input_ids=source, decoder_input_ids=target), rel=1e-12
    )


def test_the_formula_by_hand() -> None:
    """GPT-2 of 3 layers, width 16: 12 x width^2 a layer, a vocabulary of 50, 11 tokens, of which 10 are targets."""
    sizes = sizes_of(small("gpt2"))
    assert sizes == MatrixSizes(source=3 * 12 * 16**2, target=0, head=50 * 16)
    each = train_flops_per_token(GPT2Config(**GPT2), sizes, source_tokens=11, targets=10)
    assert each == pytest.approx(6 * (3 * 12 * 16**2 + 50 * 16 * 10 / 11) + 12 * 3 * 16 * 11)


def test_the_head_counts_only_where_it_runs() -> None:
    sizes, config = sizes_of(small("gpt2")), GPT2Config(**GPT2)
    few, all_ = (train_flops_per_token(config, sizes, source_tokens=10, targets=targets) for targets in (2, 10))
    assert all_ - few == pytest.approx(6 * 50 * 16 * 8 / 10)


@pytest.mark.parametrize(
    ("name", "precision", "tera"),
    [
        ("Tesla V100-SXM2-16GB", "fp16", 125),
        ("Tesla V100-PCIE-32GB", "fp32", 14),
        ("Tesla T4", "fp16", 65),
        ("NVIDIA A100-SXM4-80GB", "bf16", 312),
        ("NVIDIA A100-PCIE-40GB", "fp32", 19.5),
        ("NVIDIA A100 80GB PCIe", "fp16", 312),
        ("NVIDIA A10", "bf16", 125),
        ("NVIDIA L4", "bf16", 121),
        ("NVIDIA H100 80GB HBM3", "bf16", 989.5),
        ("NVIDIA H100 PCIe", "bf16", 756.5),
        ("NVIDIA H200", "fp32", 67),
        ("NVIDIA GeForce RTX 3090", "bf16", 71),
        ("NVIDIA GeForce RTX 4090", "fp16", 165.2),
    ],
)
def test_a_known_gpu_has_its_peak_in_flops_a_second(name: str, precision: Any, tera: float) -> None:
    assert peak_flops(name, precision) == pytest.approx(tera * 1e12)


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        ("cpu", "fp32"),
        ("", "fp32"),
        ("NVIDIA A10G", "bf16"),
        ("NVIDIA L40S", "bf16"),
        ("NVIDIA GeForce RTX 3090 Ti", "bf16"),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", "bf16"),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", "bf16"),
        ("Tesla V100-SXM2-16GB", "bf16"),
        ("Tesla T4", "bf16"),
    ],
)
def test_an_unknown_device_or_a_format_it_lacks_has_no_peak(name: str, precision: Any) -> None:
    assert peak_flops(name, precision) is None


def test_the_arithmetic_loads_no_torch() -> None:
    probe = "import sys, llmkit.training.flops; print(sorted({'torch', 'transformers'} & sys.modules.keys()))"
    assert subprocess.check_output([sys.executable, "-c", probe], text=True).strip() == "[]"

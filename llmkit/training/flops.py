"""Floating-point operations of a training run, and the peak of a device. Pure arithmetic; does not import torch.

Their ratio is the model FLOPs utilization (Chowdhery et al. 2022, appendix B): FLOPs per token, times tokens per second,
over `peak_flops`. FLOPs follow from the model's definition: skipped work still counts, and recomputed work counts once.
So a BERT classifier's last layer counts in full.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from llmkit.models.families import family_of

if TYPE_CHECKING:
    from transformers import PretrainedConfig

_LOOKUP_TABLES = re.compile(
    r"embeddings\.|\.wte\.|\.wpe\.|shared\.|embed_(tokens|in|positions)\.|relative_attention_bias"
)
"""Lookup tables: no matrix product."""
_CROSS = re.compile(r"\.EncDecAttention\.[kv]\.|\.encoder_attn\.[kv]_proj\.")
"""Keys and values of cross-attention: products with source tokens, not with target tokens."""
_PROJECTION = re.compile(r"\.(embedding_hidden_mapping_in|embeddings_project)\.")
"""From narrow embeddings to the width of the layers, in front of the first one."""


@dataclass(frozen=True)
class MatrixSizes:
    """Elements of the matrices that each position is multiplied with, without biases and norms."""

    source: int
    """Per token of the encoder, or of the only stack of GPT-2 and BERT."""
    target: int
    """Per token of the decoder; 0 without a decoder."""
    head: int
    """Per target: the vocabulary matrix, tied or not, or a classifier with its preceding layers."""


def matrix_sizes(shapes: Mapping[str, Sequence[int]], *, config: PretrainedConfig) -> MatrixSizes:
    """Sort a model's parameters, `named_parameters()` as name -> shape, by what is multiplied with them."""
    family = family_of(config.model_type, name="the model")
    layer = {key: re.compile(rf"(\w+\.)*{re.escape(name)}\d+\.") for key, name in family.layers.items()}
    source = target = head = 0
    for name, shape in shapes.items():
        if len(shape) != 2 or _LOOKUP_TABLES.search(name) or name.startswith(family.vocabulary):
            continue
        elements = shape[0] * shape[1]
        decoder = layer.get(family.decoder_layers)
        if _CROSS.search(name) or _PROJECTION.search(name):
            source += elements
        elif decoder is not None and decoder.match(name):
            target += elements
        elif any(pattern.match(name) for pattern in layer.values()):
            source += elements * family.layer_repeats(config)
        else:
            head += elements
    has_vocabulary = not any(
        name.startswith(("classifier.", "classification_head.", "score.", "qa_outputs.")) for name in shapes
    )
    return MatrixSizes(source, target, head + has_vocabulary * config.vocab_size * config.hidden_size)


def train_flops_per_token(
    config: PretrainedConfig,
    sizes: MatrixSizes,
    *,
    source_tokens: float,
    target_tokens: float = 0.0,
    targets: float,
) -> float:
    """FLOPs, forward and backward, for each token of a sequence: 6 x parameters + 12 x layers x width x context.

    A multiply and an add for each matrix element, once forward and twice backward (Kaplan et al. 2020, section 2.1),
    and the same for the two products of attention, over the whole context, masked or not
    (Chowdhery et al. 2022, appendix B). Lookups, softmax, norms and the optimizer are not counted.

    Args:
        sizes: from `matrix_sizes`.
        source_tokens: of one sequence, for the encoder or the only stack. Attention grows with the square of the
            length, so the mean of uneven lengths gives slightly too little.
        target_tokens: of one sequence, for the decoder.
        targets: positions of one sequence that the head reads; 1 for a classifier.
    Returns:
        FLOPs per token, source or target.
    """
    is_encoder_decoder = config.is_encoder_decoder
    family = family_of(config.model_type, name="the model")
    width = family.attention_width(config)
    if not width:  # no attention
        source_flops: float = 6 * (sizes.source * source_tokens + sizes.head * targets)
        return source_flops / source_tokens
    products = sizes.source * source_tokens + sizes.target * target_tokens + sizes.head * targets
    attended = config.num_hidden_layers * source_tokens * source_tokens
    if is_encoder_decoder:  # a target token attends to the targets, and to the source
        attended += getattr(config, family.decoder_layers) * target_tokens * (target_tokens + source_tokens)
    flops: float = 6 * products + 12 * width * attended
    return flops / (source_tokens + target_tokens)


# Dense peaks in TFLOPS: fp32 without tensor cores, and fp16 and bf16 with them, summed in fp32. Sheets of Hopper and Ada
# print numbers with sparsity, which are halved here. A name is the full device name of CUDA without the
# vendor: a laptop's chip, a slice of a GPU (MIG) or a variant (A10G, RTX 3090 Ti) has other peaks.
_PEAKS: tuple[tuple[str, float, float, float | None], ...] = (
    # name, fp32, fp16, bf16
    (r"V100-SXM[23]-\d+GB(-LS)?", 15.7, 125, None),  # NVIDIA V100 data sheet
    (r"V100-PCIE-\d+GB", 14, 112, None),
    (r"T4", 8.1, 65, None),  # NVIDIA T4 data sheet
    (r"A100-SXM4?-\d+GB|A100-PCIE-\d+GB|A100 80GB PCIe", 19.5, 312, 312),  # NVIDIA A100 data sheet
    (r"A10", 31.2, 125, 125),  # NVIDIA A10 data sheet
    (r"L4", 30.3, 121, 121),  # NVIDIA L4 data sheet
    (r"H100 80GB HBM3", 67, 989.5, 989.5),  # NVIDIA H100 data sheet, SXM
    (r"H100 PCIe", 51, 756.5, 756.5),  # the same, PCIe
    (r"H200", 67, 989.5, 989.5),  # NVIDIA H200 data sheet, SXM
    (r"GeForce RTX 3090", 35.6, 71, 71),  # NVIDIA Ampere GA102 whitepaper, appendix A
    (r"GeForce RTX 4090", 82.6, 165.2, 165.2),  # NVIDIA Ada whitepaper, appendix A
)


def peak_flops(device_name: str, precision: Literal["fp32", "bf16", "fp16"]) -> float | None:
    """The peak FLOPs per second that the vendor states for a GPU, dense.

    Args:
        device_name: `torch.cuda.get_device_name()`, such as "NVIDIA A100-SXM4-80GB".
    Returns:
        None for CPUs, GPUs that are not in the table, and formats that a GPU does not have.
    """
    name = re.sub(r"^(NVIDIA |Tesla )+", "", device_name)
    for pattern, fp32, fp16, bf16 in _PEAKS:
        if re.fullmatch(pattern, name):
            tera = {"fp32": fp32, "fp16": fp16, "bf16": bf16}[precision]
            return None if tera is None else tera * 1e12
    return None

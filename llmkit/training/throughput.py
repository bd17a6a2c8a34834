"""The FLOPs and the speed of a training run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from llmkit.models.families import TEXT_HEADS
from llmkit.tasks.target_counts import count_targets
from llmkit.training.flops import matrix_sizes, peak_flops, train_flops_per_token
from llmkit.training.prepared import Prepared

_SAMPLE = 32


def flops_per_token(prepared: Prepared) -> float:
    """FLOPs of the model, forward and backward, for each token of the training examples; from a sample of them."""
    import numpy as np

    task, examples = prepared.task, prepared.train
    model = task.loaded.model
    sample = np.linspace(0, len(examples) - 1, num=min(_SAMPLE, len(examples))).astype(np.int64)
    batch = task.collate(examples, sample)
    rows = len(sample)
    mask = batch.get("attention_mask")
    source = float(mask.sum()) / rows if mask is not None else float(batch["input_ids"].shape[1])
    targets = 1.0 if task.recipe.HEAD in TEXT_HEADS else count_targets(batch) / rows  # a text's head runs once
    generated = targets if model.config.is_encoder_decoder else 0.0
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    sizes = matrix_sizes(shapes, config=model.config)
    flops = train_flops_per_token(model.config, sizes, source_tokens=source, target_tokens=generated, targets=targets)
    return flops * (source + generated) / float(examples.lengths[sample].mean())


def totals(metrics: Iterable[Mapping[str, Any]], prepared: Prepared) -> dict[str, Any]:
    """For the manifest: tokens seen, tokens per second within the steps, FLOPs, and the share of the device's peak.

    The share is null if the peak is unknown, as on a CPU.
    """
    # Lines that a disk or an editor has damaged are left out.
    steps = [
        line
        for line in metrics
        if all(isinstance(line.get(key), int | float) for key in ("train/tokens", "train/seconds"))
    ]
    tokens = sum(line["train/tokens"] for line in steps)
    seconds = sum(line["train/seconds"] for line in steps)
    flops = tokens * flops_per_token(prepared)
    peak = peak_flops(_device_name(prepared), prepared.precision.format)
    devices = prepared.accelerator.num_processes
    return {
        "tokens_seen": tokens,
        "tokens_per_second": tokens / seconds if seconds else 0.0,
        "model_flops": flops,
        "model_flops_utilization": flops / seconds / (peak * devices) if peak and seconds else None,
    }


def _device_name(prepared: Prepared) -> str:
    import torch

    device = prepared.accelerator.device
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type

"""The position of a parameter in a model: embeddings, layer l of a stack, or above. By structure, not by task.

A stack is an outermost list of modules: the layers of BERT and GPT-2, of T5's encoder, of its decoder. Tied names are
one parameter, which belongs to the embeddings.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn
from transformers import PreTrainedModel

from llmkit.errors import UsageError
from llmkit.models.loaded import LoadedModel


def layer_stacks(model: nn.Module) -> dict[str, nn.ModuleList]:
    """Name -> layers of each stack."""
    return dict(_outermost_lists(model, prefix=""))


def levels_from_top(model: nn.Module) -> dict[str, int]:
    """Parameter -> its distance from the top: layer l of L at L - l, embeddings at L, all else at 0."""
    stacks = layer_stacks(model)
    heights: dict[int, int] = {}
    for layers in stacks.values():
        for number, layer in enumerate(layers, 1):
            heights.update((id(parameter), len(layers) - number) for parameter in layer.parameters())
    deepest = max(map(len, stacks.values()), default=0)
    heights.update((id(parameter), deepest) for parameter in _embeddings(model))
    return {name: heights.get(id(parameter), 0) for name, parameter in model.named_parameters()}


def freeze(loaded: LoadedModel, *, embeddings: bool, layers: int) -> None:
    """Freeze embeddings, the first layers of each stack, or both.

    Raises:
        UsageError: the model has fewer layers.
    """
    stacks = layer_stacks(loaded.model)
    short = {name: len(stack) for name, stack in stacks.items() if len(stack) < layers}
    if short:
        counts = " and ".join(f"{name} has {count}" for name, count in short.items())
        raise UsageError(f"train.freeze.layers: {layers:,}, but of {loaded.name} {counts}. Give {min(short.values())}.")
    for stack in stacks.values():
        for layer in stack[:layers]:
            layer.requires_grad_(False)
    for parameter in _embeddings(loaded.model) if embeddings else ():
        parameter.requires_grad_(False)


def label_heads(model: PreTrainedModel) -> list[str]:
    """Names of the modules above the body that predict classes or positions, not the vocabulary."""
    vocabulary = model.get_output_embeddings()
    return [
        name
        for name, child in model.named_children()
        if any(True for _ in child.parameters())
        and not layer_stacks(child)
        and not any(isinstance(module, nn.Embedding) or module is vocabulary for module in child.modules())
    ]


def recompute_activations(model: PreTrainedModel) -> None:
    """Keep only the input of each layer, and recompute the rest in the backward pass (Chen et al. 2016).

    Random number states are restored for that, so dropout is the same. A BERT classifier's last layer, which computes only
    one token, keeps its activations.
    """
    model.activation_checkpointing_enable({"use_reentrant": False})


def _outermost_lists(module: nn.Module, *, prefix: str) -> Iterator[tuple[str, nn.ModuleList]]:
    for name, child in module.named_children():
        if isinstance(child, nn.ModuleList):
            yield prefix + name, child
        else:
            yield from _outermost_lists(child, prefix=f"{prefix}{name}.")


def _embeddings(model: nn.Module) -> Iterator[nn.Parameter]:
    """Embedding tables outside of the layers, and all parameters of a module that only has embeddings, such as norms.

    T5's first layer has a table of relative positions, which belongs to that layer.
    """
    in_layers = {id(module) for stack in layer_stacks(model).values() for module in stack.modules()}
    for module in model.modules():
        tables = [child for child in module.children() if isinstance(child, nn.Embedding)]
        if not tables or id(module) in in_layers:
            continue
        if layer_stacks(module):  # GPT-2's body, T5's stacks
            norms = [child for name, child in module.named_children() if name == "layernorm_embedding"]  # BART's
            for part in (*tables, *norms):
                yield from part.parameters()
        else:  # BertEmbeddings, with its norm
            yield from module.parameters()

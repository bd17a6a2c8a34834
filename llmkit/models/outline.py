"""A model without its weights: everything that opening it checks, from its configs and the headers of its files."""

from __future__ import annotations

import torch
from transformers import PreTrainedTokenizerFast

from llmkit.models.families import Head
from llmkit.models.loaded import LoadedModel
from llmkit.models.loading import config_for, family_of_model, name_for_adapters
from llmkit.models.resolve import ResolvedModel
from llmkit.models.tokenizer_check import check_tokenizer
from llmkit.models.weights import fit_weights, inject_stored, put_generation_config


def parameter_count(loaded: LoadedModel) -> int:
    """Parameters of an outline without those of an adapter; tied ones, separate on the meta device, count once."""
    tied, parameters = loaded.model.all_tied_weights_keys, loaded.model.named_parameters()
    return sum(weight.numel() for name, weight in parameters if name not in tied and ".lora_" not in name)


def outline(
    resolved: ResolvedModel,
    tokenizer: PreTrainedTokenizerFast,
    *,
    head: Head,
    labels: tuple[str, ...] | None = None,
    any_order: bool = False,
    new_head: bool = False,
) -> LoadedModel:
    """A model with a head on the meta device, where parameters have shapes but no numbers.

    Args:
        tokenizer: the model's, by `load_tokenizer`.
        labels, any_order, new_head: as in `load_model`.
    Raises:
        ModelError: as `load_model`, except for what only the weights' numbers show.
    """
    family = family_of_model(resolved)
    cls = family.model_class(head, model_type=resolved.config.get("model_type"))
    config = config_for(cls, resolved, head=head, labels=labels, any_order=any_order, new_head=new_head)
    fitting = fit_weights(family, head, config, resolved, new_head=new_head)
    model = fitting.model
    assert model is not None, "a model with missing layers is refused"
    family.check_config(config, name=resolved.name)
    put_generation_config(model, resolved)
    if resolved.adapter is not None:
        with torch.device("meta"):
            inject_stored(model, resolved)
    loaded = LoadedModel(
        model=model,
        tokenizer=tokenizer,
        family=family,
        name=resolved.name,
        revision=resolved.revision,
        base=name_for_adapters(resolved),
        new_weights=tuple(sorted(fitting.missing)),
        adapter=resolved.adapter,
    )
    check_tokenizer(loaded)
    return loaded

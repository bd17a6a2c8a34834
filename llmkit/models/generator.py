"""The generator of replaced-token detection: a small masked language model that is trained beside the discriminator.

It is a module of the discriminator in training, with whose embeddings it shares its own, and a file of its own in the model's folder,
which plain transformers ignores: a trained model is the discriminator.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from llmkit.errors import ModelError
from llmkit.models.files import find_file, listed
from llmkit.models.loaded import LoadedModel
from llmkit.models.stored import GENERATOR, read_tensors, tensors_of

_MODULE = "generator"
_WIDTH = "generator_hidden_size"
"""Config key: the generator's width, as a share of the discriminator's."""


def generator_of(model: PreTrainedModel) -> PreTrainedModel | None:
    """The generator in a model; None if it has none."""
    generator: Any = dict(model.named_children()).get(_MODULE)
    return generator


def is_of_generator(name: str) -> bool:
    """Whether a name of a weight of the whole model is one of the generator's."""
    return name.startswith(f"{_MODULE}.")


def generator_tensors(model: PreTrainedModel) -> dict[str, Tensor]:
    """Its weights without the embeddings, which are the discriminator's, on the CPU; empty without a generator."""
    generator = generator_of(model)
    if generator is None:
        return {}
    shared = {id(parameter) for name, parameter in model.named_parameters() if not is_of_generator(name)}
    own = {name for name, parameter in generator.named_parameters() if id(parameter) not in shared}
    return {
        name: tensor.detach().to("cpu").contiguous() for name, tensor in generator.state_dict().items() if name in own
    }


def add_generator(loaded: LoadedModel, *, width: float, seed: int) -> None:
    """Put a generator with random weights, fixed by `seed`, into the model.

    Args:
        width: of the generator, as a share of the discriminator's.
    Raises:
        UsageError: the share does not fit the discriminator's width.
    """
    with torch.random.fork_rng(devices=[]):  # as for the model itself, which has the same seed
        torch.manual_seed(seed + 1)
        generator = loaded.family.new_generator(loaded.model, width=width)
    loaded.model.add_module(_MODULE, generator)
    setattr(loaded.model.config, _WIDTH, width)


def read_generator(loaded: LoadedModel, folder: Path) -> None:
    """Put the generator of a folder, if there is one, into the model that was opened from it.

    Raises:
        ModelError: the file is damaged, or is not the generator of this model.
    """
    if find_file(folder, GENERATOR, name=loaded.name) is None:
        return
    width = getattr(loaded.model.config, _WIDTH, None)
    if not isinstance(width, float) or not 0 < width <= 1:
        raise ModelError(f"{loaded.name}: {GENERATOR} needs {_WIDTH} in config.json, a share of the width up to 1.")
    add_generator(loaded, width=width, seed=0)
    stored = tensors_of(folder / GENERATOR, name=loaded.name, file=GENERATOR)
    put_generator(loaded.model, read_tensors(stored, name=loaded.name), name=f"{loaded.name}: {GENERATOR}")


def put_generator(model: PreTrainedModel, tensors: dict[str, Tensor], *, name: str) -> None:
    """Copy stored weights into the generator.

    Raises:
        ModelError: names, shapes or types differ, or numbers are not finite.
    """
    expected = generator_tensors(model)
    other = sorted(expected.keys() ^ tensors.keys()) or [
        key
        for key, tensor in tensors.items()
        if tensor.shape != expected[key].shape or not tensor.is_floating_point() or not tensor.isfinite().all()
    ]
    if other:
        raise ModelError(f"{name}: weights that do not belong to the generator of this model: {listed(other)}.")
    generator = generator_of(model)
    assert generator is not None, "it has tensors"
    generator.load_state_dict(tensors, strict=False)  # copies; the embeddings, which are shared, are not among them

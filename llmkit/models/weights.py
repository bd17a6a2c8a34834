"""The weights of a model folder, and of an adapter on its base: read, checked, told what is missing. Opens no pickle."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmkit.errors import ModelError
from llmkit.models.adapters import (
    ADAPTER_PREFIX,
    ADAPTER_WEIGHTS,
    Adapter,
    base_hash,
    inject,
    merge_adapter,
    put_tensors,
)
from llmkit.models.heads import NEW_HEADS, VERBS, model_classes
from llmkit.models.places import ModelPlace

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedConfig, PreTrainedModel


def load_weights(
    cls: type[PreTrainedModel], config: PreTrainedConfig, place: ModelPlace, *, new_head: bool, seed: int
) -> tuple[PreTrainedModel, tuple[str, ...]]:
    """The model, and its parameters that the checkpoint lacks."""
    import torch

    try:
        with torch.random.fork_rng(devices=[]), quiet_transformers():
            torch.manual_seed(seed)
            model, report = cls.from_pretrained(
                place.folder,
                config=config,
                local_files_only=True,
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
                **_without_pooler(cls),
            )
    except Exception as error:  # damaged headers, shapes that differ, truncated files: all the folder's
        raise ModelError(f"{place.name}: its weights cannot be loaded ({first_line(error)}).") from error
    into_own_memory(model)
    return model, _check_weights(model, report, place, new_head=new_head)


def into_own_memory(model: nn.Module) -> None:
    """Copy parameters and buffers out of the memory of the file that they were read from.

    A file's tensors lie at any multiple of 8 bytes, torch's own at multiples of 64, and matrix products add up in
    another order where the alignment differs: a resumed training would not be the uninterrupted one, bit for bit, and
    the same model would give other numbers for being stored under another header.
    """
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.clone()


def _without_pooler(cls: type[PreTrainedModel]) -> dict[str, bool]:
    """BERT's bare encoder: many checkpoints have no pooler, and its random weights must not be of any use."""
    from transformers import BertModel

    return {"add_pooling_layer": False} if cls is BertModel else {}


def _check_weights(
    model: PreTrainedModel, report: dict[str, Any], place: ModelPlace, *, new_head: bool
) -> tuple[str, ...]:
    import torch

    missing = sorted(report["missing_keys"])
    if missing and not (new_head and all(key.startswith(NEW_HEADS) for key in missing)):
        kind = ", ".join(place.config.get("architectures") or ["of an unknown kind"])
        others = {cls.__name__: VERBS[head] for (_, head), cls in model_classes().items() if cls is not type(model)}
        other = f"; as it is, `llmkit {others[kind]}` fits it" if kind in others else ""
        lacking = ", ".join(missing[:5])
        raise ModelError(f"{place.name}: it was saved as {kind} and lacks {lacking}. Finetune it first{other}.")
    if "classifier.weight" in missing:
        temper_t5_classifier(model)
    damaged = [name for name, weight in model.named_parameters() if not torch.isfinite(weight).all()]
    if damaged:
        raise ModelError(f"{place.name}: weights that are not finite numbers: {', '.join(damaged[:5])}.")
    return tuple(missing)


def has_weights(place: ModelPlace, *, prefixes: tuple[str, ...]) -> bool:
    from safetensors import SafetensorError, safe_open

    pattern = "model*.safetensors" if place.adapter is None else ADAPTER_WEIGHTS
    for file in sorted(place.folder.glob(pattern)):
        try:
            with safe_open(file, framework="pt") as tensors:
                names = [name.removeprefix(ADAPTER_PREFIX) for name in tensors.keys()]  # noqa: SIM118  # not a mapping
        except SafetensorError as error:
            raise ModelError(f"{place.name}: {file.name} is damaged ({error}).") from error
        if any(name.startswith(prefixes) for name in names):
            return True
    return False


def put_adapter(model: PreTrainedModel, place: ModelPlace, *, new_weights: tuple[str, ...]) -> Adapter:
    """Put the adapter of a place into its base.

    Raises:
        ModelError: it is damaged, leaves weights random, or was trained on other weights.
    """
    from safetensors import SafetensorError, safe_open

    adapter = place.adapter
    assert adapter is not None, "the caller has looked"
    try:
        with safe_open(place.folder / ADAPTER_WEIGHTS, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a mapping
    except SafetensorError as error:
        raise ModelError(f"{place.name}: {ADAPTER_WEIGHTS} is damaged ({error}).") from error
    there = dict(model.named_modules())
    adapter = replace(adapter, whole=tuple(name for name in adapter.whole if name in there))
    try:
        inject(model, adapter, seed=0)
    except ValueError as error:
        raise ModelError(f"{place.name}: it does not fit {adapter.base} ({first_line(error)}).") from error
    put_tensors(model, tensors, name=place.name)
    left = sorted(name for name in new_weights if not model.get_parameter(name).requires_grad)
    if left:
        raise ModelError(
            f"{place.name}: neither it nor {adapter.base} has weights for {', '.join(left[:5])}. To train it for "
            "another task, merge it first with `llmkit merge`."
        )
    if adapter.base_sha256 not in (None, base_hash(model)):
        raise ModelError(
            f"{place.name}: it was trained on other weights than {adapter.base} has now. Put the old ones back; "
            "the adapter is of no use without them."
        )
    return adapter


def take_generation_config(model: PreTrainedModel, place: ModelPlace) -> None:
    """Write as the adapter of a place was trained to: its end of text and its limit, not those of its base.

    Raises:
        ModelError: the file is not valid.
    """
    from transformers import GenerationConfig

    if not model.can_generate() or not (place.folder / "generation_config.json").exists():
        return  # peft's own adapters have none
    try:
        model.generation_config = GenerationConfig.from_pretrained(place.folder, local_files_only=True)
    except Exception as error:  # as for configs: any fault here is the folder's
        raise ModelError(f"{place.name}: its generation_config.json is not valid ({first_line(error)}).") from error


def merge_into_base(model: PreTrainedModel, *, name: str) -> None:
    try:
        merge_adapter(model)
    except ValueError as error:  # peft looks at the sums
        raise ModelError(f"{name}: merged into its base it gives weights that are not finite numbers.") from error


def temper_t5_classifier(model: PreTrainedModel) -> None:
    """Scale a new linear head of T5 or mT5 as transformers scales its other new heads.

    For these classes it draws with a standard deviation of 1 (5.x), which gives logits in the tens before the first step.
    """
    import torch
    from transformers import MT5ForTokenClassification, T5ForTokenClassification

    if isinstance(model, (T5ForTokenClassification, MT5ForTokenClassification)):
        with torch.no_grad():
            model.classifier.weight.mul_(model.config.d_model**-0.5)


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """What matters of its loading report is checked and said by us; its progress bar and tables are not for users."""
    from transformers.utils import logging as theirs

    verbosity = theirs.get_verbosity()
    theirs.set_verbosity_error()
    theirs.disable_progress_bar()
    try:
        yield
    finally:
        theirs.set_verbosity(verbosity)
        theirs.enable_progress_bar()


def first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:200]}"

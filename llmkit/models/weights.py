"""Load and check the weights of a model folder, and of an adapter on its base. Opens no pickle."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import nn
from transformers import GenerationConfig, PreTrainedConfig, PreTrainedModel
from transformers.initialization import no_init_weights
from transformers.utils import logging as theirs

from llmkit.errors import ModelError
from llmkit.models.adapters import (
    ADAPTER_CONFIG,
    ADAPTER_PREFIX,
    ADAPTER_WEIGHTS,
    base_hash,
    check_tensors,
    inject,
    merge_adapter,
    put_tensors,
)
from llmkit.models.families import Family, Head, verb_of_class
from llmkit.models.files import find_file, read_json
from llmkit.models.fitting import Fitting, fit
from llmkit.models.generation import options_not_read
from llmkit.models.loaded import Adapter
from llmkit.models.resolve import GENERATION_CONFIG, ResolvedModel
from llmkit.models.stored import StoredTensor, read_tensors, stored_tensors, tensors_of

logger = logging.getLogger("llmkit")
_EMBEDDINGS = (
    "wte.weight",
    "shared.weight",
    "embed_in.weight",
    "embed_out.weight",
    "embed_tokens.weight",
    "word_embeddings.weight",
    "lm_head.weight",
)
"""Ends of the names of matrices with a row for each token."""


def load_weights(
    family: Family, head: Head, config: PreTrainedConfig, resolved: ResolvedModel, *, new_head: bool, seed: int
) -> tuple[PreTrainedModel, tuple[str, ...]]:
    """The model, and its parameters that the checkpoint lacks; of an adapter, its base with the adapter's own heads.

    transformers gets tensors, never a folder: it would open any file there.

    Raises:
        ModelError: weights are damaged, missing, unused, not finite, or have other shapes.
    """
    fitting = fit_weights(family, head, config, resolved, new_head=new_head)
    tensors = read_tensors(fitting.tensors, name=resolved.name)
    cls, options = family.model_class(head, model_type=config.model_type), family.load_options(head)
    try:
        with torch.random.fork_rng(devices=[]), quiet_transformers():
            torch.manual_seed(seed)
            model, report = cls.from_pretrained(
                None, config=config, state_dict=tensors, dtype=torch.float32, output_loading_info=True, **options
            )
    except Exception as error:  # the folder is the cause of all other errors, too
        raise ModelError(f"{resolved.name}: its weights cannot be loaded ({first_line(error)}).") from error
    into_own_memory(model)
    _refuse_missing(report["missing_keys"], family, resolved, new_head=new_head)
    if "classifier.weight" in report["missing_keys"]:
        family.scale_new_head(model)
    damaged = [name for name, weight in model.named_parameters() if not torch.isfinite(weight).all()]
    if damaged:
        raise ModelError(f"{resolved.name}: weights that are not finite numbers: {', '.join(damaged[:5])}.")
    put_generation_config(model, resolved)
    return model, tuple(sorted(report["missing_keys"]))


def fit_weights(
    family: Family, head: Head, config: PreTrainedConfig, resolved: ResolvedModel, *, new_head: bool
) -> Fitting:
    """Compare the names and shapes of the stored weights with the model that a config describes; reads no weights.

    Raises:
        ModelError: weights are missing, unused, or have other shapes or types.
    """
    source = resolved.base or resolved
    stored, heads = stored_tensors(source.folder, name=source.name), _adapter_heads(resolved)
    cls, options = family.model_class(head, model_type=config.model_type), family.load_options(head)
    with no_init_weights():
        fitting = fit(
            lambda: cls(config, **options), cls, config, stored, head=head, replacing=heads, name=resolved.name
        )
    _refuse_missing(fitting.missing, family, resolved, new_head=new_head)
    return fitting


def into_own_memory(model: nn.Module) -> None:
    """Copy parameters and buffers out of the memory-mapped file.

    A file's tensors are aligned to 8 bytes, torch's own to 64, and the order of summation in a matrix product depends on
    the alignment: a resumed run would not be bit-identical, and the same model would give different numbers when
    it is stored with another header.
    """
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.clone()


def _refuse_missing(names: Iterable[str], family: Family, resolved: ResolvedModel, *, new_head: bool) -> None:
    missing = sorted(names)
    heads = all(key.startswith(family.new_weights) for key in missing)
    if not missing or (new_head and heads and resolved.adapter is None):
        return
    names_listed = ", ".join(missing[:5])
    if resolved.adapter is not None and heads:
        raise ModelError(
            f"{resolved.name}: neither it nor {resolved.adapter.base} has weights for {names_listed}. To train it for another "
            "task, merge it first with `llmkit merge`."
        )
    source = resolved.base or resolved
    kind = ", ".join(source.config.get("architectures") or ["of an unknown kind"])
    verb = verb_of_class(kind)
    other = "" if verb is None else f", or use `llmkit {verb}`"
    raise ModelError(f"{source.name}: it was saved as {kind} and lacks {names_listed}. Finetune it first{other}.")


def put_generation_config(model: PreTrainedModel, resolved: ResolvedModel) -> None:
    """Set the generation config of a model: its file, else the keys in an old model config.

    An adapter's end of text and length limit take precedence over those of its base.
    """
    if not model.can_generate():
        return
    content = read_json(resolved.folder, GENERATION_CONFIG, name=resolved.name)
    if content is None and resolved.base is not None:  # adapters made by peft have none
        content = read_json(resolved.base.folder, GENERATION_CONFIG, name=resolved.base.name)
    config = resolved.config if resolved.base is None else resolved.base.config
    unread: list[str] = []
    replaced = [key for key in content or {} if callable(getattr(GenerationConfig, key, None))]
    try:
        if replaced:
            raise ValueError(f"the key {replaced[0]!r} would replace a part of transformers")
        with quiet_transformers():  # it warns about options that apply only in sampling
            if content is None:
                model.generation_config = GenerationConfig.from_model_config(dict(config))
            else:
                model.generation_config = GenerationConfig.from_dict(content)
        if content is not None:
            unread = options_not_read(config, content)
    except Exception as error:  # as for the config
        raise ModelError(f"{resolved.name}: its {GENERATION_CONFIG} is not valid ({first_line(error)}).") from error
    if unread:
        logger.warning(
            "%s: not used, as in transformers, since there is a %s: %s of its config.json",
            *(resolved.name, GENERATION_CONFIG, ", ".join(unread)),
        )


def has_weights(resolved: ResolvedModel, *, prefixes: tuple[str, ...]) -> bool:
    """Whether the model has a weight whose name begins with one of the prefixes."""
    if resolved.adapter is not None:
        names = [name.removeprefix(ADAPTER_PREFIX) for name in adapter_tensors(resolved)]
    else:
        names = list(stored_tensors(resolved.folder, name=resolved.name))
    return any(name.startswith(prefixes) for name in names)


def adapter_tensors(resolved: ResolvedModel) -> dict[str, StoredTensor]:
    """The tensors of an adapter, by their names in its file."""
    path = find_file(resolved.folder, ADAPTER_WEIGHTS, name=resolved.name)
    assert path is not None, "checked by find_model"
    return tensors_of(path, name=resolved.name, file=ADAPTER_WEIGHTS)


def _adapter_heads(resolved: ResolvedModel) -> dict[str, StoredTensor]:
    """The tensors of modules that an adapter stores in full, by their names in the model."""
    if resolved.adapter is None:
        return {}
    tensors = adapter_tensors(resolved).items()
    return {name.removeprefix(ADAPTER_PREFIX): tensor for name, tensor in tensors if ".lora_" not in name}


def embedding_rows(resolved: ResolvedModel) -> int | None:
    """Rows of the embeddings that peft saved beside an adapter, whose vocabulary may be larger than the base's."""
    rows = [tensor.shape[0] for name, tensor in _adapter_heads(resolved).items() if name.endswith(_EMBEDDINGS)]
    return max(rows, default=None)


def put_adapter(model: PreTrainedModel, resolved: ResolvedModel) -> Adapter:
    """Add an adapter to its base model.

    Raises:
        ModelError: it is damaged, or was trained on other weights.
    """
    adapter = inject_stored(model, resolved)
    put_tensors(model, read_tensors(adapter_tensors(resolved), name=resolved.name), name=resolved.name)
    if adapter.base_sha256 not in (None, base_hash(model)):
        raise ModelError(
            f"{resolved.name}: it was trained on other weights than those of {adapter.base} now. Restore the old "
            "weights; the adapter cannot be used without them."
        )
    return adapter


def inject_stored(model: PreTrainedModel, resolved: ResolvedModel) -> Adapter:
    """Add the matrices of a stored adapter to its base model, without their numbers.

    Raises:
        ModelError: the adapter does not fit its base, or its tensors have other names or shapes.
    """
    adapter, stored = resolved.adapter, adapter_tensors(resolved)
    assert adapter is not None, "checked by the caller"
    kind, needed = (resolved.config.get("architectures") or [""])[0], type(model).__name__
    if adapter.base_sha256 is not None and kind != needed:  # of all weights of its base, the head's too
        raise ModelError(
            f"{resolved.name}: it is an adapter of a {kind} and this use needs a {needed}. Merge it first with `llmkit merge`."
        )
    modules = dict(model.named_modules())
    adapter = replace(adapter, whole=tuple(name for name in adapter.whole if name in modules))
    _check_ranks(model, adapter, stored, name=resolved.name)
    try:
        inject(model, adapter, seed=0)
    except ValueError as error:
        raise ModelError(f"{resolved.name}: it does not fit {adapter.base} ({first_line(error)}).") from error
    check_tensors(model, stored, name=resolved.name)
    return adapter


def _check_ranks(model: PreTrainedModel, adapter: Adapter, stored: Mapping[str, StoredTensor], *, name: str) -> None:
    """Check the rank against the adapter's weights, before matrices of that rank are created."""
    ends = tuple(f".{target}" for target in adapter.targets)
    for module, _ in model.named_modules():
        key = f"{ADAPTER_PREFIX}{module}.lora_A.weight"
        if f".{module}".endswith(ends) and (key not in stored or stored[key].shape[:1] != (adapter.rank,)):
            stored_shape = f"the shape {stored[key].shape}" if key in stored else "no weights"
            raise ModelError(
                f"{name}: its weights do not belong to this adapter: {key} has {stored_shape}, but {ADAPTER_CONFIG} has "
                f"r: {adapter.rank}."
            )


def merge_into_base(model: PreTrainedModel, *, name: str) -> None:
    try:
        merge_adapter(model)
    except ValueError as error:  # peft checks the sums
        raise ModelError(f"{name}: merging it into its base gives weights that are not finite numbers.") from error


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Hide transformers' loading report, progress bar and tables; llmkit checks and reports what matters."""
    verbosity = theirs.get_verbosity()
    theirs.set_verbosity_error()
    theirs.disable_progress_bar()
    try:
        yield
    finally:
        theirs.set_verbosity(verbosity)
        theirs.enable_progress_bar()


def first_line(error: Exception) -> str:
    """The error in a line; where the first only announces the cause (`...:`), the next one."""
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()] or [""]
    announced = len(lines) > 1 and lines[0].endswith(":")
    return lines[1][:200] if announced else f"{type(error).__name__}: {lines[0][:200]}"

"""`describe_model`: what a model is and what it can be used and trained for, without loading its weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from llmkit.api.model_uses import uses_of
from llmkit.api.verbs import USES, Verb
from llmkit.errors import LlmkitError, ModelError
from llmkit.runs.folder import open_run
from llmkit.tasks import RECIPES
from llmkit.tasks.base import WRITING_HEADS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from llmkit.models.loaded import LoadedModel
    from llmkit.models.resolve import ResolvedModel

_MAX_CHARACTERS = 100
"""Of a name in a config."""


@dataclass(frozen=True)
class Refusal:
    """Something that llmkit does not do with a model, and why."""

    uses: tuple[str, ...]
    """Verbs; empty for all uses and all training."""
    reason: str


@dataclass(frozen=True)
class ModelDescription:
    """A model by its configs, its tokenizer and the headers of its weights. Nothing is None but what is unknown."""

    name: str
    folder: Path | None
    """None for a hub model whose weights are not on this machine."""
    revision: str | None
    """The commit of a hub model."""
    model_type: str | None
    architecture: str | None
    """The class that config.json names."""
    family: str | None = None
    run_task: str | None = None
    """The task of the run whose model it is."""
    base: str | None = None
    """The model that an adapter changes; None for a whole model."""
    modules: tuple[str, ...] = ()
    """Of sentence-transformers."""
    verbs: tuple[Verb, ...] = ()
    """What it can be used for, its main use first."""
    tasks: tuple[str, ...] = ()
    """What it can be trained for, some of them with a new head."""
    window: int | None = None
    """Maximum tokens of a sequence; None without a limit, if the model can be opened."""
    parameters: int | None = None
    """Of the model with its own head; for an adapter, of its base."""
    adapter_parameters: int | None = None
    precision: Mapping[str, int] = field(default_factory=dict)
    """Type of numbers on disk, such as F32 or BF16 -> how many of them."""
    weight_bytes: int | None = None
    """Of all tensors on disk."""
    tokenizer: str | None = None
    """Its algorithm, such as WordPiece."""
    vocabulary: int | None = None
    """Tokens of the tokenizer, added ones included."""
    special_tokens: Mapping[str, str] = field(default_factory=dict)
    """Role, such as `eos_token`, to its token."""
    chat_template: bool = False
    generation: Mapping[str, Any] = field(default_factory=dict)
    """The model's own defaults of generation, as keys of `generation` in a recipe."""
    not_followed: tuple[str, ...] = ()
    """Options of generation in its configs that llmkit does not follow."""
    labels: tuple[str, ...] = ()
    """Of a model that gives labels, in the order of its outputs."""
    refusals: tuple[Refusal, ...] = ()

    @property
    def is_usable(self) -> bool:
        """Whether llmkit uses or trains it at all."""
        return bool(self.verbs or self.tasks)


def describe_model(name: str | Path, *, revision: str | None = None) -> ModelDescription:
    """Describe a run, a folder or a hub model.

    Checks what opening it checks, but reads only the headers of the weights, no numbers, and of a hub model that is not in
    the cache downloads no more. A model that llmkit refuses is
    described as far as possible, with the reason in `refusals`.

    Raises:
        ModelError: there is no such model, or its config cannot be read.
        MachineError: the hub is needed and cannot be reached.
    """

    with TemporaryDirectory() as headers:
        known = _described(str(name), revision=revision, headers_in=Path(headers))
        is_here = known.folder is not None and not known.folder.is_relative_to(headers)
        return known if is_here else replace(known, folder=None)


def _described(name: str, *, revision: str | None, headers_in: Path) -> ModelDescription:
    from llmkit.models.files import read_json
    from llmkit.models.resolve import CONFIG, find_model, folder_of

    folder, commit = folder_of(name, revision=revision, headers_in=headers_in)
    try:
        resolved = find_model(name, revision=revision, headers_in=headers_in)
    except ModelError as error:
        config = read_json(folder, CONFIG, name=name)
        if config is None:
            raise
        return _refused(_by_config(config, name=name, folder=folder, revision=commit), error)
    known = _by_config(resolved.config, name=name, folder=resolved.folder, revision=resolved.revision)
    if resolved.base is not None:
        known = replace(known, base=resolved.base.name)
    if resolved.sentence is not None:
        known = replace(known, modules=tuple(module.kind for module in resolved.sentence.modules))
    return _by_files(known, resolved)


def _by_config(config: Mapping[str, Any], *, name: str, folder: Path, revision: str | None) -> ModelDescription:
    architectures, model_type = config.get("architectures"), config.get("model_type")
    return ModelDescription(
        name=name,
        folder=folder,
        revision=revision,
        model_type=model_type[:_MAX_CHARACTERS] if isinstance(model_type, str) else None,
        architecture=str(architectures[0])[:_MAX_CHARACTERS]
        if isinstance(architectures, list) and architectures
        else None,
        run_task=open_run(name).manifest().get("task") if (Path(name) / "run.json").exists() else None,
    )


def _refused(known: ModelDescription, error: LlmkitError) -> ModelDescription:
    return replace(known, refusals=(Refusal((), _reason(error, known.name)),))


def _reason(error: LlmkitError, name: str) -> str:
    return str(error).removeprefix(f"{name}: ")


def _by_files(known: ModelDescription, resolved: ResolvedModel) -> ModelDescription:
    """With what the headers of the weights and the tokenizer say, and the uses that both allow."""
    from llmkit.models.loading import family_of_model, load_tokenizer

    try:
        known = _with_weights(known, resolved)
        known = replace(known, family=family_of_model(resolved).name)
        tokenizer = load_tokenizer(resolved)
    except ModelError as error:
        return _refused(known, error)
    known = replace(
        known,
        tokenizer=type(tokenizer.backend_tokenizer.model).__name__,
        vocabulary=len(tokenizer),
        special_tokens={role: token for role, token in tokenizer.special_tokens_map.items() if isinstance(token, str)},
        chat_template=tokenizer.chat_template is not None,
    )
    return _with_uses(known, resolved, tokenizer)


def _with_weights(known: ModelDescription, resolved: ResolvedModel) -> ModelDescription:
    from llmkit.models.stored import stored_tensors
    from llmkit.models.weights import adapter_tensors

    source = resolved.base or resolved
    stored = list(stored_tensors(source.folder, name=source.name).values())
    added = [] if resolved.adapter is None else list(adapter_tensors(resolved).values())
    precision: Counter[str] = Counter()
    for tensor in (*stored, *added):
        precision[tensor.dtype] += prod(tensor.shape)
    return replace(
        known,
        precision=dict(precision.most_common()),
        weight_bytes=sum(file.stat().st_size for file in {tensor.file for tensor in (*stored, *added)}),
        adapter_parameters=None if resolved.adapter is None else sum(prod(tensor.shape) for tensor in added),
    )


def _with_uses(
    known: ModelDescription, resolved: ResolvedModel, tokenizer: PreTrainedTokenizerFast
) -> ModelDescription:
    uses = uses_of(resolved, tokenizer)
    tasks = [task for task, recipe in RECIPES.items() if recipe.HEAD in uses.trainable]
    by_reason: dict[str, list[str]] = {}
    for verb, error in uses.refused.items():
        by_reason.setdefault(_reason(error, known.name), []).append(verb)
    known = replace(
        known,
        verbs=tuple(uses.verbs),
        tasks=tuple(task for task in tasks if known.family in RECIPES[task].FAMILIES),
        refusals=tuple(Refusal(tuple(verbs), reason) for reason, verbs in by_reason.items()),
    )
    loaded = next(iter((*uses.verbs.values(), *uses.trainable.values())), None)
    return known if loaded is None else _with_model(known, loaded)


def _with_model(known: ModelDescription, loaded: LoadedModel) -> ModelDescription:
    """With what its outline says: the size, the window, and how it writes or what it answers."""
    from llmkit.api.model_options import prompt_config
    from llmkit.inference.embedding import text_window
    from llmkit.models.families import LABELLED_HEADS
    from llmkit.models.generation import config_options, options_not_followed
    from llmkit.models.outline import parameter_count

    verb = known.verbs[0] if known.verbs else None
    head = None if verb is None else USES[verb].head
    window = loaded.window if loaded.is_bounded else None
    known = replace(
        known,
        parameters=parameter_count(loaded),
        window=text_window(loaded) if verb == "embed" else window,
        labels=loaded.labels if head in LABELLED_HEADS else (),
    )
    if head not in WRITING_HEADS:
        return known
    entry = prompt_config(loaded).generation_entry
    return replace(
        known, generation=config_options(loaded, entry), not_followed=tuple(options_not_followed(loaded, entry))
    )

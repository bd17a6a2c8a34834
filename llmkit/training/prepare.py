"""From a recipe to a task with its rows: open sources, make splits, collect labels, load model and tokenizer."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState

from llmkit.data.caches import cache_folder, one_at_a_time
from llmkit.data.column_types import TEXT_TYPES, texts_in
from llmkit.data.examples import Examples
from llmkit.data.rows import Row
from llmkit.errors import DataError, UsageError
from llmkit.evaluation.unigram import unigram_loss
from llmkit.models.adapters import add_adapter
from llmkit.models.export import tokenization_sha256
from llmkit.models.families import LABELLED_HEADS, Head
from llmkit.models.layers import freeze
from llmkit.models.loaded import LoadedModel
from llmkit.models.loading import create_model, load_model
from llmkit.models.target_scale import scaled_modules
from llmkit.recipe.blocks import ScratchModel
from llmkit.recipe.recipe import Recipe
from llmkit.runs.folder import Run
from llmkit.tasks.base import Task, TaskRecipe
from llmkit.training.accelerator import new_accelerator
from llmkit.training.checkpoints import Checkpoint, saved_scale
from llmkit.training.checks import check_before_training, refuse_idle_smoothing
from llmkit.training.environment import training_environment
from llmkit.training.precision import choose_precision
from llmkit.training.prepared import Prepared
from llmkit.training.resume import check_data, warn_of_environment
from llmkit.training.row_checks import left_out
from llmkit.training.schedule import plan_training
from llmkit.training.splits import Split, SplitRows, warn_of_shared_texts

logger = logging.getLogger("llmkit")
_TOKENIZER_FORMAT = 2
"""Changes with the way that tokenizers are trained: those in the cache are then trained again."""


def prepare(
    recipe: TaskRecipe,
    splits: dict[Split, SplitRows],
    *,
    labels: tuple[str, ...] | None,
    checkpoint: Checkpoint | None,
    resumed: Run | None,
) -> Prepared:
    """Read, check and encode everything; nothing is written.

    Args:
        splits: of this recipe, by `open_splits`.
        labels: the names of the model's classes, by `check_rows`.
    Raises:
        LlmkitError: of any kind; see llmkit/errors.py.
    """
    warn_of_shared_texts(splits)
    task = load_task(recipe, splits, labels=labels, checkpoint=checkpoint.folder if checkpoint else None)
    data = _describe_data(task, splits)
    if resumed is not None and checkpoint is not None:
        check_data(resumed, data)
    train = task.prepare_training(task.encode(splits["train"]))
    validation = task.encode(first_rows(splits["validation"], recipe))
    require_rows(len(train), splits["train"], recipe=recipe)
    require_rows(len(validation), splits["validation"], recipe=recipe)
    task.check_labels(train, validation)
    data |= _standardise(task, train, checkpoint=checkpoint)
    family, scratch = task.loaded.family, isinstance(recipe.model, ScratchModel)
    precision = choose_precision(recipe.train.precision, family=family, device=PartialState().device)
    accelerator = new_accelerator(precision.accelerate)
    if resumed is not None:
        warn_of_environment(resumed, training_environment(accelerator, precision))
    plan = plan_training(recipe, examples=len(train), family=family, from_scratch=scratch)
    unigram = (
        unigram_loss(task, train, validation) if "perplexity" in recipe.loss_scores and not recipe.metrics else None
    )
    checks = _checked(task, train, recipe, device=accelerator.device)
    return Prepared(
        *(recipe, task, train, validation, plan, precision, accelerator, data, checkpoint, unigram, checks),
        validation_rows=splits["validation"],
    )


def _standardise(task: Task, train: Examples, *, checkpoint: Checkpoint | None) -> dict[str, Any]:
    """Standardize the numbers of a regression for training; a resumed run keeps its scale, or has none.

    Returns:
        The entry of data.json.
    """
    scale = task.target_scale(train) if checkpoint is None else saved_scale(checkpoint)
    if scale is None:
        return {}
    task.standardise(scale)
    return {"targets": {"rows": train.rows, "mean": scale.mean, "standard_deviation": scale.deviation}}


def _checked(task: Task, train: Examples, recipe: Recipe, *, device: torch.device) -> dict[str, str] | None:
    if recipe.train.label_smoothing:
        refuse_idle_smoothing(task, train, share=recipe.train.label_smoothing)
    if not recipe.train.checks:
        return None
    passed = check_before_training(task, train, train=recipe.train, device=device)
    return {check.name: check.result for check in passed}


def load_task(
    recipe: TaskRecipe,
    splits: dict[Split, SplitRows],
    *,
    labels: tuple[str, ...] | None = None,
    checkpoint: Path | None = None,
) -> Task:
    """The recipe's task around its model.

    Args:
        labels: the names of the model's classes; a resumed run keeps its own, in their order.
        checkpoint: source of a resumed run's model and tokenizer, instead of the recipe's.
    Raises:
        ModelError, MachineError: the model cannot be loaded, or does not support the task.
        DataError: the training rows have no text for a tokenizer.
    """
    from llmkit.tasks.build import build_task

    if checkpoint is not None:
        loaded = load_model(str(checkpoint), head=recipe.HEAD, keep_adapter=True)
    elif isinstance(recipe.model, ScratchModel):
        cached = tokenizer_file(recipe.model, splits["train"])
        with nullcontext() if cached is None else one_at_a_time(cached):
            loaded = create_model(
                recipe.model,
                head=recipe.HEAD,
                labels=labels,
                texts=lambda: training_texts(recipe, splits["train"]),
                max_tokens=recipe.window_tokens,
                seed=recipe.train.seed,
                cached_tokenizer=cached,
            )
    else:
        loaded = load_model(
            recipe.model,
            head=recipe.HEAD,
            labels=labels,
            any_order=getattr(recipe, "labels", None) is None,
            revision=recipe.revision,
            new_head=True,
            seed=recipe.train.seed,
        )
    set_window(recipe, loaded)
    return build_task(recipe, partly_trained(loaded, recipe, head=recipe.HEAD))


def partly_trained(loaded: LoadedModel, recipe: Recipe, *, head: Head) -> LoadedModel:
    """The model with an adapter or with frozen weights, depending on the recipe.

    Raises:
        UsageError: the model has no such layers or matrices.
    """
    train = recipe.train
    if train.gradient_checkpointing and not loaded.model.supports_gradient_checkpointing:
        raise UsageError(f"train.gradient_checkpointing: {loaded.name} has no layers to recompute; remove it.")
    if train.freeze is not None:
        freeze(loaded, embeddings=train.freeze.embeddings, layers=train.freeze.layers)
    if train.lora is not None and loaded.adapter is None:  # a checkpoint already has it
        # The scale of a regression is folded into these modules, so the adapter has to store them.
        whole = scaled_modules(loaded) if getattr(recipe, "regression", False) else ()
        return add_adapter(loaded, train.lora, head=head, seed=train.seed, whole=whole)
    return loaded


def tokenizer_file(model: ScratchModel, rows: SplitRows) -> Path | None:
    """Path of the cached tokenizer of these rows and options; None if none is trained."""
    if isinstance(model.tokenizer, str):
        return None
    options = [model.architecture, model.tokenizer.model_dump()]
    made_from = json.dumps(
        [_TOKENIZER_FORMAT, rows.identity(), version("tokenizers"), version("llmkit"), options], sort_keys=True
    )
    return cache_folder() / "tokenizers" / f"{hashlib.sha256(made_from.encode()).hexdigest()[:32]}.json"


def training_texts(recipe: Recipe, rows: Iterable[Row]) -> Iterator[str]:
    """All text that the model will read or generate, for its tokenizer."""
    fields = [field for field, column_type in recipe.column_types.items() if column_type in TEXT_TYPES]
    for row in rows:
        for field in fields:
            value = row.fields.get(field)
            # Words in one text: a tokenizer may keep all texts in memory, and millions of single words need far more.
            yield from [" ".join(value)] if recipe.column_types[field] == "words" and value else texts_in(value)


def set_window(recipe: Recipe, loaded: LoadedModel) -> None:
    """Store the recipe's length limit in the tokenizer, so that inference uses the limit of training."""
    if recipe.window_tokens is None:
        return
    positions = loaded.positions
    if positions is not None and recipe.window_tokens > positions:
        raise UsageError(
            f"the recipe asks for {recipe.window_tokens:,} tokens, but {loaded.name} has {positions:,} positions."
        )
    targets, most = getattr(recipe, "max_target_tokens", None), loaded.most_new_tokens
    if most is not None and targets is not None and targets > most:
        raise UsageError(f"max_target_tokens: {targets:,}, but {loaded.name} writes {most:,} tokens at most.")
    loaded.tokenizer.model_max_length = recipe.window_tokens


def _describe_data(task: Task, splits: dict[Split, SplitRows]) -> dict[str, Any]:
    """data.json: the data that the results of a run depend on. Two runs with equal content had equal data."""
    labels = list(task.loaded.labels) if task.recipe.HEAD in LABELLED_HEADS else None
    shares = {name: {"validation": rows.validation, "test": rows.test} for name, rows in splits.items()}
    bad_rows = {"bad_rows": left_out(splits)} if task.recipe.data.skip_bad_rows else {}
    return {
        **bad_rows,
        "sources": {name: rows.source.fingerprint() for name, rows in splits.items()},
        "shares": shares,
        "clusters": splits["train"].source.clusters.name,
        "labels": labels,
        "tokenization_sha256": tokenization_sha256(task.loaded.tokenizer),
    }


def require_rows(count: int, split: SplitRows, *, recipe: Recipe) -> None:
    """Check that a split is not empty.

    Raises:
        DataError: it is empty; the message says how the split is defined.
    """
    if count:
        return
    source = getattr(recipe.data, split.split)
    rows, equal = ", ".join(source), ""
    if isinstance(source, str):
        rows = f"{source} of the training rows"
        all_rows, texts = split.count_texts()
        equal = f" Rows with the same text are in the same split: {all_rows:,} rows have {texts:,} different texts."
    unit = getattr(recipe, "text_files", "line")
    hint = "" if unit == "line" else f" In a text file each {unit} is one row; text_files: line makes each line a row."
    raise DataError(
        f"data.{split.split}: no usable rows in {rows}. Give a larger share, or a separate file.{equal}{hint}"
    )


def first_rows(rows: Iterable[Row], recipe: Recipe) -> Iterable[Row]:
    """The validation rows for training, which may be limited."""
    limit = recipe.evaluation.max_rows
    return rows if limit is None else islice(rows, limit)

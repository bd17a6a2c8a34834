"""The verbs that use a model: what each needs, and the verb of a model. Imports nothing heavy."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from llmkit.errors import UsageError
from llmkit.models.families import FAMILIES, families_with, verb_of_class
from llmkit.runs.folder import finished_runs
from llmkit.tasks import PRETRAINING, RECIPES, Verb

if TYPE_CHECKING:
    from llmkit.models.families import Head

__all__ = ["USES", "Use", "Verb", "default_model", "verb_of_model"]

logger = logging.getLogger("llmkit")


@dataclass(frozen=True)
class Use:
    """What a verb needs."""

    head: Head
    tasks: tuple[str, ...]
    """Tasks whose runs fit; the first is named in messages."""
    hub_default: str | None = None


def _use_of(verb: Verb) -> Use:
    tasks = {task: recipe for task, recipe in RECIPES.items() if verb == recipe.VERB}
    first = next(iter(tasks.values()))
    return Use(first.HEAD, tuple(tasks), first.HUB_DEFAULT)


def _embedders() -> tuple[str, ...]:
    """Tasks that train the body of an encoder and nothing else."""
    with_vectors = set(families_with("embedding"))
    return tuple(task for task in PRETRAINING if with_vectors & set(RECIPES[task].FAMILIES))


_EMBED = Use("embedding", _embedders(), "sentence-transformers/all-MiniLM-L6-v2")
USES: Mapping[Verb, Use] = {verb: _EMBED if verb == "embed" else _use_of(verb) for verb in get_args(Verb)}


def default_model(verb: Verb) -> str:
    use = USES[verb]
    for run in finished_runs():
        if run.manifest().get("task") in use.tasks:
            logger.info("model: %s, the newest finished run for %s", run.folder, verb)
            return str(run.folder)
    if use.hub_default is None:
        raise UsageError(f"no finished {use.tasks[0]} run here. Give --model, a run, a folder or a hub id.")
    logger.info("model: %s from the hub, since there is no finished %s run here", use.hub_default, use.tasks[0])
    return use.hub_default


def verb_of_model(config: Mapping[str, Any], *, requested: Verb | None = None) -> Verb:
    """By the class of the model, else by its family; `generate` also accepts T5, which has another head."""
    architecture = str((config.get("architectures") or [""])[0])
    model_type = config.get("model_type")
    family = next((family for family in FAMILIES.values() if model_type in family.model_types), None)
    verb: Verb = verb_of_class(architecture) or (family and family.verb) or requested or "generate"
    if requested is None:
        untrained = "translate" if verb == "summarize" and family is not None and family.translates else verb
        return _trained_verb(config, head=USES[verb].head) or untrained
    return verb if verb == "summarize" else requested


def _trained_verb(config: Mapping[str, Any], *, head: Head) -> Verb | None:
    """The verb of the task that a config has an entry for, if it has this head."""
    entries = config.get("task_specific_params") or {}
    verbs: list[Any] = [RECIPES[task].VERB for task in entries if task in RECIPES]
    return next((verb for verb in verbs if verb is not None and USES[verb].head == head), None)

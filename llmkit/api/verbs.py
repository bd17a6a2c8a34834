"""The verbs that use a model: what each needs, and which one a model is for. Imports nothing heavy."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from llmkit.errors import UsageError
from llmkit.models.families import FAMILIES, verb_of_class
from llmkit.runs.folder import finished_runs

if TYPE_CHECKING:
    from llmkit.models.families import Head

_log = logging.getLogger("llmkit")
Verb = Literal["answer", "chat", "classify", "embed", "fill", "generate", "summarize", "tag", "translate"]


@dataclass(frozen=True)
class Use:
    """What a verb needs."""

    head: Head
    tasks: tuple[str, ...]
    """A run of one of these fits; the first names the kind in messages."""
    hub_default: str | None = None


USES: Mapping[Verb, Use] = {
    "answer": Use("question-answering", ("question-answering",)),
    "chat": Use("causal-lm", ("instruction",)),
    "classify": Use("classification", ("classification",)),
    "embed": Use("embedding", ("masked-lm", "span-corruption"), "sentence-transformers/all-MiniLM-L6-v2"),
    "fill": Use("masked-lm", ("masked-lm",), "google-bert/bert-base-uncased"),
    "generate": Use("causal-lm", ("causal-lm", "text-to-text"), "openai-community/gpt2"),
    "summarize": Use("seq2seq-lm", ("summarization",), "google-t5/t5-small"),
    "tag": Use("token-classification", ("token-classification",)),
    "translate": Use("seq2seq-lm", ("translation",), "google-t5/t5-small"),
}


def default_model(verb: Verb) -> str:
    use = USES[verb]
    for run in finished_runs():
        if run.manifest()["task"] in use.tasks:
            _log.info("model: %s, the newest finished run for %s", run.folder, verb)
            return str(run.folder)
    if use.hub_default is None:
        raise UsageError(f"no finished {use.tasks[0]} run here. Give --model, a run, a folder or a hub id.")
    _log.info("model: %s from the hub, since there is no finished %s run here", use.hub_default, use.tasks[0])
    return use.hub_default


def own_verb(config: Mapping[str, Any], *, wanted: Verb | None = None) -> Verb:
    """By the class of the model, else by its family; `generate` also takes T5, whose head is another."""
    architecture = str((config.get("architectures") or [""])[0])
    model_type = config.get("model_type")
    by_family = next((family.verb for family in FAMILIES.values() if model_type in family.model_types), None)
    own: Verb = verb_of_class(architecture) or by_family or wanted or "generate"
    return own if wanted is None or own == "summarize" else wanted

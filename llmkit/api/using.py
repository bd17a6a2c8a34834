"""A trained model, opened for use: `llmkit.load("runs/news-001").summarize(texts)`."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from llmkit.api.options import generation_options
from llmkit.errors import UsageError
from llmkit.inference.classifying import Classification, ClassifyOverflow, classify_texts, reads_pairs
from llmkit.inference.text import Generation, Overflow, generate_texts, stream_text, summarize_texts
from llmkit.recipe.blocks import GenerationBlock
from llmkit.runs.folder import finished_runs

if TYPE_CHECKING:
    from llmkit.inference.engines.transformers import TransformersEngine
    from llmkit.models.loaded import Head, LoadedModel

_log = logging.getLogger("llmkit")
Verb = Literal["generate", "summarize", "classify"]
Item = TypeVar("Item")


@dataclass(frozen=True)
class Use:
    """What a verb needs."""

    head: Head
    tasks: tuple[str, ...]
    """A run of one of these fits; the first names the kind in messages."""
    hub_default: str | None = None


_USES: Mapping[Verb, Use] = {
    "classify": Use("classification", ("classification",)),
    "generate": Use("causal-lm", ("causal-lm",), "openai-community/gpt2"),
    "summarize": Use("seq2seq-lm", ("summarization",), "google-t5/t5-small"),
}
_VERB_OF_HEAD: Mapping[str, Verb] = {
    "LMHeadModel": "generate",
    "ForConditionalGeneration": "summarize",
    "ForSequenceClassification": "classify",
}
"""By the end of the class that config.json names."""
_NEW_TOKENS = 128
"""Where neither the user nor the model says how much to write; transformers would stop at 20 without a word."""
_T5_PREFIX = "summarize: "


def load(name: str | None = None, *, verb: Verb | None = None, revision: str | None = None) -> Model:
    """Open a run, a folder or a hub model.

    Args:
        name: without it, the newest finished run that can do the verb, else the hub's default for it; the log says
            which.
        verb: what it will be used for; without it, what the model's own head can do.
    Raises:
        UsageError: neither a name nor a verb, or nothing that fits.
        ModelError, MachineError: it cannot be had, or cannot do the verb.
    """
    from accelerate import PartialState

    from llmkit.inference.engines.transformers import TransformersEngine
    from llmkit.models.loading import load_model
    from llmkit.models.places import find_model

    if name is None:
        if verb is None:
            raise UsageError("give the model's name: a run, a folder or a hub id.")
        name = _default_model(verb)
    if verb is None or verb == "generate":
        verb = own_verb(find_model(name, revision=revision).config, wanted=verb)
    loaded = load_model(name, head=_USES[verb].head, revision=revision)
    return Model(loaded, TransformersEngine(loaded, device=PartialState().device))


def _default_model(verb: Verb) -> str:
    use = _USES[verb]
    for run in finished_runs():
        if run.manifest()["task"] in use.tasks:
            _log.info("model: %s, the newest finished run for %s", run.folder, verb)
            return str(run.folder)
    if use.hub_default is None:
        raise UsageError(f"no finished {use.tasks[0]} run here. Give --model, a run, a folder or a hub id.")
    _log.info("model: %s from the hub, since there is no finished %s run here", use.hub_default, use.tasks[0])
    return use.hub_default


def use_of(verb: Verb) -> Use:
    return _USES[verb]


def own_verb(config: Mapping[str, Any], *, wanted: Verb | None = None) -> Verb:
    """By the class of the model, else by its family; `generate` also takes T5, whose head is another."""
    architecture = str((config.get("architectures") or [""])[0])
    families: dict[str, Verb] = {"bert": "classify", "gpt2": "generate", "t5": "summarize"}
    by_family = families.get(str(config.get("model_type")), wanted or "generate")
    own = next((verb for end, verb in _VERB_OF_HEAD.items() if architecture.endswith(end)), by_family)
    remembered = config.get("task_specific_params")
    if isinstance(remembered, dict) and "classification" in remembered:
        own = "classify"  # T5's classifier of texts has the class of one of tokens
    return own if wanted is None or own == "summarize" else wanted


class Model:
    """A model with an engine. All verbs take any number of texts, keep their order, and yield as they go."""

    def __init__(self, loaded: LoadedModel, engine: TransformersEngine) -> None:
        self.loaded = loaded
        self._engine = engine

    @property
    def continues(self) -> bool:
        """Whether what it writes goes on from the prompt (GPT-2), or answers it (T5)."""
        return self.loaded.family == "gpt2"

    @property
    def reads_pairs(self) -> bool | None:
        """Whether a classifier was trained on pairs of texts; None where its config does not say."""
        return reads_pairs(self.loaded)

    def classify(
        self, texts: Iterable[str | tuple[str, str]], *, overflow: ClassifyOverflow | None = None
    ) -> Iterator[Classification]:
        """Label, labels or number of each text or (text, text_pair); see `classify_texts` for errors, and for what
        becomes of long texts."""
        return classify_texts(self.loaded, self._engine, _several(texts), overflow=overflow)

    def generate(self, prompts: Iterable[str], *, overflow: Overflow = "error", **options: Any) -> Iterator[Generation]:
        """Continuations of each prompt; the options are the keys of `GenerationBlock`."""
        block = self.options(options)
        return generate_texts(self.loaded, self._engine, _several(prompts), options=block, overflow=overflow)

    def stream(self, prompt: str, **options: Any) -> Iterator[str]:
        """The first continuation in pieces, as they come."""
        return stream_text(self.loaded, self._engine, prompt, options=self.options(options))

    def summarize(
        self, texts: Iterable[str], *, overflow: Overflow = "truncate", **options: Any
    ) -> Iterator[Generation]:
        """A summary of each text; the options are the keys of `GenerationBlock`."""
        block = self.options(options)
        return summarize_texts(
            self.loaded, self._engine, _several(texts), options=block, prefix=self._prefix(), overflow=overflow
        )

    def options(self, given: Mapping[str, Any]) -> GenerationBlock:
        """The given options over the model's own, over llmkit's defaults.

        Raises:
            UsageError: an option outside its range, with the range.
        """
        chosen = {key: value for key, value in given.items() if value is not None}
        generation_options(chosen)  # a fault of the user's is told before the model's own options are mixed in
        return generation_options({**self._own_options(chosen), **chosen})

    def _own_options(self, chosen: Mapping[str, Any]) -> dict[str, Any]:
        """Length and beams as the model's configs have them: ours in generation_config, T5's of 2019 by task."""
        generation = self.loaded.model.generation_config
        tasks = getattr(self.loaded.model.config, "task_specific_params", None) or {}
        by_task = tasks.get("summarization", {}) if self.loaded.family == "t5" else {}
        sampling = not {"temperature", "top_k", "top_p"}.isdisjoint(chosen)
        beams = 1 if sampling else generation.num_beams or by_task.get("num_beams") or 1
        new_tokens = generation.max_new_tokens or by_task.get("max_length") or self._room()
        several = max(int(chosen.get("num_return_sequences") or 1), 1)
        own = {"repetition_penalty": generation.repetition_penalty} if generation.repetition_penalty else {}
        return {**own, "max_new_tokens": new_tokens, "beams": max(beams, 1 if sampling else several)}

    def _room(self) -> int:
        """At most half of the window, so that the default leaves room for a prompt."""
        return max(1, min(_NEW_TOKENS, self.loaded.window // 2))

    def _prefix(self) -> str:
        tasks = getattr(self.loaded.model.config, "task_specific_params", None) or {}
        prefix: str = tasks.get("summarization", {}).get("prefix", _T5_PREFIX)
        return prefix


def _several(texts: Iterable[Item]) -> Iterable[Item]:
    """Refuse a single text, which would be taken for the texts that its letters are."""
    if isinstance(texts, str):
        raise UsageError("give a list of texts, such as [text], not one text.")
    return texts

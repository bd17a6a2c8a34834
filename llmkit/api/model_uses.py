"""The verbs and the training that a model allows, found out by opening it without its weights for each of its heads."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, get_args

from llmkit.api.verbs import USES, Verb, verb_of_model
from llmkit.errors import LlmkitError, ModelError, UsageError
from llmkit.tasks.base import WRITING_HEADS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from llmkit.models.families import Head
    from llmkit.models.loaded import LoadedModel
    from llmkit.models.resolve import ResolvedModel


@dataclass(frozen=True)
class ModelUses:
    """A model without weights for each use."""

    verbs: Mapping[Verb, LoadedModel]
    """The model's main verb first."""
    trainable: Mapping[Head, LoadedModel]
    """Heads that it can be trained with, new ones included."""
    refused: Mapping[Verb, LlmkitError]
    """Verbs of its family that it cannot do; the main verb first."""


def uses_of(resolved: ResolvedModel, tokenizer: PreTrainedTokenizerFast) -> ModelUses:
    """What opens, by the checks of `load_model`, and by those that each verb makes before its first text.

    Args:
        tokenizer: the model's, by `load_tokenizer`.
    """
    opened, refused_heads = _outlines(resolved, tokenizer, new_head=False)
    trainable, _ = _outlines(resolved, tokenizer, new_head=True)
    main = verb_of_model(resolved.config)
    verbs: dict[Verb, LoadedModel] = {}
    refused: dict[Verb, LlmkitError] = {}
    for verb in sorted(get_args(Verb), key=lambda verb: verb != main):
        heads = WRITING_HEADS if verb == "generate" else {USES[verb].head}
        loaded = next((opened[head] for head in opened if head in heads), None)
        if loaded is None:
            errors = [refused_heads[head] for head in refused_heads if head in heads]
            if errors:  # else its family has no such head
                refused[verb] = errors[0]
            continue
        try:
            verbs[verb] = _checked(verb, loaded, resolved)
        except LlmkitError as error:
            refused[verb] = error
    return ModelUses(verbs, trainable, refused)


def _outlines(
    resolved: ResolvedModel, tokenizer: PreTrainedTokenizerFast, *, new_head: bool
) -> tuple[dict[Head, LoadedModel], dict[Head, ModelError]]:
    """The model with each head of its family that opens, and the errors of the others."""
    from llmkit.models.loading import family_of_model
    from llmkit.models.outline import outline

    family = family_of_model(resolved)
    opened: dict[Head, LoadedModel] = {}
    refused: dict[Head, ModelError] = {}
    for head in (*family.heads, *family.no_head):
        try:
            opened[head] = outline(resolved, tokenizer, head=head, new_head=new_head)
        except ModelError as error:
            refused[head] = error
    return opened, refused


def _checked(verb: Verb, loaded: LoadedModel, resolved: ResolvedModel) -> LoadedModel:
    """The model as the verb uses it.

    Raises:
        LlmkitError: the verb refuses the model, whatever the text.
    """
    from llmkit.api.model_options import model_defaults, prompt_config
    from llmkit.models.chat import answer_ends, check_chat_model
    from llmkit.models.ends import end_ids
    from llmkit.models.sentence_reading import check_modules, read_sentence_modules
    from llmkit.tasks.classification.predict import check_classifier
    from llmkit.tasks.classification.problem_types import problem_type_of
    from llmkit.tasks.multiple_choice.predict import check_chooser
    from llmkit.tasks.seq2seq.saved import summarization_config, translation_config

    match verb:
        case "classify":
            check_classifier(loaded)
            problem_type_of(loaded)
        case "choose":
            check_chooser(loaded)
        case "chat":
            check_chat_model(loaded)
            answer_ends(loaded)
        case "embed" if resolved.sentence is not None:
            check_modules(resolved.sentence, name=resolved.name)
            hidden = loaded.model.config.hidden_size
            modules = read_sentence_modules(resolved.sentence, hidden=hidden, name=resolved.name)
            return replace(loaded, sentence=modules)
        case "summarize":
            summarization_config(loaded)
        case "translate":
            with suppress(UsageError):  # several pairs of languages, of which it asks for one
                translation_config(loaded, source=None, target=None)
    if USES[verb].head in WRITING_HEADS:
        end_ids(loaded)
        model_defaults(loaded, {}, saved=prompt_config(loaded))
    return loaded

"""A trained model, opened for use: `llmkit.load("runs/news-001").summarize(texts)`."""

from __future__ import annotations

from llmkit.api.model import Model
from llmkit.api.verbs import USES, Verb, default_model, verb_of_model
from llmkit.errors import UsageError
from llmkit.models.threads import one_load_at_a_time


@one_load_at_a_time
def load(name: str | None = None, *, verb: Verb | None = None, revision: str | None = None) -> Model:
    """Open a run, a folder or a hub model.

    Args:
        name: without it, the newest finished run that can do the verb, else the hub's default for it; the log says
            which.
        verb: what it will be used for; without it, that of the model's head.
    Raises:
        UsageError: neither a name nor a verb, or nothing that fits.
        ModelError, MachineError: it cannot be loaded, or cannot do the verb.
    """
    from accelerate import PartialState

    from llmkit.inference.engines.transformers import TransformersEngine
    from llmkit.models.loading import load_model
    from llmkit.models.resolve import find_model

    if name is None:
        if verb is None:
            raise UsageError("give the model's name: a run, a folder or a hub id.")
        name = default_model(verb)
    if verb is None or verb == "generate":
        verb = verb_of_model(find_model(name, revision=revision).config, requested=verb)
    loaded = load_model(name, head=USES[verb].head, revision=revision)
    loaded.model.eval()  # permanently: threads that share it never change the mode
    model = Model(loaded, TransformersEngine(loaded, device=PartialState().device), head=USES[verb].head)
    if verb == "chat":
        model.require_chat()
    return model

"""The model that a new recipe starts from: a small published one that reads the texts, or random weights."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from llmkit.errors import UsageError, nearest
from llmkit.recipe.blocks import ScratchModel
from llmkit.tasks import RECIPES

Alphabet = Literal["english", "t5", "other"]
"""The characters of the texts: nearly all ASCII; those that T5 was trained on too; others."""
SIZES: tuple[str, ...] = get_args(ScratchModel.model_fields["size"].annotation)
_T5_LETTERS = frozenset("äöüßàâçéèêëîïôûùœæășțşţ")
"""Letters of German, French and Romanian besides ASCII (Raffel et al. 2020, section 3.1.3)."""
_MOST_OTHER = 0.005
"""Share of other letters in an English text, from names and borrowed words."""


@dataclass(frozen=True)
class Published:
    """A model of the hub, and why it is a good start."""

    name: str
    reason: str


_BERT = Published("google-bert/bert-base-uncased", "110 million parameters, English")
_CASED = Published("google-bert/bert-base-cased", "110 million parameters, English; capital letters mark names")
_DISTILBERT = Published("distilbert/distilbert-base-uncased", "66 million parameters, English; half the time of BERT")
_XLMR = Published("FacebookAI/xlm-roberta-base", "278 million parameters, 100 languages")
_GPT2 = Published("openai-community/gpt2", "124 million parameters, English")
_SMOLLM = Published("HuggingFaceTB/SmolLM2-135M", "135 million parameters, English; newer than GPT-2")
_QWEN = Published("Qwen/Qwen2.5-0.5B", "494 million parameters, 29 languages")
_T5 = Published("google-t5/t5-small", "60 million parameters; English, German, French and Romanian")
_BART = Published("facebook/bart-base", "139 million parameters, English")
PUBLISHED: Mapping[str, Mapping[Alphabet, Published]] = {
    "classification": {"english": _DISTILBERT, "t5": _XLMR, "other": _XLMR},
    "question-answering": {"english": _DISTILBERT, "t5": _XLMR, "other": _XLMR},
    "multiple-choice": {"english": _BERT, "t5": _XLMR, "other": _XLMR},
    "token-classification": {"english": _CASED, "t5": _XLMR, "other": _XLMR},
    "masked-lm": {"english": _BERT, "t5": _XLMR, "other": _XLMR},
    "causal-lm": {"english": _GPT2, "t5": _QWEN, "other": _QWEN},
    "instruction": {"english": _SMOLLM, "t5": _QWEN, "other": _QWEN},
    "summarization": {"english": _T5, "t5": _T5},
    "text-to-text": {"english": _T5, "t5": _T5},
    "translation": {"english": _T5, "t5": _T5},
    "span-corruption": {"english": _T5, "t5": _T5},
    "denoising": {"english": _BART},
}
"""Task -> the default for each alphabet; where there is none, no small published model reads the texts, or the task
makes a model from random weights."""
_ARCHITECTURES: Mapping[str, str] = {
    **dict.fromkeys(("classification", "question-answering", "multiple-choice", "token-classification"), "bert"),
    "masked-lm": "bert",
    **dict.fromkeys(("causal-lm", "instruction"), "gpt2"),
    **dict.fromkeys(("summarization", "text-to-text", "translation", "span-corruption"), "t5"),
    "denoising": "bart",
    "replaced-token-detection": "electra",
}
"""Task -> the architecture of random weights."""


@dataclass(frozen=True)
class ChosenModel:
    """What `model:` is in a new recipe."""

    name: str | None
    """A hub id, a folder or a run; None for random weights."""
    architecture: str
    """Of random weights."""
    size: str
    comment: str


def choose_model(task: str, *, texts: Iterable[str], given: str | None) -> ChosenModel:
    """The model of a new recipe.

    Args:
        texts: what it has to read and to write.
        given: a hub id, a folder, a run, or a size of random weights.
    Raises:
        UsageError: `given` is none of these.
    """
    architecture = _ARCHITECTURES[task]
    if given is not None:
        return _given(given, architecture)
    published = PUBLISHED.get(task, {}).get(alphabet_of(texts))
    change = f"A published one: --model ID, of {', '.join(RECIPES[task].FAMILIES[:4])} and others (docs/models.md)."
    if published is None:
        reason = (
            "the task trains a new model"
            if task not in PUBLISHED
            else "no small published model is known to llmkit init for this alphabet"
        )
        return ChosenModel(None, architecture, "tiny", f"Random weights: {reason}. {change}")
    if _is_offline() and not _is_cached(published.name):
        reason = f"HF_HUB_OFFLINE is set, and {published.name} is not in the cache"
        return ChosenModel(None, architecture, "tiny", f"Random weights: {reason}. {change}")
    scratch = f"Without a download: {{architecture: {architecture}, size: tiny}}, random weights."
    return ChosenModel(published.name, architecture, "tiny", f"{published.reason}; downloaded once. {scratch}")


def alphabet_of(texts: Iterable[str]) -> Alphabet:
    """By the letters of the texts; signs and digits do not count."""
    letters = [char for text in texts for char in text if char.isalpha()]
    others = [char for char in letters if not char.isascii()]
    if len(others) <= _MOST_OTHER * len(letters):
        return "english"
    unknown = sum(char.casefold() not in _T5_LETTERS for char in others)
    return "t5" if unknown <= _MOST_OTHER * len(letters) else "other"


def _given(model: str, architecture: str) -> ChosenModel:
    if model in SIZES and not Path(model).is_dir():
        return ChosenModel(None, architecture, model, "Random weights, and a tokenizer that is trained on the rows.")
    if "/" not in model and not Path(model).is_dir():
        raise UsageError(
            f"--model {model}: is no folder and no size.{nearest(model, SIZES)} Give a hub id in full, such as "
            f"google-bert/bert-base-uncased, a folder, a run, or a size of random weights: {', '.join(SIZES)}."
        )
    return ChosenModel(model, architecture, "tiny", "A hub id, a folder or a run.")


def _is_offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def _is_cached(name: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(name, "config.json"), str)


def sample_texts(values: Iterable[object], *, most: int = 200) -> list[str]:
    """The texts inside some values."""
    from llmkit.data.column_types import texts_in

    texts: Sequence[str] = [text for value in values for text in texts_in(value)]
    return list(texts[:: max(1, len(texts) // most)])

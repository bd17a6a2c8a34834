"""From texts to vectors, with an engine and a tokenizer.

Texts are read in chunks and vectors keep their order, so that a file of any length is processed in bounded memory.
Knows no files and no commands.
Legend: N texts, D numbers of a vector.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypedDict, get_args

from llmkit.errors import UsageError, nearest
from llmkit.models.loaded import LoadedModel
from llmkit.models.pooling import Pooling
from llmkit.tasks.inputs import LongTextCount, check_texts, encode_whole, numbered_chunks
from llmkit.tasks.similarity import unit_vectors
from llmkit.tasks.token_ids import token_ids

if TYPE_CHECKING:
    import numpy as np

    from llmkit.models.sentence_modules import SentenceModules

EMBED_CHUNK_ROWS = 2048
"""Enough texts of each length for full batches."""
_T5_TOKENS = 512
"""The input length of T5's pretraining: the window of models without a limit (mT5), since attention grows with its square."""

EmbedOverflow = Literal["error", "truncate", "window"]
_ROLES: Mapping[str, tuple[str, ...]] = {"query": ("query",), "document": ("document", "passage", "corpus")}
"""Names of the prompts for each role, as sentence-transformers looks for them."""
logger = logging.getLogger("llmkit")


class EmbedOptions(TypedDict, total=False):
    """Keywords of `vector_options`."""

    pooling: Pooling | Sequence[Pooling] | None
    normalize: bool | None
    prompt: str | None
    prompt_name: str | None


class EmbeddingEngine(Protocol):
    """An engine whose model outputs hidden states, not logits."""

    def embeddings(
        self, sequences: Sequence[Sequence[int]], *, pooling: Sequence[Pooling], skipped_tokens: int = 0
    ) -> np.ndarray:
        """(N, hidden units x poolings) float32, in the order given."""
        ...


@dataclass(frozen=True)
class Embedded:
    """Some texts with their vectors, in order."""

    texts: list[str]
    vectors: np.ndarray
    """(N, D) float32"""


@dataclass(frozen=True)
class VectorOptions:
    """How texts become vectors."""

    pooling: tuple[Pooling, ...]
    """Several are joined one after the other."""
    unit_length: Literal["last", "before_truncation", "no"]
    """Whether vectors are scaled to unit length, and when, where the model's folder keeps a part of their numbers."""
    prompt: str
    """In front of each text; may be empty."""
    dimension: int
    """Numbers of a vector."""

    @property
    def normalize(self) -> bool:
        return self.unit_length != "no"


def vector_options(
    loaded: LoadedModel,
    *,
    pooling: Pooling | Sequence[Pooling] | None = None,
    normalize: bool | None = None,
    prompt: str | None = None,
    prompt_name: str | None = None,
) -> VectorOptions:
    """What a caller asks for, else what a folder of sentence-transformers says, else the mean, unit length, no prompt.

    Args:
        pooling: `mean` is over a text's own tokens, special ones included and padding not. Several are joined.
        normalize: scale each vector to unit length, so that a dot product of two is their cosine.
        prompt: a text to put in front of each; empty for none.
        prompt_name: of one of the folder's prompts, in place of its text.
    Raises:
        UsageError: both a prompt and a name; a name that the model does not have; an unknown pooling, or one whose
            vectors do not fit the layer after it.
    """
    sentence, hidden = loaded.sentence, loaded.model.config.hidden_size
    modes: tuple[Pooling, ...] = sentence.pooling if sentence else ("mean",)
    if pooling:
        modes = (pooling,) if isinstance(pooling, str) else tuple(pooling)
    if unknown := [mode for mode in modes if mode not in get_args(Pooling)]:
        raise UsageError(f"unknown pooling {unknown[0]!r}; use {', '.join(get_args(Pooling))}.")
    text = _prompt(loaded, prompt=prompt, prompt_name=prompt_name)
    dimension = hidden * len(modes)
    if sentence is None:
        return VectorOptions(modes, "no" if normalize is False else "last", text, dimension)
    if sentence.layers_width is not None:
        needed, dimension = sentence.layers_width
        if needed != hidden * len(modes):
            raise UsageError(
                f"--pooling {'+'.join(modes)} gives {hidden * len(modes):,} numbers, and {loaded.name} has a Dense "
                f"layer for {needed:,}. Its own pooling is {'+'.join(sentence.pooling)}; leave --pooling out."
            )
    dimension = min(dimension, sentence.truncate_dim or dimension)
    return VectorOptions(modes, _unit_length(sentence, normalize), text, dimension)


def _unit_length(sentence: SentenceModules, wanted: bool | None) -> Literal["last", "before_truncation", "no"]:
    """As wanted, else as the folder says. One that says nothing and compares by cosine gets unit length, too: a length
    has no part in a cosine, and vectors of unit length have the same dot product.
    """
    if wanted is not None:
        return "last" if wanted else "no"
    if sentence.normalize:
        return "before_truncation"
    return "last" if sentence.similarity == "cosine" else "no"


def _prompt(loaded: LoadedModel, *, prompt: str | None, prompt_name: str | None) -> str:
    prompts = loaded.sentence.prompts if loaded.sentence else {}
    if prompt is not None and prompt_name is not None:
        raise UsageError("give a prompt's text or its name, not both.")
    if prompt is not None:
        return prompt
    if prompt_name is None:
        default = loaded.sentence.default_prompt_name if loaded.sentence else None
        return "" if default is None else prompts[default]
    if prompt_name not in prompts:
        has = f"Its prompts are {', '.join(prompts)}." if prompts else "It has none; give the text as --prompt."
        raise UsageError(f"{loaded.name} has no prompt {prompt_name!r}.{nearest(prompt_name, prompts)} {has}")
    return prompts[prompt_name]


def search_options(loaded: LoadedModel, role: Literal["query", "document"], options: EmbedOptions) -> EmbedOptions:
    """The options for a search's queries or texts: without a prompt, the folder's for these is used, else its default.

    Raises:
        UsageError: as `vector_options`.
    """
    prompt, prompt_name = options.get("prompt"), options.get("prompt_name")
    if prompt is None and prompt_name is None:
        prompts = loaded.sentence.prompts if loaded.sentence else {}
        prompt_name = next((name for name in _ROLES[role] if name in prompts), None)
    return {**options, "prompt": _prompt(loaded, prompt=prompt, prompt_name=prompt_name), "prompt_name": None}


def embed_texts(
    loaded: LoadedModel,
    engine: EmbeddingEngine,
    texts: Iterable[str],
    *,
    options: VectorOptions,
    overflow: EmbedOverflow,
) -> Iterator[Embedded]:
    """A vector for each text, in batches of texts.

    Args:
        overflow: for a text longer than the window: cut off its end, or use the mean of windows that do not overlap,
            weighted by their tokens. The number of such texts is logged once when the results end.
    Raises:
        UsageError: a prompt that fills the window.
        DataError: an empty text, one that is not valid Unicode, or one that is too long with `error`.
        ModelError: the model's output is not finite.
    """
    window = text_window(loaded)
    prompt_tokens = _prompt_tokens(loaded, options.prompt, window=window)
    skipped = 0 if loaded.sentence is None or loaded.sentence.include_prompt else prompt_tokens
    long_texts = LongTextCount(loaded, window=window)
    rows = windowed_texts = 0
    try:
        for first_row, chunk in numbered_chunks(texts, size=EMBED_CHUNK_ROWS):
            check_texts(chunk, first_row=first_row, may_be_empty=False)
            names_are_text = loaded.tokenizer.split_special_tokens
            if overflow == "window":
                long_texts.unknown.add(chunk, names_are_text=names_are_text)
                windows = _windows(loaded, chunk, prompt=options.prompt, size=window)
            else:
                prompted = [options.prompt + text for text in chunk]
                whole = encode_whole(loaded, prompted, first_row=first_row, overflow=overflow, window=window)
                windows = [[encoded.ids] for encoded in whole]
                long_texts.add([encoded.truncated_tokens for encoded in whole])
                read, all_ids = [encoded.text for encoded in whole], [encoded.all_ids for encoded in whole]
                long_texts.unknown.add(read, all_ids, names_are_text=names_are_text)
            rows += len(chunk)
            windowed_texts += sum(len(text_windows) > 1 for text_windows in windows)
            vectors = _mean_of_windows(engine, windows, pooling=options.pooling, skipped_tokens=skipped)
            yield Embedded(chunk, _finished(loaded, vectors, options))
        long_texts.unknown.report()
    finally:
        long_texts.report()
        if windowed_texts:
            counts = (f"{windowed_texts:,}", f"{rows:,}", f"{window:,}")
            logger.info("%s of %s texts are longer than %s tokens: using the mean of their windows", *counts)


def text_window(loaded: LoadedModel) -> int:
    """The most tokens of a text: what the folder says, within the model's positions; else the model's own limit."""
    if loaded.sentence is not None and loaded.sentence.max_tokens is not None:
        return min(loaded.sentence.max_tokens, loaded.positions or loaded.sentence.max_tokens)
    return loaded.window if loaded.is_bounded else _T5_TOKENS


def _prompt_tokens(loaded: LoadedModel, prompt: str, *, window: int) -> int:
    """Tokens in front of a text: special ones and those of its prompt."""
    if not prompt:
        return 0
    (ids,) = token_ids(loaded.tokenizer, [prompt], special=True)
    count = len(ids) - (ids[-1] in loaded.tokenizer.all_special_ids)
    if count + 1 >= window:
        raise UsageError(
            f"the prompt {prompt[:80]!r} has {count:,} tokens, and {loaded.name} takes {window:,} at most, so that "
            "nothing of a text would be read. Give a shorter prompt."
        )
    return count


def _finished(loaded: LoadedModel, vectors: np.ndarray, options: VectorOptions) -> np.ndarray:
    """(N, D): pooled vectors after the layers of the model's folder."""
    import torch

    sentence = loaded.sentence
    for layer in sentence.layers if sentence else ():
        vectors = layer(torch.from_numpy(vectors)).numpy()
    if options.unit_length == "before_truncation":
        vectors = unit_vectors(vectors)
    vectors = vectors[:, : options.dimension]
    return unit_vectors(vectors) if options.unit_length == "last" else vectors


def _windows(loaded: LoadedModel, texts: Sequence[str], *, size: int, prompt: str = "") -> list[list[list[int]]]:
    """For each text its ids in windows of at most `size` and of like length.

    Each has the special tokens around it and the prompt in front.
    """
    windows = []
    prompted = token_ids(loaded.tokenizer, [prompt + text for text in texts], special=True)
    (prompt_ids,) = token_ids(loaded.tokenizer, [prompt], special=False)
    for text, ids in zip(texts, prompted, strict=True):
        if len(ids) <= size:
            windows.append([ids])
            continue
        whole, inner = (
            token_ids(loaded.tokenizer, [text], special=True)[0],
            token_ids(loaded.tokenizer, [text], special=False)[0],
        )
        added = len(whole) - len(inner)
        before = next(start for start in range(added + 1) if whole[start : start + len(inner)] == inner)
        head, tail = [*whole[:before], *prompt_ids], whole[before + len(inner) :]
        count = -(-len(inner) // (size - added - len(prompt_ids)))
        edges = [len(inner) * number // count for number in range(count + 1)]
        windows.append([[*head, *inner[edges[at] : edges[at + 1]], *tail] for at in range(count)])
    return windows


def _mean_of_windows(
    engine: EmbeddingEngine, windows: Sequence[Sequence[list[int]]], *, pooling: Sequence[Pooling], skipped_tokens: int
) -> np.ndarray:
    """(N, D): the mean of each text's windows, weighted by their tokens."""
    import numpy as np

    sequences = [ids for text_windows in windows for ids in text_windows]
    vectors = engine.embeddings(sequences, pooling=pooling, skipped_tokens=skipped_tokens)
    if len(vectors) == len(windows):
        return vectors
    means = np.empty((len(windows), vectors.shape[1]), dtype=np.float32)
    start = 0
    for text, text_windows in enumerate(windows):
        weights = [len(ids) for ids in text_windows]
        means[text] = np.average(vectors[start : start + len(text_windows)], axis=0, weights=weights)
        start += len(text_windows)
    return means

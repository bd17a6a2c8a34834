"""From new token ids to text: whole characters only, cut at the first stop text.

The engine's early stop, whole results and streamed chunks all use these functions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing

from llmkit.models.loaded import LoadedModel
from llmkit.models.threads import locked_tokenizer
from llmkit.recipe.blocks import GenerationBlock
from llmkit.tasks.base import StreamingEngine

HALF_CHARACTER = "\N{REPLACEMENT CHARACTER}"
"""What a byte-level tokenizer writes for bytes that are no character, or not yet."""


def decode_new(loaded: LoadedModel, ids: Sequence[int]) -> str:
    """The text of new ids, without special tokens and without half a character at the end."""
    with locked_tokenizer(loaded.tokenizer):
        if not loaded.family.cleans_up_spaces:
            text = loaded.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        else:
            text = loaded.tokenizer.decode(list(ids), skip_special_tokens=True)
    assert isinstance(text, str)  # a list only for a list of lists
    return text.rstrip(HALF_CHARACTER)


def first_stop(text: str, stops: Sequence[str]) -> int | None:
    """Where the earliest of the stop texts begins; None where there is none."""
    return min((position for stop in stops if (position := text.find(stop)) >= 0), default=None)


def cut_at_stop(text: str, stops: Sequence[str]) -> str:
    """The text before the first stop text, or all of it."""
    return text[: first_stop(text, stops)]


def stable_text(loaded: LoadedModel, text: str, stops: Sequence[str]) -> str:
    """The start of a growing text that further tokens cannot change and that contains no start of a stop text."""
    if loaded.family.cleans_up_spaces and loaded.tokenizer.clean_up_tokenization_spaces:
        # "do n" becomes "don't" with its next token: a word is stable once the next one begins.
        text = text[: max(text.rfind(" "), 0)]
    return text[: len(text) - max((_overlap(text, stop) for stop in stops), default=0)]


def stream_ids(
    loaded: LoadedModel, engine: StreamingEngine, prompt: Sequence[int], *, options: GenerationBlock
) -> Iterator[str]:
    """The text after a prompt of ids, in chunks as they are generated."""
    ids: list[int] = []
    sent = ""
    with closing(engine.generate_stream(prompt, options)) as tokens:
        for token in tokens:
            ids.append(token)
            text = decode_new(loaded, ids)
            if first_stop(text, options.stop) is not None:
                break
            stable = stable_text(loaded, text, options.stop)
            if len(stable) > len(sent):
                yield stable[len(sent) :]
                sent = stable
    rest = cut_at_stop(decode_new(loaded, ids), options.stop)[len(sent) :]
    if rest:
        yield rest


def stripped(chunks: Iterator[str]) -> Iterator[str]:
    """The chunks of a text without the white space at its two ends."""
    trailing = ""
    begun = False
    for chunk in chunks:
        text = trailing + chunk
        if not begun:
            text = text.lstrip()
        ready = text.rstrip()
        trailing = text[len(ready) :]
        if ready:
            begun = True
            yield ready


def _overlap(text: str, stop: str) -> int:
    """Length of the longest suffix of `text` that is a prefix of `stop`."""
    return next((size for size in range(min(len(stop), len(text)), 0, -1) if text.endswith(stop[:size])), 0)

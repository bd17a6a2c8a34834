"""From prompts to the ids that a model reads, with room for the new tokens."""

from __future__ import annotations

from collections.abc import Sequence

from llmkit.errors import UsageError
from llmkit.inference.prompts import Prompt
from llmkit.models.chat import encode_prompts
from llmkit.models.loaded import LoadedModel
from llmkit.recipe.generation import GenerationBlock
from llmkit.tasks.inputs import Encoded, Overflow, encode_whole
from llmkit.tasks.long_texts import Part, part_of
from llmkit.tasks.token_ids import start_ids, token_ids


def encode_for_model(
    loaded: LoadedModel,
    prompts: Sequence[Prompt],
    *,
    first_row: int,
    options: GenerationBlock,
    overflow: Overflow,
    prefix: str = "",
    as_turns: bool = False,
) -> list[Encoded]:
    """The ids that the model reads for each prompt, cut under `truncate`.

    Args:
        first_row: number of the first prompt, for messages.
        as_turns: each prompt is a turn of a conversation.
    Raises:
        UsageError: a decoder has no room for a prompt and `max_new_tokens`.
        DataError: a prompt is too long for an encoder-decoder under `error`.
    """
    if as_turns:
        ids = encode_prompts(loaded, [prompt.chat for prompt in prompts])
        whole = [Part(prompt.text, len(prompt.text)) for prompt in prompts]
        return _fitted(whole, ids, loaded=loaded, first_row=first_row, options=options, overflow=overflow, start=[])
    texts = [(prefix if prompt.prefix is None else prompt.prefix) + prompt.text for prompt in prompts]
    if loaded.family.continues_prompts:
        parts = [part_of(loaded.tokenizer, text, tokens=loaded.window, end=True) for text in texts]
        ids = token_ids(loaded.tokenizer, [part.text for part in parts], special=False)
        start = start_ids(loaded.tokenizer)
        return _fitted(parts, ids, loaded=loaded, first_row=first_row, options=options, overflow=overflow, start=start)
    return encode_whole(loaded, texts, first_row=first_row, overflow=overflow)


def _fitted(
    parts: Sequence[Part],
    prompts: Sequence[list[int]],
    *,
    loaded: LoadedModel,
    first_row: int,
    options: GenerationBlock,
    overflow: Overflow,
    start: list[int],
) -> list[Encoded]:
    """Ids of prompts to continue that leave room for the new tokens.

    Args:
        parts: what was read of each prompt, its end.
        prompts: ids of these.
        start: ids that every text begins with; they stay where the start of a prompt is cut off.
    """
    if options.max_new_tokens is None:
        raise ValueError("max_new_tokens must be set before text is generated")
    room = loaded.window - options.max_new_tokens if options.max_length is None else options.max_length - 1
    least = max(len(start), 1)
    if room < least:
        raise UsageError(
            f"{least} + {options.max_new_tokens:,} > {loaded.window:,}: {loaded.name} has {loaded.window:,} positions for "
            f"a prompt and its new tokens; lower max_new_tokens to {loaded.window - least:,} or less"
        )
    encoded = []
    for row, (part, ids) in enumerate(zip(parts, prompts, strict=True), start=first_row):
        tokens = len(start) + part.whole_tokens(len(ids))
        if tokens > room and overflow == "error":
            raise UsageError(f"row {row:,}: {_too_long(loaded, options, tokens=tokens)}")
        kept = ids[max(len(start) + len(ids) - room, 0) :]
        prompt_ids = [*start, *kept] or [_start_id(loaded)]
        encoded.append(Encoded(prompt_ids, max(tokens - room, 0), part.text, ids))
    return encoded


def _too_long(loaded: LoadedModel, options: GenerationBlock, *, tokens: int) -> str:
    if options.max_length is not None:
        return (
            f"the prompt has {tokens:,} tokens, and max_length {options.max_length:,} of {loaded.name} counts it; "
            "give max_new_tokens, shorten the prompt, or allow its start to be truncated with overflow truncate"
        )
    return (
        f"{tokens:,} + {options.max_new_tokens:,} > {loaded.window:,}: the prompt and max_new_tokens exceed the "
        f"positions of {loaded.name}; lower max_new_tokens, shorten the prompt, or allow its start to be truncated with "
        "overflow truncate"
    )


def _start_id(loaded: LoadedModel) -> int:
    """The token before a text in training: the end of the previous text."""
    for token in (loaded.tokenizer.eos_token_id, loaded.tokenizer.bos_token_id):
        if token is not None:
            return int(token)
    raise UsageError(f"the prompt is empty, and {loaded.name} has no token that starts a text; give a prompt")

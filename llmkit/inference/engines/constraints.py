"""Logits processors for tokens that options exclude or force: repeated n-grams, bad words, the end of text.

The processors are those of transformers, in its order. Padding on the left of a prompt is hidden from them, so that a
text does not depend on the others in its batch.

Legend: B rows of a batch (x beams), T tokens, V vocabulary.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import (
    ForcedBOSTokenLogitsProcessor,
    ForcedEOSTokenLogitsProcessor,
    LogitsProcessor,
    NoBadWordsLogitsProcessor,
    NoRepeatNGramLogitsProcessor,
    SuppressTokensAtBeginLogitsProcessor,
    SuppressTokensLogitsProcessor,
)

from llmkit.inference.engines.special_ids import SpecialIds
from llmkit.recipe.generation import GenerationBlock


def needs_source(options: GenerationBlock) -> bool:
    """Whether a processor depends on the row's source."""
    return options.encoder_no_repeat_ngram_size > 0


def constraint_processors(
    options: GenerationBlock,
    *,
    ids: SpecialIds,
    sources: Sequence[Sequence[int]],
    padding: Tensor,
    prompt_tokens: int,
) -> list[LogitsProcessor]:
    """The processors of these options, in the order of transformers.

    Args:
        sources: ids of each row's prompt or source, without padding.
        padding: (B / beams,) padding ids to the left of each row.
        prompt_tokens: ids before the first new one, padding included.
    """
    assert options.max_new_tokens is not None
    device = str(padding.device)
    chain: list[LogitsProcessor] = []
    if options.no_repeat_ngram_size:
        chain.append(_HidePadding(NoRepeatNGramLogitsProcessor(options.no_repeat_ngram_size), padding))
    if options.encoder_no_repeat_ngram_size:
        chain.append(_NoSourceNgrams(options.encoder_no_repeat_ngram_size, sources))
    bad_words = [list(words) for words in options.bad_words_ids if tuple(words) not in {(end,) for end in ids.ends}]
    if bad_words:
        chain.append(_HidePadding(NoBadWordsLogitsProcessor(bad_words), padding))
    if options.min_length:
        chain.append(_NoEndBefore(options.min_length, hidden=padding, ends=ids.ends))
    if options.min_new_tokens:
        hidden = torch.full_like(padding, prompt_tokens)
        chain.append(_NoEndBefore(options.min_new_tokens, hidden=hidden, ends=ids.ends))
    if options.forced_bos_token_id is not None:
        chain.append(ForcedBOSTokenLogitsProcessor(options.forced_bos_token_id))
    if (forced_end := options.forced_eos_token_id) is not None:
        ends = [forced_end] if isinstance(forced_end, int) else list(forced_end)
        chain.append(ForcedEOSTokenLogitsProcessor(prompt_tokens + options.max_new_tokens, ends, device=device))
    if options.suppress_tokens:
        chain.append(SuppressTokensLogitsProcessor(options.suppress_tokens, device=device))
    if options.begin_suppress_tokens:
        begin = prompt_tokens + (prompt_tokens == 1 and options.forced_bos_token_id is not None)
        chain.append(SuppressTokensAtBeginLogitsProcessor(options.begin_suppress_tokens, begin, device=device))
    return chain


class _HidePadding(LogitsProcessor):
    """Shows a processor an id outside the vocabulary in place of padding, which matches no other token."""

    def __init__(self, processor: LogitsProcessor, padding: Tensor) -> None:
        self.processor = processor
        self.padding = padding  # (B / beams,)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        padding = self.padding.repeat_interleave(len(input_ids) // len(self.padding))
        is_padding = torch.arange(input_ids.shape[1], device=input_ids.device) < padding[:, None]  # (B, T)
        shown = input_ids.masked_fill(is_padding, scores.shape[1])
        result: Tensor = self.processor(shown, scores)
        return result


class _NoEndBefore(LogitsProcessor):
    """No end of text before a row has this many tokens, not counting the first `hidden` ones."""

    def __init__(self, tokens: int, *, hidden: Tensor, ends: Sequence[int]) -> None:
        self.tokens = tokens
        self.hidden = hidden  # (B / beams,)
        self.ends = list(ends)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        hidden = self.hidden.repeat_interleave(len(input_ids) // len(self.hidden))
        too_short = input_ids.shape[1] - hidden < self.tokens  # (B,)
        changed = scores.clone()
        changed[:, self.ends] = torch.where(too_short[:, None], -torch.inf, scores[:, self.ends])
        return changed


class _NoSourceNgrams(LogitsProcessor):
    """No n-gram of a row's source; transformers' own processor would also read the padding of a batch."""

    def __init__(self, size: int, sources: Sequence[Sequence[int]]) -> None:
        self.size = size
        self.following: list[dict[tuple[int, ...], list[int]]] = []
        for source in sources:
            following: dict[tuple[int, ...], list[int]] = defaultdict(list)
            for start in range(len(source) - size + 1):
                *before, last = source[start : start + size]
                following[tuple(before)].append(last)
            self.following.append(following)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        beams = len(scores) // len(self.following)
        changed = scores.clone()
        start = input_ids.shape[1] - self.size + 1
        if start < 0:
            return changed
        for row, before in enumerate(input_ids[:, start:].tolist()):
            changed[row, self.following[row // beams].get(tuple(before), [])] = -torch.inf
        return changed

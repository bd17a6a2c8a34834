"""Sampling of the next token from the logits, and the stopping criterion.

All options of `GenerationBlock` for one step are logits processors here, so that generate() and the streaming loop
only take the largest score, and cannot differ.

Legend: B rows of a batch (x beams), T tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from llmkit.errors import ModelError
from llmkit.inference.engines.constraints import constraint_processors
from llmkit.inference.engines.special_ids import SpecialIds
from llmkit.models.loaded import LoadedModel
from llmkit.recipe.generation import GenerationBlock
from llmkit.tasks.decoding import Lead, TextDecoder, first_stop


def logits_processors(
    options: GenerationBlock,
    *,
    ids: SpecialIds,
    sources: Sequence[Sequence[int]],
    padding: Sequence[int],
    prompt_tokens: int,
    draws: Tensor | None,
    device: torch.device,
) -> LogitsProcessorList:
    """The chain from logits to scores, the largest of which is the next token.

    Args:
        sources: ids of each row's prompt, or of its source for an encoder-decoder, without padding.
        padding: padding ids to the left of each row.
        prompt_tokens: ids before the first new one, padding included.
        draws: (B, max_new_tokens) of `uniform_draws`; None unless the options sample.
    """
    chain: list[LogitsProcessor] = [_RefuseNonFinite()]
    left_padding = torch.tensor(padding, device=device)
    if options.repetition_penalty != 1.0:
        chain.append(_RepetitionPenalty(options.repetition_penalty, left_padding))
    chain += constraint_processors(options, ids=ids, sources=sources, padding=left_padding, prompt_tokens=prompt_tokens)
    if options.temperature is not None:
        chain.append(TemperatureLogitsWarper(options.temperature))
    if options.top_k is not None:
        chain.append(TopKLogitsWarper(options.top_k))
    if options.top_p is not None:
        chain.append(TopPLogitsWarper(options.top_p))
    if draws is not None:
        chain.append(_Draw(draws, prompt_tokens))
    return LogitsProcessorList(chain)


def uniform_draws(options: GenerationBlock, rows: Sequence[tuple[int, int]], *, device: torch.device) -> Tensor | None:
    """(B, max_new_tokens) numbers in [0, 1), one for each token to come; None where nothing is sampled.

    The numbers of a row are a function of (seed, index of its sequence, number of its sample), the same on every machine.
    """
    if not options.samples:
        return None
    assert options.max_new_tokens is not None
    # 24 bits: as float64, 1 - 2**-24 times the sum of all probabilities stays below that sum.
    numbers = [
        np.random.default_rng((options.seed, index, sample)).random(options.max_new_tokens, dtype=np.float32)
        for index, sample in rows
    ]
    return torch.from_numpy(np.stack(numbers)).to(device)


def refuse_non_finite(logits: Tensor) -> None:
    """
    Raises:
        ModelError: NaN or infinity, which argmax would turn into token 0 or class 0.
    """
    if not bool(torch.isfinite(logits).all()):
        raise ModelError("the model's output is not finite: its weights are damaged")


class _RefuseNonFinite(LogitsProcessor):
    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        refuse_non_finite(scores)
        return scores


class _RepetitionPenalty(LogitsProcessor):
    """Repetition penalty (Keskar et al. 2019, section 4.1) over prompt and new tokens, without padding.

    That of transformers also penalizes padding, which for GPT-2 is the end of text: a batch would not stop.
    """

    def __init__(self, penalty: float, padding: Tensor) -> None:
        self.penalty = penalty
        self.padding = padding  # (B / beams,)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        padding = self.padding.repeat_interleave(len(input_ids) // len(self.padding))
        is_padding = torch.arange(input_ids.shape[1], device=input_ids.device) < padding[:, None]  # (B, T)
        # The last id is never padding, and penalizing it twice has no effect.
        marked = torch.where(is_padding, input_ids[:, -1:], input_ids)
        seen = torch.zeros_like(scores, dtype=torch.bool).scatter(1, marked, True)  # (B, V)
        penalized = torch.where(scores < 0, scores * self.penalty, scores / self.penalty)
        return torch.where(seen, penalized, scores)


class _Draw(LogitsProcessor):
    """Sample a token from the distribution, by the inverse of the cumulative distribution.

    Uses one given random number per token instead of `torch.multinomial`, whose result depends on the other rows of
    the batch, and on the device.
    """

    def __init__(self, draws: Tensor, prompt_tokens: int) -> None:
        self.draws = draws  # (B, max_new_tokens)
        self.prompt_tokens = prompt_tokens

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        draw = self.draws[:, input_ids.shape[1] - self.prompt_tokens, None].double()  # (B, 1)
        cumulative = torch.softmax(scores.double(), dim=-1).cumsum(dim=-1)  # (B, V)
        # right=True steps over tokens of probability 0, where the sum does not grow.
        token = torch.searchsorted(cumulative, draw * cumulative[:, -1:], right=True)  # (B, 1)
        return torch.full_like(scores, -torch.inf).scatter(1, token, 0.0)


class StopTexts(StoppingCriteria):
    """Whether the decoded new ids of each row contain a stop text.

    All new ids are decoded at every step: parts of a stop text may come from any tokens, and the
    cost is small compared with a forward pass.
    """

    def __init__(self, loaded: LoadedModel, options: GenerationBlock, ids: SpecialIds, *, prompt_tokens: int) -> None:
        self._decoder = TextDecoder(loaded, keep_special=options.keep_special)
        self._stops = options.stop
        self._ids = ids
        self._prompt_tokens = prompt_tokens
        self._leads: dict[int, Lead] = {}
        """Of each row of a batch; beams of a row have the same prompt."""

    def is_reached(self, new_ids: Sequence[int], *, prompt: Sequence[int], row: int = 0) -> bool:
        if row not in self._leads:
            self._leads[row] = self._decoder.lead(prompt)
        return first_stop(self._decoder.text(new_ids, self._leads[row]), self._stops) is not None

    def __call__(self, input_ids: Tensor, scores: Tensor, **kwargs: object) -> Tensor:
        """(B,) bool; the arguments are those that generate() passes."""
        done = [
            self.is_reached(self._ids.without(ids[self._prompt_tokens :]), prompt=ids[: self._prompt_tokens], row=row)
            for row, ids in enumerate(input_ids.tolist())
        ]
        return torch.tensor(done, dtype=torch.bool, device=input_ids.device)

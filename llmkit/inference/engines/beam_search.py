"""Beam search with encoder-decoders: the results of transformers, without redundant computation.

transformers copies the keys and values of the source for each beam, and again at each step to follow the beams; and a
finished text is computed until the last text of its batch is finished. Here the beams of a text share the keys and
values of its source, as several queries of one attention, and a text that cannot improve leaves the batch.
The rules of the search are those of `GenerationMixin._beam_search`.

Legend: B texts, K beams, C candidates (K for each end of text, and K), S source tokens, L new tokens at most,
H heads, D units of a head, W width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Literal

import torch
from torch import Tensor

from llmkit.inference.engines.sampling import refuse_non_finite
from llmkit.inference.engines.special_ids import SpecialIds
from llmkit.models.families import Family
from llmkit.models.families.seq2seq_parts import Attention, Seq2SeqParts

_NEVER = -1.0e9
"""Score of excluded candidates; the value of transformers, since it is added, not assigned."""
_LEAVE_SHARE = 8
"""Finished texts are removed once they are one in 8 of the batch: removal copies the states of the others."""
EarlyStopping = bool | Literal["never"]
Processors = Callable[[Tensor, Tensor], Tensor]
"""Ids written so far, the start included (rows, T), and log-probabilities (rows, V), to scores (rows, V)."""


@dataclass
class _Search:
    """The state of a search. Each tensor has a row per text, so that finished texts can be removed."""

    text: Tensor
    """(B,) index of the text of each row."""
    mask: Tensor
    """(B, 1, 1, S) added to the attention scores of padding."""
    cross: list[Tensor]
    """Of each layer the keys, then of each the values of the source: (B, H, S, D)."""
    past: list[Tensor]
    """Of each layer the keys, then of each the values of the generated tokens: (B, K, H, L, D)."""
    running: Tensor
    """(B, K, 1 + L) the ids of the beams."""
    running_scores: Tensor
    """(B, K) sums of log-probabilities."""
    finished: Tensor
    """(B, K, 1 + L) the best ended texts."""
    scores: Tensor
    """(B, K) their log-probabilities, divided by a power of their length."""
    is_finished: Tensor
    """(B, K) bool"""
    can_improve: Tensor
    """(B,) bool"""

    def keep(self, rows: Tensor) -> None:
        """Remove all other texts."""
        for name in (field.name for field in fields(self)):
            value = getattr(self, name)
            setattr(self, name, [tensor[rows] for tensor in value] if isinstance(value, list) else value[rows])


@dataclass(frozen=True)
class StoppingRule:
    """How finished texts are compared, and when a search ends."""

    length_penalty: float = 1.0
    """Log-probabilities are divided by the length to this power."""
    early_stopping: EarlyStopping = False

    def hoped_length(self, length: int, *, max_new_tokens: int) -> int:
        """The length at which an unfinished beam is compared with finished texts."""
        return max_new_tokens if self.early_stopping == "never" and self.length_penalty > 0 else length


@torch.inference_mode()
def beam_search(
    model: Any,
    inputs: dict[str, Tensor],
    *,
    family: Family,
    beams: int,
    max_new_tokens: int,
    ids: SpecialIds,
    process: Processors | None,
    rule: StoppingRule = StoppingRule(),
) -> Tensor:
    """(B, K, 1 + L) the best texts, best first, each with the decoder's start token first and padding last.

    Args:
        inputs: `input_ids` (B, S) and `attention_mask` (B, S).
        process: changes log-probabilities before the best are chosen; None for no change.
    Raises:
        ModelError: a logit is not finite.
    """
    parts = family.seq2seq_parts(model)
    states = model.get_encoder()(**inputs).last_hidden_state  # (B, S, W)
    search = _begin(parts, states, inputs["attention_mask"], beams=beams, max_new_tokens=max_new_tokens, ids=ids)
    results = search.finished.clone()
    bias = None if parts.position_bias is None else parts.position_bias(max_new_tokens)  # (1, H, L, L)
    for step in range(max_new_tokens):
        logits = _next_logits(parts, search, bias, step=step)  # (B, K, V)
        beam, token, totals = _candidates(logits, search, step=step, ends=ids.ends, process=process)  # (B, C) each
        ended = torch.isin(token, torch.tensor(ids.ends, device=token.device))
        if step == max_new_tokens - 1:
            ended = torch.ones_like(ended)
        _advance(search, beam, token, totals, ended, step=step, rule=rule)
        done = ~search.can_improve
        if step == max_new_tokens - 1 or bool(done.all()):
            break
        if int(done.sum()) * _LEAVE_SHARE >= len(done):
            results[search.text[done]] = search.finished[done]
            search.keep((~done).nonzero().squeeze(1))
    results[search.text] = search.finished
    return results


def _begin(
    parts: Seq2SeqParts, states: Tensor, attention_mask: Tensor, *, beams: int, max_new_tokens: int, ids: SpecialIds
) -> _Search:
    texts, device = len(states), states.device
    crosses = [layer.cross for layer in parts.layers]
    keys = [_heads(cross.key(states), cross).transpose(1, 2).contiguous() for cross in crosses]  # (B, H, S, D)
    values = [_heads(cross.value(states), cross).transpose(1, 2).contiguous() for cross in crosses]
    mask = torch.zeros(attention_mask.shape, dtype=keys[0].dtype, device=device)
    mask.masked_fill_(attention_mask == 0, torch.finfo(mask.dtype).min)
    shape = (texts, beams, keys[0].shape[1], max_new_tokens, keys[0].shape[3])
    written = torch.full((texts, beams, 1 + max_new_tokens), ids.pad, dtype=torch.int64, device=device)
    written[:, :, 0] = ids.decoder_start
    running_scores = torch.full((texts, beams), _NEVER, device=device)
    running_scores[:, 0] = 0.0  # all beams are equal at first: only one of them may be continued
    return _Search(
        text=torch.arange(texts, device=device),
        mask=mask[:, None, None],
        cross=[*keys, *values],
        past=[torch.zeros(shape, dtype=keys[0].dtype, device=device) for _ in range(2 * len(crosses))],
        running=written,
        running_scores=running_scores,
        finished=written.clone(),
        scores=torch.full((texts, beams), _NEVER, device=device),
        is_finished=torch.zeros((texts, beams), dtype=torch.bool, device=device),
        can_improve=torch.ones(texts, dtype=torch.bool, device=device),
    )


def _heads(states: Tensor, attention: Attention) -> Tensor:
    """(..., H x D) to (..., H, D)"""
    return states.view(*states.shape[:-1], attention.heads, -1)


def _next_logits(parts: Seq2SeqParts, search: _Search, bias: Tensor | None, *, step: int) -> Tensor:
    """(B, K, V) of the token after the last one of each beam: the decoder for one position."""
    hidden = parts.embed(search.running[:, :, step], step)  # (B, K, W)
    layers = len(parts.layers)
    added = None if bias is None else bias[:, :, step, None, : step + 1]  # (1, H, 1, T)
    for number, layer in enumerate(parts.layers):
        attention, inputs = layer.attention, layer.attention_norm(hidden) if layer.norm_first else hidden
        keys, values = search.past[number], search.past[layers + number]
        keys[:, :, :, step] = _heads(attention.key(inputs), attention)
        values[:, :, :, step] = _heads(attention.value(inputs), attention)
        query = _heads(attention.query(inputs), attention).unsqueeze(3)  # (B, K, H, 1, D)
        past = keys[:, :, :, : step + 1], values[:, :, :, : step + 1]
        mixed = _attend(query, *past, added, scale=attention.scale)
        hidden = hidden + attention.output(mixed.flatten(2))
        hidden = hidden if layer.norm_first else layer.attention_norm(hidden)
        attention, inputs = layer.cross, layer.cross_norm(hidden) if layer.norm_first else hidden
        query = _heads(attention.query(inputs), attention).transpose(1, 2)  # (B, H, K, D): the beams are the queries
        source = search.cross[number], search.cross[layers + number]
        mixed = _attend(query, *source, search.mask, scale=attention.scale)
        hidden = hidden + attention.output(mixed.transpose(1, 2).flatten(2))
        hidden = layer.feed_forward(hidden if layer.norm_first else layer.cross_norm(hidden))
    states = parts.head.transform(parts.last_norm(hidden))  # (B, K, W)
    return torch.nn.functional.linear(states, parts.head.weight, parts.head.bias).float()


def _attend(query: Tensor, keys: Tensor, values: Tensor, added: Tensor | None, *, scale: float) -> Tensor:
    """(..., Q, D) for queries (..., Q, D), keys and values (..., T, D), and what is added to the scores."""
    scores = (query if scale == 1.0 else query * scale) @ keys.transpose(-1, -2)
    if added is not None:
        scores = scores + added
    return scores.softmax(dim=-1) @ values


def _candidates(
    logits: Tensor, search: _Search, *, step: int, ends: tuple[int, ...], process: Processors | None
) -> tuple[Tensor, Tensor, Tensor]:
    """The best continuations of each text, best first: (B, C) of which beam, by which token, and their scores."""
    texts, beams, vocabulary = logits.shape
    count = max(2, 1 + len(ends)) * beams  # enough that K continue, whichever end
    if process is None:
        # The best of all are among the best of each beam, so only these are normalised.
        best, token = logits.topk(min(count, vocabulary), dim=-1)  # (B, K, C)
        normaliser = logits.logsumexp(dim=-1, keepdim=True)  # (B, K, 1)
        refuse_non_finite(normaliser)
        best = best - normaliser
    else:
        written = search.running[:, :, : step + 1].flatten(0, 1)
        scores = process(written, logits.log_softmax(dim=-1).flatten(0, 1)).view(texts, beams, vocabulary)
        best, token = scores.topk(min(count, vocabulary), dim=-1)
    totals = (best + search.running_scores[:, :, None]).flatten(1)
    per_beam = best.shape[-1]
    totals, index = totals.topk(count, dim=-1)
    return index // per_beam, token.flatten(1).gather(1, index), totals


def _advance(
    search: _Search, beam: Tensor, token: Tensor, totals: Tensor, ended: Tensor, *, step: int, rule: StoppingRule
) -> None:
    """Update the search: candidates that ended become finished texts, the best others the beams."""
    beams = search.running.shape[1]
    written = _of_beams(search.running, beam)  # (B, C, 1 + L)
    written[:, :, step + 1] = token
    open_totals = totals + ended * _NEVER
    chosen = open_totals.topk(beams, dim=1).indices  # (B, K)
    search.running = _of_beams(written, chosen)
    search.running_scores = open_totals.gather(1, chosen)
    parent = beam.gather(1, chosen)
    if not bool((parent == torch.arange(beams, device=parent.device)).all()):
        search.past = [_of_beams(states, parent) for states in search.past]

    may_end = ended.clone()
    may_end[:, beams:] = False  # the candidates after the first K only replace ended ones
    scores = totals / (step + 1) ** rule.length_penalty
    scores = scores + (~search.can_improve)[:, None] * _NEVER + ~may_end * _NEVER
    merged = torch.cat([search.scores, scores], dim=1)
    search.scores, best = merged.topk(beams, dim=1)
    search.finished = _of_beams(torch.cat([search.finished, written], dim=1), best)
    search.is_finished = torch.cat([search.is_finished, may_end], dim=1).gather(1, best)
    hoped = rule.hoped_length(step + 1, max_new_tokens=search.running.shape[2] - 1)
    best_running = search.running_scores[:, :1] / hoped**rule.length_penalty
    worst = torch.where(search.is_finished, search.scores.min(dim=1, keepdim=True).values, _NEVER)
    search.can_improve = search.can_improve & (best_running > worst).any(dim=1)
    if rule.early_stopping is True:
        search.can_improve = search.can_improve & ~search.is_finished.all(dim=1)


def _of_beams(states: Tensor, beam: Tensor) -> Tensor:
    """(B, K', ...) of (B, K, ...): for each text the given beams."""
    return states[torch.arange(len(states), device=states.device)[:, None], beam]

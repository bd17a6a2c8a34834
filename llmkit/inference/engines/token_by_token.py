"""Generation of one sequence token by token, for streaming. Token ids in, token ids out; knows no tokenizers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from llmkit.inference.engines.sampling import logits_processors, uniform_draws
from llmkit.inference.engines.special_ids import SpecialIds
from llmkit.recipe.generation import GenerationBlock


def greedy_tokens(
    model: Any, prompt: Sequence[int], options: GenerationBlock, ids: SpecialIds, *, device: torch.device
) -> Iterator[int]:
    """The most probable (or sampled) tokens one by one up to the limit, without removing end-of-text and padding."""
    inputs, start = _first_inputs(model, prompt, ids, device=device)
    options = options.for_prompt(len(prompt))
    written_key = "decoder_input_ids" if model.config.is_encoder_decoder else "input_ids"
    written = torch.tensor([start], device=device)  # (1, T)
    processors: Any = logits_processors(
        options,
        ids=ids,
        sources=[prompt],
        padding=[0],
        prompt_tokens=len(start),
        draws=uniform_draws(options, [(0, 0)], device=device),
        device=device,
    )
    for _ in range(options.new_tokens(len(prompt))):
        # Not around the loop: inference mode would leak into the caller at each `yield`.
        with torch.inference_mode():
            output = model(**inputs, use_cache=True)
            scores = processors(written, output.logits[:, -1].float())  # (1, V)
            token = scores.argmax(dim=-1, keepdim=True)  # (1, 1)
            written = torch.cat([written, token], dim=-1)
            inputs = {**inputs, written_key: token, "past_key_values": output.past_key_values}
        yield int(token)


@torch.inference_mode()
def _first_inputs(
    model: Any, prompt: Sequence[int], ids: SpecialIds, *, device: torch.device
) -> tuple[dict[str, Any], list[int]]:
    """The model's arguments for the first new token, and the ids before it."""
    tokens = torch.tensor([list(prompt)], device=device)  # (1, T)
    if not model.config.is_encoder_decoder:
        return {"input_ids": tokens, "logits_to_keep": 1}, list(prompt)
    start = torch.tensor([[ids.decoder_start]], device=device)  # (1, 1)
    return {"encoder_outputs": model.get_encoder()(tokens), "decoder_input_ids": start}, [ids.decoder_start]

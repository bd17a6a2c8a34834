"""Inference with transformers and PyTorch. Token ids in, token ids out; knows no recipes.

It uses the tokenizer only for special ids that the model's configuration lacks, and to detect stop texts. The
checkpoint's own generation config for sampling, beams or lengths is never used: only `GenerationBlock` counts.

Legend: N sequences, B batch, T tokens, C classes, D hidden units, V vocabulary.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from transformers import StoppingCriteriaList

from llmkit.inference.engines.batch_limits import batch_limits
from llmkit.inference.engines.beam_search import StoppingRule, beam_search
from llmkit.inference.engines.constraints import needs_source
from llmkit.inference.engines.forward import evaluating, padded
from llmkit.inference.engines.generate_call import generation_config, token_limit, without_generation_config
from llmkit.inference.engines.sampling import StopTexts, logits_processors, refuse_non_finite, uniform_draws
from llmkit.inference.engines.special_ids import SpecialIds, special_ids
from llmkit.inference.engines.token_by_token import greedy_tokens
from llmkit.models.loaded import LoadedModel
from llmkit.models.pooling import Pooling, pooled
from llmkit.models.text_logits import text_logits
from llmkit.recipe.generation import GenerationBlock
from llmkit.tasks.batching import batches_by_length


class TransformersEngine:
    """The `Engine` of tasks/engine.py over one model, plus `generate_stream`.

    Args:
        loaded: its model is moved to `device`.
        max_batch_tokens: the most tokens (prompt or text and new ones, times beams, padding included) in one pass;
            None for a default that depends on the device and the work. Changes memory and speed; results only by
            floating-point rounding.
        report: called after each batch of a method with the number of its sequences that are done, and of all.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        *,
        device: torch.device,
        max_batch_tokens: int | None = None,
        report: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self._loaded = loaded
        self._report = report
        self._device = device
        self._model: Any = loaded.model  # Any: transformers' own methods are only partly typed
        self._model.to(device)
        self._limits = batch_limits(device, max_batch_tokens)

    def class_logits(self, sequences: Sequence[Sequence[int]], *, pairs: bool = False) -> np.ndarray:
        """(N, C) float32 logits, in the order of the sequences.

        Raises:
            ModelError: a logit is not finite.
        """
        logits = np.empty((len(sequences), self._model.config.num_labels), dtype=np.float32)  # (N, C)
        for indices, output in self._read(sequences, pairs=pairs):
            lengths = torch.tensor([len(sequences[index]) for index in indices], device=self._device)
            logits[indices] = text_logits(output.logits, lengths).cpu().numpy()
        refuse_non_finite(torch.from_numpy(logits))
        return logits

    def token_logits(self, sequences: Sequence[Sequence[int]], *, pairs: bool = False) -> list[np.ndarray]:
        """For each sequence (T, C) float32 logits of its tokens; start and end are the two classes of an answer.

        Raises:
            ModelError: a logit is not finite.
        """
        logits_of: list[np.ndarray] = [np.empty(0)] * len(sequences)
        for indices, output in self._read(sequences, pairs=pairs):
            if "start_logits" in output:
                logits = torch.stack([output.start_logits, output.end_logits], dim=-1).float().cpu()  # (B, T, 2)
            else:
                logits = output.logits.float().cpu()  # (B, T, C)
            refuse_non_finite(logits)
            for row, index in enumerate(indices):
                logits_of[index] = logits[row, : len(sequences[index])].numpy().copy()
        return logits_of

    def embeddings(
        self, sequences: Sequence[Sequence[int]], *, pooling: Sequence[Pooling], skipped_tokens: int = 0
    ) -> np.ndarray:
        """(N, D x poolings) float32: the last layer's states of each sequence, pooled; see `models.pooling.pooled`.

        Raises:
            ModelError: a state is not finite.
        """
        width = self._model.config.hidden_size * len(pooling)
        vectors = np.empty((len(sequences), width), dtype=np.float32)
        for indices, output in self._read(sequences):
            lengths = torch.tensor([len(sequences[index]) for index in indices], device=self._device)  # (B,)
            states = output.last_hidden_state.float()  # (B, T, D)
            rows = pooled(states, lengths, modes=pooling, skipped_tokens=skipped_tokens)
            vectors[indices] = rows.cpu().numpy()
        refuse_non_finite(torch.from_numpy(vectors))
        return vectors

    def most_probable_tokens(
        self,
        sequences: Sequence[Sequence[int]],
        positions: Sequence[Sequence[int]],
        *,
        top_k: int,
        never: Sequence[int],
    ) -> list[list[tuple[np.ndarray, np.ndarray]]]:
        """The most probable tokens at the given positions of each sequence; the vocabulary head runs only on these positions.

        Args:
            positions: for each sequence, the positions to predict.
            never: ids that are no candidates; their probability is not redistributed.
        Returns:
            For each position of each sequence, `top_k` ids and their probabilities, the most probable first.
        Raises:
            ModelError: a logit is not finite.
        """
        predictions: list[list[tuple[np.ndarray, np.ndarray]]] = [[] for _ in sequences]
        head = self._loaded.family.masked_lm_head(self._model)
        for indices, output in self._read(sequences, model=self._model.base_model):
            pairs = [(row, position) for row, index in enumerate(indices) for position in positions[index]]
            rows, columns = map(list, zip(*pairs, strict=True))
            with torch.inference_mode():
                states = output.last_hidden_state[rows, columns]  # (M, D), M positions of the batch
                logits = torch.nn.functional.linear(head.transform(states), head.weight, head.bias)
                shares = logits.float().softmax(dim=-1)  # (M, V)
                refuse_non_finite(shares)
                shares[:, list(never)] = -1.0
                best = shares.topk(top_k, dim=-1)  # (M, k)
            for row, ids, probabilities in zip(rows, best.indices.cpu(), best.values.cpu(), strict=True):
                predictions[indices[row]].append((ids.numpy(), probabilities.numpy()))
        return predictions

    def _read(
        self, sequences: Sequence[Sequence[int]], *, pairs: bool = False, model: Any = None
    ) -> Iterator[tuple[list[int], Any]]:
        """The output for batches of sequences of similar length, with the indices of these sequences.

        Args:
            model: a part of the model, instead of the whole model.
        """
        lengths = [len(sequence) for sequence in sequences]
        pad_id = self._loaded.tokenizer.pad_token_id
        done = 0
        with evaluating(self._model):
            for indices in batches_by_length(lengths, max_tokens=self._limits.read):
                batch = self._padded([sequences[index] for index in indices], pad_id=pad_id)
                if pairs:
                    batch |= self._loaded.family.segment_inputs(batch["input_ids"], self._loaded.tokenizer)
                with torch.inference_mode():  # not around the loop: it would leak into the caller at each yield
                    output = (model or self._model)(**batch)
                yield indices, output
                done += len(indices)
                self._report(done, len(sequences))

    def generate(self, sequences: Sequence[Sequence[int]], options: GenerationBlock) -> list[list[list[int]]]:
        """For each sequence `options.num_return_sequences` lists of new ids, without prompt, padding or end-of-text.

        With `options.stop`, a list ends with the token that completes a stop text. A sample depends on its logits
        and on (seed, index of the sequence, number of the sample) alone: it does not depend on the batch, and the
        global random state is neither used nor changed.

        Raises:
            ModelError: a logit is not finite, or the model has no end-of-text token.
        """
        samples = options.num_return_sequences if options.beams == 1 else 1
        # Sampled copies are separate sequences, so that a batch never exceeds its tokens.
        rows_by_limit: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for index, sequence in enumerate(sequences):
            rows_by_limit[options.new_tokens(len(sequence))] += [(index, sample) for sample in range(samples)]
        results: list[list[list[int]]] = [[[]] * options.num_return_sequences for _ in sequences]
        done = 0
        for limit, rows in rows_by_limit.items():
            limited = options.model_copy(update={"max_new_tokens": limit, "max_length": None})
            for (index, sample), lists in self._generate_rows(sequences, rows, limited):
                results[index][sample : sample + len(lists)] = lists
                done += 1
                self._report(done, len(sequences) * samples)
        return results

    def _generate_rows(
        self, sequences: Sequence[Sequence[int]], rows: list[tuple[int, int]], options: GenerationBlock
    ) -> Iterator[tuple[tuple[int, int], list[list[int]]]]:
        """For each row, an (index, sample), its lists of new ids."""
        limit = token_limit(options)
        searches = self._searches(options)
        # Our beam search stores a source once; generate() once for each beam.
        lengths = [
            len(sequences[index]) * (1 if searches else options.beams) + limit * options.beams for index, _ in rows
        ]
        max_tokens = self._limits.search if searches else self._limits.generate
        ids = special_ids(self._loaded, options)
        with evaluating(self._model):
            for batch in batches_by_length(lengths, max_tokens=max_tokens):
                batch_rows = [rows[index] for index in batch]
                prompts = [sequences[index] for index, _ in batch_rows]
                with torch.inference_mode():
                    if searches:
                        new = self._search_batch(prompts, options, ids)
                    else:
                        new = self._generate_batch(prompts, batch_rows, options, ids)
                yield from zip(batch_rows, new, strict=True)

    def generate_stream(self, sequence: Sequence[int], options: GenerationBlock) -> Generator[int, None, None]:
        """The ids of `generate([sequence], options)[0][0]`, each as soon as it is known.

        With beams the ids are only known at the end, and are returned together. Closing the iterator stops generation; until
        it is exhausted or closed, the model stays in evaluation mode.

        Raises:
            ModelError: as `generate`.
        """
        if options.beams > 1:
            yield from self.generate([sequence], options)[0][0]
            return
        ids = special_ids(self._loaded, options)
        stop = StopTexts(self._loaded, options, ids, prompt_tokens=len(sequence)) if options.stop else None
        new_ids: list[int] = []
        with evaluating(self._model):
            # One token a time through the same processors as a batch.
            for token in greedy_tokens(self._model, sequence, options, ids, device=self._device):
                if token in ids.ends:
                    return
                if ids.is_padding(token):
                    continue
                new_ids.append(token)
                yield token
                if stop is not None and stop.is_reached(new_ids, prompt=sequence):
                    return

    def _searches(self, options: GenerationBlock) -> bool:
        """Whether our beam search is used; only generate() supports stop texts and knows the source of a beam."""
        searchable = options.beams > 1 and not options.stop and not needs_source(options)
        return bool(self._model.config.is_encoder_decoder) and searchable

    def _search_batch(
        self, prompts: list[Sequence[int]], options: GenerationBlock, ids: SpecialIds
    ) -> list[list[list[int]]]:
        """As `_generate_batch`, for encoder-decoders with beams."""
        processors: Any = logits_processors(
            options, ids=ids, sources=(), padding=[0], prompt_tokens=1, draws=None, device=self._device
        )
        output = beam_search(
            self._model,
            self._padded(prompts, pad_id=ids.pad),
            family=self._loaded.family,
            beams=options.beams,
            max_new_tokens=token_limit(options),
            ids=ids,
            process=processors if len(processors) > 1 else None,  # the first one only refuses damaged logits
            rule=StoppingRule(options.length_penalty, options.early_stopping),
        )  # (B, K, 1 + L)
        return [[ids.without(row[1:]) for row in rows[: options.num_return_sequences]] for rows in output.tolist()]

    def _generate_batch(
        self, prompts: list[Sequence[int]], rows: list[tuple[int, int]], options: GenerationBlock, ids: SpecialIds
    ) -> list[list[list[int]]]:
        """For each prompt of one batch its lists of new ids; `rows` are their (index, sample)."""
        encoder_decoder = self._model.config.is_encoder_decoder
        batch = self._padded(prompts, pad_id=ids.pad, side="right" if encoder_decoder else "left")
        prompt_tokens = 1 if encoder_decoder else batch["input_ids"].shape[1]
        stopping = StoppingCriteriaList()
        if options.stop:
            stopping.append(StopTexts(self._loaded, options, ids, prompt_tokens=prompt_tokens))
        output = without_generation_config(self._model, ids).generate(
            **batch,
            generation_config=generation_config(options, ids),
            logits_processor=logits_processors(
                options,
                ids=ids,
                sources=prompts,
                padding=[0 if encoder_decoder else prompt_tokens - len(prompt) for prompt in prompts],
                prompt_tokens=prompt_tokens,
                draws=uniform_draws(options, rows, device=self._device),
                device=self._device,
            ),
            stopping_criteria=stopping,
        )  # (B x sequences of a prompt, T)
        new = [ids.without(row) for row in output[:, prompt_tokens:].tolist()]
        per_prompt = len(new) // len(prompts)
        return [new[start : start + per_prompt] for start in range(0, len(new), per_prompt)]

    def _padded(
        self, sequences: Sequence[Sequence[int]], *, pad_id: int, side: Literal["left", "right"] = "right"
    ) -> dict[str, Tensor]:
        # Without a mask, generate() derives it from the pad id, which a prompt may have as text.
        needs_mask = side == "left" or self._model.config.is_encoder_decoder
        return padded(sequences, pad_id=pad_id, side=side, always_mask=needs_mask, device=self._device)

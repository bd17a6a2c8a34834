"""Replaced-token detection with ELECTRA: tell which tokens of a text were replaced (Clark et al. 2020).

A small generator, a masked language model, fills the hidden tokens with samples from its predictions; the discriminator, which
is the model, says of each token whether it is the text's own. Both are trained together and share their embeddings; the
sampling has no gradient.
Legend: B batch, T tokens, D hidden units of the generator, N hidden tokens, V vocabulary.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor
from torch.nn import functional

from llmkit.data.examples import Examples
from llmkit.data.order import Indices
from llmkit.data.rows import Row
from llmkit.models.families import VocabularyHead
from llmkit.models.generator import add_generator, generator_of
from llmkit.models.loaded import LoadedModel
from llmkit.models.losses import IGNORED, row_sums, vocabulary_loss_sum, vocabulary_losses
from llmkit.models.stored import GENERATOR
from llmkit.recipe.blocks import ScratchModel
from llmkit.tasks.base import Batch
from llmkit.tasks.base_task import BaseTask
from llmkit.tasks.engine import Engine
from llmkit.tasks.pretraining.corruption import Flags, Ids, rng_of
from llmkit.tasks.pretraining.masked_blocks import MaskedBlocks
from llmkit.tasks.pretraining.recipe import ReplacedTokenRecipe

logger = logging.getLogger("llmkit")
_CHUNK_ELEMENTS = 4_000_000
"""Probabilities in memory at once: 16 MB in float32."""


class Detection(NamedTuple):
    """One pass through generator and discriminator."""

    generator_nats: Tensor
    """Scalar, over the hidden tokens; or (N,), of each."""
    logits: Tensor
    """(B, T) float32, above 0 where the discriminator takes a token for replaced."""
    replaced: Tensor
    """(B, T) bool, True where a token is not the text's own."""


class ReplacedTokenTask(BaseTask):
    def __init__(self, recipe: ReplacedTokenRecipe, loaded: LoadedModel) -> None:
        self.recipe = recipe
        self.loaded = loaded
        self._blocks = MaskedBlocks(loaded, recipe.block_tokens, recipe.mask_rate, False, seed=recipe.train.seed)
        if generator_of(loaded.model) is None:  # a checkpoint has one
            if not isinstance(recipe.model, ScratchModel):
                logger.warning("%s has no %s: its new generator has random weights", loaded.name, GENERATOR)
            add_generator(loaded, width=recipe.generator_size, seed=recipe.train.seed)

    def encode(self, rows: Iterable[Row]) -> Examples:
        return self._blocks.encode(rows)

    def collate(self, examples: Examples, indices: Indices, *, epoch: int | None = None) -> Batch:
        """As for masked-lm, with `draws` (B, T) in [0, 1), which decide the samples of an example."""
        batch = self._blocks.collate(examples, indices, epoch=epoch, hide=self._hide)
        draws = np.zeros(batch["labels"].shape, dtype=np.float32)
        for row, index in enumerate(indices):
            [rng] = rng_of(seed=self.recipe.train.seed, epoch=epoch, example=int(index)).spawn(1)
            tokens = int(batch["attention_mask"][row].sum())
            draws[row, :tokens] = rng.random(tokens, dtype=np.float32)
        return {**batch, "draws": torch.from_numpy(draws)}

    def loss_sum(self, batch: Batch) -> Tensor:
        """Nats of the generator over the hidden tokens, and of the discriminator over all tokens but padding.

        Divided by the number of hidden tokens, it is the paper's sum of two means: the nats of a block's tokens are
        multiplied by its share of hidden tokens.
        """
        detection = self._detect(batch)
        of_tokens = _token_nats(detection, batch).sum()
        return detection.generator_nats + self.recipe.discriminator_weight * of_tokens

    def row_losses(self, batch: Batch) -> Tensor:
        detection = self._detect(batch, vocabulary_losses)
        of_generator = row_sums(detection.generator_nats, batch["labels"])
        return of_generator + self.recipe.discriminator_weight * _token_nats(detection, batch)

    def means(self, batch: Batch) -> Mapping[str, tuple[float, int]]:
        detection, real = self._detect(batch), batch["attention_mask"].bool()
        right = ((detection.logits > 0) == detection.replaced) & real
        tokens = int(real.sum())
        return {
            "generator_loss": (float(detection.generator_nats.detach()), int((batch["labels"] != IGNORED).sum())),
            "detection_accuracy": (float(right.sum()), tokens),
            "unreplaced_share": (float((~detection.replaced & real).sum()), tokens),
        }

    def predict(self, examples: Examples, engine: Engine) -> list[str]:
        """Nothing: which tokens are replaced depends on the generator; see `means`."""
        return []

    def _detect(self, batch: Batch, generator_loss: Callable[..., Tensor] = vocabulary_loss_sum) -> Detection:
        model, labels = self.loaded.model, batch["labels"]
        generator = generator_of(model)
        assert generator is not None, "the task has added one"
        # A full mask is left out: attention is faster without one.
        mask = None if batch["attention_mask"].all() else batch["attention_mask"]
        hidden_places = labels != IGNORED  # (B, T), N of them
        states = generator.base_model(input_ids=batch["input_ids"], attention_mask=mask).last_hidden_state  # (B, T, D)
        head = self.loaded.family.masked_lm_head(generator)
        hidden = head.transform(states[hidden_places])  # (N, D)
        nats = generator_loss(hidden, head.weight, labels[hidden_places], bias=head.bias)
        original = labels.where(hidden_places, batch["input_ids"])
        ids = original.clone()
        ids[hidden_places] = _sampled(hidden, head, batch["draws"][hidden_places])
        logits = model(input_ids=ids, attention_mask=mask).logits.float()  # (B, T)
        return Detection(nats, logits, ids != original)

    def _hide(self, ids: Ids, chosen: Flags, rng: Generator) -> Ids:
        """All chosen tokens, unlike BERT's."""
        return np.where(chosen, self.loaded.tokenizer.mask_token_id, ids).astype(np.int32)


def _token_nats(detection: Detection, batch: Batch) -> Tensor:
    """(B,) the discriminator's nats of each block, multiplied by its share of hidden tokens."""
    real = batch["attention_mask"]
    nats = functional.binary_cross_entropy_with_logits(
        detection.logits, detection.replaced.float(), reduction="none"
    )  # (B, T)
    shares = (batch["labels"] != IGNORED).sum(dim=1) / real.sum(dim=1)  # (B,)
    return (nats * real).sum(dim=1) * shares


@torch.no_grad()
def _sampled(hidden: Tensor, head: VocabularyHead, draws: Tensor) -> Tensor:
    """(N,) ids from the distributions of states (N, D): each is where the cumulative probability passes its draw."""
    samples = []
    rows = max(1, _CHUNK_ELEMENTS // head.weight.shape[0])
    for states, draw in zip(torch.split(hidden, rows), torch.split(draws, rows), strict=True):
        logits = functional.linear(states, head.weight, head.bias).float()  # (n, V)
        ids = torch.searchsorted(logits.softmax(dim=-1).cumsum(dim=-1), draw[:, None]).squeeze(1)
        samples.append(ids.clamp(max=logits.shape[1] - 1))  # the sum may be just below 1
    return torch.cat(samples)

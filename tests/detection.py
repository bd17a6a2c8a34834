"""The loss of replaced-token detection from the forward passes of transformers' own classes. Legend: B batch, T tokens."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from llmkit.models.generator import generator_of
from llmkit.tasks.base import Batch
from llmkit.tasks.pretraining.replaced_tokens import ReplacedTokenTask


def detection_loss_sum(task: ReplacedTokenTask, batch: Batch) -> Tensor:
    """Scalar: the generator's nats over the hidden tokens, and the discriminator's mean of each block for each of them."""
    generator, discriminator = generator_of(task.loaded.model), task.loaded.model
    assert generator is not None
    mask, labels = batch["attention_mask"], batch["labels"]
    hidden = labels != -100  # (B, T)
    output = generator(input_ids=batch["input_ids"], attention_mask=mask, labels=labels)
    cumulative = output.logits[hidden].softmax(dim=-1).cumsum(dim=-1)
    original = labels.where(hidden, batch["input_ids"])
    ids = original.clone()
    ids[hidden] = (cumulative < batch["draws"][hidden][:, None]).sum(dim=-1)
    replaced = ids != original
    assert 0 < int(replaced.sum()) <= int(hidden.sum())
    total = output.loss * hidden.sum()
    for row in range(len(ids)):
        tokens = int(mask[row].sum())
        logits = discriminator(input_ids=ids[row : row + 1, :tokens]).logits[0]
        mean = functional.binary_cross_entropy_with_logits(logits, replaced[row, :tokens].float())
        total = total + task.recipe.discriminator_weight * mean * hidden[row].sum()
    return total

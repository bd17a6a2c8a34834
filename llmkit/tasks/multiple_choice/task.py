"""Multiple choice with an encoder: a score for each choice with its context, and a softmax over them.

Legend: B batch (questions), R choices of all questions in a batch, T tokens.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from llmkit.data.examples import Examples, Origin, Ragged
from llmkit.data.lengths import LengthCount
from llmkit.data.order import Indices
from llmkit.data.rows import Row
from llmkit.errors import ModelError
from llmkit.models.loaded import LoadedModel
from llmkit.models.losses import IGNORED, cross_entropies, cross_entropy_sum
from llmkit.tasks.base import Batch
from llmkit.tasks.base_task import BaseTask
from llmkit.tasks.classification.inputs import TextInputs
from llmkit.tasks.classification.tuning import warn_of_no_temperature
from llmkit.tasks.encoding import in_chunks
from llmkit.tasks.engine import Engine
from llmkit.tasks.multiple_choice.choices import OddQuestions, rows_with_questions
from llmkit.tasks.multiple_choice.probabilities import (
    calibrated_choices,
    choice_shares,
    fit_choice_temperature,
    predicted_choices,
)
from llmkit.tasks.multiple_choice.recipe import MultipleChoiceRecipe
from llmkit.tasks.multiple_choice.saved import SavedMultipleChoice
from llmkit.tasks.multiple_choice.scoring import choice_scores, read_questions
from llmkit.tasks.padding import attention_mask, padded
from llmkit.tasks.unknown import UnknownCount, with_unknown

logger = logging.getLogger("llmkit")


class MultipleChoiceTask(BaseTask):
    def __init__(self, recipe: MultipleChoiceRecipe, loaded: LoadedModel) -> None:
        """Raises:
        ModelError: a model of a family that cannot read two texts.
        """
        if loaded.family.name not in recipe.FAMILIES:
            fitting = ", ".join(recipe.FAMILIES)
            raise ModelError(f"{loaded.name}: multiple-choice works with {fitting}, not {loaded.family.name}.")
        self.recipe = recipe
        self.loaded = loaded
        self._inputs = TextInputs(loaded, pairs=True)
        temperature = None if recipe.calibrate is None else SavedMultipleChoice.load(loaded).temperature
        # In inference, no row can be dropped.
        self._saved = SavedMultipleChoice(overflow="error" if recipe.overflow == "error" else "truncate")
        self._save_temperature(temperature)

    def encode(self, rows: Iterable[Row]) -> Examples:
        recipe, inputs = self.recipe, self._inputs
        questions = rows_with_questions(
            rows, distractors=recipe.distractors, answer_as=recipe.answer_as, seed=recipe.train.seed
        )
        count = LengthCount(what="question with a choice", max_tokens=inputs.window, overflow=recipe.overflow)
        unknown = UnknownCount(self.loaded.tokenizer)
        sequences: list[list[int]] = []
        choice_tokens: list[list[int]] = []
        answers: list[list[int]] = []
        origins: list[Origin] = []
        odd = OddQuestions()
        for chunk in in_chunks(questions):
            encoded = read_questions(inputs, [question for _, question, _ in chunk], unknown=unknown)
            for (row, question, answer), contents in zip(chunk, encoded, strict=True):
                odd.add(question, answer, place=row.place)
                fits = count.fits(max(map(inputs.tokens, contents)), place=row.place)
                if fits or recipe.overflow != "drop":
                    choice_ids = [inputs.cut(content) for content in contents]
                    sequences.append([token for ids in choice_ids for token in ids])
                    choice_tokens.append([len(ids) for ids in choice_ids])
                    answers.append([answer])
                    origins.append(Origin.of(row))
        count.report(key="max_tokens", targets=False)
        odd.warn()
        columns = {
            "input_ids": Ragged.of(sequences),
            "choice_tokens": Ragged.of(choice_tokens),
            "target_ids": Ragged.of(answers),
        }
        references = [str(answer) for (answer,) in answers]
        aligned = frozenset({"choice_tokens", "target_ids"})
        examples = Examples(columns=columns, references=references, origins=origins, aligned=aligned)
        return with_unknown(examples, unknown)

    def collate(self, examples: Examples, indices: Indices, *, epoch: int | None = None) -> Batch:
        rows = [_sequences(examples, int(index)) for index in indices]
        flat = Ragged.of([ids for row in rows for ids in row])
        all_sequences = np.arange(len(flat))
        tokenizer = self.loaded.tokenizer
        input_ids = padded(flat, all_sequences, value=tokenizer.pad_token_id)  # (R, T)
        return {
            "input_ids": input_ids,
            "attention_mask": attention_mask(flat, all_sequences),  # (R, T)
            **self.loaded.family.segment_inputs(input_ids, tokenizer),
            "choices": torch.tensor([len(row) for row in rows]),  # (B,) number of choices of each question
            "answers": padded(examples.columns["target_ids"], indices, value=0).squeeze(1),  # (B,)
            "labels": torch.zeros(len(rows), dtype=torch.int64),  # (B,) one target for each question
        }

    def loss_sum(self, batch: Batch) -> Tensor:
        return cross_entropy_sum(*self._outputs(batch))

    def row_losses(self, batch: Batch) -> Tensor:
        return cross_entropies(*self._outputs(batch))

    def _outputs(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The scores of the choices (B, most) and the correct ones (B,)."""
        inputs = {name: tensor for name, tensor in batch.items() if name not in ("choices", "answers", "labels")}
        scores = self.loaded.model(**inputs).logits.float().squeeze(1)  # (R,)
        rows = scores.split(batch["choices"].tolist())
        # Questions may have fewer choices than others: missing choices have probability 0.
        logits = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=float("-inf"))  # (B, most)
        answers = batch["answers"].where(batch["labels"] != IGNORED, IGNORED)
        return logits, answers

    def check_labels(self, train: Examples, validation: Examples) -> None:
        """Log how often each position is correct: a model may learn positions in place of texts."""
        counts = Counter(train.references)
        listed = ", ".join(f"choice {position} {counts[position]:,}" for position in sorted(counts))
        logger.info("correct choices of %s questions: %s", f"{len(train):,}", listed)

    def predict(self, examples: Examples, engine: Engine) -> list[Any]:
        """The index of the most probable choice of each question, as text, with the probability of each."""
        rows = [_sequences(examples, index) for index in range(len(examples))]
        temperature = self._saved.temperature
        return [*predicted_choices([choice_shares(scores, temperature) for scores in choice_scores(rows, engine)])]

    @property
    def tuned(self) -> Mapping[str, Any]:
        return {} if self._saved.temperature is None else {"temperature": self._saved.temperature}

    def reset_tuning(self) -> None:
        self._save_temperature(None)

    def tune_threshold(self, predictions: list[Any], references: Sequence[Any]) -> list[Any]:
        """Fit the temperature, save and apply it."""
        if self.recipe.calibrate is not None:
            temperature = fit_choice_temperature(predictions, references)
            if temperature is None:
                warn_of_no_temperature(len(references))
            self._save_temperature(temperature)
        return [*calibrated_choices(predictions, self._saved.temperature)]

    def _save_temperature(self, temperature: float | None) -> None:
        self._saved = self._saved.model_copy(update={"temperature": temperature})
        self._saved.save(self.loaded)


def _sequences(examples: Examples, index: int) -> list[list[int]]:
    """The ids of each choice of a question."""
    ids: list[int] = examples.columns["input_ids"][index].tolist()
    sequences = []
    for tokens in examples.columns["choice_tokens"][index].tolist():
        sequences.append(ids[:tokens])
        ids = ids[tokens:]
    return sequences

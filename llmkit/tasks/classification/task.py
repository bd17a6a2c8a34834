"""One label of many, many labels or a number for a text or a pair of texts. Labels are names; ids are only in batches.

Legend: N examples (texts or windows of them), B batch, T tokens, C classes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from typing_extensions import assert_never

from llmkit.data.examples import ExampleBuilder, Examples, Origin
from llmkit.data.labels import AnswersOfInputs
from llmkit.data.lengths import LengthCount
from llmkit.data.order import Indices
from llmkit.data.rows import Row
from llmkit.errors import DataError, nearest
from llmkit.models.loaded import LoadedModel
from llmkit.models.losses import cross_entropies, cross_entropy_sum
from llmkit.models.scale import TargetScale
from llmkit.models.target_scale import has_offset, standardised
from llmkit.models.text_logits import text_logits
from llmkit.tasks.base import Batch
from llmkit.tasks.base_task import BaseTask
from llmkit.tasks.class_weights import even_weights_of_sets, refuse_unknown
from llmkit.tasks.classification.inputs import Contents, TextInputs
from llmkit.tasks.classification.label_report import even_weights, report_references
from llmkit.tasks.classification.recipe import ClassificationRecipe
from llmkit.tasks.classification.saved import SavedClassification
from llmkit.tasks.classification.scores import calibrated, predictions_of, scores_of, scores_of_rows, shares_of
from llmkit.tasks.classification.thresholds import DEFAULT_THRESHOLD, Threshold
from llmkit.tasks.classification.tuning import tune_on_validation
from llmkit.tasks.encoding import in_chunks
from llmkit.tasks.engine import Engine
from llmkit.tasks.padding import attention_mask, padded
from llmkit.tasks.unknown import UnknownCount, with_unknown

logger = logging.getLogger("llmkit")


class ClassificationTask(BaseTask):
    def __init__(self, recipe: ClassificationRecipe, loaded: LoadedModel) -> None:
        self.recipe = recipe
        self.loaded = loaded
        self.problem_type = recipe.problem_type
        self.class_of = {label: index for index, label in enumerate(loaded.labels)}
        self._saved = SavedClassification.load(loaded)
        loaded.model.config.problem_type = self.problem_type
        refuse_unknown(recipe.class_weights, self.class_of)
        self._save(
            overflow="truncate"
            if recipe.overflow == "drop"
            else recipe.overflow,  # in inference, no row can be dropped
            window_overlap=recipe.window_overlap,
            threshold=self._saved.threshold if self.problem_type == "multi_label_classification" else None,
            class_weights=self._saved.class_weights if recipe.class_weights == "auto" else recipe.class_weights,
            temperature=None if recipe.calibrate is None else self._saved.temperature,
            abstain_accuracy=None if recipe.abstain is None else recipe.abstain.accuracy,
            abstain_below=None if recipe.abstain is None else self._saved.abstain_below,
        )

    def encode(self, rows: Iterable[Row]) -> Examples:
        count = LengthCount(what="text", max_tokens=self.loaded.window, overflow=self.recipe.overflow)
        builder = ExampleBuilder("input_ids", aligned=() if self.problem_type == "regression" else ("target_ids",))
        unknown = UnknownCount(self.loaded.tokenizer)
        unseen: dict[str, tuple[int, str]] = {}  # label that the model lacks -> its number of rows, and the first place
        answers = AnswersOfInputs()
        for chunk in in_chunks(rows):
            inputs = self._inputs(chunk)
            seconds = [row.fields["text_pair"] for row in chunk] if inputs.pairs else None
            contents = inputs.read(
                [row.fields["text"] for row in chunk], seconds, unknown=unknown, cut=self.recipe.overflow != "window"
            )
            for row, content in zip(chunk, contents, strict=True):
                target, reference = self._target(row, unseen)
                answers.add((row.fields["text"], row.fields.get("text_pair")), repr(reference), place=row.place)
                fits = count.fits(inputs.tokens(content), place=row.place)
                if not unseen and (fits or self.recipe.overflow != "drop"):
                    columns = {"input_ids": [inputs.whole(content)] if fits else self._shortened(inputs, content, row)}
                    if self.problem_type != "regression":
                        columns["target_ids"] = [target] * len(columns["input_ids"])
                    builder.add(columns, reference=reference, origin=Origin.of(row))
        if unseen:
            raise DataError(self._unseen_message(unseen))
        count.report(key="max_tokens", targets=False)
        answers.warn(answers="numbers" if self.problem_type == "regression" else "labels")
        return with_unknown(builder.examples(), unknown)

    def collate(self, examples: Examples, indices: Indices, *, epoch: int | None = None) -> Batch:
        inputs = examples.columns["input_ids"]
        batch = {
            "input_ids": padded(inputs, indices, value=self.loaded.tokenizer.pad_token_id),  # (B, T)
            "attention_mask": attention_mask(inputs, indices),  # (B, T)
        }
        if self._saved.pairs:
            batch |= self.loaded.family.segment_inputs(batch["input_ids"], self.loaded.tokenizer)
        return {**batch, **self._targets(examples, indices)}

    def loss_sum(self, batch: Batch) -> Tensor:
        logits, weights = self._outputs(batch)
        match self.problem_type:
            case "single_label_classification":
                return cross_entropy_sum(logits, batch["labels"], weights=weights)
            case "multi_label_classification":
                return functional.binary_cross_entropy_with_logits(
                    logits, batch["labels"].float(), pos_weight=weights, reduction="sum"
                )
            case "regression":
                return functional.mse_loss(logits.squeeze(1), batch["values"], reduction="sum")
            case other:
                assert_never(other)

    def row_losses(self, batch: Batch) -> Tensor:
        logits, weights = self._outputs(batch)
        match self.problem_type:
            case "single_label_classification":
                return cross_entropies(logits, batch["labels"], weights=weights)
            case "multi_label_classification":
                labels = batch["labels"].float()
                return functional.binary_cross_entropy_with_logits(
                    logits, labels, pos_weight=weights, reduction="none"
                ).sum(dim=1)
            case "regression":
                return functional.mse_loss(logits.squeeze(1), batch["values"], reduction="none")
            case other:
                assert_never(other)

    def _outputs(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Logits (B, C) and the weights of the classes (C,)."""
        inputs = {name: tensor for name, tensor in batch.items() if name not in ("labels", "values")}
        logits = text_logits(self.loaded.model(**inputs).logits, batch["attention_mask"].sum(dim=1))  # (B, C)
        class_weights = self._saved.class_weights
        weights = (
            logits.new_tensor([class_weights.get(name, 1.0) for name in self.class_of]) if class_weights else None
        )  # (C,)
        return logits, weights

    def predict(self, examples: Examples, engine: Engine) -> list[Any]:
        inputs, saved = examples.columns["input_ids"], self._saved
        sequences = [inputs[index].tolist() for index in range(len(inputs))]
        if not sequences:  # a process without examples
            return []
        scores = scores_of(engine.class_logits(sequences, pairs=bool(saved.pairs)), self.problem_type)  # (N, C)
        if (scale := self.loaded.target_scale) is not None:
            scores = scores * scale.deviation + scale.mean
        row_scores = scores_of_rows(scores, inputs.lengths.tolist(), examples.examples_of())
        return self._predictions(calibrated(row_scores, self.problem_type, saved.temperature))

    def check_labels(self, train: Examples, validation: Examples) -> None:
        """Log statistics of the labels, and compute `class_weights: auto`.

        Raises:
            DataError: there is nothing to learn.
        """
        recipe, labels = self.recipe, self.loaded.labels
        report_references(
            train.references,
            validation.references,
            problem_type=self.problem_type,
            labels=labels,
            weighted=recipe.class_weights is not None,
        )
        if recipe.class_weights == "auto":
            # Of examples, not of rows: each window of a long text counts in the loss.
            labels_of_examples = [train.references[row] for row in _rows_of(train, range(len(train)))]
            even = even_weights_of_sets if self.problem_type == "multi_label_classification" else even_weights
            self._save(class_weights=even(labels_of_examples, labels))

    def target_scale(self, train: Examples) -> TargetScale | None:
        if self.problem_type != "regression":
            return None
        return TargetScale.of(train.references, shifted=has_offset(self.loaded))

    def standardise(self, scale: TargetScale) -> None:
        self.loaded = standardised(self.loaded, scale)
        logger.info(
            "numbers are standardised in training (%.4g subtracted, divided by %.4g, from the training rows); scores "
            "and predictions are in the unit of the data",
            *(scale.mean, scale.deviation),
        )

    def reset_tuning(self) -> None:
        self._save(threshold=None, temperature=None, abstain_below=None)

    def tune_threshold(self, predictions: list[Any], references: Sequence[Any]) -> list[Any]:
        """Choose the temperature, the thresholds of many labels and when to abstain, save and apply them."""
        if self.problem_type == "regression":
            return predictions
        scores = shares_of(predictions)  # (R, C)
        changes = tune_on_validation(self.recipe, scores, references, labels=self.loaded.labels)
        self._save(**changes)
        return self._predictions(calibrated(scores, self.problem_type, self._saved.temperature))

    def _predictions(self, scores: NDArray[np.float64]) -> list[Any]:
        """Of (R, C) calibrated scores."""
        saved = self._saved
        return predictions_of(
            scores,
            self.problem_type,
            labels=self.loaded.labels,
            threshold=saved.threshold,
            abstain_below=saved.abstain_limit,
        )

    @property
    def threshold(self) -> Threshold | None:
        """The least probability of a label where a text may have many, for all or by label."""
        if self.problem_type != "multi_label_classification":
            return None
        return DEFAULT_THRESHOLD if self._saved.threshold is None else self._saved.threshold

    @property
    def tuned(self) -> Mapping[str, Any]:
        saved = self._saved
        values = {
            "threshold": self.threshold,
            "temperature": saved.temperature,
            "abstain_accuracy": saved.abstain_accuracy,
            "abstain_below": saved.abstain_below,
        }
        return {name: value for name, value in values.items() if value is not None}

    def _save(self, **changes: Any) -> None:
        """Save in the model's config, so that every checkpoint has it."""
        self._saved = self._saved.model_copy(update=changes)
        self._saved.save(self.loaded)

    def _inputs(self, rows: Sequence[Row]) -> TextInputs:
        """For texts or for pairs, as the model was trained, else as the first row; all rows must agree."""
        if self._saved.pairs is None:
            self._save(pairs="text_pair" in rows[0].fields)
        pairs = bool(self._saved.pairs)
        different = next((row for row in rows if ("text_pair" in row.fields) != pairs), None)
        if different is not None:
            fault = "has no text_pair, and the rows before it or the model's own have one"
            if not pairs:
                fault = "has a text_pair, and the rows before it or the model's own have none"
            raise DataError(f"{different.place}: {fault}. Give all rows a pair, or none.")
        return TextInputs(self.loaded, pairs=pairs, overlap=self.recipe.window_overlap)

    def _shortened(self, inputs: TextInputs, content: Contents, row: Row) -> list[list[int]]:
        """Under `error` a text is truncated here: the report of lengths raises."""
        if self.recipe.overflow == "window":
            return inputs.windows(content, place=row.place)
        return [inputs.cut(content)]

    def _target(self, row: Row, unseen: dict[str, tuple[int, str]]) -> tuple[list[int], Any]:
        """Ids of the row's labels, and what a prediction is compared with; labels that the model lacks are counted."""
        if self.problem_type == "regression":
            return [], row.fields["label"]
        names = row.fields["labels"] if self.problem_type == "multi_label_classification" else [row.fields["label"]]
        for name in names:
            if name not in self.class_of:
                rows, place = unseen.get(name, (0, row.place))
                unseen[name] = (rows + 1, place)
        ids = sorted({self.class_of[name] for name in names if name in self.class_of})
        reference = [self.loaded.labels[index] for index in ids]
        return ids, reference if self.problem_type == "multi_label_classification" else names[0]

    def _targets(self, examples: Examples, indices: Indices) -> Batch:
        """`labels` (B,) or (B, C). Numbers are in `values` (B,), standardised in training, since -100 may be
        a number that counts in the loss."""
        if self.problem_type == "regression":
            values = [examples.references[row] for row in _rows_of(examples, indices.tolist())]
            if (scale := self.loaded.target_scale) is not None:  # before they are rounded to float32
                values = [scale.standardise(value) for value in values]
            return {"labels": torch.zeros(len(values), dtype=torch.int64), "values": torch.tensor(values)}
        targets = examples.columns["target_ids"]
        if self.problem_type == "single_label_classification":
            return {"labels": padded(targets, indices, value=0).squeeze(1)}
        labels = torch.zeros(len(indices), len(self.class_of), dtype=torch.int64)
        for row, index in enumerate(indices):
            labels[row, torch.from_numpy(targets[index]).long()] = 1
        return {"labels": labels}

    def _unseen_message(self, unseen: Mapping[str, tuple[int, str]]) -> str:
        ranked = sorted(unseen, key=lambda label: -unseen[label][0])
        counted = {
            label: f"{rows:,} row{'s' if rows > 1 else ''}, first {place}" for label, (rows, place) in unseen.items()
        }
        shown = (f"{label!r} ({counted[label]})" for label in ranked[:5])
        more = f" and {len(ranked) - 5} more" if len(ranked) > 5 else ""
        first, hint = next(iter(unseen.values()))[1], nearest(next(iter(unseen)), self.class_of)
        return (
            f"{first}: labels that the model does not have: {', '.join(shown)}{more}.{hint} "
            f"It has: {', '.join(self.class_of)}. A model has the labels of all rows of data.train, or those under "
            "labels: in its recipe."
        )


def _rows_of(examples: Examples, indices: Sequence[int]) -> list[int]:
    """The row of each example."""
    return list(indices) if examples.row_of is None else [int(examples.row_of[index]) for index in indices]

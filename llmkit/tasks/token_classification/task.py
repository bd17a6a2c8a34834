"""One tag for each word of a text, with BERT: names and other entities in BIO, or plain tags such as parts of speech.

Legend: B batch, T tokens, C classes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from llmkit.data.examples import ExampleBuilder, Examples, Origin
from llmkit.data.lengths import LengthCount
from llmkit.data.order import Indices
from llmkit.data.rows import Row
from llmkit.errors import ModelError, UsageError
from llmkit.models.loaded import LoadedModel
from llmkit.models.losses import IGNORED, cross_entropies, cross_entropy_sum, row_sums
from llmkit.tasks.base import Batch
from llmkit.tasks.base_task import BaseTask
from llmkit.tasks.class_weights import even_weights_of_counts, refuse_unknown
from llmkit.tasks.classification.label_report import warn_of_missing
from llmkit.tasks.encoding import in_chunks
from llmkit.tasks.engine import Engine
from llmkit.tasks.padding import attention_mask, padded
from llmkit.tasks.token_classification.notations import OUTSIDE, notation_of
from llmkit.tasks.token_classification.recipe import TokenClassificationRecipe
from llmkit.tasks.token_classification.rows import has_words
from llmkit.tasks.token_classification.saved import SavedTokenClassification
from llmkit.tasks.token_classification.splitting import WordCount
from llmkit.tasks.token_classification.subwords import (
    SPECIAL_TOKENS,
    Window,
    WordSubwords,
    first_window,
    overlap_of,
    sequence_of,
    subwords_of_texts,
    subwords_of_words,
    windows_of,
)
from llmkit.tasks.token_classification.tag_reader import TagReader
from llmkit.tasks.token_classification.tags import has_prefixes, split_tag, tags_of_same_word, to_bio
from llmkit.tasks.unknown import UnknownCount, with_unknown

_PREDICT_EXAMPLES = 2048
"""Logits in memory at a time; enough sequences of each length for full batches."""
logger = logging.getLogger("llmkit")


class TokenClassificationTask(BaseTask):
    def __init__(self, recipe: TokenClassificationRecipe, loaded: LoadedModel) -> None:
        """Raises:
        ModelError: labels in a scheme that is not BIO, or a tokenizer without an unknown token.
        UsageError: metrics of entities, and the tags are plain; an overlap as long as the window.
        """
        scheme = recipe.scheme
        if scheme == "auto":
            scheme = "plain" if notation_of(loaded.labels) is None else "bio"
        _check_model(loaded, scheme=scheme)
        self.recipe = recipe.model_copy(update={"scheme": scheme})
        self.loaded = loaded
        self.class_of = {label: index for index, label in enumerate(loaded.labels)}
        self._overlap = overlap_of(loaded.window, recipe.window_overlap)
        self._check_metrics()
        saved = SavedTokenClassification.load(loaded)
        self._splitting = saved.splitting
        refuse_unknown(recipe.class_weights, self.class_of)
        self._class_weights = saved.class_weights if recipe.class_weights == "auto" else recipe.class_weights
        self._word_count = WordCount()
        self._save_config()

    def encode(self, rows: Iterable[Row]) -> Examples:
        count = LengthCount(what="text", max_tokens=self.loaded.window, overflow=self.recipe.overflow)
        reader = TagReader(self.recipe.scheme, self.class_of, numbered=self.recipe.labels or ())
        self._word_count = WordCount()
        builder = ExampleBuilder("input_ids", aligned=("target_ids",))
        unknown = UnknownCount(self.loaded.tokenizer)
        for chunk in in_chunks(rows):
            all_subwords = list(self._subwords(chunk))
            texts = [" ".join(row.fields["words"]) if has_words(row) else row.fields["text"] for row in chunk]
            unknown.add(texts, [subwords.ids for subwords in all_subwords])
            for row, subwords in zip(chunk, all_subwords, strict=True):
                tags = reader.tags(row, subwords)
                fits = count.fits(len(subwords.ids) + SPECIAL_TOKENS, place=row.place)
                if fits or self.recipe.overflow != "drop":
                    reference, parts = reader.reference(row, subwords, tags)
                    builder.add(self._columns(subwords, tags), reference=reference, origin=Origin.of(row), source=parts)
        reader.report()
        count.report(key="max_tokens", targets=True)
        return with_unknown(builder.examples(), unknown)

    def collate(self, examples: Examples, indices: Indices, *, epoch: int | None = None) -> Batch:
        inputs = examples.columns["input_ids"]
        return {
            "input_ids": padded(inputs, indices, value=self.loaded.tokenizer.pad_token_id),  # (B, T)
            "attention_mask": attention_mask(inputs, indices),  # (B, T)
            "labels": padded(examples.columns["target_ids"], indices, value=IGNORED),  # (B, T)
        }

    def loss_sum(self, batch: Batch) -> Tensor:
        return cross_entropy_sum(*self._outputs(batch))

    def row_losses(self, batch: Batch) -> Tensor:
        return row_sums(cross_entropies(*self._outputs(batch)), batch["labels"])

    def _outputs(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor | None]:
        """Logits (B * T, C), labels (B * T,) and the weights of the classes (C,)."""
        logits = self.loaded.model(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
        ).logits  # (B, T, C)
        weights = None
        if self._class_weights:
            weights = logits.new_tensor([self._class_weights.get(name, 1.0) for name in self.class_of])  # (C,)
        return logits.flatten(0, 1), batch["labels"].flatten(), weights

    def prepare_training(self, train: Examples) -> Examples:
        """Keep how the training rows were split into words: texts in use are split in the same way."""
        if self._word_count.mostly_words:
            self._splitting = self._word_count.splitting()
            self._save_config()
        return train

    def check_labels(self, train: Examples, validation: Examples) -> None:
        """Warn of tags, or types of entities, that no training row or no validation row has, and compute
        `class_weights: auto`."""
        names = [split_tag(label)[1] or label for label in self.loaded.labels]
        labels = list(dict.fromkeys(names))
        counts = [_tag_counts(examples, names) for examples in (train, validation)]
        warn_of_missing(labels, *counts)
        if self.recipe.class_weights == "auto":
            self._class_weights = even_weights_of_counts(_tag_counts(train, self.loaded.labels))
            self._save_config()

    def predict(self, examples: Examples, engine: Engine) -> list[Any]:
        """The tags of each row's words, in valid BIO where they are entities; `O` for words that were truncated. Of a row
        with spans that cut words, the tags of the parts of its words, as in the references."""
        predicted = self._predicted(examples, engine)
        row_tags = []
        rows = zip(examples.examples_of(), examples.references, examples.sources, strict=True)
        for row_examples, reference, parts in rows:
            tags = [tag for _ in row_examples for tag in next(predicted)]
            if self.recipe.scheme == "bio":
                tags = to_bio(tags)
            if parts:
                tags = [part for tag, count in zip(tags, parts, strict=False) for part in tags_of_same_word(tag, count)]
            row_tags.append(tags + [OUTSIDE] * (len(reference) - len(tags)))
        return row_tags

    def _predicted(self, examples: Examples, engine: Engine) -> Iterator[list[str]]:
        """For each example the tags of its targets, in their order."""
        inputs, targets = examples.columns["input_ids"], examples.columns["target_ids"]
        for chunk in in_chunks(range(len(examples)), size=_PREDICT_EXAMPLES):
            logits = engine.token_logits([inputs[index].tolist() for index in chunk])
            for index, token_logits in zip(chunk, logits, strict=True):  # (T, C)
                classes = token_logits[targets[index] != IGNORED].argmax(axis=1)
                yield [self.loaded.labels[index] for index in classes]

    def _subwords(self, chunk: Sequence[Row]) -> Iterator[WordSubwords]:
        """Of each row; two sources may have different layouts."""
        tokenizer = self.loaded.tokenizer
        words = [row.fields["words"] for row in chunk if has_words(row)]
        texts = [row.fields["text"] for row in chunk if not has_words(row)]
        self._word_count.add(words, texts=len(texts))
        word_rows = iter(subwords_of_words(tokenizer, words))
        text_rows = iter(subwords_of_texts(tokenizer, texts, splitting=self._splitting))
        return (next(word_rows if has_words(row) else text_rows) for row in chunk)

    def _columns(self, subwords: WordSubwords, tags: list[str]) -> dict[str, list[list[int]]]:
        """One example for each window of a row; under `error` it is truncated here, and the report raises."""
        window_tokens = self.loaded.window
        windows: Iterable[Window] = (
            windows_of(subwords, window_tokens=window_tokens, overlap=self._overlap)
            if self.recipe.overflow == "window"
            else [first_window(subwords, window_tokens=window_tokens)]
        )
        classes = [self.class_of.get(tag, 0) for tag in tags]  # an unknown tag is an error at the end
        with_words = [window for window in windows if window.words]
        sequences = [sequence_of(self.loaded, subwords, window) for window in with_words]
        targets = [
            _targets(len(sequence), window.positions(subwords), [classes[word] for word in window.words])
            for window, sequence in zip(with_words, sequences, strict=True)
        ]
        return {"input_ids": sequences, "target_ids": targets}

    def _save_config(self) -> None:
        """Write into the model's config what its use depends on."""
        recipe = self.recipe
        overflow: Any = recipe.overflow_in_use or recipe.overflow
        scheme: Any = recipe.scheme
        saved = SavedTokenClassification(
            scheme=scheme,
            overflow=overflow,
            window_overlap=self._overlap,
            splitting=self._splitting,
            class_weights=self._class_weights,
        )
        saved.save(self.loaded)

    def _check_metrics(self) -> None:
        metrics = [*(self.recipe.evaluation.metrics or ()), self.recipe.evaluation.best or ""]
        if self.recipe.scheme == "plain" and any(name == "entities" or name.startswith("entity_") for name in metrics):
            raise UsageError(
                "evaluation: metrics of entities need tags with prefixes (B-PER, I-PER, O); these are plain. "
                "Use tag_accuracy."
            )


def _tag_counts(examples: Examples, names: Sequence[str]) -> dict[str, int]:
    """Name of a tag or type -> words that have it as their target.

    Args:
        names: of each class.
    """
    counts = dict.fromkeys(names, 0)
    for name, count in zip(names, _class_counts(examples, classes=len(names)), strict=True):
        counts[name] += int(count)
    return counts


def _class_counts(examples: Examples, *, classes: int) -> NDArray[np.int64]:
    """(C,) words that have each class as their target."""
    targets = examples.columns["target_ids"]
    counts = np.zeros(classes, dtype=np.int64)
    for index in range(len(targets)):
        ids = targets[index]
        counts += np.bincount(ids[ids != IGNORED], minlength=classes)
    return counts


def _targets(length: int, positions: Sequence[int], classes: Sequence[int]) -> list[int]:
    """The class at the first subword of each word that is predicted here, IGNORED everywhere else."""
    targets = [IGNORED] * length
    for position, class_id in zip(positions, classes, strict=True):
        targets[position] = class_id
    return targets


def _check_model(loaded: LoadedModel, *, scheme: str) -> None:
    if loaded.tokenizer.unk_token_id is None:
        raise ModelError(
            f"{loaded.name}: its tokenizer has no unknown token, which a tagger needs for words without a subword."
        )
    in_bio = has_prefixes(loaded.labels)
    other = next((label for label in loaded.labels if label != OUTSIDE and split_tag(label)[0] not in "BI"), None)
    if other is not None and scheme == "bio" and (in_bio or notation_of(loaded.labels) is not None):
        raise ModelError(
            f"{loaded.name}: its label {other!r} is not BIO, the scheme that llmkit trains and evaluates in. "
            "`llmkit tag` can use it as it is."
        )

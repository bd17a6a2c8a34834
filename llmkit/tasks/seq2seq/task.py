"""Text to text with encoder-decoders: what summarization, translation and text-to-text have in common.

Each of the three has its own recipe class, and all share this task class.
Legend: B batch, S source tokens, T target tokens, D hidden units.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from llmkit.data.examples import ExampleBuilder, Examples, Origin
from llmkit.data.lengths import LengthCount
from llmkit.data.order import Indices
from llmkit.data.rows import Row
from llmkit.errors import UsageError
from llmkit.models.ends import name_special_ids
from llmkit.models.generation import OPTIONS, save_options
from llmkit.models.languages import direction_of, find_language, set_direction, target_prefixes, target_tokenizer
from llmkit.models.loaded import LoadedModel
from llmkit.models.losses import IGNORED, VocabularyOutputs, row_sums, vocabulary_loss_sum, vocabulary_losses
from llmkit.models.seq2seq import target_outputs
from llmkit.tasks.base import Batch
from llmkit.tasks.base_task import BaseTask
from llmkit.tasks.decoding import TextDecoder, Written
from llmkit.tasks.encoding import encode_texts, in_chunks, length_limit
from llmkit.tasks.engine import Engine
from llmkit.tasks.generation import task_options, with_limit
from llmkit.tasks.padding import attention_mask, padded
from llmkit.tasks.saved import SavedWriting, saved_entries, writing_config
from llmkit.tasks.seq2seq.chunks import TextSplitter, write_in_rounds
from llmkit.tasks.seq2seq.recipe import Seq2SeqRecipe
from llmkit.tasks.targets import TargetCheck, joined
from llmkit.tasks.token_ids import token_ids
from llmkit.tasks.unknown import UnknownCount, with_unknown

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

logger = logging.getLogger("llmkit")


class Seq2SeqTask(BaseTask):
    def __init__(self, recipe: Seq2SeqRecipe, loaded: LoadedModel) -> None:
        self.recipe = recipe
        self.loaded = loaded
        self._max_target_tokens = min(recipe.max_target_tokens, loaded.most_new_tokens or recipe.max_target_tokens)
        self.prefix = self._default_prefix() if recipe.prefix is None else recipe.prefix
        self._target_tokenizer = self._set_languages()
        self.options = task_options(loaded, recipe.generation, default_limit=recipe.max_target_tokens)
        self._base_entry = self._options_of_base()
        self._writing = writing_config(loaded)
        self._save_config()

    def encode(self, rows: Iterable[Row]) -> Examples:
        """As `Task.encode`. Under overflow `window` a text that is too long has an example for each chunk, none of
        them with targets: the target of the whole text belongs to no chunk."""
        recipe, tokenizer, target_tokenizer = self.recipe, self.loaded.tokenizer, self._target_tokenizer
        self._check_prefix()
        windowed = recipe.overflow == "window"
        sources = LengthCount(recipe.SOURCE, recipe.max_source_tokens, recipe.overflow)
        targets = LengthCount(recipe.TARGET, self._max_target_tokens, "error" if windowed else recipe.overflow)
        check = TargetCheck(self.loaded)
        unread, unwritten = (
            UnknownCount(tokenizer, recipe.SOURCE),
            UnknownCount(target_tokenizer, recipe.TARGET, targets=check),
        )
        builder = ExampleBuilder("input_ids", "target_ids")
        for chunk in in_chunks(rows):
            texts = [self._prefix_of(row) + row.fields[recipe.SOURCE] for row in chunk]
            references = [row.fields[recipe.TARGET] for row in chunk]
            inputs = encode_texts(tokenizer, texts, chunk, count=sources, unknown=unread)
            outputs = encode_texts(target_tokenizer, references, chunk, count=targets, unknown=unwritten)
            lengths = sources.lengths[-len(chunk) :]
            for row, length, source, target in zip(chunk, lengths, inputs, outputs, strict=True):
                if source is None or target is None:
                    continue
                chunks: list[Sequence[int]] = [source]
                if windowed and length > recipe.max_source_tokens:
                    chunks, target = self._splitter(row).split(row.fields[recipe.SOURCE]), []
                columns: dict[str, Sequence[Sequence[int]]] = {
                    "input_ids": chunks,
                    "target_ids": [target] * len(chunks),
                }
                builder.add(columns, reference=row.fields[recipe.TARGET], origin=Origin.of(row))
        sources.report(key="max_source_tokens", targets=False)
        targets.report(key="max_target_tokens", targets=True)
        examples = replace(builder.examples(), writing=check.written.model_dump(exclude_none=True))
        return with_unknown(examples, unread, unwritten)

    def collate(self, examples: Examples, indices: Indices, *, epoch: int | None = None) -> Batch:
        sources, targets = examples.columns["input_ids"], examples.columns["target_ids"]
        labels = padded(targets, indices, value=IGNORED)  # (B, T)
        if labels.shape[1] == 0:  # only chunks, which have no targets; the decoder still needs one position
            labels = torch.full((len(indices), 1), IGNORED)
        return {
            "input_ids": padded(sources, indices, value=self.loaded.tokenizer.pad_token_id),  # (B, S)
            "attention_mask": attention_mask(sources, indices),  # (B, S)
            "labels": labels,
        }

    def loss_sum(self, batch: Batch) -> Tensor:
        return vocabulary_loss_sum(*self._outputs(batch))

    def row_losses(self, batch: Batch) -> Tensor:
        return row_sums(vocabulary_losses(*self._outputs(batch)), batch["labels"])

    def predict(self, examples: Examples, engine: Engine) -> list[Any]:
        sources = examples.columns["input_ids"]
        decoder = TextDecoder(self.loaded, written=joined(self._writing, SavedWriting(**examples.writing)))
        chunks = [[sources[index].tolist() for index in indices] for indices in examples.examples_of()]
        results = write_in_rounds(
            chunks,
            write=lambda sequences: self._write(sequences, engine, decoder),
            split=lambda text: self._splitter().split(text),
        )
        return [result.text for result in results]

    def prepare_training(self, train: Examples) -> Examples:
        """The examples without the rows that are too long to be paired with their target, which are counted.

        The targets also decide the length limit of generation, where the recipe does not.
        """
        self._writing = joined(SavedWriting(**train.writing), self._writing)
        self._save_config()
        targets = train.columns["target_ids"].lengths
        whole = [row for row, indices in enumerate(train.examples_of()) if targets[indices[0]]]
        if len(whole) < train.rows:
            logger.warning(
                "train: %s of %s rows left out: their %s is longer than max_source_tokens %s, and a %s of the whole "
                "belongs to none of its chunks. Use overflow: truncate to train on their beginnings",
                *(f"{train.rows - len(whole):,}", f"{train.rows:,}", self.recipe.SOURCE),
                *(f"{self.recipe.max_source_tokens:,}", self.recipe.TARGET),
            )
            train = train.take(whole)
        if self._base_entry:
            logger.info(
                "generation: the trained model does not keep options that %s has for its own %s: %s",
                *(self.loaded.name, self.recipe.task, self._base_entry),
            )
        if self.recipe.generation.max_new_tokens is None and len(train):
            self._limit_to(train)
        return train

    def _outputs(self, batch: Batch) -> VocabularyOutputs:
        return target_outputs(self.loaded, batch["input_ids"], batch["attention_mask"], batch["labels"])

    def _default_prefix(self) -> str:
        """What a model with several target languages needs in front of a text, else the family's for the task."""
        loaded, (_, target) = self.loaded, self.recipe.languages
        prefixes = target_prefixes(loaded.tokenizer)
        if prefixes and target is not None:
            return prefixes[find_language(target, prefixes, what="target_language", name=loaded.name)]
        return loaded.family.default_prefix(loaded.model.config, self.recipe.task_prefix)

    def _set_languages(self) -> PreTrainedTokenizerFast:
        """Set the languages of a multilingual model, also for its configs; returns the tokenizer of the targets."""
        source, target = self.recipe.languages
        direction = direction_of(self.loaded, source=source, target=target)
        if direction is not None:
            set_direction(self.loaded, direction)
        return target_tokenizer(self.loaded, direction)

    def _options_of_base(self) -> str:
        """The options in the entry of a base model that another program trained, such as Google's T5, in words."""
        entry = saved_entries(self.loaded).get(self.recipe.task, {})
        return ", ".join(f"{name} {value}" for name, value in entry.items() if name in OPTIONS)

    def _limit_to(self, examples: Examples) -> None:
        """Set the length limit from these targets, which are never longer than `max_target_tokens`."""
        limit = length_limit(examples.columns["target_ids"].lengths)
        logger.info(
            "generation.max_new_tokens: %s, the 99th percentile of the training targets, end of text included",
            f"{limit:,}",
        )
        self.options = with_limit(self.options, limit, least=self.recipe.generation.min_new_tokens)
        self._save_config()

    def _write(self, sequences: list[Sequence[int]], engine: Engine, decoder: TextDecoder) -> list[Written]:
        outputs = engine.generate(sequences, self.options)
        # An evaluation counts the texts at their limit by itself.
        return [Written(decoder.text(ids[0]), finished=True) for ids in outputs]

    def _check_prefix(self) -> None:
        """
        Raises:
            UsageError: the model would read a part of the recipe's prefix and nothing of a text.
        """
        if self.recipe.prefix is None:
            return
        most = self.recipe.max_source_tokens
        [ids] = token_ids(self.loaded.tokenizer, [self.prefix], special=True)
        if len(ids) > most:
            raise UsageError(
                f"prefix {self.prefix!r:.60} has {len(ids):,} tokens, and with a text it may have {most:,} tokens "
                "(max_source_tokens): 0 are left for the text. Shorten it, or allow more tokens."
            )

    def _prefix_of(self, row: Row) -> str:
        prefix: str = row.fields.get("prefix", self.prefix)  # rows of text-to-text may have one
        return prefix

    def _splitter(self, row: Row | None = None) -> TextSplitter:
        size = self.recipe.max_source_tokens
        prefix = self._prefix_of(row) if row else self.prefix
        return TextSplitter(self.loaded.tokenizer, prefix, size, self.recipe.chunk_overlap)

    def _save_config(self) -> None:
        """Save prefix and options in the model's configs, for inference."""
        name_special_ids(self.loaded, taught=self.loaded.tokenizer.eos_token_id)
        writing = self._writing.model_dump(exclude_none=True)
        self.recipe.saved_config(prefix=self.prefix).model_copy(update=writing).save(self.loaded)
        save_options(self.loaded, self.options)

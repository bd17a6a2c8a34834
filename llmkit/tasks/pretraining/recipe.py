"""The recipes of tasks that need only text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from llmkit.models.families import Head, families_for, families_with
from llmkit.recipe.blocks import ColumnType, ScratchModel, TextUnit
from llmkit.tasks.base import TaskRecipe
from llmkit.tasks.draft import TaskDraft
from llmkit.tasks.pretraining.draft import (
    CausalLMDraft,
    CorpusDraft,
    DenoisingDraft,
    MaskedLMDraft,
    SpanCorruptionDraft,
)


class CorpusRecipe(TaskRecipe):
    """A task that needs only text."""

    PRETRAINS: ClassVar[bool] = True
    PURPOSE: ClassVar[str] = "is a start for further training; alone it does no task"
    COLUMN_TYPES: ClassVar[Mapping[str, ColumnType]] = {"text": "text"}
    DRAFT: ClassVar[TaskDraft] = CorpusDraft()

    text_files: TextUnit = "document"
    """What a document is in a plain text file: a line, the text between blank lines, or the whole file."""


class BlockRecipe(CorpusRecipe):
    """A task whose examples are blocks of the running text."""

    block_tokens: Annotated[int, Field(ge=8)] | None = None
    """Tokens of a block, special ones included; without it, the model's window."""

    @property
    def window_tokens(self) -> int | None:
        """Positions after the block stay untrained where the weights were random, so the window ends there."""
        return self.block_tokens if isinstance(self.model, ScratchModel) else None


class CausalLMRecipe(BlockRecipe):
    HEAD: ClassVar[Head] = "causal-lm"
    VERB: ClassVar[str] = "generate"
    USE: ClassVar[str] = 'llmkit generate --prompt "Once" --model {model}'
    PURPOSE: ClassVar[str] = "continues a text, and is a start for further training"
    PIPELINE_TAG: ClassVar[str] = "text-generation"
    HUB_DEFAULT: ClassVar[str] = "openai-community/gpt2"
    FAMILIES: ClassVar[tuple[str, ...]] = families_with("causal-lm")
    DRAFT: ClassVar[TaskDraft] = CausalLMDraft()

    task: Literal["causal-lm"]


class MaskedLMRecipe(BlockRecipe):
    HEAD: ClassVar[Head] = "masked-lm"
    VERB: ClassVar[str] = "fill"
    USE: ClassVar[str] = "llmkit finetune RECIPE --set model={model}"
    PURPOSE: ClassVar[str] = "fills masks in a text, and is a start for further training"
    PIPELINE_TAG: ClassVar[str] = "fill-mask"
    HUB_DEFAULT: ClassVar[str] = "google-bert/bert-base-uncased"
    FAMILIES: ClassVar[tuple[str, ...]] = families_with("masked-lm")
    DRAFT: ClassVar[TaskDraft] = MaskedLMDraft()

    task: Literal["masked-lm"]
    mask_rate: Annotated[float, Field(gt=0, lt=1)] = 0.15
    """Share of the tokens to predict; of these, 80 % are masked, 10 % replaced, 10 % unchanged."""
    whole_word: bool = False
    """Hide all subwords of a word or none; the tokenizer splits a text into words, in Chinese each character."""


class ReplacedTokenRecipe(BlockRecipe):
    HEAD: ClassVar[Head] = "replaced-token-detection"
    USE: ClassVar[str] = "llmkit finetune RECIPE --set model={model}"
    FAMILIES: ClassVar[tuple[str, ...]] = families_with("replaced-token-detection")

    task: Literal["replaced-token-detection"]
    mask_rate: Annotated[float, Field(gt=0, lt=1)] = 0.15
    """Share of the tokens that the generator fills."""
    generator_size: Annotated[float, Field(gt=0, le=1)] = 0.25
    """Width of a new generator, as a share of the model's."""
    discriminator_weight: Annotated[float, Field(gt=0, le=10_000)] = 50.0
    """Factor of the discriminator's loss, which is much smaller than the generator's."""

    @model_validator(mode="after")
    def _check_lora(self) -> ReplacedTokenRecipe:
        if self.train.lora is not None:
            raise ValueError("train.lora: replaced-token-detection trains all weights of two models; remove it")
        return self

    @property
    def loss_scores(self) -> tuple[str, ...]:
        """The loss is a weighted sum of two models' losses, of which perplexity says nothing."""
        return ("loss",)


class DenoisingRecipe(BlockRecipe):
    HEAD: ClassVar[Head] = "seq2seq-lm"
    USE: ClassVar[str] = "llmkit finetune RECIPE --set model={model}"
    FAMILIES: ClassVar[tuple[str, ...]] = families_for("denoising")
    DRAFT: ClassVar[TaskDraft] = DenoisingDraft()

    task: Literal["denoising"]
    mask_rate: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """Share of the tokens to hide."""
    mean_span: Annotated[float, Field(ge=1)] = 3.0
    """Mean of the Poisson distribution of the lengths of hidden spans in tokens; each becomes one mask."""
    permute_sentences: bool = True
    """Shuffle the sentences of each document in a block."""


class SpanCorruptionRecipe(CorpusRecipe):
    HEAD: ClassVar[Head] = "seq2seq-lm"
    USE: ClassVar[str] = "llmkit finetune RECIPE --set model={model}"
    FAMILIES: ClassVar[tuple[str, ...]] = families_for("span-corruption")
    DRAFT: ClassVar[TaskDraft] = SpanCorruptionDraft()

    task: Literal["span-corruption"]
    block_tokens: Annotated[int, Field(ge=16)] = 512
    """Tokens of a corrupted input, sentinels and `</s>` included."""
    mask_rate: Annotated[float, Field(gt=0, lt=1)] = 0.15
    """Share of the tokens to hide."""
    mean_span: Annotated[float, Field(ge=1)] = 3.0
    """Mean length of a hidden span in tokens."""

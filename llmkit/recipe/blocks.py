"""The blocks of recipe language 1 that all tasks share. Every default is defined here and only here; those of generation
are in `generation.py`.

Knows no files and no YAML: `loading.py` turns text into these blocks.
"""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

PositiveInt = Annotated[int, Field(ge=1, le=2**31 - 1)]


def as_tuple(value: object) -> object:
    """Convert a YAML list to a tuple; the type checks other values."""
    return tuple(value) if isinstance(value, list) else value


def as_sources(value: object) -> object:
    """Accept a single source without a list."""
    return (value,) if isinstance(value, str) else as_tuple(value)


def _share_or_sources(value: object) -> object:
    """Reject a percentage that leaves one side without rows; other texts are sources."""
    if isinstance(value, str) and value.strip().endswith("%"):
        share = parse_share(value)
        if share is None or not 0 < share < 1:
            raise ValueError(f"a share must be between 0% and 100%, found {value!r}")
        return value
    return as_sources(value)


def parse_share(text: str) -> float | None:
    """`"5%"` as 0.05; None where the text is not a percentage."""
    if not text.strip().endswith("%"):
        return None
    try:
        return float(text.strip()[:-1]) / 100
    except ValueError:
        return None


ColumnType = Literal["text", "label", "labels", "flag", "number", "words", "spans", "answers", "messages", "any"]
"""The type of values in a column of a task; see llmkit/data/column_types.py."""
TextUnit = Literal["line", "document", "file"]
"""Unit of a row in a plain-text file: a non-blank line, the text between blank lines, or the whole file."""
Quoting = Literal["auto", "csv", "none"]
"""The meaning of quotes in a CSV or TSV file: delimiters of cells, or ordinary characters."""
OffsetUnit = Literal["auto", "characters", "utf-16", "bytes"]
"""What the offsets of spans count in their text; an emoji is one character, two UTF-16 units and four bytes."""


AnyName = TypeVar("AnyName", bound=str)


def _check_distinct(names: tuple[AnyName, ...]) -> tuple[AnyName, ...]:
    duplicates = [name for name, count in Counter(names).items() if count > 1]
    if duplicates:
        raise ValueError(f"{duplicates[0]!r} occurs more than once")
    return names


Names = Annotated[tuple[str, ...], BeforeValidator(as_tuple), Field(min_length=1)]
TrackerName = Literal["tensorboard", "wandb", "trackio", "mlflow"]
"""A tool that shows a training while it runs; see llmkit/training/tracking.py."""
Trackers = Annotated[
    tuple[TrackerName, ...],
    BeforeValidator(as_sources, json_schema_input_type=TrackerName | tuple[TrackerName, ...]),
    Field(min_length=1),
    AfterValidator(_check_distinct),
]
DistinctNames = Annotated[Names, AfterValidator(_check_distinct)]
ColumnNames = Annotated[str | DistinctNames, BeforeValidator(as_tuple, json_schema_input_type=str | tuple[str, ...])]
"""One column, or a column for each label as a tuple."""
Sources = Annotated[
    tuple[str, ...], BeforeValidator(as_sources, json_schema_input_type=str | tuple[str, ...]), Field(min_length=1)
]
ShareOrSources = Annotated[str | tuple[str, ...], BeforeValidator(_share_or_sources)]
"""A percentage as text, or sources as a tuple."""


class Block(BaseModel):
    """Frozen and strict: an unknown key, a wrong type, NaN or infinity is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class TokenizerBlock(Block):
    """A tokenizer to train on the recipe's training text."""

    vocab_size: Annotated[int, Field(ge=64, le=1_000_000)] = 8000
    """Vocabulary size, special tokens included."""
    lowercase: bool = True
    """Lowercase the text first; WordPiece (BERT) only, other tokenizers keep every character."""
    strip_accents: bool | None = None
    """Strip the accents of Latin, Greek and Cyrillic letters, `é` to `e`; other scripts keep their marks. WordPiece only.
    By default the same as `lowercase`."""
    min_frequency: PositiveInt = 1
    """Merges that occur less often than this are not learned; not for Unigram (T5)."""
    max_characters: PositiveInt | None = 100_000_000
    """Train on at most this many characters, sampled evenly from the whole text; null for no limit."""


class ScratchModel(Block):
    """A model with random weights."""

    architecture: Literal[
        "gpt2", "llama", "bert", "distilbert", "roberta", "electra", "modernbert", "t5", "bart", "lstm"
    ]
    """The family of the model."""
    size: Literal["tiny", "mini", "small", "medium", "base", "large", "xl"]
    """A published size of the family; see llmkit/models/families/."""
    tokenizer: str | TokenizerBlock = TokenizerBlock()
    """A tokenizer to train, or the hub id, folder or run to load one from."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Dropout on embeddings, residuals and feed-forward layers; 0 for Llama, which has none there."""
    attention_dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Dropout on attention weights; by default the same as `dropout`. T5 has a single rate, an LSTM has no attention."""


class DataBlock(Block):
    """The rows, and how they are read."""

    train: Sources
    """A file, folder or glob, `hub:NAME`, `builtin:NAME`, or a list of these."""
    validation: ShareOrSources = "5%"
    """A share of the training rows, selected by a hash of the text, or separate sources."""
    test: ShareOrSources | None = None
    """As `validation`; `llmkit evaluate --model RUN` evaluates on it."""
    columns: Annotated[dict[str, ColumnNames], Field(default_factory=dict)]
    """The task's column name -> that of the data, where they differ; for many labels, also a list of columns."""
    cluster: Annotated[str, Field(min_length=1)] | None = None
    """Column whose value is equal in rows that are not independent, such as the questions on one passage: shares keep
    such rows together, and intervals and comparisons count them as one observation. By default the passages of
    questions, and the documents that CoNLL files mark; `none` if all rows are independent."""
    max_rows: PositiveInt | None = None
    """Read at most this many rows of `train`, from its start."""
    quoting: Quoting = "auto"
    """Quotes in .csv and .tsv files: `csv` treats them as cell delimiters, `none` as text; `auto` is `csv` for .csv,
    and is detected from the file for .tsv."""
    offsets: OffsetUnit = "auto"
    """What `start` and `end` of spans count: `characters`, `utf-16` units or `bytes` of UTF-8; `auto` finds out where
    spans have a `text`, and else takes characters unless these cut words."""
    skip_bad_rows: bool = False
    """Leave out rows that the task cannot use, with counts; `bad_rows.jsonl` in the run's folder lists them. Otherwise
    they are an error, which lists them."""
    deduplicate: bool = False
    """Remove exact duplicates of earlier rows within each split, and count them."""

    @model_validator(mode="after")
    def _check_shares(self) -> DataBlock:
        shares = [parse_share(source) or 0.0 for source in (self.validation, self.test) if isinstance(source, str)]
        if sum(shares) >= 1:
            raise ValueError("validation and test take all rows; keep some for training")
        return self


class LoraBlock(Block):
    """Low-rank adaptation (Hu et al. 2021): freeze the weights and learn products of low-rank matrices to add to them."""

    rank: Annotated[int, Field(ge=1, le=4096)] = 8
    """Rank of the low-rank matrices."""
    alpha: Annotated[float, Field(gt=0, le=100_000)] = 16.0
    """The product is scaled by alpha / rank."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout on the input of the low-rank matrices."""
    target: Annotated[Literal["auto", "all"] | Names, BeforeValidator(as_tuple)] = "auto"
    """Matrices to adapt in each layer: `auto` for those of queries and values, `all`, or a list of names."""
    save: Literal["merged", "adapter"] = "merged"
    """What to save: `merged` for a plain model folder, or an `adapter` folder that needs its base model."""


class FreezeBlock(Block):
    """Weights that are not trained. A matrix that embeddings and head share is frozen in both."""

    embeddings: bool = False
    """Freeze the embeddings of tokens, positions and segments, with their norm."""
    layers: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Freeze this many layers, from the first; for T5, in both encoder and decoder."""

    @model_validator(mode="after")
    def _check_not_empty(self) -> FreezeBlock:
        if not self.embeddings and not self.layers:
            raise ValueError("nothing is frozen: set embeddings: true or a number of layers, or remove the block")
        return self


class TrainBlock(Block):
    """How the model is trained."""

    epochs: Annotated[float, Field(gt=0, le=100_000)] | None = None
    """Passes over the training examples; 3 if neither this nor `steps` is given."""
    steps: PositiveInt | None = None
    """Optimizer steps, instead of `epochs`."""
    batch_size: PositiveInt = 32
    """Examples per optimizer step, over all devices."""
    optimizer: Literal["adamw", "adamw-scaled"] = "adamw"
    """`adamw-scaled` multiplies the learning rate of each weight matrix by its root mean square (Nawrot 2023), which a
    T5 with random weights needs."""
    learning_rate: Annotated[float, Field(gt=0, le=10)] | Literal["auto"] = "auto"
    """Peak learning rate; `auto` is the family's default for the optimizer and for random or pretrained weights."""
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    """Learning rate after the warm-up: constant, or decaying to 0 at the last step."""
    warmup: Annotated[int, Field(ge=0)] | str = "10%"
    """Number of linear warm-up steps, or their share of all steps."""
    weight_decay: Annotated[float, Field(ge=0, le=10)] = 0.01
    """Decoupled weight decay, for matrices only; never for biases, norms or other vectors."""
    max_grad_norm: Annotated[float, Field(gt=0)] | None = 1.0
    """Maximum norm of the whole gradient, for clipping; null for no clipping."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of each target that is spread over all outputs (Szegedy et al. 2016), in training only; 0 turns it off."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] | None = None
    """Layer l of L has the learning rate times this to the power of L - l (Clark et al. 2020); embeddings are layer 0."""
    freeze: FreezeBlock | None = None
    """Weights that are not trained."""
    lora: LoraBlock | None = None
    """Train low-rank matrices instead of the weights; new heads are trained in full."""
    gradient_checkpointing: bool = False
    """Recompute each layer's activations in the backward pass: less memory, about a third more time."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Number format of matrix products; `auto` takes the fastest that the device and the family support."""
    micro_batch_tokens: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """Tokens per micro-batch and device, padding included. Changes memory and speed, never the update."""
    save_every: PositiveInt | None = None
    """Steps between checkpoints, in addition to the checkpoint at each evaluation."""
    keep_checkpoints: PositiveInt = 2
    """Number of latest checkpoints to keep. The best checkpoint is always kept."""
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 17
    """Of new weights, the order of the rows, and dropout."""
    checks: bool = True
    """Check model and data before the first step: targets, labels, end of text, padding, saving and loading again."""

    @model_validator(mode="after")
    def _check_exclusive(self) -> TrainBlock:
        if self.lora is not None and self.freeze is not None:
            raise ValueError("freeze: lora already freezes all weights; give only one of the two keys")
        if self.lora is not None and self.optimizer == "adamw-scaled":
            raise ValueError(
                "optimizer: adamw-scaled would multiply by the adapters' initial value, zero; with lora use adamw"
            )
        return self

    @model_validator(mode="after")
    def _check_length(self) -> TrainBlock:
        if self.epochs is not None and self.steps is not None:
            raise ValueError("give epochs or steps, not both")
        if isinstance(self.warmup, str):
            share = parse_share(self.warmup)
            if share is None or not 0 <= share < 1:
                raise ValueError(f"warmup is a number of steps or a share such as 10%, found {self.warmup!r}")
        return self


class EvaluationBlock(Block):
    """When and how the model is evaluated in training."""

    every: Annotated[str, Field(pattern=r"^[1-9][0-9]{0,8} (epochs?|steps?)$")] = "1 epoch"
    """How often to evaluate, such as `1 epoch` or `500 steps`; the last step is always evaluated."""
    metrics: Names | None = None
    """Metrics on the validation rows besides the loss; by default the task's."""
    best: str | None = None
    """The score that selects the best checkpoint; by default the task's."""
    patience: PositiveInt | None = None
    """Early stopping: stop after this many evaluations in a row without improvement."""
    max_rows: PositiveInt | None = None
    """During training, evaluate on only the first N validation rows."""

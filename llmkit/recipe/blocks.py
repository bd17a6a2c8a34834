"""The blocks of recipe language 1 that all tasks share. Every default stands here and only here.

A task adds its own keys in a subclass of `Recipe` beside its task class. Knows no files and no YAML:
`loading.py` turns text into these blocks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

PositiveInt = Annotated[int, Field(ge=1, le=2**31 - 1)]


def _frozen(value: object) -> object:
    """YAML's lists become tuples; what is not a list is left for the type to judge."""
    return tuple(value) if isinstance(value, list) else value


def _listed(value: object) -> object:
    """One source may be written without the list around it."""
    return (value,) if isinstance(value, str) else _frozen(value)


def _share_or_sources(value: object) -> object:
    """Refuse a percentage that leaves no row on one side; other texts are sources."""
    if isinstance(value, str) and value.strip().endswith("%"):
        share = parse_share(value)
        if share is None or not 0 < share < 1:
            raise ValueError(f"a share lies between 0% and 100%, found {value!r}")
        return value
    return _listed(value)


def parse_share(text: str) -> float | None:
    """`"5%"` as 0.05; None where the text is not a percentage."""
    if not text.strip().endswith("%"):
        return None
    try:
        return float(text.strip()[:-1]) / 100
    except ValueError:
        return None


Kind = Literal["text", "label", "labels", "number", "words", "spans", "answers", "messages", "any"]
"""What values a role of a task holds; see llmkit/data/kinds.py."""
TextUnit = Literal["line", "document", "file"]
"""What a row of a plain text file is: a line that is not blank, what stands between blank lines, or all of it."""
Quoting = Literal["auto", "csv", "none"]
"""What quotation marks mean in a file of cells: they enclose cells as in CSV, or are characters like any other."""


def _once_each(names: tuple[str, ...]) -> tuple[str, ...]:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f"{twice[0]!r} stands there more than once")
    return names


Names = Annotated[tuple[str, ...], BeforeValidator(_frozen), Field(min_length=1)]
DistinctNames = Annotated[Names, AfterValidator(_once_each)]
Sources = Annotated[
    tuple[str, ...], BeforeValidator(_listed, json_schema_input_type=str | tuple[str, ...]), Field(min_length=1)
]
ShareOrSources = Annotated[str | tuple[str, ...], BeforeValidator(_share_or_sources)]
"""A percentage as text, or sources as a tuple."""


class Block(BaseModel):
    """Frozen and strict: an unknown key, a wrong type, NaN or infinity is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class TokenizerBlock(Block):
    """A tokenizer to train on the recipe's own training text."""

    vocab_size: Annotated[int, Field(ge=64, le=1_000_000)] = 8000
    """Entries, special ones included."""
    lowercase: bool = True
    """Lower-case the text first; WordPiece (BERT) only, the other kinds keep every character."""
    strip_accents: bool | None = None
    """Take accents off, `é` to `e`; WordPiece only. Without it, as `lowercase` says."""
    min_frequency: PositiveInt = 1
    """Pieces that stand together less often in the text are not joined to an entry; not for Unigram (T5)."""
    max_characters: PositiveInt | None = 100_000_000
    """Train on so many characters of text at most, drawn evenly from all; null for no limit."""


class ScratchModel(Block):
    """A model with random weights."""

    architecture: Literal["gpt2", "bert", "distilbert", "t5", "lstm"]
    size: Literal["tiny", "mini", "small", "medium", "base", "large", "xl"]
    """A row of the published table of that family; see llmkit/models/families/."""
    tokenizer: str | TokenizerBlock = TokenizerBlock()
    """A tokenizer to train, or the hub id, folder or run to take one from."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Dropout on embeddings, residuals and feed-forward layers."""
    attention_dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Dropout on attention weights; without it, the same as `dropout`. T5 has one rate for all, an LSTM no attention."""

    @model_validator(mode="after")
    def _one_rate_for_some(self) -> ScratchModel:
        if self.architecture in ("t5", "lstm") and self.attention_dropout is not None:
            reason = "T5 has one rate for all" if self.architecture == "t5" else "an LSTM has no attention"
            raise ValueError(f"attention_dropout: {reason}; leave it out, and set dropout")
        return self


class DataBlock(Block):
    train: Sources
    """A file, folder or glob, `hub:NAME`, `builtin:NAME`, or a list of these."""
    validation: ShareOrSources = "5%"
    """A share of the training rows, chosen by a hash of the text, or sources of its own."""
    test: ShareOrSources | None = None
    """As `validation`; `llmkit evaluate --model RUN` measures on it."""
    columns: Annotated[dict[str, str], Field(default_factory=dict)]
    """Role of the task -> column of the file, where the two differ."""
    max_rows: PositiveInt | None = None
    """Read at most so many rows of `train`, from its start."""
    quoting: Quoting = "auto"
    """Quotation marks in .csv and .tsv: `csv` encloses cells in them, `none` keeps them as text; `auto` is `csv` for
    .csv, and for .tsv what the file itself shows."""
    deduplicate: bool = False
    """Leave out rows that stand there already, word for word, and count them; within each split."""

    @model_validator(mode="after")
    def _rows_are_left(self) -> DataBlock:
        shares = [parse_share(held) or 0.0 for held in (self.validation, self.test) if isinstance(held, str)]
        if sum(shares) >= 1:
            raise ValueError("validation and test together take all rows; leave some for training")
        return self


class LoraBlock(Block):
    """Low-rank adaptation (Hu et al. 2021): the weights stay, and products of two thin matrices are learnt beside them."""

    rank: Annotated[int, Field(ge=1, le=4096)] = 8
    """Width of the thin matrices."""
    alpha: Annotated[float, Field(gt=0, le=100_000)] = 16.0
    """The product counts alpha / rank times."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout on what the thin matrices read."""
    target: Annotated[Literal["auto", "all"] | Names, BeforeValidator(_frozen)] = "auto"
    """Which matrices of the layers: `auto` the queries and values of attention, `all` every one, or a list of names."""
    save: Literal["merged", "adapter"] = "merged"
    """The finished model: `merged` into a plain model folder, or an `adapter` folder that needs its base model."""


class FreezeBlock(Block):
    """What stays as it is. A matrix that embeddings and head share stays in both."""

    embeddings: bool = False
    """The embeddings of tokens, positions and segments, with their norm."""
    layers: Annotated[int, Field(ge=0, le=10_000)] = 0
    """The first so many layers; of T5, of encoder and decoder both."""

    @model_validator(mode="after")
    def _something(self) -> FreezeBlock:
        if not self.embeddings and not self.layers:
            raise ValueError("nothing is frozen: set embeddings: true, or a number of layers; or leave it out")
        return self


class TrainBlock(Block):
    epochs: Annotated[float, Field(gt=0, le=100_000)] | None = None
    """Passes over the training examples; 3 if neither this nor `steps` is given."""
    steps: PositiveInt | None = None
    """Optimizer steps, in place of `epochs`."""
    batch_size: PositiveInt = 32
    """Sequences per optimizer step, over all devices."""
    optimizer: Literal["adamw", "adamw-scaled"] = "adamw"
    """`adamw-scaled` multiplies the rate of each weight matrix by its root mean square (Nawrot 2023), as T5 needs from
    random weights."""
    learning_rate: Annotated[float, Field(gt=0, le=10)] | Literal["auto"] = "auto"
    """The peak; `auto` takes the family's, which depends on the optimizer and on whether the weights are random."""
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    """What follows the warm-up: nothing, or a fall to 0 at the last step."""
    warmup: Annotated[int, Field(ge=0)] | str = "10%"
    """Steps, or a share of all steps."""
    weight_decay: Annotated[float, Field(ge=0, le=10)] = 0.01
    """Decoupled, on matrices only; never on biases, norms or other vectors."""
    max_grad_norm: Annotated[float, Field(gt=0)] | None = 1.0
    """Clip the norm of the whole gradient to this; null for no clipping."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of each target that is spread over all outputs (Szegedy et al. 2016), in training only; 0 is off."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] | None = None
    """Layer l of L learns at this to the power of L - l times the rate (Clark et al. 2020); embeddings are layer 0."""
    freeze: FreezeBlock | None = None
    """What is not trained."""
    lora: LoraBlock | None = None
    """Train thin matrices beside the weights in place of the weights; new heads are trained in full."""
    gradient_checkpointing: bool = False
    """Compute each layer's activations again in the backward pass: less memory, about a third more time."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    micro_batch_tokens: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """Tokens that a device holds at once, padding included. Changes memory and speed, never the update."""
    save_every: PositiveInt | None = None
    """Steps between checkpoints; without it, one at each evaluation."""
    keep_checkpoints: PositiveInt = 2
    """The newest so many stay, and the best one always."""
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 17
    checks: bool = True
    """Try model and data before the first step: targets, labels, end of text, padding, saving and opening again."""

    @model_validator(mode="after")
    def _one_way(self) -> TrainBlock:
        if self.lora is not None and self.freeze is not None:
            raise ValueError("freeze: lora leaves all weights as they are already; give one of the two")
        if self.lora is not None and self.optimizer == "adamw-scaled":
            raise ValueError("optimizer: adapters start at zero, by which adamw-scaled would multiply; take adamw")
        return self

    @model_validator(mode="after")
    def _one_length(self) -> TrainBlock:
        if self.epochs is not None and self.steps is not None:
            raise ValueError("give epochs or steps, not both")
        if isinstance(self.warmup, str):
            share = parse_share(self.warmup)
            if share is None or not 0 <= share < 1:
                raise ValueError(f"warmup is a number of steps or a share such as 10%, found {self.warmup!r}")
        return self


class EvaluationBlock(Block):
    every: Annotated[str, Field(pattern=r"^[1-9][0-9]* (epochs?|steps?)$")] = "1 epoch"
    """How often to evaluate, such as `1 epoch` or `500 steps`; the last step always is."""
    metrics: Names | None = None
    """Metrics on the validation rows besides the loss; without it, the task's own."""
    best: str | None = None
    """The figure that picks the best checkpoint; without it, the task's own."""
    patience: PositiveInt | None = None
    """Stop after so many evaluations without a better one."""
    max_rows: PositiveInt | None = None
    """Evaluate on the first so many validation rows during training."""


class GenerationBlock(Block):
    """How text is continued. Greedy or beams; sampling as soon as a temperature, top_k or top_p is given."""

    max_new_tokens: PositiveInt | None = None
    """Length limit in tokens; without it, the task's own."""
    beams: Annotated[int, Field(ge=1, le=64)] = 1
    temperature: Annotated[float, Field(ge=0.01, le=100)] | None = None
    """Divides the logits before sampling; 1 where only top_k or top_p is given."""
    top_k: PositiveInt | None = None
    """Sample from the so many likeliest tokens."""
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    """Sample from the likeliest tokens that make up this probability."""
    repetition_penalty: Annotated[float, Field(ge=0.1, le=10)] = 1.0
    """Divides the scores of tokens already there (Keskar et al. 2019); 1 is off."""
    num_return_sequences: Annotated[int, Field(ge=1, le=1000)] = 1
    stop: Annotated[tuple[str, ...], BeforeValidator(_listed, json_schema_input_type=str | tuple[str, ...])] = ()
    """Stop before any of these texts."""
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 17

    @property
    def samples(self) -> bool:
        return not (self.temperature is None and self.top_k is None and self.top_p is None)

    @model_validator(mode="after")
    def _possible(self) -> GenerationBlock:
        if self.samples and self.beams > 1:
            raise ValueError("beams and sampling (temperature, top_k, top_p) exclude each other")
        if not self.samples and self.num_return_sequences > self.beams:
            raise ValueError(
                f"{self.num_return_sequences} sequences need as many beams, or sampling (give a temperature)"
            )
        if "" in self.stop:
            raise ValueError("an empty stop text would stop everything")
        return self


class Recipe(Block):
    """What every task's recipe has. Subclasses fix `task` and add keys."""

    ROLES: ClassVar[Mapping[str, Kind]]
    """Role of a column -> its kind; see `roles`."""
    OPTIONAL_ROLES: ClassVar[Mapping[str, bool]] = {}
    """Roles that rows may lack: used where a row has the column, or `data.columns` names one. True where a blank text
    is as none; elsewhere its row is passed over."""
    ROLE_GROUPS: ClassVar[tuple[tuple[str, ...], ...]] = ()
    """Groups of roles of which a table has exactly one whole, or `data.columns` names one; empty where all belong."""
    READ_ROLES: ClassVar[tuple[str, ...]] = ("text",)
    """Roles of what the model reads. The first that a row has deals it to its split: equal values stay together."""
    FAMILIES: ClassVar[tuple[str, ...]]
    """The model families that can do the task."""
    METRICS: ClassVar[tuple[str, ...]] = ()
    """Metrics of the task's predictions; empty for a task that is measured by its loss."""
    BEST: ClassVar[str] = "loss"
    """The figure that picks the best checkpoint."""

    recipe: Literal[1]
    """Version of the recipe language."""
    task: str
    model: str | ScratchModel
    """A hub id, a folder or a run; or a block for random weights."""
    revision: str | None = None
    """Branch, tag or commit of a hub model."""
    data: DataBlock
    train: TrainBlock = TrainBlock()
    evaluation: EvaluationBlock = EvaluationBlock()

    @property
    def roles(self) -> Mapping[str, Kind]:
        """The roles of this recipe's rows, where its keys decide which there are."""
        return self.ROLES

    @property
    def own_metrics(self) -> tuple[str, ...]:
        """The metrics of its predictions where the recipe names none, and its keys decide which."""
        return self.METRICS

    @property
    def own_best(self) -> str:
        """The figure that picks the best checkpoint where the recipe names none."""
        return self.BEST

    @property
    def loss_figures(self) -> tuple[str, ...]:
        """The figures that are made of the loss alone."""
        return ("loss",) if self.own_metrics else ("loss", "perplexity", "bits_per_byte")

    @property
    def fitting_metrics(self) -> tuple[str, ...] | None:
        """The metrics that its predictions can have, `evaluate:` modules aside; None for any."""
        return None

    @property
    def written_language(self) -> str | None:
        """The code of the language that the task writes, where the recipe says so; metrics find words by it."""
        return None

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics of its predictions: the recipe's choice, else the task's own; empty where it has none."""
        return (self.evaluation.metrics or self.own_metrics) if self.own_metrics else ()

    @property
    def best(self) -> str:
        return self.evaluation.best or self.own_best

    @property
    def window_tokens(self) -> int | None:
        """The longest sequence that the model will read, where the recipe limits it."""
        return None

    @model_validator(mode="after")
    def _possible(self) -> Recipe:
        unknown = set(self.data.columns) - set(self.roles)
        if unknown:
            raise ValueError(
                f"data.columns: {sorted(unknown)[0]!r} is not a role of {self.task}; use {', '.join(self.roles)}"
            )
        if isinstance(self.model, ScratchModel):
            if self.model.architecture not in self.FAMILIES:
                raise ValueError(
                    f"model.architecture: {self.task} works with {', '.join(self.FAMILIES)}, not {self.model.architecture}"
                )
            if self.revision is not None:
                raise ValueError("revision: belongs to a hub model; these weights are random")
            for key in ("lora", "freeze", "layer_decay"):
                if getattr(self.train, key) is not None:
                    raise ValueError(f"train.{key}: keeps what a model has learnt, and these weights are random")
        return self

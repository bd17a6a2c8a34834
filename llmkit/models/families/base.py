"""The interface of model families: everything that depends on an architecture. Each family has its own file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from llmkit.errors import ModelError, UsageError
from llmkit.models.families.heads import VERBS, Head, HeadVerb, VocabularyHead
from llmkit.models.families.sizes import SIZE_KEYS, LearningRates

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

    from llmkit.models.families.seq2seq_parts import Seq2SeqParts
    from llmkit.recipe.blocks import ScratchModel

TokenizerAlgorithm = Literal["bpe", "wordpiece", "unigram"]


class Family(ABC):
    """One architecture: its classes, names of its weights, tokens, sizes and defaults.

    A subclass overrides what differs. Nothing else in llmkit compares the name of a family or a `model_type`.
    """

    name: ClassVar[str]
    article: ClassVar[str] = "a"
    """Article before the name, in messages."""
    model_types: ClassVar[tuple[str, ...]]
    """Values of `model_type` in config.json."""
    heads: ClassVar[Mapping[Head, str]]
    """The class in transformers for each supported head; the first is the main use."""
    class_prefixes: ClassVar[Mapping[str, str]] = {}
    """`model_type` -> the start of the names of its classes, where several types have classes of their own; the first
    one's are in `heads`."""
    translates: ClassVar[bool] = False
    """Whether its published models translate, and a model whose configs do not name a task is a translator."""
    no_head: ClassVar[Mapping[Head, str]] = {}
    """Why the family lacks a head, for messages; may be empty."""

    sizes: ClassVar[Mapping[str, Any]]
    """Name -> published size, for random weights."""
    size_parameters: ClassVar[Mapping[str, int]] = {}
    """Name -> parameters of a model of that size with a vocabulary of 8,000 and the first head; tests compare them with
    the models."""
    size_keys: ClassVar[tuple[str, ...]] = SIZE_KEYS
    """Config keys that must be whole numbers."""
    learning_rates: ClassVar[LearningRates]
    random_optimizer: ClassVar[Literal["adamw", "adamw-scaled"]] = "adamw"
    """`train.optimizer` that new recipes with random weights have."""

    no_dropout: ClassVar[str] = ""
    """Why `dropout` of random weights can only be 0; empty if it applies."""
    no_attention_dropout: ClassVar[str] = ""
    """Why `attention_dropout` of random weights does not apply; empty if it does."""

    tokenizer: ClassVar[TokenizerAlgorithm]
    """How a tokenizer of the family is trained."""
    special_tokens: ClassVar[Mapping[str, str]]
    """Role such as `eos_token` -> text, for a trained tokenizer."""
    needed_tokens: ClassVar[tuple[str, ...]]
    """Roles that a tokenizer must have, such as `eos`."""
    model_input_names: ClassVar[tuple[str, ...] | None] = None
    """Model inputs that a trained tokenizer returns; None for the library's default."""
    padding_side: ClassVar[Literal["left", "right"]] = "right"
    separators: ClassVar[int] = 1
    """Separators between the two texts of a pair."""
    cleans_up_spaces: ClassVar[bool] = True
    """Whether decoding may delete spaces before punctuation, if the tokenizer's config says so."""

    newline: ClassVar[str] = ""
    """How the family writes a new line, if not as one."""

    layers: ClassVar[Mapping[str, str]]
    """Config key of the number of layers -> prefix of a layer's number in the names of weights."""
    other_parts: ClassVar[tuple[str, ...]] = ()
    """First names of weights that a checkpoint may have for another head or stack."""
    published_names: ClassVar[Mapping[str, str]] = {}
    """Start of a weight's name in published files -> in its class, where transformers has renamed it; saved models have
    the published names, which every version opens."""
    new_weights: ClassVar[tuple[str, ...]] = ("classifier.", "score.", "qa_outputs.", "cls.")
    """Prefixes of weights that training may initialize at random if a checkpoint lacks them."""
    vocabulary: ClassVar[str] = "lm_head."
    """Name prefix of the matrix with a row for each token, if the head has one."""
    lora_targets: ClassVar[tuple[str, ...]] = ()
    """Linear maps of queries and values, which LoRA adapts by default, as in its paper."""
    output_modules: ClassVar[tuple[str, ...]] = ("classifier",)
    """The classifier's last linear map; if it has no bias, also the norm before it, whose bias shifts its output. Where
    neither has one, nothing does."""
    swaps_matrices: ClassVar[bool] = False
    """Whether linear maps store their matrices as (inputs, outputs), as in GPT-2."""
    attention_kernels: ClassVar[tuple[str, ...]] = ("sdpa", "eager")
    """Attention implementations in transformers, the one that is used first; `sdpa` is torch's fused one."""
    is_encoder_decoder: ClassVar[bool] = False
    decoder_layers: ClassVar[str] = ""
    """Of an encoder-decoder: config key of the number of the decoder's layers, one of `layers`."""
    pads_before_positions: ClassVar[bool] = False
    """Whether positions are counted from the id of padding in config.json, which must be the tokenizer's."""
    objectives: ClassVar[tuple[str, ...]] = ()
    """Tasks of pretraining that need special tokens or parts of this family."""
    continues_prompts: ClassVar[bool] = False
    """Whether its output continues the prompt instead of answering it."""
    is_of_transformers: ClassVar[bool] = True
    """Whether plain transformers opens a saved model."""

    @property
    def verb(self) -> HeadVerb:
        """The command that uses a model whose config names no head."""
        return VERBS[next(iter(self.heads))]

    @abstractmethod
    def scratch_config(self, block: ScratchModel, tokenizer: PreTrainedTokenizerFast) -> PreTrainedConfig:
        """The config of random weights of a size, for this tokenizer.

        Raises:
            UsageError: the family has no such size.
        """

    def model_class(self, head: Head, *, model_type: str | None = None) -> type[PreTrainedModel]:
        """The class with a head.

        Args:
            model_type: of a checkpoint; some have separate classes.
        Raises:
            ModelError: the family has no such head here.
        """
        import transformers

        self.check_head(head)
        name = self.heads[head]
        if model_type is not None and model_type in self.class_prefixes:
            first = next(iter(self.class_prefixes.values()))
            name = self.class_prefixes[model_type] + name.removeprefix(first)
        cls: type[PreTrainedModel] = getattr(transformers, name)
        return cls

    def check_head(self, head: Head) -> None:
        """
        Raises:
            ModelError: the family has no such head here.
        """
        if head not in self.heads:
            reason = f". {self.no_head[head]}." if head in self.no_head else f"; use `llmkit {self.verb}`."
            raise ModelError(f"{self.article} {self.name} model has no {head} head{reason}")

    def size(self, name: str) -> Any:
        """
        Raises:
            UsageError: the family has no such size.
        """
        if name not in self.sizes:
            raise UsageError(f"model.size: {self.name} has no size {name!r}; use {', '.join(self.sizes)}.")
        return self.sizes[name]

    def check_dropout(self, block: ScratchModel) -> None:
        """
        Raises:
            ValueError: the block sets a rate that the family does not have.
        """
        if self.no_attention_dropout and block.attention_dropout is not None:
            raise ValueError(f"model.attention_dropout: {self.no_attention_dropout}; remove it, and set dropout")
        if self.no_dropout and block.dropout:
            raise ValueError(f"model.dropout: {self.no_dropout}; remove it, and set attention_dropout")

    def load_options(self, head: Head) -> dict[str, Any]:
        """Keyword arguments of the class when it is built for a head."""
        return {}

    def register(self) -> None:
        """Register the family with transformers, if needed."""

    def prepare(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, head: Head) -> None:
        """Set what the head needs, once, when a model is created or opened."""

    def scale_new_head(self, model: PreTrainedModel) -> None:
        """Change the random weights of a new head, if transformers initializes them badly."""

    def default_prefix(self, config: PreTrainedConfig, prefix: str) -> str:
        """The prefix of a text for a task, as in the model's pretraining."""
        return prefix

    def check_config(self, config: PreTrainedConfig, *, name: str) -> None:
        """
        Raises:
            ModelError: two values of a checkpoint's config do not fit each other.
        """

    def check_pairs(self, config: PreTrainedConfig, *, name: str) -> None:
        """
        Raises:
            ModelError: the model cannot read pairs of texts.
        """

    def segment_inputs(self, input_ids: Tensor, tokenizer: PreTrainedTokenizerFast) -> dict[str, Tensor]:
        """Additional inputs of the model besides ids (B, T) for pairs of texts."""
        return {}

    def refuse_precision(self, precision: str, device: torch.device) -> str | None:
        """Why the family cannot be trained in this format on this device; None if it can."""
        return None

    def masked_lm_head(self, model: Any) -> VocabularyHead:
        """The head of a masked language model.

        Raises:
            ModelError: the family has none.
        """
        raise ModelError(f"{self.article} {self.name} model has no masked-lm head.")

    def new_generator(self, model: Any, *, width: float) -> PreTrainedModel:
        """A masked language model with random weights and the embeddings of a discriminator.

        Args:
            width: its hidden units, feed-forward units and attention heads, as a share of the discriminator's.
        Raises:
            UsageError: the share does not fit.
            ModelError: the family has none.
        """
        raise ModelError(f"{self.article} {self.name} model has no generator.")

    def seq2seq_parts(self, model: Any) -> Seq2SeqParts:
        """The parts of a model with the head `seq2seq-lm`; ModelError if the family has none."""
        raise ModelError(f"{self.article} {self.name} model has no seq2seq-lm head.")

    def target_language_keys(self, tokenizer: PreTrainedTokenizerFast, language: int) -> dict[str, int]:
        """Generation options that make a multilingual model write a language, given the id of its token."""
        return {"forced_bos_token_id": language}

    def layer_repeats(self, config: PreTrainedConfig) -> int:
        """How often each stored layer of the encoder, or of the only stack, is computed: once, unless layers share weights."""
        return 1

    def layers_of(self, head: Head) -> Mapping[str, str]:
        """`layers` of the class for a head, which may lack a stack."""
        return self.layers

    def positions(self, config: PreTrainedConfig) -> int | None:
        """The most tokens that the model has positions for; None without a limit, as with relative positions."""
        positions: int | None = getattr(config, "max_position_embeddings", None)
        return positions

    def attention_width(self, config: PreTrainedConfig) -> int:
        """Width of all attention heads together; 0 without attention."""
        width: int = config.hidden_size
        return width

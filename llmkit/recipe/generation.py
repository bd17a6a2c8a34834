"""The options of text generation: a block of recipes, and the keywords of the API. Every default is defined here and only
here."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from llmkit.recipe.blocks import Block, PositiveInt, as_sources, as_tuple

TokenId = Annotated[int, Field(ge=0, le=2**31 - 1)]
TokenIds = Annotated[tuple[TokenId, ...], BeforeValidator(as_tuple)]
MinNewTokens = Annotated[int, Field(ge=0, le=2**31 - 1)]
LengthPenalty = Annotated[float, Field(ge=-100, le=100, examples=[2.0])]
NgramSize = Annotated[int, Field(ge=0, le=10_000, examples=[3])]

BEAM_OPTIONS = ("length_penalty", "early_stopping")
"""Options that change nothing without beams."""


class GenerationBlock(Block):
    """How text is generated: greedy or beam search, or sampling if temperature, top_k or top_p is given."""

    max_new_tokens: PositiveInt | None = None
    """Maximum number of tokens to generate; by default the task's."""
    min_new_tokens: MinNewTokens = 0
    """The end of text is impossible before this many tokens."""
    max_length: PositiveInt | None = None
    """As `max_new_tokens`, with the prompt counted; only for models that continue their prompt."""
    min_length: MinNewTokens = 0
    """As `min_new_tokens`, with the prompt counted; only for models that continue their prompt."""
    beams: Annotated[int, Field(ge=1, le=64)] = 1
    length_penalty: LengthPenalty = 1.0
    """Of beam search: a beam's score is divided by its length to this power; above 0 prefers longer texts."""
    early_stopping: bool | Literal["never"] = False
    """Of beam search: true stops at as many finished texts as beams, false when a better one is unlikely, `never` when
    a better one is impossible."""
    temperature: Annotated[float, Field(ge=0.01, le=100)] | None = None
    """Divides the logits before sampling; 1 where only top_k or top_p is given."""
    top_k: PositiveInt | None = None
    """Sample from the K most probable tokens."""
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    """Sample from the most probable tokens whose probabilities add up to this value."""
    repetition_penalty: Annotated[float, Field(ge=0.1, le=10)] = 1.0
    """Divides the scores of tokens that already occur (Keskar et al. 2019); 1 turns it off."""
    no_repeat_ngram_size: NgramSize = 0
    """No sequence of this many tokens occurs twice in prompt and text; 0 turns it off."""
    encoder_no_repeat_ngram_size: NgramSize = 0
    """No sequence of this many tokens of the source occurs in the text; 0 turns it off."""
    bad_words_ids: Annotated[tuple[TokenIds, ...], BeforeValidator(as_tuple)] = ()
    """Sequences of token ids that are never generated."""
    suppress_tokens: TokenIds = ()
    """Token ids that are never generated."""
    begin_suppress_tokens: TokenIds = ()
    """Token ids that are never generated first."""
    forced_bos_token_id: TokenId | None = None
    """The first generated token, for encoder-decoders."""
    decoder_start_token_id: TokenId | None = None
    """The id that the decoder starts from, for encoder-decoders; by default the model's."""
    forced_eos_token_id: TokenId | TokenIds | None = None
    """The last token where a text reaches its maximum length."""
    num_return_sequences: Annotated[int, Field(ge=1, le=1000)] = 1
    stop: Annotated[tuple[str, ...], BeforeValidator(as_sources, json_schema_input_type=str | tuple[str, ...])] = ()
    """Stop before any of these texts."""
    keep_special: bool = False
    """Keep special tokens in the text, except those that pad, start or end it. Without it, only those that the model was
    trained to write."""
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 17

    @property
    def samples(self) -> bool:
        return not (self.temperature is None and self.top_k is None and self.top_p is None)

    def new_tokens(self, prompt_tokens: int) -> int:
        """Maximum number of new tokens after a prompt of this length; `max_new_tokens` must be set."""
        assert self.max_new_tokens is not None
        if self.max_length is None:
            return self.max_new_tokens
        return max(1, min(self.max_new_tokens, self.max_length - prompt_tokens))

    def reaches_limit(self, new_tokens: int, *, prompt_tokens: int) -> bool:
        """Whether the length limit ended a text of so many tokens, the end of text not counted."""
        forced = self.forced_eos_token_id is not None  # takes the place of the last token
        return new_tokens >= self.new_tokens(prompt_tokens) - forced

    def for_prompt(self, prompt_tokens: int) -> GenerationBlock:
        """These options with `max_length` as `max_new_tokens`, for prompts of this length."""
        if self.max_length is None:
            return self
        return self.model_copy(update={"max_new_tokens": self.new_tokens(prompt_tokens), "max_length": None})

    @model_validator(mode="after")
    def _check_combination(self) -> GenerationBlock:
        if self.samples and self.beams > 1:
            raise ValueError("beams and sampling (temperature, top_k, top_p) cannot be combined")
        if not self.samples and self.num_return_sequences > self.beams:
            raise ValueError(
                f"{self.num_return_sequences} sequences need at least as many beams, or sampling (set temperature)"
            )
        if self.max_new_tokens is not None and self.min_new_tokens > self.max_new_tokens:
            raise ValueError(f"min_new_tokens {self.min_new_tokens:,} exceeds max_new_tokens {self.max_new_tokens:,}")
        if "" in self.stop:
            raise ValueError("an empty stop text would stop every generation")
        return self

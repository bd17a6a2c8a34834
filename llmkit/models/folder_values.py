"""Types and ranges of the values in a model folder's JSON files, checked once, where the folder is resolved.

Keys that are not listed are ignored, as in transformers. Sizes are compared with the weights later (`fitting.py`), ids
with the vocabulary (`configs.py`, `ends.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from llmkit.errors import ModelError
from llmkit.models.value_types import (
    AddedToken,
    Base,
    Count,
    Dtype,
    Id,
    LayerKinds,
    Name,
    Number,
    Positive,
    RopeValues,
    RotatedShare,
    SeveralIds,
    Share,
    Side,
    Text,
    Token,
    Values,
)

_MOST_SENTINELS = 10_000
"""T5 has 100; its tokenizer makes a token for each."""


class Ids(Values):
    """Token ids, in a config of a model or of generation."""

    bos_token_id: Id | None = None
    cls_token_id: Id | None = None
    decoder_start_token_id: Id | SeveralIds | None = None
    eos_token_id: Id | SeveralIds | None = None
    forced_bos_token_id: Id | None = None
    forced_eos_token_id: Id | SeveralIds | None = None
    mask_token_id: Id | None = None
    pad_token_id: Id | None = None
    sep_token_id: Id | None = None
    unk_token_id: Id | None = None


class GenerationValues(Ids):
    """generation_config.json. The ranges are those of `GenerationBlock`, which checks them where they are used."""

    bad_words_ids: list[list[Id]] | None = None
    begin_suppress_tokens: list[int] | None = None
    do_sample: bool | None = None
    early_stopping: bool | Literal["never"] | None = None
    encoder_no_repeat_ngram_size: int | None = None
    length_penalty: float | None = None
    max_length: int | None = None
    max_new_tokens: int | None = None
    min_length: int | None = None
    min_new_tokens: int | None = None
    no_repeat_ngram_size: int | None = None
    num_beams: int | None = None
    repetition_penalty: float | None = None
    suppress_tokens: list[int] | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None


class ModelValues(GenerationValues):
    """config.json of every family; old ones have options of generation, too."""

    activation: Text = ""
    activation_dropout: Share = 0
    activation_function: Text = ""
    add_cross_attention: bool = False
    architectures: list[Text] | None = None
    attention_bias: bool = False
    attention_dropout: Share = 0
    attention_layers: list[Literal["global", "local"]] = Field(default_factory=list)
    attention_probs_dropout_prob: Share = 0
    attention_types: LayerKinds | None = None
    attn_pdrop: Share = 0
    classifier_activation: Text = ""
    classifier_bias: bool = False
    classifier_dropout: Share | None = None
    classifier_dropout_prob: Share = 0
    classifier_pooling: Literal["cls", "mean"] = "cls"
    d_ff: Count = 1
    d_kv: Count = 1
    d_model: Count = 1
    decoder_attention_heads: Count = 1
    decoder_bias: bool = True
    decoder_ffn_dim: Count = 1
    decoder_layerdrop: Share = 0
    decoder_layers: Count = 1
    decoder_vocab_size: Count | None = None
    dense_act_fn: Text = ""
    deterministic_flash_attn: bool = False
    dim: Count = 1
    do_layer_norm_before: bool = True
    dropout: Share = 0
    dropout_rate: Share = 0
    dtype: Dtype | None = None
    embd_pdrop: Share = 0
    embed_dropout: Share = 0
    embedding_dropout: Share = 0
    embedding_size: Count = 1
    enable_bias: bool = True
    encoder_attention_heads: Count = 1
    encoder_ffn_dim: Count = 1
    encoder_layerdrop: Share = 0
    encoder_layers: Count = 1
    feed_forward_proj: Text = ""
    ffn_dim: Count = 1
    generator_hidden_size: Positive = 0
    global_attn_every_n_layers: Count = 1
    head_dim: Count | None = None
    hidden_act: Text = ""
    hidden_activation: Text = ""
    hidden_dim: Count = 1
    hidden_dropout: Share = 0
    hidden_dropout_prob: Share = 0
    hidden_size: Count = 1
    id2label: dict[Number, Text] | None = None
    init_std: Positive = 0
    initializer_cutoff_factor: Positive = 0
    initializer_factor: Positive = 1
    initializer_range: Positive = 0
    inner_group_num: Count = 1
    intermediate_size: Count = 1
    is_decoder: bool = False
    is_encoder_decoder: bool = False
    is_gated_act: bool = False
    label2id: dict[Text, int | Text] | None = None
    layer_norm_elementwise_affine: bool = True
    layer_norm_eps: Positive = 0
    layer_norm_epsilon: Positive = 0
    layerdrop: Share = 0
    legacy: bool = True
    local_attention: Count = 1
    max_position_embeddings: Count | None = None
    max_relative_positions: int = -1
    max_window_layers: Id = 0
    mlp_bias: bool = False
    mlp_dropout: Share = 0
    n_embd: Count = 1
    n_head: Count = 1
    n_heads: Count = 1
    n_inner: Count | None = None
    n_layer: Count = 1
    n_layers: Count = 1
    n_positions: Count | None = None
    norm_bias: bool = False
    norm_eps: Positive = 0
    num_attention_heads: Count = 1
    num_decoder_layers: Count | None = None
    num_heads: Count = 1
    num_hidden_groups: Count = 1
    num_hidden_layers: Count = 1
    num_key_value_heads: Count | None = None
    num_labels: Id | None = None
    num_layers: Count = 1
    partial_rotary_factor: RotatedShare | None = None
    pooler_dropout: Share = 0
    pooler_hidden_act: Text = ""
    pos_att_type: Text | list[Text] | None = None
    position_biased_input: bool = True
    problem_type: Literal["regression", "single_label_classification", "multi_label_classification"] | None = None
    qa_dropout: Share = 0
    relative_attention: bool = False
    relative_attention_max_distance: Count = 1
    relative_attention_num_buckets: Count = 1
    reorder_and_upcast_attn: bool = False
    resid_dropout: Share = 0
    resid_pdrop: Share = 0
    rms_norm_eps: Positive = 0
    rope_scaling: RopeValues | None = None
    rope_theta: Base | None = None
    rotary_emb_base: Base | None = None
    rotary_pct: RotatedShare | None = None
    scale_attn_by_inverse_layer_idx: bool = False
    scale_attn_weights: bool = True
    scale_embedding: bool = False
    seq_classif_dropout: Share = 0
    share_encoder_decoder_embeddings: bool = True
    sinusoidal_pos_embds: bool = False
    sparse_pred_ignore_index: int = -100
    sparse_prediction: bool = False
    summary_activation: Text | None = None
    summary_last_dropout: Share = 0
    summary_type: Text = ""
    summary_use_proj: bool = True
    task_specific_params: dict[Text, GenerationValues] | None = None
    tie_word_embeddings: bool = True
    tokenizer_class: Text | None = None
    torch_dtype: Dtype | None = None
    type_vocab_size: Id = 0
    use_cache: bool = True
    use_parallel_residual: bool = True
    use_sliding_window: bool = False
    vocab_size: Count = 1
    window_size: Count = 1
    word_embed_proj_dim: Count | None = None


class AdapterValues(Values):
    """adapter_config.json of plain LoRA."""

    base_model_name_or_path: Name
    fan_in_fan_out: bool | None = None
    lora_alpha: Annotated[float, Field(ge=1e-9, le=1e9)]
    lora_dropout: Share
    modules_to_save: list[Text] | None = None
    r: Annotated[int, Field(ge=1, le=100_000)]
    revision: Name | None = None
    target_modules: list[Text]
    task_type: Text | None = None
    use_rslora: bool | None = None


class BaseValues(Values):
    """base.json, which llmkit writes beside an adapter."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None


class TokenizerValues(Values):
    """tokenizer_config.json and special_tokens_map.json."""

    add_bos_token: bool | None = None
    add_eos_token: bool | None = None
    add_prefix_space: bool | None = None
    added_tokens_decoder: dict[Number, AddedToken] | None = None
    additional_special_tokens: list[Token] | None = None
    bos_token: Token | None = None
    clean_up_tokenization_spaces: bool | None = None
    cls_token: Token | None = None
    do_lower_case: bool | None = None
    eos_token: Token | None = None
    errors: Literal["strict", "ignore", "replace"] = "replace"
    extra_ids: Annotated[int, Field(ge=0, le=_MOST_SENTINELS)] | None = None
    extra_special_tokens: list[Token] | dict[Text, Token] | None = None
    from_slow: bool | None = None
    language_codes: Text | None = None
    legacy: bool | None = None
    legacy_behaviour: bool | None = None
    mask_token: Token | None = None
    model_input_names: list[Text] = Field(default_factory=list)
    model_specific_special_tokens: dict[Text, Token] | None = None
    num_madeup_words: Annotated[int, Field(ge=0, le=_MOST_SENTINELS)] | None = None
    pad_token: Token | None = None
    padding_side: Side = "right"
    sep_token: Token | None = None
    separate_vocabs: bool | None = None
    source_lang: Text | None = None
    split_special_tokens: bool | None = None
    src_lang: Text | None = None
    strip_accents: bool | None = None
    target_lang: Text | None = None
    tgt_lang: Text | None = None
    tokenize_chinese_chars: bool | None = None
    tokenizer_class: Text | None = None
    trim_offsets: bool | None = None
    truncation_side: Side = "right"
    unk_token: Token | None = None


def check_values(content: Mapping[str, Any], values: type[Values], *, name: str, file: str) -> None:
    """Check the content of a file.

    Args:
        name: the user's name for the model, for the message.
    Raises:
        ModelError: a value of another type, or outside its range; names file and key.
    """
    try:
        values.model_validate(content)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False)[0]
        key = _key(content, fault["loc"])
        found = "nothing" if fault["type"] == "missing" else f"{fault['input']!r:.80}"
        raise ModelError(f"{name}: {file} has {key}: {found}. {fault['msg'].removeprefix('Value error, ')}.") from error


def _key(content: Any, place: tuple[int | str, ...]) -> str:
    """`id2label.0`: the part of a place in a schema that is a place in the content; the rest names alternatives."""
    keys: list[str] = []
    for key in place:
        if keys and not (isinstance(content, dict) and key in content) and not isinstance(key, int):
            continue
        keys.append(repr(str(key))[1:-1][:40])
        content = content.get(key) if isinstance(content, dict) else None
    return ".".join(keys)

"""One change in one file of a model folder, drawn at random: of a value in JSON, of bytes, or of a header of weights."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

DEEP = object()
"""Stands for a list in 5,000 lists, which `json.dumps` cannot write."""
VALUES: tuple[Any, ...] = (
    *(None, True, False, -1, 0, 1, 2, 3, 7, 100, 10**6, 10**12, 2**63, -(10**12), 10**400, 0.5, -0.5, 1.0, 1e308),
    *(float("nan"), float("inf"), "", "x", "7", "cls", "\x1b[2J\nx", "../x", "\x00", "a" * 100_000, "\ud800"),
    *(
        [],
        [1],
        [10**6],
        [[10**6]],
        [-5],
        [None],
        ["x"],
        [[]],
        [[0, 1]],
        {},
        {"x": 1},
        {"0": "x"},
        {"0": 5},
        {"a": {"b": {"c": []}}},
        DEEP,
    ),
)
PARTS: tuple[Any, ...] = (
    {"type": "Replace", "pattern": {"Regex": "(a+)+$"}, "content": "aa"},
    {"type": "Replace", "pattern": {"Regex": "("}, "content": ""},
    {"type": "Replace", "pattern": {"String": ""}, "content": "xx"},
    {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 10_000},
    {"type": "Prepend", "prepend": "x" * 100_000},
    {"type": "Precompiled", "precompiled_charsmap": "AAAA"},
    {"type": "Precompiled", "precompiled_charsmap": "/////w=="},
    {"type": "Split", "pattern": {"Regex": "(a|a)*b"}, "behavior": "Isolated", "invert": False},
    {"type": "Split", "pattern": {"String": ""}, "behavior": "Removed", "invert": True},
    {"type": "FixedLength", "length": 0},
    {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
    {"type": "Metaspace", "replacement": "__", "prepend_scheme": "always", "split": True},
    {"type": "Strip", "content": "a", "start": 10**9, "stop": 10**9},
    {"type": "CTC", "pad_token": "a", "word_delimiter_token": "b", "cleanup": True},
    {"type": "Sequence", "normalizers": [{"type": "Sequence", "normalizers": []}] * 2},
    {"type": "TemplateProcessing", "single": [], "pair": [], "special_tokens": {}},
    {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "x", "type_id": 7}}, {"Sequence": {"id": "A", "type_id": 9}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 10**6}}],
        "special_tokens": {"x": {"id": "x", "ids": [10**6], "tokens": ["x"]}},
    },
    {"type": "BertProcessing", "sep": ["x", 10**6], "cls": ["y", 10**6]},
    {"type": "RobertaProcessing", "sep": ["x", 2], "cls": ["y", 2], "trim_offsets": True, "add_prefix_space": True},
    {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "x"},
    {"type": "Unigram", "unk_id": 7, "vocab": [["a", 0.0]], "byte_fallback": True},
    {"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]},
)
"""Of a tokenizer.json."""
GENERATION_KEYS = (
    *("num_beams", "max_length", "min_length", "max_new_tokens", "do_sample", "temperature", "top_k", "top_p"),
    *("eos_token_id", "bos_token_id", "pad_token_id", "decoder_start_token_id", "forced_bos_token_id"),
    *("forced_eos_token_id", "bad_words_ids", "suppress_tokens", "begin_suppress_tokens", "no_repeat_ngram_size"),
    *(
        "repetition_penalty",
        "length_penalty",
        "early_stopping",
        "stop_strings",
        "sequence_bias",
        "cache_implementation",
    ),
    *("watermarking_config", "num_return_sequences", "num_beam_groups", "guidance_scale", "max_time", "use_cache"),
    *(
        "return_dict_in_generate",
        "output_scores",
        "assistant_confidence_threshold",
        "compile_config",
        "_from_model_config",
    ),
)
CONFIG_KEYS = (
    *("return_dict", "chunk_size_feed_forward", "output_hidden_states", "output_attentions", "problem_type", "dtype"),
    *("torch_dtype", "is_decoder", "add_cross_attention", "use_cache", "tie_word_embeddings", "tie_encoder_decoder"),
    *("is_encoder_decoder", "pruned_heads", "num_labels", "id2label", "label2id", "finetuning_task", "prefix"),
    *("pad_token_id", "sep_token_id", "eos_token_id", "bos_token_id", "decoder_start_token_id", "vocab_size"),
    *("hidden_act", "activation", "activation_function", "feed_forward_proj", "layer_norm_eps", "layer_norm_epsilon"),
    *("layer_norm_eps", "position_embedding_type", "classifier_dropout", "summary_type", "scale_attn_weights"),
    *("scale_attn_by_inverse_layer_idx", "reorder_and_upcast_attn", "relative_attention_max_distance", "qa_dropout"),
    *("relative_attention_num_buckets", "is_gated_act", "dense_act_fn", "initializer_factor", "initializer_range"),
    *("sinusoidal_pos_embds", "base_model_tp_plan", "base_model_pp_plan", "sub_configs", "attribute_map", "model_type"),
    *("keys_to_ignore_at_inference", "_name_or_path", "name_or_path", "_attn_implementation_internal", "_commit_hash"),
    *("architectures", "task_specific_params", "transformers_version", "quantization_config", "tokenizer_class"),
    *("rope_scaling", "rope_parameters", "gradient_checkpointing", "output_past", "_output_attentions", "max_length"),
    *("_experts_implementation", "layer_types", "max_position_embeddings", "__class__", "__dict__", "__init__"),
)
TOKENIZER_KEYS = (
    *("model_max_length", "padding_side", "truncation_side", "pad_token", "eos_token", "bos_token", "unk_token"),
    *("cls_token", "sep_token", "mask_token", "additional_special_tokens", "extra_special_tokens", "extra_ids"),
    *("added_tokens_decoder", "tokenizer_class", "clean_up_tokenization_spaces", "split_special_tokens", "backend"),
    *("do_lower_case", "strip_accents", "tokenize_chinese_chars", "add_prefix_space", "add_bos_token", "errors"),
    *("add_eos_token", "model_input_names", "chat_template", "legacy", "from_slow", "is_local", "pad_to_multiple_of"),
    *("pad_token_type_id", "response_schema", "special_tokens_pattern", "model_specific_special_tokens", "__class__"),
)


def damage(folder: Path, rng: random.Random) -> str:
    """Change one thing in a file of the folder; returns what."""
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    configs = [file for file in files if file.suffix == ".json"]
    if rng.random() < 0.1:
        return damage_weights(rng.choice([file for file in files if file.suffix == ".safetensors"]), rng)
    if rng.random() < 0.05:
        return damage_bytes(rng.choice(files), rng)
    file = rng.choice(configs)
    content = json.loads(file.read_text())
    value = rng.choice(VALUES)
    if rng.random() < 0.4 and (keys := _other_keys(file.name)):
        path: tuple[Any, ...] = (rng.choice(keys),)
    elif file.name == "tokenizer.json" and rng.random() < 0.3:
        path = (rng.choice(("normalizer", "pre_tokenizer", "post_processor", "decoder", "model")),)
        value = rng.choice(PARTS)
    else:
        path = _place(content, rng)
    file.write_text(_with(content, path, value))
    shown = "(deep)" if value is DEEP else repr(value)
    return f"{file.name} {'/'.join(map(str, path))} = {shown[:60]}"


def _other_keys(file: str) -> tuple[str, ...]:
    tables = {"config.json": (*CONFIG_KEYS, *GENERATION_KEYS), "model_config.json": CONFIG_KEYS}
    tables |= {"generation_config.json": GENERATION_KEYS, "tokenizer_config.json": TOKENIZER_KEYS}
    tables |= {"special_tokens_map.json": TOKENIZER_KEYS}
    return tables.get(file, ())


def _place(content: Any, rng: random.Random) -> tuple[Any, ...]:
    """Keys that lead from the content to a value in it, at any depth."""
    path: list[Any] = []
    while isinstance(content, dict | list) and content and (not path or rng.random() < 0.7):
        path.append(rng.choice(list(content)) if isinstance(content, dict) else rng.randrange(len(content)))
        content = content[path[-1]]
    return tuple(path) if rng.random() < 0.98 else ()


def _with(content: Any, path: tuple[Any, ...], value: Any) -> str:
    """The content as JSON, with another value at a place."""
    mark = "a mark in place of the value"
    if not path:
        content = mark
    else:
        inner = content
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = mark
    text = "[" * 5000 + "]" * 5000 if value is DEEP else _dumped(value)
    return json.dumps(content).replace(json.dumps(mark), text)


def _dumped(value: Any) -> str:
    return "1" + "0" * 400 if value == 10**400 and not isinstance(value, float) else json.dumps(value)


def damage_bytes(file: Path, rng: random.Random) -> str:
    content = bytearray(file.read_bytes())
    at = rng.randrange(max(1, len(content)))
    how = rng.choice(("cut", "flip", "zeros", "empty"))
    if how == "cut":
        del content[at:]
    elif how == "flip":
        content[at] ^= 1 << rng.randrange(8)
    elif how == "zeros":
        content[at : at + 16] = bytes(16)
    else:
        content.clear()
    file.write_bytes(content)
    return f"{file.name} bytes {how} {at}"


def read_header(file: Path) -> tuple[dict[str, Any], bytes]:
    content = file.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header: dict[str, Any] = json.loads(content[8 : 8 + size])
    return {key: value for key, value in header.items() if key != "__metadata__"}, content[8 + size :]


def damage_weights(file: Path, rng: random.Random) -> str:
    """Change a header, or numbers, of a safetensors file."""
    header, data = read_header(file)
    key = rng.choice(list(header))
    entry = header[key]
    how = rng.choice(("dtype", "shape", "offsets", "rename", "remove", "add", "length", "nan", "value"))
    size: int | None = None
    if how == "dtype":
        entry["dtype"] = rng.choice(("I32", "I64", "BF16", "F16", "X9", "F8_E4M3", "BOOL", 5, None))
    elif how == "shape":
        entry["shape"] = rng.choice(
            ([-1], [2**62, 4], [], [0], [1] * 30, "x", [*entry["shape"], 1], entry["shape"][::-1])
        )
    elif how == "offsets":
        entry["data_offsets"] = rng.choice(([0, 2**63], [-1, 4], [8, 4], [0, 4], [], "x", [len(data), len(data) + 4]))
    elif how == "rename":
        header[rng.choice((key + "x", "\x1b[2J", "", "a" * 5000, "h.10000000.x", "__metadata__"))] = header.pop(key)
    elif how == "remove":
        del header[key]
    elif how == "add":
        header["more"] = {"dtype": "F32", "shape": [1], "data_offsets": [len(data), len(data) + 4]}
        data += bytes(4)
    elif how == "length":
        size = rng.choice((2**63, 2**64 - 1, 0, 1, 10**9))
    elif how == "nan":
        start = entry["data_offsets"][0]
        data = data[:start] + rng.choice((b"\x00\x00\xc0\x7f", b"\x00\x00\x80\x7f")) + data[start + 4 :]
    else:
        header[key] = rng.choice(VALUES[:-1])
    text = json.dumps(header).encode()
    file.write_bytes((len(text) if size is None else size).to_bytes(8, "little") + text + data)
    return f"{file.name} {key} {how}"

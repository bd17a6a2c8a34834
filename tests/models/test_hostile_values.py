"""Values in the JSON files of a model folder: of another type, outside their range, or of what transformers itself uses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from adapted import adapted, disturbed, saved
from builders import tiny_model
from facts import facts
from published_models import published_folder
from safetensors.torch import load_file, save_file
from sentence_folders import sentence_folder

import llmkit
from llmkit.errors import ModelError

CONFIG, GENERATION, TOKENIZER = "config.json", "generation_config.json", "tokenizer_config.json"
SPECIAL = "special_tokens_map.json"
TEXT = "the old cat sees a red river"
DEEP = "[" * 5000 + "]" * 5000


@cache
def _made() -> TemporaryDirectory[str]:
    return TemporaryDirectory(prefix="llmkit-hostile-")


@cache
def _base(kind: str) -> Path:
    folder = Path(_made().name) / kind
    match kind:
        case "adapter":
            return saved(disturbed(adapted("classification", folder.with_name("base"), rank=2)), folder)
        case "sentence":
            return sentence_folder(folder, settings={"prompts": {"query": "the "}})
        case "answers":
            return saved(tiny_model("bert", head="question-answering"), folder)
        case "published-bert":
            return published_folder(folder, "bert", head="classification")
        case "published-gpt2":
            return published_folder(folder, "gpt2")
        case "chat":
            return published_folder(folder, "gpt2", chat_template="{{ messages[0].content }}")
    return saved(tiny_model(kind), folder)


def copied(kind: str, folder: Path) -> Path:
    shutil.copytree(_base(kind), folder, dirs_exist_ok=True)
    return folder


def put(file: Path, key: str, value: object) -> None:
    """Set the value at a key such as `model.vocab`."""
    content = json.loads(file.read_text()) if file.exists() else {}
    *outer, last = key.split(".")
    inner: Any = content
    for name in outer:
        inner = inner[int(name)] if isinstance(inner, list) else inner[name]
    inner[last] = "a mark" if value == DEEP else value
    text = json.dumps(content)
    file.write_text(text.replace('"a mark"', DEEP) if value == DEEP else text)


def used(folder: Path) -> list[Any]:
    """What the verb of the model makes of a text."""
    model = llmkit.load(str(folder))
    match model.loaded.model.config.architectures[0]:
        case name if name.endswith("QuestionAnswering"):
            return list(model.answer_many([("the cat", TEXT)]))
        case "BertModel":
            return model.embed([TEXT]).tolist()
        case "GPT2LMHeadModel" | "T5ForConditionalGeneration":
            return [result.texts for result in model.generate([TEXT], max_new_tokens=3)]
    return [result.probabilities for result in model.classify([TEXT])]


REFUSED: Sequence[tuple[str, str, str, Any]] = [
    *(("bert", CONFIG, "id2label.0", value) for value in ([1], {}, None, 5, "\ud800")),
    *(("bert", CONFIG, key, value) for key, value in (("id2label", [1]), ("id2label", {"x": "y"}), ("id2label", DEEP))),
    ("bert", CONFIG, "id2label", {"0": "a", "1": "a", "2": "b"}),
    ("bert", CONFIG, "dtype", "load"),
    ("bert", CONFIG, "is_encoder_decoder", True),
    *(("lstm", CONFIG, "dropout", value) for value in (float("nan"), None, "x", 2)),
    *((kind, CONFIG, "max_position_embeddings", "x") for kind in ("lstm", "t5", "bert", "distilbert")),
    ("t5", CONFIG, "relative_attention_max_distance", 3),
    ("gpt2", CONFIG, "n_layer", 10**400),
    *(("gpt2", CONFIG, key, 300.5) for key in ("n_embd", "n_head", "n_positions", "vocab_size")),
    *(
        ("bert", CONFIG, f"{role}_token_id", id_)
        for role in ("pad", "sep", "mask", "unk", "cls")
        for id_ in (-5, 10**12)
    ),
    *((kind, CONFIG, "pad_token_id", 10_000) for kind in ("bert", "distilbert", "gpt2", "lstm", "t5")),
    *(("t5", CONFIG, key, value) for key in ("eos_token_id", "decoder_start_token_id") for value in (-5, 10**4, 0.5)),
    *(("gpt2", GENERATION, f"{role}_token_id", id_) for role in ("pad", "bos", "eos") for id_ in (-5, 10**4, "x")),
    *(("t5", GENERATION, key, value) for key in ("num_beams", "do_sample", "max_length") for value in ("", [], {})),
    ("t5", GENERATION, "forced_eos_token_id", []),
    *(("t5", GENERATION, key, [10_000]) for key in ("suppress_tokens", "begin_suppress_tokens")),
    ("gpt2", GENERATION, "bad_words_ids", [[10_000]]),
    *(("bert", TOKENIZER, key, value) for key in ("pad_token", "sep_token", "unk_token") for value in ({}, "", 5, [1])),
    *(("published-bert", SPECIAL, key, value) for key in ("cls_token", "unk_token") for value in ({}, {"x": 1}, "")),
    *(("bert", TOKENIZER, "model_max_length", value) for value in (2, 0.5, 2.5, float("inf"), True, "x")),
    ("bert", TOKENIZER, "added_tokens_decoder", {"-1": {"content": "x"}}),
    ("bert", TOKENIZER, "padding_side", "up"),
    ("t5", TOKENIZER, "extra_ids", 10**12),
    *(("published-gpt2", "added_tokens.json", "old-stone", value) for value in (-1, "x", [])),
    ("adapter", "adapter_config.json", "use_rslora", "x"),
    *(("adapter", "adapter_config.json", "base_model_name_or_path", value) for value in ("", "\0", "a" * 100_000)),
    ("adapter", "adapter_config.json", "r", DEEP),
    ("adapter", "base.json", "sha256", 5),
    ("adapter", "model_config.json", "id2label.1", {}),
    *(("sentence", "config_sentence_transformers.json", "default_prompt_name", value) for value in ({}, [], 5)),
    ("sentence", "1_Pooling/config.json", "word_embedding_dimension", DEEP),
]


@pytest.mark.parametrize(("kind", "file", "key", "value"), REFUSED)
def test_a_value_of_another_type_or_outside_its_range_is_refused_by_file_and_key(
    kind: str, file: str, key: str, value: object, tmp_path: Path
) -> None:
    folder = copied(kind, tmp_path)
    put(folder / file, key, value)
    with pytest.raises(ModelError) as caught:
        used(folder)
    message = str(caught.value)
    assert caught.value.exit_code == 4
    assert len(message) < 1000
    assert file.partition(".")[0].rpartition("_")[2].rpartition("/")[2] in message
    if value != DEEP:
        assert key.partition(".")[0] in message


@pytest.mark.parametrize("kind", ["bert", "distilbert", "gpt2", "t5", "lstm"])
def test_keys_that_transformers_uses_itself_change_nothing(kind: str, tmp_path: Path) -> None:
    usual = used(_base(kind))
    internal: dict[str, Any] = {
        "return_dict": False,
        "output_hidden_states": True,
        "output_attentions": "x",
        "chunk_size_feed_forward": 7,
        "attribute_map": {"hidden_size": "vocab_size"},
        "sub_configs": {"x": 1},
        "base_model_tp_plan": 5,
        "rope_parameters": "x",
        "_experts_implementation": "x",
        "_name_or_path": [1],
        "_attn_implementation_internal": "x",
        "unknown": 10**400,
    }
    folder = copied(kind, tmp_path)
    for key, value in internal.items():
        put(folder / CONFIG, key, value)
    assert used(folder) == usual


def test_what_modernbert_has_of_these_keys_is_read(tmp_path: Path) -> None:
    folder = copied("modernbert", tmp_path)
    rotary = {kind: {"rope_type": "default", "rope_theta": 7.0} for kind in ("full_attention", "sliding_attention")}
    put(folder / CONFIG, "rope_parameters", rotary)
    put(folder / CONFIG, "layer_types", ["sliding_attention"])
    config = llmkit.load(str(folder)).loaded.model.config
    assert config.rope_parameters["full_attention"]["rope_theta"] == 7.0
    assert config.layer_types == ["sliding_attention"]
    assert used(folder) != used(_base("modernbert"))


# ---- tokenizer.json

TOO_LONG = [{"type": "Replace", "pattern": {"String": "a"}, "content": "aaaaaaaaaa"}] * 10
TOKENIZERS: Sequence[tuple[str, str, Any]] = [
    *(("bert", key, ["x"]) for key in ("normalizer", "pre_tokenizer", "post_processor", "decoder", "model")),
    *(("bert", key, {"type": "x"}) for key in ("normalizer", "pre_tokenizer", "post_processor", "decoder", "model")),
    ("bert", "normalizer", {"type": "Sequence", "normalizers": [["x"]]}),
    ("bert", "normalizer", {"type": "Sequence", "normalizers": TOO_LONG}),
    ("bert", "normalizer", {"type": "Prepend", "prepend": "x" * 100_000}),
    ("bert", "normalizer", {"type": "Replace", "pattern": {"Regex": "("}, "content": ""}),
    *(
        ("t5", "normalizer", {"type": "Precompiled", "precompiled_charsmap": text})
        for text in ("/////w==", "AAAA", "?", 5)
    ),
    ("bert", "post_processor", {"type": "TemplateProcessing", "single": [], "pair": [], "special_tokens": {}}),
    ("bert", "post_processor.pair.3.Sequence.id", "A"),
    ("gpt2", "model.dropout", 0.5),
    ("bert", "model.vocab.a", 7),
    ("bert", "model.vocab.a", -1),
    ("bert", "model.vocab.a", 1.5),
    ("bert", "added_tokens", [{"id": "x"}]),
    ("bert", "truncation", {"max_length": -1}),
]


@pytest.mark.parametrize(("kind", "key", "value"), TOKENIZERS)
def test_a_damaged_part_of_a_tokenizer_is_refused_by_name(kind: str, key: str, value: object, tmp_path: Path) -> None:
    folder = copied(kind, tmp_path)
    put(folder / "tokenizer.json", key, value)
    with pytest.raises(ModelError, match=facts("tokenizer.json", key.partition(".")[0])):
        used(folder)


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        ("bert", "post_processor.special_tokens.[CLS].ids", [10_000]),
        ("gpt2", "post_processor", {"type": "BertProcessing", "sep": ["x", 10_000], "cls": ["y", 2]}),
        ("t5", "post_processor.special_tokens", {}),
        ("bert", "model.vocab", {}),
        ("bert", "model.unk_token", "x"),
        ("bert", "pre_tokenizer", {"type": "FixedLength", "length": 0}),
        ("gpt2", "normalizer", {"type": "Replace", "pattern": {"String": ""}, "content": "xx"}),
    ],
)
def test_a_tokenizer_that_fails_at_a_text_or_gives_ids_without_an_embedding_is_refused(
    kind: str, key: str, value: object, tmp_path: Path
) -> None:
    folder = copied(kind, tmp_path)
    put(folder / "tokenizer.json", key, value)
    with pytest.raises(ModelError, match="tokenizer"):
        used(folder)


def test_a_tokenizer_that_loses_every_text_is_refused_by_a_classifier(tmp_path: Path) -> None:
    folder = copied("gpt2", tmp_path)
    saved(tiny_model("gpt2", head="classification"), folder)
    put(folder / "tokenizer.json", "model.end_of_word_suffix", "zzz")
    with pytest.raises(ModelError, match="tokenizer"):
        used(folder)


def test_a_chat_template_that_writes_nothing_is_refused(tmp_path: Path) -> None:
    folder = copied("chat", tmp_path)
    put(folder / TOKENIZER, "chat_template", "")
    with pytest.raises(ModelError, match="chat template"):
        used(folder)


# ---- limits and weights


def test_a_length_limit_may_be_a_whole_number_with_a_point(tmp_path: Path) -> None:
    folder = copied("bert", tmp_path)
    put(folder / TOKENIZER, "model_max_length", 12.0)
    assert llmkit.load(str(folder)).loaded.window == 12


def test_a_window_without_room_for_a_context_is_refused(tmp_path: Path) -> None:
    folder = copied("answers", tmp_path)
    put(folder / TOKENIZER, "model_max_length", 3)
    with pytest.raises(ModelError, match="3 tokens"):
        used(folder)


def test_an_adapter_with_whole_numbers_as_weights_is_refused(tmp_path: Path) -> None:
    folder = copied("adapter", tmp_path)
    tensors = load_file(folder / "adapter_model.safetensors")
    name = next(key for key in tensors if "lora_A" in key)
    save_file({**tensors, name: tensors[name].int()}, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="lora_A"):
        used(folder)


def test_the_first_five_weights_of_another_shape_are_named_with_both_shapes(tmp_path: Path) -> None:
    folder = copied("bert", tmp_path)
    put(folder / CONFIG, "intermediate_size", 8)
    put(folder / CONFIG, "type_vocab_size", 5)
    with pytest.raises(ModelError, match=facts("token_type_embeddings", "(2, 16)", "(5, 16)", "intermediate")):
        used(folder)


@pytest.mark.parametrize("shape", [[], [0], [1] * 30, [2**62, 4], "x"])
@pytest.mark.parametrize("kind", ["gpt2", "lstm"])
def test_a_header_with_another_shape_is_refused_by_file_or_tensor(kind: str, shape: object, tmp_path: Path) -> None:
    folder = copied(kind, tmp_path)
    content = (folder / "model.safetensors").read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    name = next(key for key in header if key != "__metadata__")
    header[name]["shape"] = shape
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + content[8 + size :])
    with pytest.raises(ModelError, match=r"model\.safetensors|" + name.replace(".", r"\.")):
        used(folder)

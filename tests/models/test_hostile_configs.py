"""Configs that do not belong to their weights: refused by key or tensor, before anything of that size is made."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from builders import LABELS, same_bits, tiny_model
from safetensors.torch import load_file, save_file
from torch import Tensor

from llmkit.errors import ModelError
from llmkit.models.export import model_files, unique_tensors
from llmkit.models.families import Head
from llmkit.models.loaded import LoadedModel
from llmkit.models.loading import load_model

ENCODERS = ("distilbert", "roberta", "electra", "albert", "deberta", "mpnet", "modernbert")
WITH_POSITIONS = ("distilbert", "roberta", "electra", "albert", "mpnet")
HEADS: Mapping[str, Head] = {
    "bert": "classification",
    "gpt2": "causal-lm",
    "lstm": "classification",
    "t5": "seq2seq-lm",
    **dict.fromkeys(ENCODERS, "classification"),
}
Change = Callable[[dict[str, Tensor]], dict[str, Tensor]]


def saved(folder: Path, family: str, *, head: Head | None = None, **more: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in model_files(tiny_model(family, head=head or HEADS[family], **more)).items():
        (folder / name).write_bytes(content)
    return folder


def edit(folder: Path, **keys: Any) -> None:
    """Set keys of the config; those whose value is None are taken out."""
    content = {**json.loads((folder / "config.json").read_text()), **keys}
    kept = {key: value for key, value in content.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(kept))


def change(folder: Path, how: Change) -> None:
    tensors = {name: tensor.clone() for name, tensor in how(load_file(folder / "model.safetensors")).items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


SIZES: list[tuple[str, str, Any, str]] = [
    ("bert", "num_hidden_layers", 50_000, "num_hidden_layers"),
    ("bert", "num_hidden_layers", 900, "num_hidden_layers"),
    ("bert", "vocab_size", 10_000_000, "word_embeddings"),
    ("bert", "hidden_size", 1_000_000, "LayerNorm"),
    ("bert", "intermediate_size", 10**8, "intermediate"),
    ("bert", "max_position_embeddings", 10**9, "position_embeddings"),
    ("bert", "type_vocab_size", 10**9, "token_type_embeddings"),
    ("bert", "num_attention_heads", 3, "attention heads"),
    ("bert", "num_attention_heads", 0, "num_attention_heads"),
    ("bert", "num_labels", 10**9, "num_labels"),
    ("bert", "num_labels", -1, "num_labels"),
    ("bert", "num_labels", True, "num_labels"),
    ("bert", "num_labels", 7, "classifier"),
    ("bert", "id2label", {str(number): "x" for number in range(200_000)}, "id2label"),
    ("bert", "vocab_size", True, "vocab_size"),
    ("bert", "intermediate_size", -1, "config"),
    ("bert", "architectures", 5, "architectures"),
    ("bert", "architectures", [1], "architectures"),
    ("bert", "task_specific_params", 5, "task_specific_params"),
    ("bert", "task_specific_params", {"classification": "x"}, "task_specific_params"),
    ("bert", "to_json_string", 1, "to_json_string"),
    ("gpt2", "n_layer", 50_000, "num_hidden_layers"),
    ("gpt2", "n_layer", 3, "n_layer|num_hidden_layers"),
    ("gpt2", "vocab_size", 10_000_000, "wte"),
    ("gpt2", "n_positions", 10**9, "wpe"),
    ("gpt2", "n_inner", 10**8, "mlp"),
    ("gpt2", "n_head", 3, "num_heads"),
    ("t5", "num_layers", 50_000, "num_hidden_layers"),
    ("t5", "num_decoder_layers", 50_000, "num_decoder_layers"),
    ("t5", "num_decoder_layers", 3, "num_decoder_layers"),
    ("t5", "d_kv", 10**8, "SelfAttention"),
    ("t5", "d_ff", 10**8, "DenseReluDense"),
    ("t5", "num_heads", 1, "SelfAttention"),
    ("t5", "relative_attention_num_buckets", 10**9, "relative_attention_bias"),
    ("lstm", "num_hidden_layers", 50_000, "num_hidden_layers"),
    ("lstm", "num_hidden_layers", 3, "num_hidden_layers"),
    ("lstm", "hidden_size", 10**7, "classifier|lstm"),
    ("lstm", "embedding_size", 10**7, "embeddings"),
    ("lstm", "num_labels", 10**9, "num_labels"),
    *((family, "num_hidden_layers", 900, "num_hidden_layers") for family in ("roberta", "electra", "mpnet", "deberta")),
    *((family, "num_hidden_layers", 50_000, "num_hidden_layers") for family in ("roberta", "albert", "modernbert")),
    ("distilbert", "n_layers", 900, "num_hidden_layers"),
    ("albert", "num_hidden_groups", 900, "num_hidden_groups"),
    ("albert", "inner_group_num", 100_000, "inner_group_num"),
    ("albert", "inner_group_num", 2, "inner_group_num"),
    *((family, "num_attention_heads", 3, "heads|attention") for family in ENCODERS if family != "distilbert"),
    ("distilbert", "n_heads", 3, "heads"),
    *((family, "vocab_size", 10_000_000, "embeddings") for family in ENCODERS),
    *((family, "max_position_embeddings", 10**9, "position_embeddings") for family in WITH_POSITIONS),
    *((family, "intermediate_size", 10**8, "weight") for family in ENCODERS if family != "distilbert"),
    ("distilbert", "hidden_dim", 10**8, "lin"),
    *((family, "hidden_size", 1_000_000, "weight") for family in ENCODERS if family != "distilbert"),
    ("electra", "embedding_size", 10**7, "embeddings"),
    ("albert", "embedding_size", 10**7, "embeddings"),
    *((family, "pad_token_id", 2, "pad_token_id") for family in ("roberta", "mpnet")),
    *((family, "num_labels", 7, "classifier") for family in ENCODERS),
]


@pytest.mark.parametrize(("family", "key", "value", "named"), SIZES)
def test_a_config_that_is_not_of_its_weights_is_refused_by_key_or_tensor(
    family: str, key: str, value: object, named: str, tmp_path: Path
) -> None:
    folder = saved(tmp_path, family)
    if key == "num_labels":
        edit(folder, id2label=None, label2id=None)
    edit(folder, **{key: value})
    with pytest.raises(ModelError, match=named) as caught:
        load_model(str(folder), head=HEADS[family])
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("family", ["bert", "gpt2", "t5"])
def test_layers_that_the_config_leaves_out_are_refused_by_name(family: str, tmp_path: Path) -> None:
    folder = saved(tmp_path, family, layers=3)
    edit(folder, **{{"bert": "num_hidden_layers", "gpt2": "n_layer", "t5": "num_layers"}[family]: 1})
    layer = {"bert": r"encoder\.layer\.[12]\.", "gpt2": r"h\.[12]\.", "t5": r"encoder\.block\.[12]\."}[family]
    with pytest.raises(ModelError, match=layer):
        load_model(str(folder), head=HEADS[family])


@pytest.mark.parametrize("name", ["crf.transitions", "bert.encoder.layer.0.adapter.weight", "classifier.dense.weight"])
def test_a_tensor_that_nothing_uses_is_refused_by_name(name: str, tmp_path: Path) -> None:
    folder = saved(tmp_path, "bert")
    change(folder, lambda tensors: {**tensors, name: torch.zeros(2)})
    with pytest.raises(ModelError, match=name.removeprefix("bert.")):
        load_model(str(folder), head="classification")


@pytest.mark.parametrize("dtype", [torch.int8, torch.int64, torch.bool])
def test_weights_that_are_no_floating_point_numbers_are_refused(dtype: torch.dtype, tmp_path: Path) -> None:
    folder = saved(tmp_path, "bert")
    change(folder, lambda tensors: {**tensors, "classifier.bias": torch.ones(3).to(dtype)})
    with pytest.raises(ModelError, match=r"classifier\.bias"):
        load_model(str(folder), head="classification")


def test_labels_without_a_head_are_missing_weights_and_not_new_ones(tmp_path: Path) -> None:
    folder = saved(tmp_path, "bert", head="masked-lm")
    edit(folder, num_labels=90_000)
    with pytest.raises(ModelError, match=r"classifier\."):
        load_model(str(folder), head="classification")


@pytest.mark.parametrize("key", ["transformers_version", "do_sample"])
def test_a_generation_config_that_is_none_is_refused(key: str, tmp_path: Path) -> None:
    folder = saved(tmp_path, "gpt2")
    broken = {"transformers_version": {"to_dict": 1}, "do_sample": {"max_new_tokens": -1}}[key]
    (folder / "generation_config.json").write_text(json.dumps(broken))
    with pytest.raises(ModelError, match=r"generation_config\.json"):
        load_model(str(folder), head="causal-lm")


# ---- layouts of published checkpoints


def with_tied_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        **tensors,
        "cls.predictions.decoder.weight": tensors["bert.embeddings.word_embeddings.weight"],
        "cls.predictions.decoder.bias": tensors["cls.predictions.bias"],
        "cls.seq_relationship.weight": torch.zeros(2, 16),
        "cls.seq_relationship.bias": torch.zeros(2),
        "bert.embeddings.position_ids": torch.arange(64)[None],
        "bert.pooler.dense.weight": torch.zeros(16, 16),
        "bert.pooler.dense.bias": torch.zeros(16),
    }


def with_old_norms(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    new = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    for name, old in new.items():
        tensors = {key.replace(name, old): tensor for key, tensor in tensors.items()}
    return tensors


def with_masks(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    masks = {"h.0.attn.bias": torch.ones(1, 1, 8, 8), "h.0.attn.masked_bias": torch.tensor(-1e4)}
    return {**{key.removeprefix("transformer."): tensor for key, tensor in tensors.items()}, **masks}


def with_shared_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    idle = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
    shared = {f"{part}.embed_tokens.weight": tensors["shared.weight"] for part in ("encoder", "decoder")}
    return {**tensors, **shared, idle: torch.zeros(32, 2)}


@pytest.mark.parametrize(
    ("family", "head", "how"),
    [
        ("bert", "masked-lm", with_tied_names),
        ("bert", "masked-lm", with_old_norms),
        ("gpt2", "causal-lm", with_masks),
        (
            "gpt2",
            "causal-lm",
            lambda tensors: {
                ("lm_head.weight" if name == "transformer.wte.weight" else name): tensor
                for name, tensor in tensors.items()
            },
        ),
        ("t5", "seq2seq-lm", with_shared_names),
        ("lstm", "classification", dict),
    ],
)
def test_weights_under_older_names_are_the_same_weights(family: str, head: Head, how: Change, tmp_path: Path) -> None:
    folder = saved(tmp_path, family, head=head)
    whole = unique_tensors(load_model(str(folder), head=head).model)
    change(folder, how)
    assert same_bits(unique_tensors(load_model(str(folder), head=head).model), whole)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_precision_are_opened_in_float32(dtype: torch.dtype, tmp_path: Path) -> None:
    folder = saved(tmp_path, "bert")
    change(folder, lambda tensors: {name: tensor.to(dtype) for name, tensor in tensors.items()})
    stored = load_file(folder / "model.safetensors")
    opened = unique_tensors(load_model(str(folder), head="classification").model)
    assert same_bits(opened, {name: tensor.float() for name, tensor in stored.items()})


@pytest.mark.parametrize(
    ("family", "saved_with", "head", "new"),
    [
        ("bert", "masked-lm", "classification", True),
        ("bert", "masked-lm", "question-answering", True),
        ("bert", "masked-lm", "embedding", False),
        ("bert", "classification", "embedding", False),
        ("bert", "classification", "masked-lm", True),
        ("gpt2", "causal-lm", "classification", True),
        ("t5", "seq2seq-lm", "classification", True),
        ("t5", "seq2seq-lm", "embedding", False),
        ("t5", "classification", "embedding", False),
    ],
)
def test_a_body_is_opened_without_the_head_that_it_was_saved_with(
    family: str, saved_with: Head, head: Head, new: bool, tmp_path: Path
) -> None:
    folder = saved(tmp_path, family, head=saved_with)
    labels = LABELS if head == "classification" else None
    opened: LoadedModel = load_model(str(folder), head=head, labels=labels, new_head=new)
    assert bool(opened.new_weights) == new

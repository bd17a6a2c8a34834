"""An adapter is what plain peft makes of its files; merged it is the same model; nothing else of it is believed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from adapted import adapted, disturbed, saved
from builders import (
    FAMILY_OF,
    ONE_OF_EACH_FAMILY,
    TaskName,
    rows,
    same_bits,
    task_of,
    tiny_model,
)
from facts import facts
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import BertForSequenceClassification

from llmkit.errors import ModelError, UsageError
from llmkit.models.adapters import add_adapter, merge_adapter
from llmkit.models.export import model_files, unique_tensors
from llmkit.models.families import Head
from llmkit.models.loaded import LoadedModel
from llmkit.models.loading import load_model
from llmkit.recipe.blocks import LoraBlock


def logits_of(model: Any, name: TaskName, loaded: LoadedModel) -> Tensor:
    task = task_of(name, loaded=loaded)
    batch = dict(task.collate(task.encode(rows(9)), np.arange(5)))
    if task.recipe.HEAD != "seq2seq-lm":
        del batch["labels"]
    with torch.inference_mode():
        logits: Tensor = model.eval()(**batch).logits
    return logits


def edited(folder: Path, file: str, **keys: Any) -> None:
    content = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps({**content, **keys}))


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")  # peft asks transformers for it
@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("classification", "all"),
        ("causal-lm", "all"),
        ("causal-lm", "auto"),
        ("masked-lm", "auto"),
        ("summarization", "all"),
    ],
)
def test_adapter_merged_model_and_plain_peft_give_the_same_logits(name: TaskName, target: str, tmp_path: Path) -> None:
    loaded = adapted(name, tmp_path / "base", rank=3, alpha=5, target=target)
    untrained = logits_of(loaded.model, name, loaded)
    folder = saved(disturbed(loaded), tmp_path / "adapter")
    wanted = logits_of(loaded.model, name, loaded)
    assert (wanted - untrained).abs().max() > 0.1
    base = type(loaded.model).from_pretrained(tmp_path / "base", local_files_only=True)
    names = unique_tensors(base).keys()
    peft = PeftModel.from_pretrained(base, str(folder))
    opened = load_model(str(folder), head=task_of(name).recipe.HEAD)
    assert torch.allclose(logits_of(peft, name, loaded), wanted, rtol=1e-4, atol=2e-4)
    assert torch.allclose(logits_of(opened.model, name, loaded), wanted, rtol=1e-4, atol=2e-4)
    assert unique_tensors(opened.model).keys() == names
    assert all(parameter.requires_grad for parameter in opened.model.parameters())


@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
def test_a_new_adapter_changes_nothing_and_leaves_only_itself_and_heads_to_train(
    name: TaskName, tmp_path: Path
) -> None:
    loaded = adapted(name, tmp_path / "base")
    plain = load_model(str(tmp_path / "base"), head=task_of(name).recipe.HEAD)
    assert torch.allclose(logits_of(loaded.model, name, loaded), logits_of(plain.model, name, plain), atol=1e-6)
    trained = {name for name, parameter in loaded.model.named_parameters() if parameter.requires_grad}
    assert {one for one in trained if ".lora_" not in one} == (
        {"classifier.weight", "classifier.bias"} if name == "classification" else set()
    )
    short = {one.split(".lora_")[0].rpartition(".")[2] for one in trained if ".lora_" in one}
    assert (
        short
        == {"bert": {"query", "value"}, "gpt2": {"c_attn"}, "t5": {"q", "v"}, "bart": {"q_proj", "v_proj"}}[
            FAMILY_OF[name]
        ]
    )


def test_merging_gives_the_weights_that_are_written_down_in_the_paper(tmp_path: Path) -> None:
    """W + alpha / r * B A (Hu et al. 2021); GPT-2 holds W the other way round."""
    for name, matrix in (
        ("classification", "bert.encoder.layer.0.attention.self.query"),
        ("causal-lm", "transformer.h.0.attn.c_attn"),
    ):
        loaded = disturbed(adapted(name, tmp_path / name, rank=2, alpha=6.0))  # type: ignore[arg-type]  # literals above
        tensors = {key: tensor.clone() for key, tensor in unique_tensors(loaded.model).items()}
        product = 3 * tensors[f"{matrix}.lora_B.default.weight"] @ tensors[f"{matrix}.lora_A.default.weight"]
        merge_adapter(loaded.model)
        wanted = tensors[f"{matrix}.base_layer.weight"] + (product.T if name == "causal-lm" else product)
        assert torch.allclose(unique_tensors(loaded.model)[f"{matrix}.weight"], wanted, atol=1e-5)


def test_an_adapter_is_small_and_its_head_is_in_it(tmp_path: Path) -> None:
    folder = saved(disturbed(adapted("classification", tmp_path / "base")), tmp_path / "adapter")
    stored = load_file(folder / "adapter_model.safetensors")
    assert all("lora_" in name or name.startswith("base_model.model.classifier.") for name in stored)
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["peft_type"] == "LORA"
    assert config["modules_to_save"] == ["classifier"]
    assert config["base_model_name_or_path"] == str(tmp_path / "base")


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")
def test_weights_that_the_base_lacked_are_trained_and_stored_in_full(tmp_path: Path) -> None:
    saved(tiny_model("bert", head="masked-lm"), tmp_path / "base")
    loaded = load_model(str(tmp_path / "base"), head="classification", labels=("a", "b"), new_head=True)
    with_adapter = disturbed(add_adapter(loaded, LoraBlock(), head="classification", seed=1))
    assert with_adapter.adapter is not None
    assert set(with_adapter.adapter.whole) == {"classifier", "bert.pooler.dense"}
    opened = load_model(str(saved(with_adapter, tmp_path / "adapter")), head="classification")
    plain = BertForSequenceClassification.from_pretrained(tmp_path / "base", local_files_only=True, num_labels=2)
    peft = PeftModel.from_pretrained(plain, str(tmp_path / "adapter")).eval()
    ids = torch.arange(5, 12)[None]
    with torch.inference_mode():
        assert torch.allclose(peft(input_ids=ids).logits, opened.model.eval()(input_ids=ids).logits, atol=1e-5)
    assert opened.labels == ("a", "b")
    assert torch.equal(opened.model.classifier.weight, with_adapter.model.classifier.weight)
    assert torch.equal(opened.model.bert.pooler.dense.weight, with_adapter.model.bert.pooler.dense.weight)


def test_a_new_vocabulary_head_is_refused_since_an_adapter_would_leave_it_random(tmp_path: Path) -> None:
    saved(tiny_model("bert"), tmp_path / "base")
    loaded = load_model(str(tmp_path / "base"), head="masked-lm", new_head=True)
    with pytest.raises(UsageError, match=facts("cls.predictions", "adapter")):
        add_adapter(loaded, LoraBlock(), head="masked-lm", seed=1)


def test_an_adapter_of_an_adapter_is_refused(tmp_path: Path) -> None:
    saved(adapted("causal-lm", tmp_path / "base"), tmp_path / "adapter")
    with pytest.raises(UsageError, match="`llmkit merge`"):
        add_adapter(load_model(str(tmp_path / "adapter"), head="causal-lm"), LoraBlock(), head="causal-lm", seed=1)
    edited(tmp_path / "adapter", "adapter_config.json", base_model_name_or_path=str(tmp_path / "adapter"))
    with pytest.raises(ModelError, match=facts(f"{tmp_path / 'adapter'}:", "base", "`llmkit merge`")):
        load_model(str(tmp_path / "adapter"), head="causal-lm")


def test_an_unknown_target_is_told_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=facts("'c_atn'", "'c_attn'", "c_attn, c_fc, c_proj")):
        adapted("causal-lm", tmp_path / "base", target=("c_atn",))


def test_an_adapter_of_changed_weights_is_refused(tmp_path: Path) -> None:
    saved(adapted("classification", tmp_path / "base"), tmp_path / "adapter")
    saved(tiny_model("bert", layers=2, seed=4), tmp_path / "base")
    with pytest.raises(ModelError, match=facts(str(tmp_path / "adapter"), str(tmp_path / "base"), "weights")):
        load_model(str(tmp_path / "adapter"), head="classification")


def test_an_adapter_that_peft_made_is_opened_without_a_config_or_a_hash_of_ours(tmp_path: Path) -> None:
    loaded = disturbed(adapted("causal-lm", tmp_path / "base"))
    folder = saved(loaded, tmp_path / "adapter")
    for file in ("base.json", "model_config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"):
        (folder / file).unlink()
    opened = load_model(str(folder), head="causal-lm")
    merge_adapter(loaded.model)
    assert same_bits(unique_tensors(opened.model), unique_tensors(loaded.model))
    assert opened.tokenizer("the cat")["input_ids"] == loaded.tokenizer("the cat")["input_ids"]


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")
@pytest.mark.parametrize("start", [True, False, "gaussian", "orthogonal", "mica"])
def test_an_adapter_may_begin_in_any_way_that_leaves_its_base_as_it_was(start: bool | str, tmp_path: Path) -> None:
    """Each is asked of peft itself."""
    base = load_model(str(saved(tiny_model("bert"), tmp_path / "base")), head="classification").model
    before = base.bert.encoder.layer[0].attention.self.query.weight.clone()
    config = LoraConfig(r=2, target_modules=["query"], init_lora_weights=start)  # type: ignore[arg-type]  # from above
    peft = get_peft_model(base, config)
    assert torch.equal(base.bert.encoder.layer[0].attention.self.query.base_layer.weight, before)
    peft.save_pretrained(tmp_path / "adapter")
    edited(tmp_path / "adapter", "adapter_config.json", base_model_name_or_path=str(tmp_path / "base"))
    opened = load_model(str(tmp_path / "adapter"), head="classification")
    ids = torch.arange(5, 12)[None]
    with torch.inference_mode():
        assert torch.allclose(opened.model.eval()(ids).logits, peft.eval()(input_ids=ids).logits, atol=1e-5)


@pytest.mark.parametrize("key", ["revision", "modules_to_save"])
def test_a_key_that_plain_lora_may_lack_is_taken_for_none(key: str, tmp_path: Path) -> None:
    folder = saved(adapted("causal-lm", tmp_path / "base"), tmp_path / "adapter")
    content = json.loads((folder / "adapter_config.json").read_text())
    del content[key]
    (folder / "adapter_config.json").write_text(json.dumps(content))
    load_model(str(folder), head="causal-lm")


@pytest.mark.parametrize("target", ["auto", "all", ("weight_ih",)])
def test_an_lstm_is_refused_an_adapter_since_its_layers_have_no_matrices(target: Any, tmp_path: Path) -> None:
    loaded = load_model(str(saved(tiny_model("lstm"), tmp_path / "base")), head="classification")
    with pytest.raises(UsageError, match=facts("lstm", "matrix", "adapter")):
        add_adapter(loaded, LoraBlock(target=target), head="classification", seed=1)


def whole_model_beside_it(folder: Path) -> None:
    for name, content in model_files(tiny_model("gpt2")).items():
        (folder / name).write_bytes(content)


def only_pickled(folder: Path) -> None:
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")


def one_weight_less(folder: Path) -> None:
    tensors = load_file(folder / "adapter_model.safetensors")
    tensors.popitem()
    save_file(tensors, folder / "adapter_model.safetensors")


def one_weight_no_number(folder: Path) -> None:
    tensors = load_file(folder / "adapter_model.safetensors")
    next(iter(tensors.values()))[0] = float("nan")
    save_file(tensors, folder / "adapter_model.safetensors")


def cut(folder: Path) -> None:
    content = (folder / "adapter_model.safetensors").read_bytes()
    (folder / "adapter_model.safetensors").write_bytes(content[:-7])


def config(**keys: Any) -> Callable[[Path], None]:
    return lambda folder: edited(folder, "adapter_config.json", **keys)


@pytest.mark.parametrize(
    ("damage", "stated"),
    [
        (whole_model_beside_it, ["both", "adapter_config.json"]),
        (only_pickled, ["adapter_model.safetensors", "missing"]),
        (one_weight_less, ["base_model.model.transformer.h.1.attn.c_attn.lora_B.weight"]),
        (one_weight_no_number, ["finite", "base_model.model.transformer.h.0.attn.c_attn.lora_A.weight"]),
        (cut, ["adapter_model.safetensors", "damaged"]),
        (config(base_model_name_or_path="./nowhere"), ["./nowhere", "folder"]),
        (config(base_model_name_or_path=None), ["base_model_name_or_path", "None"]),
        (config(base_model_name_or_path="https://x.example/evil.bin"), ["https://x.example/evil.bin", "folder"]),
        (config(corda_config={"cache_file": "evil.pt"}), ["corda_config"]),
        (config(init_lora_weights="pissa"), ["init_lora_weights", "'pissa'", "base"]),
        (config(init_lora_weights="pissa_niter_4"), ["init_lora_weights", "'pissa_niter_4'"]),
        (config(init_lora_weights="olora"), ["init_lora_weights", "'olora'"]),
        (config(init_lora_weights={}), ["init_lora_weights", "{}"]),
        (config(use_dora=True), ["use_dora", "True"]),
        (config(bias="all"), ["bias", "'all'"]),
        (config(peft_type="IA3"), ["peft_type", "'IA3'"]),
        (config(target_modules=".*(a+)+"), ["target_modules", "'.*(a+)+'"]),
        (config(target_modules=["nothing"]), ["nothing", "fit"]),
        (config(r=0), ["r: 0"]),
        (config(lora_alpha=float("nan")), ["lora_alpha", "nan"]),
        (config(task_type="EVIL"), ["EVIL", "fit"]),
        (config(revision="abc"), ["revision", "'abc'"]),
        (config(auto_map={"x": "evil.Model"}), ["adapter_config.json", "code", "auto_map"]),
        (
            lambda folder: edited(folder, "model_config.json", auto_map={"x": "evil.Model"}),
            ["model_config.json", "auto_map"],
        ),
        (lambda folder: (folder / "adapter_config.json").write_text("[]"), ["adapter_config.json", "JSON"]),
    ],
)
def test_an_adapter_that_is_damaged_or_asks_for_more_is_refused(
    damage: Callable[[Path], object], stated: list[str], tmp_path: Path
) -> None:
    folder = saved(adapted("causal-lm", tmp_path / "base"), tmp_path / "adapter")
    load_model(str(folder), head="causal-lm")
    damage(folder)
    with pytest.raises(ModelError, match=facts(*stated)):
        load_model(str(folder), head="causal-lm")


@pytest.mark.parametrize(("head", "needed"), [("token-classification", "Token"), ("embedding", "BertModel")])
def test_an_adapter_for_another_use_says_what_it_was_trained_as(head: Head, needed: str, tmp_path: Path) -> None:
    folder = saved(disturbed(adapted("classification", tmp_path / "base", rank=2)), tmp_path / "adapter")
    with pytest.raises(ModelError, match=facts("adapter of a BertForSequenceClassification", needed, "llmkit merge")):
        load_model(str(folder), head=head, new_head=True)

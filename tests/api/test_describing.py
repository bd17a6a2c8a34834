"""What `describe_model` says of a model is what opening and using it does, and what its files have."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import pytest
import torch
from adapted import adapted, disturbed, saved
from builders import LABELS, tiny_model, tokenizer_of
from published_models import published_folder
from safetensors.torch import load_file, save_file
from sentence_folders import sentence_folder

import llmkit
from llmkit.api import describe_model, list_families
from llmkit.errors import LlmkitError, ModelError
from llmkit.models.families import FAMILIES, Head
from llmkit.models.loading import load_model
from llmkit.recipe.blocks import ScratchModel
from llmkit.tasks import RECIPES, Verb

TEXT = "the old cat sees a red river"
CHAT = "{{ messages[0].content }}{{ eos_token }}"
USES: Mapping[Verb, Callable[[llmkit.api.Model], object]] = {
    "answer": lambda model: model.answer("the cat", TEXT),
    "chat": lambda model: model.chat([{"role": "user", "content": TEXT}], max_new_tokens=2),
    "choose": lambda model: list(model.choose([{"context": TEXT, "choices": ["a cat", "a dog"]}])),
    "classify": lambda model: list(model.classify([TEXT])),
    "embed": lambda model: model.embed([TEXT]),
    "fill": lambda model: list(model.fill([f"the {model.loaded.tokenizer.mask_token} cat"])),
    "generate": lambda model: list(model.generate([TEXT], max_new_tokens=2)),
    "summarize": lambda model: list(model.summarize([TEXT], max_new_tokens=2)),
    "tag": lambda model: list(model.tag([TEXT])),
    "translate": lambda model: list(model.translate([TEXT], max_new_tokens=2)),
}
QUICK = ("bert", "masked-lm", "chat", "t5")
SLOW = ("tagger", "answers", "lstm", "gpt2", "bart", "t5-classifier", "sentence", "adapter")
KINDS = (*QUICK, *(pytest.param(kind, marks=pytest.mark.slow) for kind in SLOW))


@cache
def _made() -> TemporaryDirectory[str]:
    return TemporaryDirectory(prefix="llmkit-described-")


@cache
def made(kind: str) -> Path:
    folder = Path(_made().name) / kind
    match kind:
        case "masked-lm":
            return saved(tiny_model("bert", head="masked-lm"), folder)
        case "tagger":
            return saved(tiny_model("bert", head="token-classification"), folder)
        case "answers":
            return saved(tiny_model("roberta", head="question-answering"), folder)
        case "chat":
            return published_folder(folder, "gpt2", chat_template=CHAT)
        case "t5":
            return published_folder(folder, "t5")
        case "t5-classifier":
            return saved(tiny_model("t5", head="classification"), folder)
        case "sentence":
            return sentence_folder(folder, transformer={"max_seq_length": 16, "do_lower_case": False})
        case "adapter":
            return saved(disturbed(adapted("classification", folder.with_name("base"), rank=2)), folder)
    return saved(tiny_model(kind), folder)


def copied(kind: str, folder: Path) -> Path:
    return Path(shutil.copytree(made(kind), folder, dirs_exist_ok=True))


def edit(folder: Path, **keys: Any) -> None:
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**content, **keys}))


def works(folder: Path, verb: Verb) -> bool:
    try:
        USES[verb](llmkit.load(str(folder), verb=verb))
    except LlmkitError:
        return False
    return True


def opens(folder: Path, head: Head) -> bool:
    try:
        load_model(str(folder), head=head, new_head=True)
    except LlmkitError:
        return False
    return True


@pytest.mark.parametrize("kind", KINDS)
def test_the_verbs_of_a_description_are_those_that_work(kind: str) -> None:
    found = describe_model(made(kind))
    assert set(found.verbs) == {verb for verb in get_args(Verb) if works(made(kind), verb)}
    refused = [verb for refusal in found.refusals for verb in refusal.uses]
    assert set(refused).isdisjoint(found.verbs)
    assert len(set(refused)) == len(refused)


@pytest.mark.parametrize(
    "kind", ["chat", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("masked-lm", "t5", "adapter"))]
)
def test_the_tasks_of_a_description_are_those_of_heads_that_open(kind: str) -> None:
    found = describe_model(made(kind))
    heads = {recipe.HEAD for recipe in RECIPES.values() if found.family in recipe.FAMILIES}
    opened = {head for head in heads if opens(made(kind), head)}
    assert set(found.tasks) == {
        task for task, recipe in RECIPES.items() if recipe.HEAD in opened and found.family in recipe.FAMILIES
    }


@pytest.mark.parametrize(
    ("kind", "verb"),
    [("bert", "classify"), ("tagger", "tag"), ("answers", "answer"), ("t5", "summarize"), ("sentence", "embed")],
)
def test_the_first_verb_is_that_of_the_head(kind: str, verb: str) -> None:
    assert describe_model(made(kind)).verbs[0] == verb


@pytest.mark.parametrize(
    ("kind", "head"),
    [("bert", "classification"), ("masked-lm", "masked-lm"), ("gpt2", "causal-lm"), ("t5", "seq2seq-lm")],
)
def test_size_window_and_tokens_are_those_of_the_opened_model(kind: str, head: Head) -> None:
    found, loaded = describe_model(made(kind)), load_model(str(made(kind)), head=head)
    assert found.parameters == sum(weight.numel() for weight in loaded.model.parameters())
    assert found.window == (loaded.window if loaded.is_bounded else None)
    assert found.vocabulary == len(loaded.tokenizer)
    assert found.special_tokens == loaded.tokenizer.special_tokens_map
    assert found.chat_template is False
    assert (found.model_type, found.family) == (loaded.model.config.model_type, loaded.family.name)
    assert found.architecture == type(loaded.model).__name__
    assert found.refusals


def test_the_window_of_sentence_transformers_is_that_of_its_own_config() -> None:
    found = describe_model(made("sentence"))
    assert found.window == 16
    assert found.modules == ("Transformer", "Pooling")


def test_labels_are_those_of_a_classifier_alone() -> None:
    assert describe_model(made("bert")).labels == LABELS
    assert describe_model(made("answers")).labels == ()
    assert describe_model(made("gpt2")).labels == ()


def test_an_adapter_is_described_with_its_base_and_its_own_size() -> None:
    found = describe_model(made("adapter"))
    assert found.base is not None
    assert found.base.endswith("/base")
    assert found.parameters == describe_model(found.base).parameters
    tensors = load_file(made("adapter") / "adapter_model.safetensors")
    assert found.adapter_parameters == sum(tensor.numel() for tensor in tensors.values())
    assert describe_model(found.base).base is None


def test_the_precision_is_that_on_disk(tmp_path: Path) -> None:
    folder = copied("bert", tmp_path)
    tensors = load_file(folder / "model.safetensors")
    first = min(tensors)
    half = {name: tensor.to(torch.float32 if name == first else torch.bfloat16) for name, tensor in tensors.items()}
    save_file(half, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "MANIFEST.json").unlink(missing_ok=True)
    found, count = describe_model(folder), tensors[first].numel()
    assert found.precision == {"BF16": sum(tensor.numel() for tensor in tensors.values()) - count, "F32": count}
    assert found.weight_bytes == (folder / "model.safetensors").stat().st_size


def test_options_of_generation_are_the_models_own(tmp_path: Path) -> None:
    folder = copied("t5", tmp_path)
    (folder / "generation_config.json").write_text(json.dumps({"num_beams": 3, "diversity_penalty": 0.5}))
    found = describe_model(folder)
    assert found.generation == {"beams": 3}
    assert found.not_followed == ("diversity_penalty 0.5",)
    assert describe_model(made("chat")).chat_template is True


# ---- what is refused


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def with_code(folder: Path) -> None:
    edit(folder, auto_map={"AutoModel": "modeling.Model"})


def with_python_tokenizer(folder: Path) -> None:
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertweetTokenizer"}))


def with_too_many_layers(folder: Path) -> None:
    edit(folder, num_hidden_layers=900)


def with_another_vocabulary(folder: Path) -> None:
    edit(folder, vocab_size=7)


def of_another_type(folder: Path) -> None:
    edit(folder, model_type="vit", num_attention_heads=[1, 2])


def without_a_norm(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors[next(name for name in tensors if "LayerNorm" in name)]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (pickled, "pickle"),
        (with_code, "auto_map"),
        (with_python_tokenizer, "BertweetTokenizer"),
        (with_too_many_layers, "num_hidden_layers"),
        (with_another_vocabulary, "embeddings"),
        (of_another_type, "vision"),
        (without_a_norm, "LayerNorm"),
    ],
)
def test_a_model_that_is_refused_is_described_with_the_reason_that_opening_it_gives(
    damage: Callable[[Path], None], told: str, tmp_path: Path
) -> None:
    folder = copied("bert", tmp_path)
    (folder / "MANIFEST.json").unlink(missing_ok=True)
    damage(folder)
    found = describe_model(folder)
    assert not found.is_usable
    assert found.architecture == "BertForSequenceClassification"
    assert told in found.refusals[0].reason
    with pytest.raises(ModelError) as caught:
        llmkit.load(str(folder), verb="classify")
    assert str(caught.value) == f"{folder}: {found.refusals[0].reason}"


@pytest.mark.parametrize("content", ["", "[]", "{", "null"])
def test_a_folder_whose_config_cannot_be_read_is_an_error(content: str, tmp_path: Path) -> None:
    folder = copied("bert", tmp_path)
    (folder / "config.json").write_text(content)
    with pytest.raises(ModelError, match=r"config\.json"):
        describe_model(folder)


def test_no_model_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such folder"):
        describe_model(tmp_path / "missing")
    with pytest.raises(ModelError, match=r"config\.json"):
        describe_model(tmp_path)


# ---- families


def test_the_table_of_families_is_complete() -> None:
    described = {family.name: family for family in list_families()}
    assert described.keys() == FAMILIES.keys()
    for name, family in FAMILIES.items():
        found = described[name]
        assert found.model_types == family.model_types
        assert set(found.tasks) == {task for task, recipe in RECIPES.items() if name in recipe.FAMILIES}
        cls = family.model_class(next(iter(family.heads)))
        assert ("sdpa" in found.attention_kernels) == cls._supports_sdpa


@pytest.mark.parametrize("family", [name for name, family in FAMILIES.items() if family.sizes])
def test_parameters_of_sizes_are_those_of_the_models(family: str) -> None:
    counts = {}
    for size in FAMILIES[family].sizes:
        config = FAMILIES[family].scratch_config(
            ScratchModel(architecture=family, size=size),  # type: ignore[arg-type]  # from the table itself
            tokenizer_of("roberta"),  # it has all roles
        )
        config.vocab_size = 8000
        with torch.device("meta"):
            model = FAMILIES[family].model_class(next(iter(FAMILIES[family].heads)))(config)
        counts[size] = sum(weight.numel() for weight in model.parameters())
    assert FAMILIES[family].size_parameters == counts

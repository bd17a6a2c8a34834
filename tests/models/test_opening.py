"""Models opened from folders: what fits is loaded as it was saved, what does not is refused with the words that matter."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from builders import FAMILY_OF, LABELS, same_bits, sentence, tiny_model, tokenizer_of
from facts import facts
from safetensors.torch import load_file, save_file
from transformers import BertModel

from llmkit.errors import MachineError, ModelError
from llmkit.models.export import model_files, unique_tensors
from llmkit.models.families import Head
from llmkit.models.loaded import LoadedModel
from llmkit.models.loading import create_model, load_model
from llmkit.models.resolve import find_model
from llmkit.recipe.blocks import ScratchModel, TokenizerBlock

HEADS: dict[str, Head] = {
    "bert": "classification",
    "gpt2": "causal-lm",
    "t5": "seq2seq-lm",
    "bart": "seq2seq-lm",
    "electra": "replaced-token-detection",
}


def saved(folder: Path, loaded: LoadedModel | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in model_files(loaded or tiny_model("bert")).items():
        (folder / name).write_bytes(content)
    return folder


def edited(folder: Path, **keys: Any) -> Path:
    """The folder, with keys of config.json set."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **keys}))
    return folder


def opened(folder: Path, *, head: Head = "classification", **more: Any) -> LoadedModel:
    return load_model(str(folder), head=head, **more)


@pytest.mark.parametrize("family", HEADS)
def test_a_saved_model_is_opened_with_the_same_weights_and_ids(family: str, tmp_path: Path) -> None:
    loaded = tiny_model(family, head=HEADS[family])
    again = opened(saved(tmp_path / "model", loaded), head=HEADS[family])
    assert same_bits(unique_tensors(again.model), unique_tensors(loaded.model))
    assert again.family.name == family
    text = sentence(1)
    assert again.tokenizer(text)["input_ids"] == loaded.tokenizer(text)["input_ids"]
    assert again.tokenizer.padding_side == ("left" if family == "gpt2" else "right")


# ---- labels


def test_labels_in_another_order_are_refused_and_both_orders_listed(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model")
    assert opened(folder, labels=LABELS).labels == LABELS
    with pytest.raises(ModelError, match=facts("labels", "bad, fair, good", "good, fair, bad")):
        opened(folder, labels=LABELS[::-1])


def body_of(loaded: LoadedModel, folder: Path) -> Path:
    """The same folder as a pretrained body: no classifier, no labels."""
    saved(folder, loaded)
    weights = {
        name: tensor for name, tensor in load_file(folder / "model.safetensors").items() if "classifier" not in name
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert isinstance(loaded.model.bert, BertModel)
    return edited(folder, architectures=["BertModel"], id2label={"0": "LABEL_0", "1": "LABEL_1"}, label2id={})


def test_a_body_gets_a_new_head_for_the_wanted_labels_fixed_by_the_seed(tmp_path: Path) -> None:
    folder = body_of(tiny_model("bert"), tmp_path / "body")
    state = torch.get_rng_state()
    first, same, other = (
        opened(folder, labels=("a", "b", "c", "d"), new_head=True, seed=seed).model for seed in (1, 1, 2)
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert first.classifier.weight.shape[0] == 4
    assert first.config.label2id == {"a": 0, "b": 1, "c": 2, "d": 3}
    assert same_bits(unique_tensors(first), unique_tensors(same))
    assert not torch.equal(first.classifier.weight, other.classifier.weight)
    assert torch.equal(first.bert.embeddings.word_embeddings.weight, other.bert.embeddings.word_embeddings.weight)


def test_a_missing_head_is_refused_where_nothing_is_trained(tmp_path: Path) -> None:
    folder = body_of(tiny_model("bert"), tmp_path / "body")
    with pytest.raises(ModelError, match=facts("BertModel", "classifier.bias")):
        opened(folder)


def test_a_missing_layer_is_refused_even_where_a_new_head_is_allowed(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    lost = next(name for name in weights if "attention.self.query.weight" in name)
    save_file({name: tensor for name, tensor in weights.items() if name != lost}, folder / "model.safetensors")
    with pytest.raises(ModelError, match=facts(lost)):
        opened(folder, new_head=True)


def test_labels_numbered_with_a_gap_are_refused(tmp_path: Path) -> None:
    folder = edited(saved(tmp_path / "model"), id2label={"0": "bad", "2": "fair", "3": "good"})
    with pytest.raises(ModelError, match=facts(folder, "labels", 0, 2, 3)):
        opened(folder)


# ---- what does not fit


@pytest.mark.parametrize(
    ("family", "head", "verb"),
    [("bert", "causal-lm", "classify"), ("gpt2", "seq2seq-lm", "generate")],
)
def test_a_model_of_another_family_is_refused_with_the_command_that_fits(
    family: str, head: Head, verb: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=facts(family, head, f"`llmkit {verb}`")):
        opened(saved(tmp_path / "model", tiny_model(family)), head=head)


@pytest.mark.parametrize(("family", "verb"), [("t5", "summarize"), ("gpt2", "generate")])
def test_a_model_with_another_head_is_refused_with_the_command_that_fits(
    family: str, verb: str, tmp_path: Path
) -> None:
    folder = saved(tmp_path / "model", tiny_model(family))
    weight = {"t5": "classifier.weight", "gpt2": "score.weight"}[family]
    with pytest.raises(ModelError, match=facts(weight, f"`llmkit {verb}`")):
        opened(folder, head="classification")


@pytest.mark.parametrize("family", ["t5", "gpt2"])
def test_training_may_start_from_a_body_without_a_classifier(family: str, tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", tiny_model(family))
    loaded = opened(folder, head="classification", labels=("no", "yes"), new_head=True)
    assert loaded.labels == ("no", "yes")
    head = {"t5": "classifier.weight", "gpt2": "score.weight"}[family]
    weights = dict(loaded.model.named_parameters())
    assert weights[head].shape[0] == 2
    assert weights[head].std() < 0.5  # transformers draws that of T5 with 1
    body = {"t5": "shared.weight", "gpt2": "transformer.wte.weight"}[family]
    kept = load_file(folder / "model.safetensors")[body]
    assert any(torch.equal(kept, weight) for weight in weights.values())


def test_a_new_classifier_on_mt5_begins_as_one_on_t5(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", tiny_model("t5"))
    heads = []
    for kind in ("t5", "mt5"):
        loaded = opened(edited(folder, model_type=kind), labels=LABELS, new_head=True, seed=4)
        assert loaded.model.config.model_type == kind
        heads.append(loaded.model.classifier.weight.detach())
    assert torch.equal(*heads)


def test_an_unknown_family_is_refused_with_those_that_work(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=facts("'mamba'", "bert, gpt2")):
        opened(edited(saved(tmp_path / "model"), model_type="mamba"))


def test_a_tokenizer_with_more_ids_than_embeddings_is_refused(tmp_path: Path) -> None:
    loaded = tiny_model("bert")
    rows = loaded.model.config.vocab_size
    loaded.tokenizer.add_tokens([f"new{number}" for number in range(7)])
    with pytest.raises(ModelError, match=facts(rows + 6, rows)):
        opened(saved(tmp_path / "model", loaded))


@pytest.mark.parametrize("tokenizer_family", ["bert", "t5"])
def test_a_tokenizer_without_the_familys_tokens_is_refused(tokenizer_family: str, tmp_path: Path) -> None:
    """A BERT tokenizer has no end of text, which GPT-2 and T5 learn; T5's has no [CLS]."""
    folder = saved(tmp_path / "other", tiny_model(tokenizer_family))
    family: str = "gpt2" if tokenizer_family == "bert" else "bert"
    with pytest.raises(ModelError, match=facts("eos" if family == "gpt2" else "cls", family)):
        create_model(
            ScratchModel(architecture=family, size="tiny", tokenizer=str(folder)),
            head=HEADS[family],
            labels=LABELS if family == "bert" else None,
            texts=list,
            max_tokens=None,
            seed=1,
        )


def test_weights_that_are_not_finite_are_refused_by_name(tmp_path: Path) -> None:
    loaded = tiny_model("bert")
    with torch.no_grad():
        loaded.model.classifier.weight[1, 2] = torch.nan
    with pytest.raises(ModelError, match=facts("finite", "classifier.weight")):
        opened(saved(tmp_path / "model", loaded))


# ---- what is damaged


def write(name: str, content: str | bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)


def cut_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])


@pytest.mark.parametrize(
    ("damage", "stated"),
    [
        (lambda folder: (folder / "config.json").unlink(), ["config.json", "not a model"]),
        (write("config.json", b"\xff\xfe{"), ["config.json", "valid JSON"]),
        (write("config.json", "[" * 100_000), ["config.json", "valid JSON"]),
        (write("config.json", "[]"), ["config.json", "JSON", "object"]),
        (lambda folder: edited(folder, num_hidden_layers=-1), ["num_hidden_layers", "-1"]),
        (lambda folder: edited(folder, vocab_size=10**12), ["vocab_size", 1000000000000]),
        (lambda folder: edited(folder, hidden_size="16"), ["hidden_size"]),
        (lambda folder: edited(folder, hidden_size=32), ["bert.embeddings.LayerNorm.bias", "(16,)", "(32,)"]),
        (write("tokenizer.json", "{"), ["tokenizer"]),
        (lambda folder: (folder / "model.safetensors").unlink(), ["no weights"]),
        (cut_weights, ["deserializing header"]),
        (write("model.safetensors", b"\xff" * 64), ["deserializing header"]),
        (
            write("model.safetensors.index.json", '{"weight_map": {"a": "gone.safetensors"}}'),
            ["gone.safetensors", "missing"],
        ),
    ],
)
@pytest.mark.parametrize("labels", [None, LABELS], ids=["for use", "for training"])
def test_a_damaged_folder_is_refused(
    damage: Callable[[Path], object], stated: list[object], labels: tuple[str, ...] | None, tmp_path: Path
) -> None:
    folder = saved(tmp_path / "model")
    damage(folder)
    with pytest.raises(ModelError, match=facts(*stated)):
        opened(folder, labels=labels)


# ---- what is unsafe


def only_pickle(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04.")


def linked_weights(folder: Path) -> None:
    elsewhere = folder.parent / "elsewhere.safetensors"
    (folder / "model.safetensors").rename(elsewhere)
    (folder / "model.safetensors").symlink_to(elsewhere)


def fifo(name: str) -> Callable[[Path], object]:
    def make(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return make


@pytest.mark.parametrize(
    ("attack", "stated"),
    [
        (only_pickle, ["safetensors", "pytorch_model.bin", "pickle"]),
        (lambda folder: edited(folder, auto_map={"AutoModel": "evil.Model"}), ["code", "auto_map"]),
        (lambda folder: edited(folder, encoder={"deep": [{"auto_map": {"AutoModel": "x.y"}}]}), ["code", "auto_map"]),
        (lambda folder: edited(folder, trust_remote_code=True), ["trust_remote_code"]),
        (lambda folder: edited(folder, attn_implementation="evil/kernels"), ["attention", "'evil/kernels'"]),
        (lambda folder: edited(folder, _attn_implementation={"": "evil/kernels"}), ["attention", "evil/kernels"]),
        (
            lambda folder: edited(folder, text_config={"attn_implementation": "evil/kernels"}),
            ["attention", "evil/kernels"],
        ),
        (
            write("model.safetensors.index.json", '{"weight_map": {"a": "../other/model.safetensors"}}'),
            ["outside the folder", "../other/model.safetensors"],
        ),
        (
            write("model.safetensors.index.json", '{"weight_map": {"a": "/etc/passwd"}}'),
            ["outside the folder", "/etc/passwd"],
        ),
        (write("model.safetensors.index.json", '{"weight_map": {"a": 7}}'), ["outside the folder", 7]),
        (linked_weights, ["model.safetensors", "link"]),
        (fifo("config.json"), ["config.json", "regular file"]),
        (fifo("tokenizer.json"), ["tokenizer.json", "regular file"]),
        (fifo("model.safetensors"), ["model.safetensors", "regular file"]),
    ],
)
def test_an_unsafe_folder_is_refused_before_anything_of_it_is_used(
    attack: Callable[[Path], object], stated: list[object], tmp_path: Path
) -> None:
    folder = saved(tmp_path / "model")
    attack(folder)
    with pytest.raises(ModelError, match=facts(*stated)) as caught:
        opened(folder)
    assert caught.value.exit_code == 4


def test_links_of_a_hub_cache_are_fine_and_only_to_its_own_blobs(tmp_path: Path) -> None:
    snapshot = tmp_path / "models--owner--name" / "snapshots" / "0123abcd"
    blobs = tmp_path / "models--owner--name" / "blobs"
    blobs.mkdir(parents=True)
    for number, path in enumerate(sorted(saved(snapshot).iterdir())):
        path.rename(blobs / str(number))
        path.symlink_to(f"../../blobs/{number}")
    assert opened(snapshot).labels == LABELS
    outside = tmp_path / "outside.safetensors"
    outside.write_bytes((snapshot / "model.safetensors").read_bytes())
    (snapshot / "model.safetensors").unlink()
    (snapshot / "model.safetensors").symlink_to(outside)
    with pytest.raises(ModelError, match=facts("model.safetensors", "link")):
        opened(snapshot)


# ---- names


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "empty-cache"))


@pytest.mark.usefixtures("offline")
def test_a_typo_in_a_path_and_an_uncached_hub_id_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tmp_path / "models" / "reviews")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=facts("models/reviws", "'reviews'")):
        find_model("models/reviws")
    with pytest.raises(ModelError, match=facts("./modles/reviews", " modles")):
        find_model("./modles/reviews")
    with pytest.raises(MachineError, match=facts("google-bert/bert-base-uncazed", "folder", "cache")) as caught:
        find_model("google-bert/bert-base-uncazed")
    assert caught.value.exit_code == 5
    with pytest.raises(ModelError, match=facts("a name with spaces", "folder", "hub id")):
        find_model("a name with spaces")


def test_a_run_without_a_model_says_how_to_finish_it(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(ModelError, match=facts(f"`llmkit finetune --resume {tmp_path}`")):
        find_model(str(tmp_path))
    saved(tmp_path / "model")
    assert find_model(str(tmp_path)).folder == tmp_path / "model"


# ---- random weights


@pytest.mark.parametrize("family", HEADS)
def test_the_same_seed_gives_the_same_new_weights_whatever_was_drawn_before(family: str) -> None:
    block = ScratchModel(architecture=family, size="tiny", tokenizer=TokenizerBlock(vocab_size=400))

    def created(seed: int) -> LoadedModel:
        return create_model(
            block,
            head=HEADS[family],
            labels=LABELS if family == "bert" else None,
            texts=lambda: [sentence(number) for number in range(40)],
            max_tokens=None,
            seed=seed,
        )

    state = torch.get_rng_state()
    first = created(1)
    assert torch.equal(torch.get_rng_state(), state)  # nor does it disturb anyone else's numbers
    torch.rand(5)
    np.random.rand(5)
    same, other = created(1), created(2)
    assert same_bits(unique_tensors(first.model), unique_tensors(same.model))
    assert not same_bits(unique_tensors(first.model), unique_tensors(other.model))
    assert first.name == f"{family}-tiny"
    if family == "bert":
        assert first.labels == LABELS


def test_each_family_is_tested() -> None:
    assert set(HEADS) == set(FAMILY_OF.values())
    assert all(tokenizer_of(family).pad_token_id is not None for family in HEADS)


@pytest.mark.parametrize(
    ("saved", "wanted", "verb"),
    [("classification", "token-classification", "classify"), ("token-classification", "classification", "tag")],
)
def test_labels_of_texts_and_of_tokens_are_told_apart(saved: Head, wanted: Head, verb: str, tmp_path: Path) -> None:
    """Their weights have the same names and shapes; only the config says which they are."""
    for name, content in model_files(tiny_model("bert", head=saved)).items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=facts(f"`llmkit {verb}`")):
        load_model(str(tmp_path), head=wanted)


def test_the_one_output_of_a_regression_may_have_any_name(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", tiny_model("bert", labels=["stars"]))
    opened = load_model(str(folder), head="classification", labels=("LABEL_0",), new_head=True)
    assert opened.labels == ("stars",)
    assert opened.new_weights == ()

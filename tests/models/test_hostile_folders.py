"""Model folders from strangers: nothing outside of them is opened, no pickle is read, and what is wrong is named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from adapted import adapted, saved
from builders import LABELS, tiny_model
from facts import facts
from published_models import published_folder
from safetensors.torch import load_file, save_file

from llmkit.errors import ModelError
from llmkit.models.export import model_files
from llmkit.models.families import Head
from llmkit.models.loading import load_model, load_tokenizer
from llmkit.models.resolve import find_model

Attack = Callable[[Path], object]
INDEX = "model.safetensors.index.json"
READ_FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "chat_template.jinja",
    "model.safetensors",
    INDEX,
    "adapter_config.json",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = tmp_path / "model"
    model.mkdir()
    for name, content in model_files(tiny_model("bert")).items():
        (model / name).write_bytes(content)
    return model


def edit(file: Path, **keys: Any) -> None:
    content = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps({**content, **keys}))


def split(folder: Path, weight_map: dict[str, Any] | None = None) -> None:
    """Two files with an index, of which `weight_map` replaces entries."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    index: dict[str, Any] = {}
    for number, part in enumerate((names[:9], names[9:]), start=1):
        file = f"model-0000{number}-of-00002.safetensors"
        save_file({name: tensors[name] for name in part}, folder / file, metadata={"format": "pt"})
        index |= dict.fromkeys(part, file)
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": {**index, **(weight_map or {})}}))


# ---- files that lie elsewhere


def link_out(folder: Path, file: str) -> None:
    outside = folder.parent / f"outside-{Path(file).name}"
    outside.write_bytes((folder / file).read_bytes() if (folder / file).exists() else b"{}")
    (folder / file).unlink(missing_ok=True)
    (folder / file).symlink_to(outside)


def make_fifo(folder: Path, file: str) -> None:
    (folder / file).unlink(missing_ok=True)
    os.mkfifo(folder / file)


def make_folder(folder: Path, file: str) -> None:
    (folder / file).unlink(missing_ok=True)
    (folder / file).mkdir()


def link_to_device(folder: Path, file: str) -> None:
    (folder / file).unlink(missing_ok=True)
    (folder / file).symlink_to("/dev/zero")


@pytest.mark.parametrize("attack", [link_out, make_fifo, make_folder, link_to_device])
@pytest.mark.parametrize("file", READ_FILES)
def test_a_file_that_is_no_regular_file_of_the_folder_is_refused_by_name(
    attack: Callable[[Path, str], None], file: str, folder: Path
) -> None:
    attack(folder, file)
    with pytest.raises(ModelError) as caught:
        load_model(str(folder), head="classification")
    assert file in str(caught.value)
    assert caught.value.exit_code == 4


def test_a_template_beside_the_default_one_may_not_lie_elsewhere_either(folder: Path) -> None:
    (folder / "additional_chat_templates").mkdir()
    link_out(folder, "additional_chat_templates/tools.jinja")
    with pytest.raises(ModelError, match=r"tools\.jinja"):
        load_model(str(folder), head="classification")


def test_links_within_the_folder_to_the_folder_and_of_files_that_nothing_reads_are_fine(folder: Path) -> None:
    (folder / "parts").mkdir()
    for file in ("config.json", "model.safetensors", "tokenizer.json"):
        (folder / file).rename(folder / "parts" / file)
        (folder / file).symlink_to(Path("parts") / file)
    (folder / "README.md").symlink_to("/etc/hostname")
    by_link = folder.parent / "link"
    by_link.symlink_to(folder)
    assert load_model(str(by_link), head="classification").labels == LABELS


def test_a_runs_model_may_not_be_a_link_to_another_folder(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.json").write_text("{}")
    (run / "model").symlink_to(folder)
    with pytest.raises(ModelError, match=facts(f"{run}:", "link")):
        find_model(str(run))


# ---- weights


@pytest.mark.parametrize(
    "file", ["x.bin", "w.txt", "model.safetensors.pkl", "../x.safetensors", "/x.safetensors", 7, ""]
)
def test_an_index_that_names_anything_but_safetensors_of_the_folder_is_refused_by_that_name(
    file: object, folder: Path
) -> None:
    if isinstance(file, str) and file.isprintable() and "/" not in file and file:
        torch.save({"classifier.bias": torch.ones(3)}, folder / file)
    split(folder, {"classifier.bias": file})
    with pytest.raises(ModelError) as caught:
        load_model(str(folder), head="classification")
    assert repr(file) in str(caught.value)


@pytest.mark.parametrize(
    "content", ["[]", "{", '{"weight_map": [1]}', '{"weight_map": {}}', "{}", '{"weight_map": "model.safetensors"}']
)
def test_an_index_without_a_map_of_tensors_to_files_is_refused(content: str, folder: Path) -> None:
    split(folder)
    (folder / INDEX).write_text(content)
    with pytest.raises(ModelError, match=r"model\.safetensors\.index\.json"):
        load_model(str(folder), head="classification")


def test_weights_in_several_files_are_opened(folder: Path) -> None:
    whole = load_model(str(folder), head="classification").model.state_dict()
    split(folder)
    parts = load_model(str(folder), head="classification").model.state_dict()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_a_tensor_that_is_not_in_the_file_which_the_index_names_is_refused(folder: Path) -> None:
    split(folder, {"classifier.bias": "model-00001-of-00002.safetensors"})
    with pytest.raises(ModelError, match=r"classifier\.bias"):
        load_model(str(folder), head="classification")


def test_a_tensor_in_two_files_is_refused(folder: Path) -> None:
    split(folder)
    first = folder / "model-00001-of-00002.safetensors"
    tensors = {**load_file(first), "classifier.bias": torch.ones(3)}
    save_file(tensors, first, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=facts("classifier.bias", "two files")):
        load_model(str(folder), head="classification")


def header(text: str, data: bytes = b"") -> bytes:
    return len(text).to_bytes(8, "little") + text.encode() + data


@pytest.mark.parametrize(
    "content",
    [
        (2**63).to_bytes(8, "little") + b"{}",
        b"",
        header("[]"),
        header('{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}', bytes(4)),
        header('{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}', bytes(4)),
        header('{"a":{"dtype":"X9","shape":[1],"data_offsets":[0,4]}}', bytes(4)),
        header('{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,4]}}', bytes(4)),
        header(
            '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}}',
            bytes(6),
        ),
        header(
            '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}',
            bytes(8),
        ),
    ],
)
def test_a_damaged_header_of_weights_is_refused(content: bytes, folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        load_model(str(folder), head="classification")


# ---- adapters


@pytest.mark.parametrize("attack", [link_out, make_fifo, make_folder, link_to_device])
@pytest.mark.parametrize("file", ["adapter_config.json", "adapter_model.safetensors", "model_config.json", "base.json"])
def test_a_file_of_an_adapter_that_is_no_regular_file_of_its_folder_is_refused_by_name(
    attack: Callable[[Path, str], None], file: str, tmp_path: Path
) -> None:
    folder = saved(adapted("classification", tmp_path / "base"), tmp_path / "adapter")
    attack(folder, file)
    with pytest.raises(ModelError) as caught:
        load_model(str(folder), head="classification")
    assert file in str(caught.value)


def test_the_base_of_an_adapter_is_looked_at_like_any_model(tmp_path: Path) -> None:
    folder = saved(adapted("classification", tmp_path / "base"), tmp_path / "adapter")
    edit(tmp_path / "base" / "config.json", transformers_weights="x.bin")
    with pytest.raises(ModelError, match=r"base: .*transformers_weights"):
        load_model(str(folder), head="classification")


@pytest.mark.parametrize(
    ("file", "key", "value", "named"),
    [
        ("adapter_config.json", "r", 100_000, "lora_A"),
        ("model_config.json", "vocab_size", 10_000_000, "word_embeddings"),
        ("model_config.json", "num_hidden_layers", 50_000, "num_hidden_layers"),
        ("model_config.json", "num_labels", 90_000, "classifier"),
    ],
)
def test_sizes_that_an_adapters_weights_do_not_have_are_refused(
    file: str, key: str, value: int, named: str, tmp_path: Path
) -> None:
    folder = saved(adapted("classification", tmp_path / "base"), tmp_path / "adapter")
    content = json.loads((folder / file).read_text())
    if key == "num_labels":
        content = {name: content[name] for name in content if name not in ("id2label", "label2id")}
    (folder / file).write_text(json.dumps({**content, key: value}))
    with pytest.raises(ModelError, match=named):
        load_model(str(folder), head="classification")


# ---- what configs make transformers read


@pytest.mark.parametrize("value", ["x.bin", "adapter_model.bin", "../model.safetensors", "other.safetensors"])
def test_a_config_that_names_other_weights_is_refused(value: str, folder: Path) -> None:
    edit(folder / "config.json", transformers_weights=value)
    with pytest.raises(ModelError, match="transformers_weights"):
        load_model(str(folder), head="classification")


def test_a_tokenizer_that_asks_for_code_is_refused(folder: Path) -> None:
    edit(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.Tok", None]})
    with pytest.raises(ModelError, match="auto_map"):
        load_model(str(folder), head="classification")


@pytest.mark.parametrize("value", ["BertJapaneseTokenizer", "RagTokenizer", 5])
def test_a_tokenizer_class_that_reads_files_in_its_own_way_is_refused_by_name(value: object, folder: Path) -> None:
    edit(folder / "tokenizer_config.json", tokenizer_class=value)
    with pytest.raises(ModelError, match=str(value)):
        load_model(str(folder), head="classification")


@pytest.mark.parametrize(
    ("key", "value"), [("chat_template", 5), ("model_max_length", "many"), ("model_max_length", 0)]
)
def test_a_setting_of_the_tokenizer_of_another_type_is_refused(key: str, value: object, folder: Path) -> None:
    edit(folder / "tokenizer_config.json", **{key: value})
    with pytest.raises(ModelError):
        load_model(str(folder), head="classification")


_WATCHED = """
import json, os, sys
from llmkit.errors import ModelError
from llmkit.models.loading import load_model
import torch, transformers, peft, jinja2, safetensors.torch  # what they read to be imported is not what is asked
from transformers import AutoTokenizer, BertForSequenceClassification, BertTokenizer

home = os.path.realpath(sys.argv[1]) + os.sep
folder = seen = None

def watch(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes)):
        path = os.path.realpath(os.fsdecode(arguments[0]))
        outside = path.startswith(home) and not path.startswith(folder + os.sep)
        if outside or path.endswith((".bin", ".pkl", ".pt", "w.txt")):
            seen.append(path)
    if event == "pickle.find_class":
        seen.append(f"pickle {arguments}")

sys.addaudithook(watch)
results = {}
for case in os.listdir(home):
    folder, seen = home + case + "/model", []
    try:
        load_model(folder, head="classification")
        outcome = "opened"
    except ModelError as error:
        outcome = str(error)
    results[case] = [outcome, seen]
print(json.dumps(results))
"""


def pickles_beside(folder: Path) -> None:
    for file in ("pytorch_model.bin", "adapter_model.bin", "training_args.bin", "optimizer.pt"):
        torch.save({"classifier.bias": torch.ones(3)}, folder / file)


def tokenizer_files_elsewhere(folder: Path) -> None:
    outside = folder.parent / "outside.json"
    outside.write_bytes((folder / "tokenizer.json").read_bytes())
    paths = dict.fromkeys(("tokenizer_file", "vocab_file", "merges_file", "gguf_file", "vocab"), str(outside))
    edit(
        folder / "tokenizer_config.json",
        **paths,
        fast_tokenizer_files=["tokenizer.../outside.json"],
        init_inputs=[str(outside)],
    )
    edit(folder / "special_tokens_map.json", **paths)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config.pop("added_tokens_decoder", None)  # without it the map of special tokens is read
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


ATTACKS: dict[str, tuple[Attack, str]] = {
    "none": (lambda folder: None, "opened"),
    "pickles": (pickles_beside, "opened"),
    "tokenizer": (tokenizer_files_elsewhere, "opened"),
    "index": (lambda folder: split(folder, {"classifier.bias": "x.bin"}), "x.bin"),
    "weights": (lambda folder: edit(folder / "config.json", transformers_weights="x.bin"), "transformers_weights"),
    "linked tokenizer": (lambda folder: link_out(folder, "tokenizer.json"), "tokenizer.json"),
    "linked weights": (lambda folder: link_out(folder, "model.safetensors"), "model.safetensors"),
}


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, list[str]]]:
    """What came of opening each folder in a new process, and what was opened that should not be.

    A process can never be rid of its audit hooks, hence another one.
    """
    home = tmp_path_factory.mktemp("watched")
    for case, (attack, _) in ATTACKS.items():
        model = home / case / "model"
        model.mkdir(parents=True)
        for name, content in model_files(tiny_model("bert")).items():
            (model / name).write_bytes(content)
        torch.save({"classifier.bias": torch.ones(3)}, model / "x.bin")
        attack(model)
    command = [sys.executable, "-c", _WATCHED, str(home)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    results: dict[str, tuple[str, list[str]]] = json.loads(done.stdout.splitlines()[-1])
    return results


@pytest.mark.slow
@pytest.mark.parametrize("case", ATTACKS)
def test_opening_a_folder_opens_no_file_outside_of_it_and_no_pickle(
    case: str, watched: dict[str, tuple[str, list[str]]]
) -> None:
    said, seen = watched[case]
    assert ATTACKS[case][1] in said
    assert seen == []


@pytest.mark.parametrize(("family", "head"), [("bert", "masked-lm"), ("gpt2", "causal-lm"), ("t5", "seq2seq-lm")])
def test_a_published_tokenizer_gives_the_ids_that_transformers_gives(family: Any, head: Head, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    folder = published_folder(tmp_path / "model", family, head=head)
    edit(folder / "tokenizer_config.json", special_tokens_map_file="/root/old/special_tokens_map.json", vocab_file=None)
    theirs = AutoTokenizer.from_pretrained(folder)
    theirs.backend_tokenizer.no_truncation()
    theirs.backend_tokenizer.no_padding()
    ours = load_tokenizer(find_model(str(folder)))
    text = "the old-stone cat sees a <keep> river under the quiet morning light"
    assert ours(text)["input_ids"] == theirs(text)["input_ids"]
    assert type(ours) is type(theirs)
    assert ours.get_vocab() == theirs.get_vocab()

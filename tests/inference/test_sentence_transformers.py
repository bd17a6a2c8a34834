"""Vectors of folders that sentence-transformers saved: those that the folder asks for, computed here by hand."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from builders import LABELS, sentence
from facts import facts, logged
from peft import LoraConfig, get_peft_model
from sentence_folders import FLAGS, WIDTH, add_dense, sentence_folder, write_json
from torch import Tensor
from transformers import AutoTokenizer, BertModel, T5EncoderModel

import llmkit
from llmkit.errors import ModelError, UsageError
from llmkit.models.loading import load_model

TEXTS = [sentence(number) for number in range(5)]
LONG = " ".join(sentence(number) for number in range(12))
TANH, IDENTITY = "torch.nn.modules.activation.Tanh", "torch.nn.modules.linear.Identity"


def states(folder: Path, text: str, *, max_tokens: int = 64) -> Tensor:
    """(T, D) the last layer, from plain transformers."""
    body = folder if (folder / "config.json").exists() else folder / "0_Transformer"
    kind = T5EncoderModel if json.loads((body / "config.json").read_text())["model_type"] == "t5" else BertModel
    model = kind.from_pretrained(body).eval()
    ids = AutoTokenizer.from_pretrained(body)(text, truncation=True, max_length=max_tokens)["input_ids"]
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids])).last_hidden_state[0]


def unit(vector: Tensor | np.ndarray) -> np.ndarray:
    return np.asarray(vector) / np.linalg.norm(vector)


def embedded(folder: Path, texts: list[str], **options: Any) -> np.ndarray:
    return llmkit.load(str(folder), verb="embed").embed(texts, **options)


def first(s: Tensor) -> Tensor:
    return s[0]


def last(s: Tensor) -> Tensor:
    return s[-1]


def mean(s: Tensor) -> Tensor:
    return s.mean(dim=0)


def largest(s: Tensor) -> Tensor:
    return s.amax(dim=0)


def mean_sqrt(s: Tensor) -> Tensor:
    return s.sum(dim=0) / math.sqrt(len(s))


def weighted(s: Tensor) -> Tensor:
    weights = torch.arange(1.0, len(s) + 1)
    return weights @ s / weights.sum()


POOLINGS: list[tuple[str, str, Callable[[Tensor], Tensor]]] = [
    ("pooling_mode_cls_token", "cls", first),
    ("pooling_mode_max_tokens", "max", largest),
    ("pooling_mode_mean_tokens", "mean", mean),
    ("pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens", mean_sqrt),
    ("pooling_mode_weightedmean_tokens", "weightedmean", weighted),
    ("pooling_mode_lasttoken", "lasttoken", last),
]


@pytest.mark.parametrize(
    ("family", "flag", "mode", "pooled"), [("bert", *case) for case in POOLINGS] + [("t5", *POOLINGS[-1])]
)
def test_each_pooling_is_that_of_the_folder_in_old_and_new_names(
    family: Any, flag: str, mode: str, pooled: Callable[[Tensor], Tensor], tmp_path: Path
) -> None:
    old = {**FLAGS, flag: True, "word_embedding_dimension": WIDTH}
    sentence_folder(tmp_path / "old", family, pooling=old)
    new = {"embedding_dimension": WIDTH, "pooling_mode": mode, "include_prompt": True}
    sentence_folder(tmp_path / "new", family, pooling=new, new_names=True)
    expected = np.stack([unit(pooled(states(tmp_path / "old", text))) for text in TEXTS])
    np.testing.assert_allclose(embedded(tmp_path / "old", TEXTS), expected, atol=1e-6)
    np.testing.assert_array_equal(embedded(tmp_path / "new", TEXTS), embedded(tmp_path / "old", TEXTS))


@pytest.mark.parametrize(
    "pooling",
    [
        {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True, "word_embedding_dimension": WIDTH},
        {"pooling_mode": ["cls", "mean"], "embedding_dimension": WIDTH},
    ],
)
def test_several_poolings_are_joined_in_the_order_of_sentence_transformers(pooling: Any, tmp_path: Path) -> None:
    folder = sentence_folder(tmp_path / "model", pooling=pooling)
    s = states(folder, TEXTS[0])
    vectors = embedded(folder, TEXTS[:1], normalize=False)
    np.testing.assert_allclose(vectors[0], torch.cat([first(s), mean(s)]), atol=1e-6)
    assert llmkit.load(str(folder), verb="embed").dimension == 2 * WIDTH


def test_texts_are_cut_at_max_seq_length_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = sentence_folder(tmp_path / "model", transformer={"max_seq_length": 12, "do_lower_case": False})
    vectors = embedded(folder, [TEXTS[0][:9], LONG])
    np.testing.assert_allclose(vectors[1], unit(mean(states(folder, LONG, max_tokens=12))), atol=1e-6)
    assert len(logged(caplog, "WARNING", 1, "2 texts", "12 tokens")) == 1


def test_max_seq_length_goes_before_the_tokenizers_limit_but_not_beyond_the_positions(tmp_path: Path) -> None:
    folder = sentence_folder(tmp_path / "model", transformer={"max_seq_length": 50})
    config = json.loads((folder / "tokenizer_config.json").read_text())
    write_json(folder / "tokenizer_config.json", {**config, "model_max_length": 10})
    np.testing.assert_allclose(embedded(folder, [LONG])[0], unit(mean(states(folder, LONG, max_tokens=50))), atol=1e-6)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 500})
    np.testing.assert_allclose(embedded(folder, [LONG])[0], unit(mean(states(folder, LONG, max_tokens=64))), atol=1e-6)


def test_windows_are_of_max_seq_length_and_each_has_the_prompt(tmp_path: Path) -> None:
    settings = {"prompts": {"p": "the stone: "}, "default_prompt_name": "p"}
    folder = sentence_folder(tmp_path / "model", transformer={"max_seq_length": 20}, settings=settings)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    cls, sep = tokenizer.cls_token_id, tokenizer.sep_token_id
    prompt, ids = (
        tokenizer(text, add_special_tokens=False, truncation=False)["input_ids"] for text in ("the stone: ", LONG)
    )
    count = math.ceil(len(ids) / (18 - len(prompt)))
    edges = [len(ids) * at // count for at in range(count + 1)]
    windows = [[cls, *prompt, *ids[edges[at] : edges[at + 1]], sep] for at in range(count)]
    model = BertModel.from_pretrained(folder).eval()
    with torch.no_grad():
        means = [len(w) * model(input_ids=torch.tensor([w])).last_hidden_state[0].mean(dim=0) for w in windows]
    assert count > 3
    assert max(map(len, windows)) <= 20
    np.testing.assert_allclose(embedded(folder, [LONG], overflow="window")[0], unit(sum(means)), atol=1e-6)


@pytest.mark.parametrize("key", ["do_lower_case", None])
def test_texts_are_in_lower_case_where_the_folder_says_so(key: str | None, tmp_path: Path) -> None:
    folder = sentence_folder(tmp_path / "model", "t5", transformer={key: True} if key else {})
    upper, lower = embedded(folder, [TEXTS[0].upper(), TEXTS[0]])
    assert np.allclose(upper, lower) == (key is not None)


# ---- layers after the pooling


def test_dense_layers_and_normalisation_are_applied_in_the_order_of_the_folder(tmp_path: Path) -> None:
    folder = sentence_folder(tmp_path / "model", after=["Dense", "Normalize", "Dense", "Dropout"], settings={})
    one = add_dense(folder / "2_Dense", inputs=WIDTH, outputs=24, seed=1)  # Tanh, where nothing is said
    two = add_dense(folder / "4_Dense", inputs=24, outputs=8, seed=2, bias=False, activation_function=IDENTITY)
    with torch.no_grad():
        inner = torch.tanh(one(mean(states(folder, TEXTS[1]))))
        expected = two(inner / inner.norm())
    model = llmkit.load(str(folder), verb="embed")
    vectors = model.embed(TEXTS, normalize=False)
    assert (vectors.dtype, vectors.shape, model.dimension) == (np.float32, (5, 8), 8)
    np.testing.assert_allclose(vectors[1], expected, atol=1e-6)


def test_a_residual_is_added_to_the_output_of_a_dense_layer(tmp_path: Path) -> None:
    folder = sentence_folder(tmp_path / "model", after=["Dense"])
    linear = add_dense(folder / "2_Dense", inputs=WIDTH, outputs=WIDTH, seed=1, use_residual=True)
    with torch.no_grad():
        pooled = mean(states(folder, TEXTS[0]))
        expected = torch.tanh(linear(pooled)) + pooled
    np.testing.assert_allclose(embedded(folder, TEXTS[:1], normalize=False)[0], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("after", "similarity", "options", "has_unit_length"),
    [
        (["Normalize"], "cosine", {}, True),
        (["Normalize"], "dot", {}, True),
        (["Normalize"], "dot", {"normalize": False}, False),
        ([], "dot", {}, False),
        ([], "euclidean", {}, False),
        ([], "dot", {"normalize": True}, True),
        ([], "cosine", {}, True),  # the length has no part in a cosine
        ([], "cosine", {"normalize": False}, False),
    ],
)
def test_vectors_have_unit_length_as_the_caller_says_or_the_folder(
    after: list[str], similarity: str, options: dict[str, Any], has_unit_length: bool, tmp_path: Path
) -> None:
    folder = sentence_folder(tmp_path / "model", after=after, settings={"similarity_fn_name": similarity})
    raw = mean(states(folder, TEXTS[2])).numpy()
    expected = unit(raw) if has_unit_length else raw
    np.testing.assert_allclose(embedded(folder, TEXTS[2:3], **options)[0], expected, atol=1e-6)


def test_only_the_first_numbers_are_kept_where_the_folder_truncates_them(tmp_path: Path) -> None:
    folder = sentence_folder(tmp_path / "model", after=["Normalize"], settings={"truncate_dim": 6})
    expected = unit(mean(states(folder, TEXTS[0])))[:6]
    np.testing.assert_allclose(embedded(folder, TEXTS[:1])[0], expected, atol=1e-6)
    np.testing.assert_allclose(embedded(folder, TEXTS[:1], normalize=True)[0], unit(expected), atol=1e-6)


# ---- prompts

PROMPTS = {"query": "find: ", "passage": "a stone is read: ", "empty": None}


def test_prompts_are_put_before_texts_by_default_by_name_or_as_text(tmp_path: Path) -> None:
    folder = sentence_folder(tmp_path / "model", settings={"prompts": PROMPTS, "default_prompt_name": "passage"})
    plain = embedded(
        sentence_folder(tmp_path / "plain"), [f"a stone is read: {TEXTS[0]}", f"find: {TEXTS[0]}", TEXTS[0]]
    )
    for at, options in enumerate(({}, {"prompt_name": "query"}, {"prompt_name": "empty"})):
        np.testing.assert_allclose(embedded(folder, TEXTS[:1], **options)[0], plain[at], atol=1e-6)
    np.testing.assert_allclose(embedded(folder, TEXTS[:1], prompt="find: ")[0], plain[1], atol=1e-6)
    np.testing.assert_allclose(embedded(folder, TEXTS[:1], prompt="")[0], plain[2], atol=1e-6)
    np.testing.assert_allclose(embedded(tmp_path / "plain", TEXTS[:1], prompt="find: ")[0], plain[1], atol=1e-6)


@pytest.mark.parametrize(("flag", "mode", "pooled"), POOLINGS, ids=[mode for _, mode, _ in POOLINGS])
def test_a_prompt_is_read_but_not_pooled_where_the_folder_says_so(
    flag: str, mode: str, pooled: Callable[[Tensor], Tensor], tmp_path: Path
) -> None:
    pooling = {**FLAGS, flag: True, "include_prompt": False, "word_embedding_dimension": WIDTH}
    settings = {"prompts": {"p": "a stone is read: "}, "default_prompt_name": "p"}
    folder = sentence_folder(tmp_path / "model", pooling=pooling, settings=settings)
    skipped = len(AutoTokenizer.from_pretrained(folder)("a stone is read: ", truncation=False)["input_ids"]) - 1
    assert skipped > 3
    s = states(folder, f"a stone is read: {TEXTS[0]}")
    expected = pooled(s[skipped:])
    if mode == "weightedmean":  # tokens keep the weights of their positions
        weights = torch.arange(1.0, len(s) + 1)[skipped:]
        expected = weights @ s[skipped:] / weights.sum()
    np.testing.assert_allclose(embedded(folder, TEXTS[:2])[0], unit(expected), atol=1e-6)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"prompt_name": "qeury"}, ["'qeury'", "query", "passage"]),
        ({"prompt_name": "query", "prompt": "find: "}, ["prompt"]),
        ({"prompt": "a stone " * 40}, ["prompt", "64"]),
        ({"pooling": ["first", "mean"]}, ["first+mean", 32, 16]),
        ({"pooling": "cls"}, ["'cls'", "first"]),
    ],
)
def test_options_that_do_not_fit_the_folder_are_refused(
    options: dict[str, Any], named: list[Any], tmp_path: Path
) -> None:
    folder = sentence_folder(tmp_path / "model", after=["Dense"], settings={"prompts": PROMPTS})
    add_dense(folder / "2_Dense", inputs=WIDTH, outputs=4, seed=1)
    with pytest.raises(UsageError, match=facts(*named)):
        embedded(folder, TEXTS, **options)


def test_a_pooling_that_the_caller_asks_for_replaces_that_of_the_folder_alone(tmp_path: Path) -> None:
    folder = sentence_folder(tmp_path / "model", after=["Dense"])
    linear = add_dense(folder / "2_Dense", inputs=WIDTH, outputs=4, seed=1)
    with torch.no_grad():
        expected = unit(torch.tanh(linear(first(states(folder, TEXTS[0])))))
    np.testing.assert_allclose(embedded(folder, TEXTS[:1], pooling="first")[0], expected, atol=1e-6)


# ---- where the model is


@pytest.mark.parametrize("family", ["bert", "t5"])
def test_the_model_of_an_old_folder_is_in_0_transformer_for_every_use(family: Any, tmp_path: Path) -> None:
    folder = sentence_folder(tmp_path / "model", family, body="0_Transformer", transformer={"max_seq_length": 12})
    expected = unit(mean(states(folder, LONG, max_tokens=12)))
    np.testing.assert_allclose(embedded(folder, [LONG])[0], expected, atol=1e-6)
    assert load_model(str(folder), head="classification", labels=LABELS, new_head=True).labels == LABELS


def test_max_seq_length_and_prompts_of_a_folder_do_not_touch_other_uses(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = sentence_folder(
        tmp_path / "model", after=["LSTM"], transformer={"max_seq_length": 12, "do_lower_case": True}
    )
    with caplog.at_level(logging.INFO):
        loaded = load_model(str(folder), head="classification", labels=LABELS, new_head=True)
    assert (loaded.window, loaded.sentence) == (64, None)
    assert not logged(caplog, "INFO", "sentence-transformers")


def test_what_a_folder_asks_for_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pooling = {"pooling_mode": ["cls", "max"], "embedding_dimension": WIDTH}
    settings = {"prompts": PROMPTS, "default_prompt_name": "query"}
    folder = sentence_folder(tmp_path / "model", pooling=pooling, transformer={"max_seq_length": 12}, settings=settings)
    with caplog.at_level(logging.INFO):
        model = llmkit.load(str(folder), verb="embed")
        model.embed(TEXTS)
        model.embed(TEXTS)
    assert len(logged(caplog, "INFO", "first+max", "12 tokens", "'find: '")) == 1


# ---- what is refused


@pytest.mark.parametrize(
    ("position", "kind"),
    [
        (0, "sentence_transformers.models.CLIPModel"),
        (0, "sentence_transformers.base.modules.router.Router"),
        (0, "sentence_transformers.models.StaticEmbedding"),
        (0, "modeling_own.OwnModule"),
        (1, "sentence_transformers.models.LSTM"),
        (1, "sentence_transformers.models.WeightedLayerPooling"),
        (1, "sentence_transformers.sparse_encoder.modules.splade_pooling.SpladePooling"),
        (2, "sentence_transformers.models.Asym"),
        (2, "os.system"),
    ],
)
def test_a_module_that_llmkit_does_not_implement_is_named(kind: str, position: int, tmp_path: Path) -> None:
    folder = sentence_folder(tmp_path / "model", after=["Normalize"])
    modules = json.loads((folder / "modules.json").read_text())
    modules[position]["type"] = kind
    write_json(folder / "modules.json", modules)
    with pytest.raises(ModelError) as caught:
        load_model(str(folder), head="embedding")
    assert (kind if not kind.startswith("sentence_transformers") else kind.rpartition(".")[2]) in str(caught.value)
    assert "modules.json" in str(caught.value)


@pytest.mark.parametrize("kind", ["StaticEmbedding", "CLIPModel", "WordEmbeddings", "BoW", "Router"])
@pytest.mark.parametrize("model_type", [None, "clip"])
def test_a_folder_without_a_transformer_is_refused_by_the_module_that_it_has(
    kind: str, model_type: str | None, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    write_json(folder / "modules.json", [{"path": "", "type": f"sentence_transformers.models.{kind}"}])
    (folder / "model.safetensors").write_bytes(b"0")
    if model_type is not None:
        write_json(folder / "config.json", {"model_type": model_type})
    with pytest.raises(ModelError, match=facts("modules.json", kind)):
        llmkit.load(str(folder), verb="embed")


@pytest.mark.parametrize(
    "kinds", [["Transformer"], ["Pooling", "Transformer"], ["Transformer", "Dense", "Pooling"], []]
)
def test_modules_in_an_order_that_gives_no_vectors_are_refused(kinds: list[str], tmp_path: Path) -> None:
    folder = sentence_folder(tmp_path / "model")
    modules = [
        {"path": f"{at}_x" if at else "", "type": f"sentence_transformers.models.{kind}"}
        for at, kind in enumerate(kinds)
    ]
    write_json(folder / "modules.json", modules)
    with pytest.raises(ModelError, match=facts("modules.json")):
        load_model(str(folder), head="embedding")


POOLING, DENSE, BERT = "1_Pooling/config.json", "2_Dense/config.json", "sentence_bert_config.json"
SETTINGS = "config_sentence_transformers.json"


@pytest.mark.parametrize(
    ("file", "keys", "named"),
    [
        (POOLING, {"pooling_mode": "median"}, "median"),
        (POOLING, {"pooling_mode": ["mean", 3]}, "3"),
        (POOLING, {"pooling_mode": []}, "pooling_mode"),
        (POOLING, {"pooling_mode_median_tokens": True}, "pooling_mode_median_tokens"),
        (POOLING, {"pooling_mode_cls_token": "yes"}, "pooling_mode_cls_token"),
        (POOLING, {"word_embedding_dimension": 768}, "768"),
        (POOLING, {"include_prompt": 1}, "include_prompt"),
        (DENSE, {"in_features": 32}, "32"),
        (DENSE, {"out_features": 9}, "linear."),
        (DENSE, {"bias": False}, "linear.bias"),
        (DENSE, {"activation_function": "torch.nn.modules.activation.Softmax"}, "Softmax"),
        (DENSE, {"activation_function": "os.system"}, "os.system"),
        (DENSE, {"activation_function": None}, "activation_function"),
        (DENSE, {"module_input_name": "token_embeddings"}, "token_embeddings"),
        (BERT, {"max_seq_length": 0}, "max_seq_length"),
        (BERT, {"max_seq_length": "128"}, "max_seq_length"),
        (BERT, {"max_seq_length": True}, "max_seq_length"),
        (BERT, {"do_lower_case": "no"}, "do_lower_case"),
        (BERT, {"transformer_task": "fill-mask"}, "fill-mask"),
        (BERT, {"tokenizer_args": {"model_max_length": 3}}, "tokenizer_args"),
        (
            BERT,
            {"modality_config": {"text": {"method": "forward", "method_output_name": "pooler_output"}}},
            "pooler_output",
        ),
        (SETTINGS, {"model_type": "SparseEncoder"}, "SparseEncoder"),
        (SETTINGS, {"prompts": ["query: "]}, "prompts"),
        (SETTINGS, {"prompts": {"query": 3}}, "prompts"),
        (SETTINGS, {"prompts": {"query": "q: "}, "default_prompt_name": "passage"}, "passage"),
        (SETTINGS, {"similarity_fn_name": "hamming"}, "hamming"),
        (SETTINGS, {"truncate_dim": -1}, "truncate_dim"),
    ],
)
def test_a_setting_that_llmkit_cannot_follow_is_named_with_its_file(
    file: str, keys: dict[str, Any], named: str, tmp_path: Path
) -> None:
    folder = sentence_folder(tmp_path / "model", after=["Dense"])
    add_dense(folder / "2_Dense", inputs=WIDTH, outputs=4, seed=1)
    content = json.loads((folder / file).read_text()) if (folder / file).exists() else {}
    write_json(folder / file, {**content, **keys})
    with pytest.raises(ModelError) as caught:
        load_model(str(folder), head="embedding")
    assert named in str(caught.value)
    assert file in str(caught.value) or file.replace("config.json", "model.safetensors") in str(caught.value)


def test_a_dense_layer_that_is_only_a_pickle_is_refused_without_opening_it(tmp_path: Path) -> None:
    folder = sentence_folder(tmp_path / "model", after=["Dense"])
    linear = add_dense(folder / "2_Dense", inputs=WIDTH, outputs=4, seed=1)
    (folder / "2_Dense" / "model.safetensors").unlink()
    canary = tmp_path / "canary"

    class Evil:
        def __reduce__(self) -> Any:
            return (Path.touch, (canary,))

    torch.save({**linear.state_dict(), "evil": Evil()}, folder / "2_Dense" / "pytorch_model.bin")
    with pytest.raises(ModelError, match=facts("2_Dense", "pytorch_model.bin", "model.safetensors")):
        load_model(str(folder), head="embedding")
    assert not canary.exists()
    (folder / "2_Dense" / "pytorch_model.bin").unlink()
    with pytest.raises(ModelError, match=facts("2_Dense/model.safetensors", "missing")):
        load_model(str(folder), head="embedding")


def test_weights_of_a_dense_layer_must_be_finite(tmp_path: Path) -> None:
    folder = sentence_folder(tmp_path / "model", after=["Dense"])
    add_dense(folder / "2_Dense", inputs=WIDTH, outputs=4, seed=1)
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "2_Dense" / "model.safetensors")
    save_file({**tensors, "linear.bias": tensors["linear.bias"] * math.nan}, folder / "2_Dense" / "model.safetensors")
    with pytest.raises(ModelError, match=facts("2_Dense/model.safetensors", "linear.bias")):
        load_model(str(folder), head="embedding")


@pytest.mark.parametrize("path", ["../1_Pooling", "/etc", "1_Pooling/../..", "a\\b", "C:x", 3, None])
def test_a_module_outside_the_folder_is_refused(path: Any, tmp_path: Path) -> None:
    folder = sentence_folder(tmp_path / "model")
    modules = json.loads((folder / "modules.json").read_text())
    modules[1]["path"] = path
    write_json(folder / "modules.json", modules)
    with pytest.raises(ModelError, match=facts("modules.json")):
        load_model(str(folder), head="classification", labels=LABELS, new_head=True)


def link_out(file: Path) -> None:
    outside = file.parents[2] / f"outside-{file.name}"
    outside.write_bytes(file.read_bytes())
    file.unlink()
    file.symlink_to(outside)


def make_fifo(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


@pytest.mark.parametrize("attack", [link_out, make_fifo])
@pytest.mark.parametrize("file", ["modules.json", BERT, SETTINGS, POOLING, DENSE, "2_Dense/model.safetensors"])
def test_a_file_of_a_module_that_is_no_regular_file_of_the_folder_is_refused_by_name(
    attack: Callable[[Path], None], file: str, tmp_path: Path
) -> None:
    folder = sentence_folder(tmp_path / "deep" / "model", after=["Dense"], transformer={}, settings={})
    add_dense(folder / "2_Dense", inputs=WIDTH, outputs=4, seed=1)
    attack(folder / file)
    for head in ("embedding", "classification"):
        with pytest.raises(ModelError) as caught:
            load_model(str(folder), head=head, new_head=True)  # type: ignore[arg-type]
        assert file in str(caught.value)


@pytest.mark.parametrize("file", ["modules.json", POOLING, SETTINGS, BERT])
@pytest.mark.parametrize("content", ["{", "3", "null", "\udcff"])
def test_a_damaged_file_is_named(file: str, content: str, tmp_path: Path) -> None:
    folder = sentence_folder(tmp_path / "model", transformer={}, settings={})
    (folder / file).write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(ModelError) as caught:
        load_model(str(folder), head="embedding")
    assert file in str(caught.value)


def test_a_pooling_without_its_config_is_refused(tmp_path: Path) -> None:
    folder = sentence_folder(tmp_path / "model")
    (folder / POOLING).unlink()
    with pytest.raises(ModelError, match=facts(POOLING, "missing")):
        load_model(str(folder), head="embedding")


@pytest.mark.parametrize("body", ["", "0_Transformer"])
def test_an_adapter_embeds_as_its_own_folder_says_else_as_that_of_its_base(body: str, tmp_path: Path) -> None:
    cls = {**FLAGS, "pooling_mode_cls_token": True, "word_embedding_dimension": WIDTH}
    base = sentence_folder(tmp_path / "base", pooling=cls, body=body, transformer={"max_seq_length": 12})
    config = LoraConfig(task_type="FEATURE_EXTRACTION", target_modules=["query", "value"], init_lora_weights=False)
    adapter = tmp_path / "adapter"
    get_peft_model(BertModel.from_pretrained(base / body), config).save_pretrained(adapter)
    write_json(
        adapter / "adapter_config.json",
        {**json.loads((adapter / "adapter_config.json").read_text()), "base_model_name_or_path": str(base)},
    )
    opened = load_model(str(adapter), head="embedding")
    assert opened.sentence is not None
    assert (opened.sentence.pooling, opened.sentence.max_tokens) == (("first",), 12)
    assert not np.allclose(embedded(adapter, TEXTS[:1]), embedded(base, TEXTS[:1]), atol=1e-3)
    for path in ("modules.json", POOLING):
        (adapter / path).parent.mkdir(exist_ok=True)
        (adapter / path).write_bytes((sentence_folder(tmp_path / path[:2]) / path).read_bytes())
    own = load_model(str(adapter), head="embedding").sentence
    assert own is not None
    assert (own.pooling, own.max_tokens) == (("mean",), None)

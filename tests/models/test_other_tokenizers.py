"""Tokenizers that transformers has in Python, BERT's in models that write, and adapters with embeddings."""

from __future__ import annotations

import json
import sys
from io import BytesIO
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from published_models import published_folder
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer
from transformers import AutoModelForCausalLM, ByT5Tokenizer, GPT2Config, GPT2LMHeadModel, T5Config
from transformers import T5ForConditionalGeneration as T5Model

from llmkit.api import evaluate_model, finetune, load
from llmkit.errors import ModelError
from llmkit.models.loading import load_model, load_tokenizer
from llmkit.models.resolve import find_model
from llmkit.tasks.token_ids import token_ids

TEXTS = ["the quick  brown\nfox", "naïve 日本 😀", "", " a <extra_id_0> b ", "tab\t\x00", "a </s> b"]


@pytest.fixture(scope="module")
def byt5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ByT5 as published: a tokenizer without a vocabulary file."""
    folder = tmp_path_factory.mktemp("byt5")
    tokenizer = ByT5Tokenizer(model_max_length=64)
    torch.manual_seed(3)
    config = T5Config(
        vocab_size=len(tokenizer), d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2, decoder_start_token_id=0
    )
    T5Model(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_byt5_has_the_ids_that_transformers_gives_it(byt5: Path) -> None:
    theirs, ours = ByT5Tokenizer.from_pretrained(byt5), load_tokenizer(find_model(str(byt5)))
    assert len(ours) == len(theirs)
    for text in TEXTS:
        ids = theirs(text)["input_ids"]
        assert ours(text)["input_ids"] == ids
        assert ours.decode(ids, skip_special_tokens=True) == theirs.decode(ids, skip_special_tokens=True)


def test_byt5_is_trained_measured_and_used(byt5: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"text": f"é{number}", "target": f"{number}ü"}) + "\n" for number in range(6)))
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"recipe: 1\ntask: text-to-text\nmodel: {byt5}\ndata: {{train: {rows}, validation: {rows}}}\n"
        "max_source_tokens: 16\nmax_target_tokens: 16\ngeneration: {max_new_tokens: 2}\ntrain: {steps: 1}\n"
    )
    assert finetune(recipe, run=tmp_path / "run") is not None
    assert evaluate_model(str(tmp_path / "run")).rows == 6
    model = load(str(tmp_path / "run"))
    assert len(list(model.generate(["é1", "é2"]))) == 2
    (summary,) = load(str(byt5), verb="summarize").summarize(
        ["the fox jumps. " * 10], overflow="window", max_new_tokens=2
    )
    assert summary.parts > 1


def test_another_tokenizer_in_python_is_refused_with_a_way_out(tmp_path: Path) -> None:
    folder = published_folder(tmp_path / "bert", "bert")
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertJapaneseTokenizer"}))
    with pytest.raises(ModelError, match=r"BertJapaneseTokenizer.*tokenizer\.json"):
        load_model(str(folder), head="classification", new_head=True)


def sentencepiece_file() -> bytes:
    words = ["the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "naïve", "Größe", "日本", "語"]
    model = BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter([" ".join(words[place:] + words[:place]) for place in range(len(words))] * 20),
        model_writer=model, vocab_size=80, hard_vocab_limit=False, pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
        minloglevel=2,
    )  # fmt: skip
    return model.getvalue()


@pytest.mark.parametrize("missing", ["sentencepiece", "google.protobuf"])
def test_a_sentencepiece_file_alone_names_the_package_that_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    folder = published_folder(tmp_path / "t5", "t5")
    (folder / "tokenizer.json").unlink()
    (folder / "spiece.model").write_bytes(sentencepiece_file())
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ModelError) as error:
        load_model(str(folder), head="seq2seq-lm")
    assert "spiece.model" in str(error.value)
    assert f"pip install {missing.removeprefix('google.')}`" in str(error.value)


@pytest.mark.parametrize("model_type", ["t5", "mt5"])
def test_a_sentencepiece_file_alone_gives_the_ids_of_sentencepiece(tmp_path: Path, model_type: str) -> None:
    folder = published_folder(tmp_path / "t5", "t5")
    (folder / "tokenizer.json").unlink()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": model_type}))
    settings = {"tokenizer_class": "T5Tokenizer", "extra_ids": 0, "eos_token": "</s>", "pad_token": "<pad>"}
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "unk_token": "<unk>"}))
    (folder / "spiece.model").write_bytes(sentencepiece_file())
    processor = SentencePieceProcessor(model_proto=(folder / "spiece.model").read_bytes())
    tokenizer = load_model(str(folder), head="seq2seq-lm").tokenizer
    for text in ("the quick fox", " 日本 語", "naïve  Größe", "zzz 1"):
        assert token_ids(tokenizer, [text], special=False) == [processor.encode(text)]


def test_a_t5_without_a_decoder_start_is_trained(tmp_path: Path) -> None:
    folder = published_folder(tmp_path / "t5", "t5")
    config = json.loads((folder / "config.json").read_text())
    (folder / "generation_config.json").unlink()
    (folder / "config.json").write_text(json.dumps({**config, "decoder_start_token_id": None, "pad_token_id": None}))
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"text": "the fox", "target": f"cat {number}"}) + "\n" for number in range(4)))
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"recipe: 1\ntask: text-to-text\nmodel: {folder}\ndata: {{train: {rows}, validation: {rows}}}\n"
        "max_source_tokens: 16\nmax_target_tokens: 16\ntrain: {steps: 1}\n"
    )
    assert finetune(recipe, run=tmp_path / "run") is not None


def test_gpt2_with_berts_vocabulary_ends_with_sep_and_writes_chinese_without_spaces(tmp_path: Path) -> None:
    words = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"今天气很好公园去我们，。", "fox", "##es")
    config = GPT2Config(vocab_size=len(words), n_embd=16, n_layer=1, n_head=2, n_positions=32)
    GPT2LMHeadModel(config).save_pretrained(tmp_path)
    (tmp_path / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    saved = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(
        json.dumps({**saved, "tokenizer_class": "BertTokenizer", "eos_token_id": None, "bos_token_id": None})
    )
    (tmp_path / "generation_config.json").unlink(missing_ok=True)
    loaded = load_model(str(tmp_path), head="causal-lm")
    tokenizer = loaded.tokenizer
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("[SEP]", "[PAD]")
    text = "今天天气很好，我们去公园。 foxes fox"
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text
    assert list(load(str(tmp_path)).generate(["今天"], max_new_tokens=3))


@pytest.mark.parametrize("added_tokens", [0, 2])
def test_an_adapter_with_saved_embeddings_is_its_base_with_them(tmp_path: Path, added_tokens: int) -> None:
    base = published_folder(tmp_path / "base", "gpt2")
    model = AutoModelForCausalLM.from_pretrained(base)
    tokenizer = load_tokenizer(find_model(str(base)))
    tokenizer.add_tokens([f"<new{number}>" for number in range(added_tokens)])
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    adapted = get_peft_model(
        model, LoraConfig(r=2, target_modules=["c_attn"], fan_in_fan_out=True, task_type="CAUSAL_LM")
    )
    with torch.no_grad():
        for parameter in adapted.parameters():
            parameter.add_(0.01)
    adapted.base_model.model.transformer.wte.weight.data[:, 0] += 0.5
    folder = tmp_path / "adapter"
    adapted.save_pretrained(folder, save_embedding_layers=True)
    tokenizer.save_pretrained(folder)
    loaded = load_model(str(folder), head="causal-lm")
    embeddings = adapted.base_model.model.transformer.wte.weight
    assert torch.equal(loaded.model.transformer.wte.weight, embeddings)
    assert torch.equal(loaded.model.lm_head.weight, embeddings)

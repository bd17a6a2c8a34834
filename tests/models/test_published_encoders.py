"""Encoders as the hub has them open, learn and are used as they are, with the ids of transformers' own tokenizers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from adapted import saved
from builders import TaskName, rows, task_of, train
from facts import facts
from published_encoders import ENCODERS, published_encoder
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from llmkit.errors import ModelError
from llmkit.inference.engines.transformers import TransformersEngine
from llmkit.inference.filling import fill_texts
from llmkit.models.loading import load_model
from llmkit.tasks.classification.inputs import TextInputs
from llmkit.tasks.question_answering.windows import encode_pairs
from llmkit.tasks.token_classification.subwords import subwords_of_texts, subwords_of_words

QUICK = ("roberta", "deberta")
TEXTS = (
    "the cat",
    " the  cat\nsees Größe",
    "naïve 日本語 été",
    "a <mask> b [MASK] c",
    "x",
    "the cat's (old) tree, red.",
)
VOCABULARIES = {
    "xlm_roberta": "sentencepiece.bpe.model", "albert": "spiece.model", "deberta": "spm.model",
    "distilbert": "vocab.txt", "electra": "vocab.txt", "camembert": "sentencepiece.bpe.model", "mpnet": "vocab.txt",
}  # fmt: skip
each = pytest.mark.parametrize("name", ENCODERS)
each_slow = pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in ENCODERS]
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of each; change none."""
    base = tmp_path_factory.mktemp("published")
    for name in ENCODERS:
        published_encoder(base / name, name)
    return base


@each
def test_ids_are_those_of_transformers_own_tokenizer(name: str, folders: Path) -> None:
    theirs = AutoTokenizer.from_pretrained(folders / name)
    loaded = load_model(str(folders / name), head="question-answering", new_head=True)
    assert len(loaded.tokenizer) == len(theirs) > 40
    for text in TEXTS:
        assert loaded.tokenizer(text)["input_ids"] == theirs(text)["input_ids"]
    pair = ("the cat", "sees a naïve river")
    expected = theirs(*pair, return_tensors="pt", return_token_type_ids=True)
    inputs = TextInputs(loaded, pairs=True)
    [row] = inputs.read([pair[0]], [pair[1]])
    [encoded] = encode_pairs(loaded, [pair], overlap=2)
    assert inputs.whole(row) == encoded.sequences[0] == expected["input_ids"][0].tolist()
    segments = loaded.family.segment_inputs(expected["input_ids"], loaded.tokenizer)
    if segments:
        assert torch.equal(segments["token_type_ids"], expected["token_type_ids"])


@each
def test_words_of_a_text_are_those_of_a_list_of_words(name: str, folders: Path) -> None:
    """With a word that is no token: its first subword is a space alone in byte-level BPE and SentencePiece."""
    tokenizer = load_model(str(folders / name), head="embedding").tokenizer
    words = ["the", "naïvely", "日", "cat", "sees", "Öl"]
    text = " ".join(words)
    [of_text], [of_words] = subwords_of_texts(tokenizer, [text]), subwords_of_words(tokenizer, [words])
    assert [text[start:end] for start, end in of_text.spans] == words
    assert list(of_text.ids) == list(of_words.ids) == tokenizer(text, add_special_tokens=False)["input_ids"]
    assert list(of_text.firsts) == list(of_words.firsts)


@each
def test_an_answer_is_the_characters_of_its_tokens_without_the_space_before_it(name: str, folders: Path) -> None:
    loaded = load_model(str(folders / name), head="question-answering", new_head=True)
    context = "the naïvely 日 cat sees Öl"
    [pair] = encode_pairs(loaded, [("red", context)], overlap=2)
    offsets = pair.windows.context.offsets
    for word in context.split():
        start = context.index(word)
        first, last = pair.windows.context.tokens_of(start, start + len(word)) or (-1, -1)
        assert context[offsets[first, 0] : offsets[last, 1]] == word


TASKS: tuple[TaskName, ...] = ("classification", "masked-lm", "question-answering", "token-classification")


@each_slow
@pytest.mark.parametrize("use", TASKS)
def test_it_is_trained_saved_and_opened_in_plain_transformers(
    name: str, use: TaskName, folders: Path, tmp_path: Path
) -> None:
    head = task_of(use).recipe.HEAD
    labels = {"classification": ("bad", "fair", "good"), "token-classification": task_of(use).loaded.labels}.get(use)
    loaded = load_model(str(folders / name), head=head, labels=labels, new_head=True)
    before = {key: weight.clone() for key, weight in loaded.model.state_dict().items()}
    task = task_of(use, loaded=loaded)
    train(task, steps=2, batch_size=8, count=16)
    assert any(not torch.equal(weight, before[key]) for key, weight in loaded.model.state_dict().items())

    folder = saved(loaded, tmp_path / "model")
    [architecture] = json.loads((folder / "config.json").read_text())["architectures"]
    plain, tokenizer = (
        getattr(transformers, architecture).from_pretrained(folder),
        AutoTokenizer.from_pretrained(folder),
    )
    again = load_model(str(folder), head=head)
    inputs = tokenizer(["the cat", "a naïve river sees"], padding=True, return_tensors="pt")
    assert tokenizer(list(TEXTS))["input_ids"] == again.tokenizer(list(TEXTS))["input_ids"]
    with torch.inference_mode():
        for ours, theirs in zip(again.model.eval()(**inputs).values(), plain(**inputs).values(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    engine = TransformersEngine(again, device=torch.device("cpu"))
    if use == "masked-lm":
        [filling] = fill_texts(again, engine, ["the [MASK] sees"], top_k=2, overflow="error")
        assert len(filling.masks[0].candidates) == 2
    else:
        assert len(task_of(use, loaded=again).predict(task.encode(rows(3)), engine)) == 3


# ---- weights


def with_weights(source: Path, target: Path, *, dtype: torch.dtype, shards: int) -> Path:
    """A copy of a folder with weights of a type, in several files."""
    target.mkdir()
    for file in source.iterdir():
        if file.suffix != ".safetensors":
            (target / file.name).write_bytes(file.read_bytes())
    tensors = {
        key: tensor.to(dtype) if tensor.is_floating_point() else tensor
        for key, tensor in load_file(source / "model.safetensors").items()
    }
    files = [f"model-{number + 1:05d}-of-{shards:05d}.safetensors" for number in range(shards)]
    parts: list[dict[str, torch.Tensor]] = [{} for _ in files]
    for place, (key, tensor) in enumerate(sorted(tensors.items())):
        parts[place % shards][key] = tensor
    for file, part in zip(files, parts, strict=True):
        save_file(part, target / file, metadata={"format": "pt"})
    weight_map = {key: file for file, part in zip(files, parts, strict=True) for key in part}
    (target / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return target


@pytest.mark.parametrize("name", ["roberta", "modernbert"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_in_several_files_is_read_as_the_same_numbers(
    name: str, dtype: torch.dtype, folders: Path, tmp_path: Path
) -> None:
    folder = with_weights(folders / name, tmp_path / "model", dtype=dtype, shards=3)
    loaded = load_model(str(folder), head="masked-lm")
    plain = transformers.AutoModelForMaskedLM.from_pretrained(folder, dtype=torch.float32)
    inputs = loaded.tokenizer(["the cat", "a red river"], padding=True, return_tensors="pt")
    with torch.inference_mode():
        ours, theirs = loaded.model.eval()(**inputs).logits, plain(**inputs).logits
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["xlm_roberta", "deberta"])
def test_added_tokens_have_the_ids_and_rows_that_transformers_gave_them(
    name: str, folders: Path, tmp_path: Path
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folders / name)
    model = transformers.AutoModelForMaskedLM.from_pretrained(folders / name)
    tokenizer.add_tokens(["old-stone", "<user>"])
    model.resize_token_embeddings(len(tokenizer) + 70, mean_resizing=False)
    for part in (model, tokenizer):
        part.save_pretrained(tmp_path / "model")
    loaded = load_model(str(tmp_path / "model"), head="masked-lm")
    text = "the old-stone sees <user> a cat"
    assert loaded.tokenizer(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert max(tokenizer(text)["input_ids"]) == len(tokenizer) - 1
    train(task_of("masked-lm", loaded=loaded), steps=2, batch_size=8, count=16)
    plain = transformers.AutoModelForMaskedLM.from_pretrained(saved(loaded, tmp_path / "trained"))
    inputs = tokenizer(text, return_tensors="pt")
    with torch.inference_mode():
        ours, theirs = loaded.model.eval()(**inputs).logits, plain(**inputs).logits
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("file", ["pytorch_model.bin", "model.ckpt"])
def test_weights_in_a_pickle_are_refused_with_the_way_to_convert_them(file: str, folders: Path, tmp_path: Path) -> None:
    folder = published_encoder(tmp_path / "model", "deberta")
    (folder / "model.safetensors").rename(folder / file)
    with pytest.raises(ModelError, match=facts(file, "pickle", "safetensors", "convert")):
        load_model(str(folder), head="classification", new_head=True)


@pytest.mark.parametrize(("name", "file"), VOCABULARIES.items())
def test_a_tokenizer_without_its_vocabulary_is_refused(name: str, file: str, folders: Path, tmp_path: Path) -> None:
    """transformers opens it with special tokens alone: to it all text is unknown."""
    folder = published_encoder(tmp_path / "model", name)
    (folder / file).unlink()
    with pytest.raises(ModelError, match=facts(file, "tokenizer.json")):
        load_model(str(folder), head="embedding")


def test_the_head_of_deberta_v2_that_shares_the_embeddings_gives_transformers_own_logits(
    folders: Path, tmp_path: Path
) -> None:
    source = folders / "deberta"
    model = transformers.DebertaV2ForMaskedLM.from_pretrained(source, legacy=False)
    AutoTokenizer.from_pretrained(source).save_pretrained(tmp_path)
    model.save_pretrained(tmp_path)
    loaded = load_model(str(tmp_path), head="masked-lm")
    assert "lm_predictions.lm_head.bias" in loaded.model.state_dict()
    batch: Any = loaded.tokenizer("the cat", return_tensors="pt")
    head = loaded.family.masked_lm_head(loaded.model.eval())
    with torch.inference_mode():
        states = loaded.model.base_model(**batch).last_hidden_state
        logits = torch.nn.functional.linear(head.transform(states), head.weight, head.bias)
        np.testing.assert_allclose(logits, model.eval()(**batch).logits, rtol=1e-4, atol=1e-5)

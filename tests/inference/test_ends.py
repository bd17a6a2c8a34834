"""Where a text ends: as tokenizer and chat template say, whatever other words the configs list. No model is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from chain_models import CHATML, chain_model, chain_tokenizer, set_ids
from facts import facts
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

from llmkit.api.model import Model
from llmkit.errors import ModelError
from llmkit.inference.engines.transformers import TransformersEngine
from llmkit.models.ends import end_ids, name_special_ids
from llmkit.models.export import model_files
from llmkit.models.families import Head
from llmkit.models.loaded import LoadedModel
from llmkit.models.loading import load_model

END = "<|endoftext|>"
WAYS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "beams": {"beams": 3},
    "samples": {"temperature": 0.01, "num_return_sequences": 2},
    "with a stop text": {"stop": ("nowhere",)},
}
HEADS: dict[str, Head] = {"gpt2": "causal-lm", "t5": "seq2seq-lm"}


def model_of(loaded: LoadedModel) -> Model:
    return Model(loaded, TransformersEngine(loaded, device=torch.device("cpu")), head=HEADS[loaded.family.name])


def written(loaded: LoadedModel, prompt: str, **options: Any) -> set[str]:
    """What `generate` and `stream` write behind a prompt, as it stands."""
    model, options = model_of(loaded), {"max_new_tokens": 12, **options}
    (result,) = model.generate([prompt], raw=True, **options)
    streamed = "" if "num_return_sequences" in options else "".join(model.stream(prompt, raw=True, **options))
    return {*result.texts, *([streamed] if streamed else [])}


def gpt2(end: str, *, eos: str = END, template: str | None = None) -> LoadedModel:
    """Writes `bird tree END quiet` behind `old`; its tokenizer calls `eos` the end of text."""
    tokenizer = chain_tokenizer("gpt2")
    tokenizer.eos_token, tokenizer.chat_template = eos, template
    loaded = chain_model(tokenizer, ["Ċ", "Ġbird"], ["Ġold", "Ġbird", "Ġtree", end, "Ġquiet"])
    set_ids(loaded, eos_token_id=tokenizer.eos_token_id, bos_token_id=tokenizer.bos_token_id)
    return loaded


def saved(loaded: LoadedModel, folder: Path) -> str:
    folder.mkdir(exist_ok=True)
    for name, content in model_files(loaded).items():
        (folder / name).write_bytes(content)
    return str(folder)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("place", ["config", "generation_config", "both"])
def test_the_tokenizers_end_ends_a_text_and_a_word_in_a_config_does_not(way: str, place: str) -> None:
    loaded = gpt2(END)
    word = loaded.tokenizer.convert_tokens_to_ids("Ġbird")
    for name in ("config", "generation_config") if place == "both" else (place,):
        getattr(loaded.model, name).eos_token_id = word
    assert written(loaded, "the old", **WAYS[way]) == {" bird tree"}


@pytest.mark.parametrize("way", WAYS)
def test_each_special_token_that_generation_config_lists_ends_a_text(way: str) -> None:
    loaded = gpt2("<|extra|>")
    ids = [loaded.tokenizer.convert_tokens_to_ids(token) for token in ("<|im_end|>", "Ġbird", "<|extra|>")]
    loaded.model.generation_config.eos_token_id = ids
    assert written(loaded, "the old", **WAYS[way]) == {" bird tree"}


@pytest.mark.parametrize("way", [way for way in WAYS if way != "samples"])
@pytest.mark.parametrize("eos", [END, "<|im_end|>"])
def test_an_answer_ends_as_the_chat_template_writes_it(way: str, eos: str) -> None:
    """TRL sets the tokenizer's end and leaves generation_config; others leave the tokenizer as the base had it."""
    loaded = gpt2("<|im_end|>", eos=eos, template=CHATML)
    set_ids(loaded, eos_token_id=loaded.tokenizer.convert_tokens_to_ids(END))
    assert written(loaded, "the old", **WAYS[way]) == {" bird tree"}
    model, messages = model_of(loaded), [{"role": "user", "content": "the old"}]
    options = {"max_new_tokens": 12, **WAYS[way]}
    assert model.chat(messages, **options).text == "".join(model.stream_chat(messages, **options)) == "bird tree"
    assert [result.texts for result in model.generate(["the old"], **options)] == [["bird tree"]]


def test_a_template_that_refuses_an_exchange_leaves_the_tokenizers_end() -> None:
    loaded = gpt2(END, template="{{ raise_exception('no') }}")
    assert end_ids(loaded) == (loaded.tokenizer.eos_token_id,)


def test_a_text_that_ends_did_not_reach_the_limit() -> None:
    loaded = gpt2("<|im_end|>", template=CHATML)
    engine = model_of(loaded)._engine
    (lists,) = engine.generate([loaded.tokenizer("the old")["input_ids"]], model_of(loaded).options({}))
    assert len(lists[0]) == 2


def test_a_word_that_a_config_calls_padding_is_not_left_out_of_a_text() -> None:
    loaded = gpt2(END)
    set_ids(loaded, pad_token_id=loaded.tokenizer.convert_tokens_to_ids("Ġbird"))
    assert written(loaded, "the old") == {" bird tree"}


@pytest.mark.parametrize("way", WAYS)
def test_t5_ends_where_its_tokenizer_says(way: str) -> None:
    tokenizer = chain_tokenizer("t5")
    loaded = chain_model(tokenizer, ["<pad>", "ma", "ri", "nd", "</s>", "al"], family="t5")
    word = tokenizer.convert_tokens_to_ids("ri")
    set_ids(loaded, eos_token_id=word, pad_token_id=word)
    assert written(loaded, "the old", **WAYS[way]) == {"marind"}


def test_a_token_that_stands_for_an_unknown_word_ends_nothing() -> None:
    """T5Config says 1, which is the unknown token of many another tokenizer."""
    tokenizer = chain_tokenizer("t5")
    loaded = chain_model(tokenizer, ["<pad>", "ma", "<unk>", "nd", "</s>", "al"], family="t5")
    set_ids(loaded, eos_token_id=tokenizer.unk_token_id)
    assert written(loaded, "the old") == {"mand"}


# ---- ids that no vocabulary has


@pytest.mark.parametrize("family", ["gpt2", "t5"])
@pytest.mark.parametrize("key", ["eos_token_id", "decoder_start_token_id"])
@pytest.mark.parametrize("value", [10**12, -1, [1, -1]])
@pytest.mark.parametrize("file", ["config", "generation_config"])
def test_an_id_outside_of_the_vocabulary_is_refused_with_its_key(
    family: str, key: str, value: Any, file: str, tmp_path: Path
) -> None:
    if key == "decoder_start_token_id" and isinstance(value, list):
        value = value[1]
    loaded = chain_model(chain_tokenizer(family), ["a", "b"], family=family)
    if file == "config":
        setattr(loaded.model.config, key, value)
    else:
        setattr(loaded.model.generation_config, key, value)
    with pytest.raises(ModelError, match=facts(key, f" {file}.json")):
        load_model(saved(loaded, tmp_path), head=HEADS[family])


def test_the_default_of_gpt2_in_a_smaller_vocabulary_is_no_choice_and_no_fault(tmp_path: Path) -> None:
    loaded = gpt2(END)
    set_ids(loaded, eos_token_id=50256, bos_token_id=50256)
    assert written(load_model(saved(loaded, tmp_path), head="causal-lm"), "the old") == {" bird tree"}


# ---- the saved model in transformers


@pytest.mark.parametrize("beams", [1, 3])
def test_transformers_writes_the_same_text_with_what_a_training_leaves(tmp_path: Path, beams: int) -> None:
    loaded = gpt2("<|im_end|>", template=CHATML)
    word = loaded.tokenizer.convert_tokens_to_ids("Ġbird")
    set_ids(loaded, eos_token_id=word, bos_token_id=word, pad_token_id=word)
    end = loaded.tokenizer.convert_tokens_to_ids("<|im_end|>")
    name_special_ids(loaded, taught=end)
    folder = saved(loaded, tmp_path)
    plain = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)
    ids = loaded.tokenizer(["the old", "an old"], return_tensors="pt", padding=True)
    output = plain.generate(**ids, num_beams=beams, do_sample=False, max_new_tokens=12)
    new = output[:, ids["input_ids"].shape[1] :]
    texts = loaded.tokenizer.batch_decode(new, skip_special_tokens=True)
    assert texts == [" bird tree", " bird tree"]
    opened = load_model(folder, head="causal-lm")
    assert written(opened, "the old", beams=beams) == set(texts)
    assert opened.model.config.eos_token_id == end
    assert opened.model.config.bos_token_id == opened.tokenizer.bos_token_id


def test_transformers_writes_the_same_text_with_a_trained_t5(tmp_path: Path) -> None:
    tokenizer = chain_tokenizer("t5")
    loaded = chain_model(tokenizer, ["<pad>", "ma", "ri", "nd", "</s>", "al"], family="t5")
    word = tokenizer.convert_tokens_to_ids("ri")
    set_ids(loaded, eos_token_id=word, pad_token_id=word)
    name_special_ids(loaded, taught=tokenizer.eos_token_id)
    folder = saved(loaded, tmp_path)
    plain = AutoModelForSeq2SeqLM.from_pretrained(folder, local_files_only=True)
    ids = tokenizer(["the old", "a"], return_tensors="pt", padding=True)
    output = plain.generate(**ids, do_sample=False, max_new_tokens=12)
    texts = tokenizer.batch_decode(output, skip_special_tokens=True)
    assert texts == ["marind", "marind"]
    assert written(load_model(folder, head="seq2seq-lm"), "the old") == set(texts)

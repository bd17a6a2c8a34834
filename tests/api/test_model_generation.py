"""Generation options of a model's own configs: the defaults of its use, of its evaluation and of what is trained from it."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from published_models import published_folder
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

import llmkit
from llmkit.errors import LlmkitError, ModelError, UsageError

TEXT = "the small dog runs over the green hill"


def options_into(folder: Path, options: Mapping[str, Any], *, file: str) -> None:
    """Write the options into the one file; the other file has none."""
    generation = folder / "generation_config.json"
    if file == "config.json":
        generation.unlink()
    content = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps({**content, **options}))


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bases")
    for family in ("t5", "gpt2"):
        published_folder(folder / family, family, layers=2)
        separate_logits(folder / family)
    return folder


def separate_logits(folder: Path) -> None:
    """Initial weights give all tokens nearly the same logit: rounding would decide."""
    kind = AutoModelForSeq2SeqLM if folder.name == "t5" else AutoModelForCausalLM
    model: Any = kind.from_pretrained(folder)
    torch.manual_seed(4)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim == 2:
                weight.normal_(std=1.0 if "lm_head" in name or "shared" in name else 0.3)
    model.save_pretrained(folder)


@pytest.fixture
def t5(bases: Path, tmp_path: Path) -> Path:
    return copied(bases / "t5", tmp_path / "t5")


@pytest.fixture
def gpt2(bases: Path, tmp_path: Path) -> Path:
    return copied(bases / "gpt2", tmp_path / "gpt2")


def copied(source: Path, target: Path) -> Path:
    target.mkdir()
    for path in source.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target


def by_transformers(folder: Path, text: str, **options: Any) -> str:
    causal = folder.name == "gpt2"
    model: Any = (AutoModelForCausalLM if causal else AutoModelForSeq2SeqLM).from_pretrained(folder)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    ids = tokenizer(text, return_tensors="pt", add_special_tokens=not causal).input_ids
    output = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **options)[0]
    written: str = tokenizer.decode(output[ids.shape[1] if causal else 0 :], skip_special_tokens=True)
    return written.rstrip("\N{REPLACEMENT CHARACTER}")  # half a character, which llmkit leaves out


T5_OPTIONS: list[dict[str, Any]] = [
    {"no_repeat_ngram_size": 2, "max_length": 14},
    {"num_beams": 4, "length_penalty": 0.6, "no_repeat_ngram_size": 2, "max_length": 16},
    {"num_beams": 3, "early_stopping": True, "length_penalty": 2.0, "min_length": 6, "max_new_tokens": 12},
    {"min_new_tokens": 5, "max_new_tokens": 9, "repetition_penalty": 1.4},
    {"bad_words_ids": [[9], [11, 12]], "suppress_tokens": [8, 10], "max_new_tokens": 9},
    {"forced_bos_token_id": 9, "forced_eos_token_id": 1, "max_length": 8},
    {"encoder_no_repeat_ngram_size": 1, "max_length": 10, "num_beams": 2},
]
GPT2_OPTIONS: list[dict[str, Any]] = [
    {"no_repeat_ngram_size": 1, "max_new_tokens": 12},
    {"num_beams": 3, "length_penalty": -1.0, "no_repeat_ngram_size": 2, "max_new_tokens": 12},
    {"max_length": 30, "min_length": 20, "repetition_penalty": 1.3},
]


@pytest.mark.parametrize("file", ["config.json", "generation_config.json"])
@pytest.mark.parametrize("options", T5_OPTIONS, ids=str)
def test_t5_writes_what_transformers_writes_with_its_own_options(t5: Path, options: dict[str, Any], file: str) -> None:
    options_into(t5, options, file=file)
    model = llmkit.load(str(t5), verb="generate")
    assert next(model.generate([TEXT])).texts == [by_transformers(t5, TEXT)]


@pytest.mark.parametrize("file", ["config.json", "generation_config.json"])
@pytest.mark.parametrize("options", GPT2_OPTIONS, ids=str)
def test_gpt2_writes_what_transformers_writes_with_its_own_options(
    gpt2: Path, options: dict[str, Any], file: str
) -> None:
    options_into(gpt2, options, file=file)
    model = llmkit.load(str(gpt2), verb="generate")
    assert next(model.generate([TEXT])).texts == [by_transformers(gpt2, TEXT)]
    assert "".join(model.stream(TEXT)) == by_transformers(gpt2, TEXT)


def test_options_of_the_user_replace_those_of_the_model(t5: Path) -> None:
    options_into(t5, {"num_beams": 4, "no_repeat_ngram_size": 2, "length_penalty": 2.0}, file="config.json")
    model = llmkit.load(str(t5), verb="generate")
    chosen = {"max_new_tokens": 12, "beams": 2, "no_repeat_ngram_size": 3, "length_penalty": 0.5}
    theirs = by_transformers(t5, TEXT, max_new_tokens=12, num_beams=2, no_repeat_ngram_size=3, length_penalty=0.5)
    assert next(model.generate([TEXT], **chosen)).texts == [theirs]
    greedy = by_transformers(t5, TEXT, max_new_tokens=12, num_beams=1)
    assert next(model.generate([TEXT], max_new_tokens=12, beams=1)).texts == [greedy]


def test_an_entry_of_task_specific_params_counts_for_its_task_alone(t5: Path) -> None:
    entry: dict[str, Any] = {
        "num_beams": 3,
        "length_penalty": 2.0,
        "max_length": 21,
        "min_length": 7,
        "no_repeat_ngram_size": 3,
    }
    german: dict[str, Any] = {"num_beams": 2, "max_length": 31, "prefix": "translate English to German: "}
    entries = {"task_specific_params": {"summarization": entry, "translation_en_to_de": german}}
    (t5 / "config.json").write_text(json.dumps({**json.loads((t5 / "config.json").read_text()), **entries}))
    theirs = by_transformers(t5, TEXT, **entry)
    assert next(llmkit.load(str(t5), verb="summarize").summarize([TEXT])).texts == [theirs]
    prefixed = by_transformers(t5, german["prefix"] + TEXT, num_beams=2, max_length=31)
    assert next(llmkit.load(str(t5), verb="translate").translate([TEXT])).texts == [prefixed]


def test_a_model_that_samples_by_default_samples_and_beams_1_turns_it_off(gpt2: Path) -> None:
    options = {"do_sample": True, "temperature": 0.7, "top_p": 0.9, "top_k": 12, "max_new_tokens": 8}
    options_into(gpt2, options, file="generation_config.json")
    model = llmkit.load(str(gpt2), verb="generate")
    block = model.options({})
    assert (block.samples, block.temperature, block.top_p, block.top_k) == (True, 0.7, 0.9, 12)
    assert model.options({"temperature": 1.5}).top_p == 0.9
    assert not model.options({"beams": 1}).samples
    assert model.options({"beams": 3}).beams == 3
    assert next(model.generate([TEXT], beams=1)).texts == [by_transformers(gpt2, TEXT, do_sample=False)]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (
            {"diversity_penalty": 0.5, "num_beam_groups": 2, "num_beams": 2},
            ["diversity_penalty 0.5", "num_beam_groups"],
        ),
        ({"penalty_alpha": 0.6, "top_k": 4}, ["penalty_alpha 0.6"]),
        ({"guidance_scale": 1.5}, ["guidance_scale 1.5"]),
        ({"do_sample": True, "min_p": 0.1, "typical_p": 0.5}, ["min_p 0.1", "typical_p 0.5"]),
        ({"exponential_decay_length_penalty": [5, 1.1]}, ["exponential_decay_length_penalty"]),
        ({"forced_bos_token_id": 4}, ["forced_bos_token_id 4"]),
        ({"do_sample": True, "num_beams": 3}, ["do_sample"]),
    ],
)
def test_an_option_that_is_not_followed_is_named_once(
    gpt2: Path, options: dict[str, Any], named: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    options_into(gpt2, {**options, "max_new_tokens": 3}, file="generation_config.json")
    model = llmkit.load(str(gpt2), verb="generate")
    with caplog.at_level(logging.INFO, logger="llmkit"):
        for _ in range(2):
            list(model.generate([TEXT]))
    warnings = [one.getMessage() for one in caplog.records if "not follow" in one.getMessage()]
    assert len(warnings) == 1
    for name in named:
        assert name in warnings[0]


def test_options_of_a_config_beside_a_generation_config_are_named(t5: Path, caplog: pytest.LogCaptureFixture) -> None:
    options_into(t5, {"max_new_tokens": 4}, file="generation_config.json")
    content = json.loads((t5 / "config.json").read_text())
    (t5 / "config.json").write_text(json.dumps({**content, "no_repeat_ngram_size": 2, "num_beams": 1}))
    with caplog.at_level(logging.WARNING, logger="llmkit"):
        model = llmkit.load(str(t5), verb="generate")
    assert "no_repeat_ngram_size 2" in caplog.text
    assert "num_beams" not in caplog.text
    assert model.options({}).no_repeat_ngram_size == 0


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"num_beams": 1000}, "num_beams 1000"),
        ({"no_repeat_ngram_size": -2}, "no_repeat_ngram_size -2"),
        ({"length_penalty": "long"}, "length_penalty: 'long'"),
        ({"bad_words_ids": [[100_000]]}, "bad_words_ids 100,000"),
        ({"forced_eos_token_id": 99_999}, "forced_eos_token_id 99,999"),
        ({"max_length": "many"}, "max_length: 'many'"),
    ],
)
def test_a_config_with_an_impossible_option_is_refused_by_its_name(
    t5: Path, options: dict[str, Any], named: str
) -> None:
    options_into(t5, options, file="generation_config.json")
    with pytest.raises(ModelError) as caught:
        list(llmkit.load(str(t5), verb="generate").generate([TEXT]))
    assert named in str(caught.value)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"length_penalty": 2.0}, "length_penalty"),
        ({"early_stopping": True, "beams": 1}, "early_stopping"),
        ({"min_new_tokens": 9, "max_new_tokens": 3}, "min_new_tokens 9"),
        ({"bad_words_ids": [[100_000]]}, "bad_words_ids 100,000"),
        ({"max_length": 20}, "max_length"),
    ],
)
def test_options_of_the_user_that_do_not_fit_are_refused(t5: Path, options: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError) as caught:
        list(llmkit.load(str(t5), verb="generate").generate([TEXT], **options))
    assert named in str(caught.value)


def test_a_prompt_that_leaves_no_room_in_the_models_max_length_is_refused(gpt2: Path) -> None:
    options_into(gpt2, {"max_length": 4}, file="generation_config.json")
    model = llmkit.load(str(gpt2), verb="generate")
    with pytest.raises(LlmkitError) as caught:
        list(model.generate([TEXT]))
    assert "max_length 4" in str(caught.value)
    assert len(next(model.generate([TEXT], max_new_tokens=2)).texts) == 1

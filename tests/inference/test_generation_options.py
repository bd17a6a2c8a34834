"""Generation options against generate() of transformers: the same token ids, with our batches and beam search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from small_models import small_gpt2, small_t5
from transformers import T5Config, T5ForConditionalGeneration

from llmkit.inference.engines.special_ids import special_ids
from llmkit.inference.engines.transformers import TransformersEngine
from llmkit.models.loaded import LoadedModel
from llmkit.recipe.generation import GenerationBlock

NEW_TOKENS = 12


@pytest.fixture(scope="module")
def t5() -> LoadedModel:
    return wide_t5()


@pytest.fixture(scope="module")
def gpt2() -> LoadedModel:
    return ending_gpt2()


def wide_t5() -> LoadedModel:
    """Logits that lie far apart, and texts that end now and then."""
    loaded = small_t5()
    size = len(loaded.tokenizer)
    config = T5Config(
        vocab_size=size, d_model=32, d_kv=16, d_ff=64, num_layers=2, num_heads=2, decoder_start_token_id=0
    )
    torch.manual_seed(5)
    model = T5ForConditionalGeneration(config).eval()
    head = torch.randn(size, 32)
    head[1] *= 2.5
    model.lm_head.weight = torch.nn.Parameter(head)
    return replace(loaded, model=model)


def ending_gpt2() -> LoadedModel:
    """Texts that end now and then."""
    loaded = small_gpt2()
    with torch.no_grad():
        loaded.model.get_input_embeddings().weight[loaded.tokenizer.eos_token_id] *= 5.0
    return loaded


def prompts_of(loaded: LoadedModel) -> list[list[int]]:
    """Of different lengths, so that a batch is padded; with repeated tokens, which n-grams need."""
    rng = torch.Generator().manual_seed(11)
    lengths = [1, 5, 9, 20]
    prompts = [torch.randint(3, 40, (length,), generator=rng).tolist() for length in lengths]
    if loaded.family.is_encoder_decoder:
        return [[*prompt, 1] for prompt in prompts]
    return prompts


def by_transformers(loaded: LoadedModel, prompt: list[int], options: Mapping[str, Any]) -> list[list[int]]:
    model: Any = loaded.model
    ids = special_ids(loaded)
    written = 1 if loaded.family.is_encoder_decoder else len(prompt)
    output = model.generate(
        input_ids=torch.tensor([prompt]),
        attention_mask=torch.ones(1, len(prompt)),
        **{"max_new_tokens": NEW_TOKENS, "do_sample": False, "top_k": None, **options},
        **ids.as_generation_keys(),
    )
    return [ids.without(row[written:]) for row in output.tolist()]


BEAMS = {"num_beams": 4, "num_return_sequences": 2}
SETTINGS: list[dict[str, Any]] = [
    {"bad_words_ids": [[1]], "no_repeat_ngram_size": 1},
    {"no_repeat_ngram_size": 2, "min_new_tokens": 5},
    {"encoder_no_repeat_ngram_size": 1, "min_new_tokens": 3},
    {"encoder_no_repeat_ngram_size": 2, "repetition_penalty": 1.3},
    {"suppress_tokens": [20, 85, 283], "begin_suppress_tokens": [27, 50, 11]},
    {"forced_eos_token_id": 1, "min_new_tokens": 20},
    {**BEAMS, "length_penalty": 0.0},
    {**BEAMS, "length_penalty": 2.0},
    {**BEAMS, "length_penalty": -1.5},
    {**BEAMS, "length_penalty": 0.6, "no_repeat_ngram_size": 2},
    {**BEAMS, "early_stopping": True, "length_penalty": 3.0},
    {**BEAMS, "early_stopping": True, "length_penalty": 2.0, "min_new_tokens": 4, "no_repeat_ngram_size": 3},
    {**BEAMS, "early_stopping": "never", "length_penalty": 1.5},
    {**BEAMS, "early_stopping": "never", "length_penalty": -0.5},
    {**BEAMS, "encoder_no_repeat_ngram_size": 2, "no_repeat_ngram_size": 1},
    {**BEAMS, "min_new_tokens": 12, "repetition_penalty": 1.2},
    {**BEAMS, "bad_words_ids": [[31], [1], [27, 20], [22, 70, 20]], "suppress_tokens": [49]},
    {**BEAMS, "forced_eos_token_id": 1, "begin_suppress_tokens": [27, 31, 50]},
]
OF_T5: list[dict[str, Any]] = [
    {"forced_bos_token_id": 9},
    {**BEAMS, "forced_bos_token_id": 9, "begin_suppress_tokens": [4, 5]},
]
OF_GPT2: list[dict[str, Any]] = [
    {"min_length": 15},
    {"min_length": 15, "num_beams": 3},
    {"max_length": 22, "max_new_tokens": None},
    {"max_length": 22, "max_new_tokens": None, "num_beams": 3, "length_penalty": 0.5},
    {"max_length": 22, "max_new_tokens": None, "forced_eos_token_id": 1},
]


def block_of(options: Mapping[str, Any]) -> GenerationBlock:
    keys = {**options, "beams": options.get("num_beams", 1)}
    keys.pop("num_beams", None)
    keys["max_new_tokens"] = keys.get("max_new_tokens", NEW_TOKENS) or 40
    if keys.get("min_new_tokens", 0) > keys["max_new_tokens"]:
        keys["min_new_tokens"] = keys["max_new_tokens"]
    return GenerationBlock(**keys)


def differing(loaded: LoadedModel, options: Mapping[str, Any]) -> list[int]:
    """Prompts whose ids differ from those of transformers."""
    prompts = prompts_of(loaded)
    ours = TransformersEngine(loaded, device=torch.device("cpu")).generate(prompts, block_of(options))
    theirs = [by_transformers(loaded, prompt, options) for prompt in prompts]
    return [index for index, lists in enumerate(ours) if lists != theirs[index]]


@pytest.mark.parametrize("options", [*SETTINGS, *OF_T5], ids=str)
@pytest.mark.filterwarnings("ignore:Unfeasible length")
def test_t5_writes_the_ids_of_transformers(t5: LoadedModel, options: dict[str, Any]) -> None:
    assert differing(t5, options) == []


@pytest.mark.parametrize("options", [*SETTINGS, *OF_GPT2], ids=str)
@pytest.mark.filterwarnings("ignore:Unfeasible length")
def test_gpt2_writes_the_ids_of_transformers(gpt2: LoadedModel, options: dict[str, Any]) -> None:
    assert differing(gpt2, options) == []


@pytest.mark.parametrize("options", [one for one in [*SETTINGS, *OF_T5, *OF_GPT2] if "num_beams" not in one], ids=str)
def test_a_stream_is_the_text_of_a_batch(t5: LoadedModel, gpt2: LoadedModel, options: dict[str, Any]) -> None:
    for loaded in (t5, gpt2):
        if (options in OF_T5 and loaded is gpt2) or (options in OF_GPT2 and loaded is t5):
            continue
        engine, block = TransformersEngine(loaded, device=torch.device("cpu")), block_of(options)
        prompts = prompts_of(loaded)
        for prompt, lists in zip(prompts, engine.generate(prompts, block), strict=True):
            assert list(engine.generate_stream(prompt, block)) == lists[0]


@pytest.mark.parametrize("options", SETTINGS, ids=str)
def test_each_setting_changes_a_text(t5: LoadedModel, gpt2: LoadedModel, options: dict[str, Any]) -> None:
    plain = {key: value for key, value in options.items() if key in BEAMS}
    changed = []
    for loaded in (t5, gpt2):
        engine, prompts = TransformersEngine(loaded, device=torch.device("cpu")), prompts_of(loaded)
        changed.append(engine.generate(prompts, block_of(options)) != engine.generate(prompts, block_of(plain)))
    assert any(changed)

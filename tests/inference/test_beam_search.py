"""Our beam search for T5 and mT5 against that of transformers: the same texts, in the same order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from small_models import small_t5
from transformers import MT5Config, MT5ForConditionalGeneration, T5Config, T5ForConditionalGeneration

from llmkit.inference.engines.beam_search import beam_search
from llmkit.inference.engines.special_ids import special_ids
from llmkit.inference.engines.transformers import TransformersEngine
from llmkit.models.families import FAMILIES
from llmkit.models.loaded import LoadedModel
from llmkit.recipe.generation import GenerationBlock

VOCABULARY = len(small_t5().tokenizer)
SIZES = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2, "decoder_start_token_id": 0}


def wide(cls: Any, config: Any) -> Any:
    """A model whose logits lie far apart, and whose texts end now and then."""
    torch.manual_seed(5)
    model = cls(config).eval()
    head = torch.randn(config.vocab_size, config.d_model) * (1.0 if config.model_type == "t5" else 0.5)
    head[1] *= 2.5
    model.lm_head.weight = torch.nn.Parameter(head)
    return model


MODELS: dict[str, Callable[[int], Any]] = {
    "t5": lambda size: wide(T5ForConditionalGeneration, T5Config(vocab_size=size, **SIZES)),
    "t5 1.1": lambda size: wide(
        T5ForConditionalGeneration,
        T5Config(vocab_size=size, feed_forward_proj="gated-gelu", tie_word_embeddings=False, **SIZES),
    ),
    "mt5": lambda size: wide(MT5ForConditionalGeneration, MT5Config(vocab_size=size, **SIZES)),
}


def opened(kind: str) -> LoadedModel:
    tokenizer = small_t5().tokenizer
    return LoadedModel(model=MODELS[kind](len(tokenizer)), tokenizer=tokenizer, family=FAMILIES["t5"], name=kind)


def sources(count: int = 12) -> list[list[int]]:
    """Of 2 to 30 tokens."""
    rng = torch.Generator().manual_seed(11)
    lengths = torch.randint(1, 30, (count,), generator=rng).tolist()
    return [[*torch.randint(3, VOCABULARY, (length,), generator=rng).tolist(), 1] for length in lengths]


def by_transformers(loaded: LoadedModel, source: list[int], **options: Any) -> list[list[int]]:
    model: Any = loaded.model
    ids = special_ids(loaded)
    output = model.generate(
        input_ids=torch.tensor([source]), attention_mask=torch.ones(1, len(source)), do_sample=False, **options
    )
    return [ids.without(row[1:]) for row in output.tolist()]


CASES = [*((kind, 4, 1.0) for kind in MODELS), ("t5", 4, 1.5), ("t5", 2, 1.0)]


@pytest.mark.parametrize(("kind", "beams", "penalty"), CASES)
def test_texts_are_those_of_transformers_one_by_one(kind: str, beams: int, penalty: float) -> None:
    loaded = opened(kind)
    engine = TransformersEngine(loaded, device=torch.device("cpu"))
    options = GenerationBlock(max_new_tokens=14, beams=beams, num_return_sequences=2, repetition_penalty=penalty)
    ours = engine.generate(sources(), options)
    for source, lists in zip(sources(), ours, strict=True):
        assert lists == by_transformers(
            loaded,
            source,
            max_new_tokens=14,
            num_beams=beams,
            num_return_sequences=2,
            repetition_penalty=penalty,
        )
    lengths = {len(lists[0]) for lists in ours}
    assert len(lengths) > 2  # some leave the batch early, some are stopped by the limit
    assert max(lengths) == 14 or penalty > 1


def test_a_text_does_not_depend_on_its_neighbours() -> None:
    loaded = opened("t5")
    options = GenerationBlock(max_new_tokens=14, beams=3)
    together = TransformersEngine(loaded, device=torch.device("cpu")).generate(sources(), options)
    alone = TransformersEngine(loaded, device=torch.device("cpu"), max_batch_tokens=1).generate(sources(), options)
    assert together == alone


def test_finished_texts_leave_the_batch() -> None:
    loaded = opened("t5")
    model: Any = loaded.model
    rows: list[int] = []
    model.decoder.final_layer_norm.register_forward_hook(lambda module, inputs, output: rows.append(len(output)))
    padded = [source + [0] * (31 - len(source)) for source in sources()]
    inputs = {"input_ids": torch.tensor(padded), "attention_mask": (torch.tensor(padded) != 0).long()}
    ids = special_ids(loaded)
    beam_search(model, inputs, family=loaded.family, beams=4, max_new_tokens=14, ids=ids, process=None)
    assert rows[0] == 12
    assert 0 < rows[-1] < 12
    assert rows == sorted(rows, reverse=True)

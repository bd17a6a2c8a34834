"""Denoising with BART: what is hidden, how sentences are shuffled, and what the target is.

Legend: B batch, T tokens.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from builders import rows, task_of, tiny_model, tokenizer_of
from facts import facts

from llmkit.data.examples import Examples
from llmkit.data.rows import Row
from llmkit.errors import ModelError, UsageError
from llmkit.models.families import FAMILIES
from llmkit.models.loaded import LoadedModel
from llmkit.models.losses import IGNORED
from llmkit.tasks import RECIPES
from llmkit.tasks.base import Batch, Task
from llmkit.tasks.pretraining.corruption import infill_spans, permute_sentences

MASK, END = 9999, 1
IDS = np.arange(100, 300, dtype=np.int32)


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def infilled(seed: int, *, rate: float = 0.3, mean_span: float = 3.0, ids: Any = IDS) -> list[int]:
    found = infill_spans(ids, rate=rate, mean_span=mean_span, mask_id=MASK, rng=rng(seed))
    return [int(token) for token in found]


# ---- spans


@pytest.mark.parametrize("rate", [0.01, 0.15, 0.3, 0.9])
def test_the_share_of_tokens_is_hidden_and_the_others_stay_in_their_order(rate: float) -> None:
    for seed in range(50):
        visible = [token for token in infilled(seed, rate=rate) if token != MASK]
        assert len(visible) == len(IDS) - round(rate * len(IDS))
        assert visible == sorted(visible)


def test_a_span_is_one_mask_whose_length_is_that_of_a_poisson_distribution() -> None:
    found = [infilled(seed, mean_span=3.0, ids=np.arange(100, 2100, dtype=np.int32)) for seed in range(20)]
    masks = sum(tokens.count(MASK) for tokens in found)
    assert masks / len(found) == pytest.approx(600 / 3, rel=0.05)
    inserted = 0
    for tokens in found:
        for before, token, after in zip(tokens, tokens[1:], tokens[2:], strict=False):
            inserted += token == MASK and MASK not in (before, after) and after == before + 1
    assert inserted / masks == pytest.approx(np.exp(-3) * 0.64, rel=0.3)  # spans of 0 beside two tokens


def test_masks_never_make_a_text_longer() -> None:
    for seed in range(200):
        short = np.arange(100, 100 + 1 + seed % 9, dtype=np.int32)
        found = infilled(seed, rate=0.05, mean_span=1.0, ids=short)
        assert MASK in found
        assert len(found) <= len(short)


# ---- sentences


def test_sentences_are_whole_and_stay_in_their_document() -> None:
    ids = np.array([10, 11, 2, 12, 2, 13, END, 20, 2, 21, 22, 2, END, 30], dtype=np.int32)
    wanted = [{(10, 11, 2), (12, 2), (13,)}, {(20, 2), (21, 22, 2)}, {(30,)}]
    orders = set()
    for seed in range(50):
        found = permute_sentences(ids, ids == 2, end_id=END, rng=rng(seed))
        orders.add(tuple(found.tolist()))
        assert np.flatnonzero(found == END).tolist() == [6, 12]
        for document, sentences in zip(np.split(found, [6, 12]), wanted, strict=True):
            text = [int(token) for token in document if token != END]
            assert sum(map(len, sentences)) == len(text)
            for sentence in sentences:
                place = text.index(sentence[0])
                assert tuple(text[place : place + len(sentence)]) == sentence
    assert len(orders) == 6 * 2


@pytest.mark.parametrize("ids", [[END], [5], [2], [END, END], [2, END, 2], [END, 5]])
def test_a_block_of_any_form_keeps_its_tokens(ids: list[int]) -> None:
    given = np.array(ids, dtype=np.int32)
    found = permute_sentences(given, given == 2, end_id=END, rng=rng(0))
    assert sorted(found.tolist()) == sorted(ids)


# ---- batches


def encoded(**keys: Any) -> tuple[Task, Examples]:
    task = task_of("denoising", **keys)
    return task, task.encode(rows(30))


def batch_of(task: Task, examples: Examples, *, epoch: int | None = 1, every: Any = None) -> Batch:
    return task.collate(examples, np.arange(len(examples)) if every is None else np.asarray(every), epoch=epoch)


def test_the_target_is_the_whole_block_between_the_special_tokens_of_a_text() -> None:
    task, examples = encoded()
    tokenizer, batch = task.loaded.tokenizer, batch_of(task, examples)
    for row in range(len(examples)):
        labels = [token for token in batch["labels"][row].tolist() if token != IGNORED]
        block = examples.columns["input_ids"][row].tolist()
        assert labels == [tokenizer.bos_token_id, *block, tokenizer.eos_token_id]
        tokens = int(batch["attention_mask"][row].sum())
        source = batch["input_ids"][row].tolist()
        assert (source[0], source[tokens - 1]) == (tokenizer.bos_token_id, tokenizer.eos_token_id)
        assert set(source[tokens:]) <= {tokenizer.pad_token_id}
        assert tokenizer.mask_token_id in source
        assert tokens <= 24
    whole = [token for row in range(len(examples)) for token in examples.columns["input_ids"][row].tolist()]
    wanted = []
    for row in rows(30):
        wanted += [*tokenizer(row.fields["text"], add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    assert whole == wanted


def test_what_is_hidden_depends_on_seed_epoch_and_example_alone() -> None:
    task, examples = encoded()
    whole, again = batch_of(task, examples), batch_of(task, examples)
    assert torch.equal(whole["input_ids"], again["input_ids"])
    alone = batch_of(task, examples, every=[3])
    tokens = int(alone["attention_mask"].sum())
    assert whole["input_ids"][3][:tokens].tolist() == alone["input_ids"][0].tolist()
    assert not torch.equal(whole["input_ids"], batch_of(task, examples, epoch=2)["input_ids"])
    fixed = batch_of(task, examples, epoch=None)["input_ids"]
    assert torch.equal(fixed, batch_of(task, examples, epoch=None)["input_ids"])


def test_sentences_end_after_a_full_stop_and_only_if_they_are_to_be_shuffled() -> None:
    loaded = tiny_model("bart")
    text = "the old cat. a red dog! the river. " * 3
    document = [Row({"text": text}, "a.txt:1")]
    kept = task_of("denoising", loaded=loaded, mask_rate=0.01, permute_sentences=False, block_tokens=64)
    moved = task_of("denoising", loaded=loaded, mask_rate=0.01, block_tokens=64)
    flags = moved._ends_sentence  # type: ignore[attr-defined]
    ends = [token for token in range(len(loaded.tokenizer)) if flags[token]]
    assert {loaded.tokenizer.decode([token])[-1] for token in ends} <= set(".!?\u2026")
    ids = loaded.tokenizer(text, add_special_tokens=False)["input_ids"]
    assert sum(flags[token] for token in ids) == 9

    def order(task: Task, epoch: int) -> list[int]:
        source = batch_of(task, task.encode(document), epoch=epoch)["input_ids"][0].tolist()
        return [token for token in source if token not in loaded.tokenizer.all_special_ids]

    def is_in_order(found: list[int]) -> bool:
        rest = iter(ids)
        return all(token in rest for token in found)

    assert all(is_in_order(order(kept, epoch)) for epoch in range(5))
    assert not all(is_in_order(order(moved, epoch)) for epoch in range(5))


def test_a_tokenizer_without_a_mask_is_refused() -> None:
    loaded = tiny_model("bart")
    other = LoadedModel(loaded.model, tokenizer_of("gpt2"), FAMILIES["bart"], "odd")
    with pytest.raises(ModelError, match=facts("odd:", "mask token")):
        task_of("denoising", loaded=other)


def test_a_model_of_another_family_is_refused() -> None:
    with pytest.raises(ModelError, match=facts("tiny-t5", "bart", "not t5")):
        task_of("denoising", loaded=tiny_model("t5"))


def test_a_block_longer_than_the_window_is_refused() -> None:
    with pytest.raises(UsageError, match=facts("block_tokens", "100", "64")):
        task_of("denoising", block_tokens=100).encode(rows())


def test_each_encoder_decoder_has_the_objective_of_its_pretraining() -> None:
    assert "bart" in RECIPES["denoising"].FAMILIES
    assert "t5" not in RECIPES["denoising"].FAMILIES
    assert RECIPES["span-corruption"].FAMILIES == ("t5",)

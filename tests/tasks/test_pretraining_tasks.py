"""Masked tokens and span corruption on a corpus: what is hidden, what is predicted, and at what loss.

Legend: B batch, T tokens.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from builders import TaskName, rows, sentence, task_of, tiny_model, tokenizer_of
from facts import facts, logged

from llmkit.data.examples import Examples
from llmkit.data.order import Indices
from llmkit.data.rows import Row
from llmkit.errors import DataError, ModelError, UsageError
from llmkit.evaluation.measure import measure
from llmkit.models.families import FAMILIES
from llmkit.models.loaded import LoadedModel
from llmkit.models.losses import IGNORED
from llmkit.models.tokenizers import train_tokenizer
from llmkit.models.tokenizers.unigram import SENTINELS
from llmkit.recipe.blocks import TokenizerBlock
from llmkit.tasks.base import Batch, Task
from llmkit.tasks.pretraining.masked_lm import MaskedLMTask
from llmkit.tasks.target_counts import count_targets

CORRUPTING: tuple[TaskName, ...] = ("masked-lm", "span-corruption")


def documents(*texts: str) -> list[Row]:
    return [Row({"text": text}, f"a.txt:{number}") for number, text in enumerate(texts, 1)]


def every(examples: Examples) -> Indices:
    return np.arange(len(examples))


def original(task: Task, examples: Examples, index: int) -> list[int]:
    """The ids of a block, with the [CLS] and [SEP] that stand around one of BERT's."""
    ids = examples.columns["input_ids"][index].tolist()
    tokenizer = task.loaded.tokenizer
    return [tokenizer.cls_token_id, *ids, tokenizer.sep_token_id] if isinstance(task, MaskedLMTask) else ids


# ---- what is drawn when


def of_example(task: Task, batch: Batch, row: int) -> tuple[list[int], list[int]]:
    """Input and labels of a row without their padding."""
    tokens = int(batch["attention_mask"][row].sum()) if "attention_mask" in batch else None
    return batch["input_ids"][row][:tokens].tolist(), batch["labels"][row][:tokens].tolist()


@pytest.mark.parametrize("epoch", [0, 3, None])
@pytest.mark.parametrize("name", CORRUPTING)
def test_what_is_hidden_does_not_depend_on_the_batch_its_order_or_its_cut(name: TaskName, epoch: int | None) -> None:
    task = task_of(name)
    examples = task.encode(rows())
    alone = [of_example(task, task.collate(examples, np.array([index]), epoch=epoch), 0) for index in every(examples)]
    for order in (every(examples), every(examples)[::-1], every(examples)[3::2]):
        batch = task.collate(examples, order, epoch=epoch)
        assert [of_example(task, batch, row) for row in range(len(order))] == [alone[index] for index in order]


@pytest.mark.parametrize("name", CORRUPTING)
def test_every_epoch_and_seed_hides_something_else_and_evaluation_always_the_same(name: TaskName) -> None:
    drawn = {}
    for seed, epoch in itertools.product((17, 18), (0, 1, 2, None)):
        task = task_of(name, train={"seed": seed})
        examples = task.encode(rows())
        batches = [task.collate(examples, every(examples), epoch=epoch)["input_ids"] for _ in range(2)]
        assert torch.equal(batches[0], batches[1])
        drawn[seed, epoch] = batches[0]
    for first, second in itertools.combinations(drawn.values(), 2):
        differing = (first != second).any(dim=1)  # (B,)
        assert differing.float().mean() > 0.5


@pytest.mark.parametrize("name", CORRUPTING)
def test_evaluation_on_several_processes_hides_and_measures_the_same(name: TaskName) -> None:
    """Each process numbered its share from 0, and hid something else there than one process alone."""
    task = task_of(name)
    examples = task.encode(rows())
    seen: list[tuple[list[int], list[int]]] = []

    def share(rank: int, world_size: int) -> tuple[float, int]:
        from llmkit.evaluation.measure import _losses

        own = np.arange(rank, len(examples), world_size)
        seen.extend(of_example(task, task.collate(examples, own), row) for row in range(len(own)))
        nats, targets, _ = _losses(task, examples, own, device=torch.device("cpu"))
        return float(nats.sum()), int(targets.sum())

    task.loaded.model.eval()
    nats, targets = share(0, 1)
    alone, seen = seen, []
    parts = [share(rank, 3) for rank in range(3)]
    assert sorted(seen) == sorted(alone)
    assert sum(part[1] for part in parts) == targets
    assert sum(part[0] for part in parts) == pytest.approx(nats, rel=1e-6)
    scores, *_ = measure(task, examples, engine=None, accelerator=Accelerator(cpu=True))  # type: ignore[arg-type]
    assert scores.values["loss"] == pytest.approx(nats / targets, rel=1e-9)


# ---- masked tokens


def masked(**keys: Any) -> Task:
    return task_of("masked-lm", loaded=tiny_model("bert", head="masked-lm"), **{"block_tokens": 62, **keys})


def many_rows() -> list[Row]:
    return documents(*(sentence(number) for number in range(3000)))


@pytest.fixture(scope="module")
def large() -> tuple[Task, Examples]:
    task = masked()
    return task, task.encode(many_rows())


def test_15_percent_of_the_text_is_predicted_and_of_these_80_are_masked_10_replaced_10_left(
    large: tuple[Task, Examples],
) -> None:
    task, examples = large
    tokenizer = task.loaded.tokenizer
    kinds: Counter[str] = Counter()
    for index in every(examples):
        inputs, labels = of_example(task, task.collate(examples, np.array([index]), epoch=0), 0)
        ids = original(task, examples, index)
        text = sum(token not in tokenizer.all_special_ids for token in ids)
        chosen = [place for place, label in enumerate(labels) if label != IGNORED]
        assert len(chosen) == max(1, round(0.15 * text))
        for place, (found, label, token) in enumerate(zip(inputs, labels, ids, strict=True)):
            if place not in chosen:
                assert found == token
                continue
            assert label == token
            kinds["masked" if found == tokenizer.mask_token_id else "left" if found == token else "replaced"] += 1
            assert found == tokenizer.mask_token_id or found not in tokenizer.all_special_ids
    count = sum(kinds.values())
    assert count > 2500
    by_chance = 0.1 / (len(tokenizer) - 5)  # replaced by itself
    for kind, share in (("masked", 0.8), ("replaced", 0.1 - by_chance), ("left", 0.1 + by_chance)):
        assert abs(kinds[kind] - share * count) < 4 * math.sqrt(count * share * (1 - share)), kinds


@pytest.mark.parametrize("whole_word", [False, True])
def test_special_tokens_and_ends_of_documents_are_never_predicted_or_changed(whole_word: bool) -> None:
    """The names of special tokens in a text once were."""
    task = masked(mask_rate=0.9, whole_word=whole_word)
    tokenizer = task.loaded.tokenizer
    examples = task.encode(documents("the [MASK] cat [SEP]", "[CLS] dog ☃ walks [PAD] over", "river", "tree") * 40)
    special = 0
    for epoch, index in itertools.product(range(3), every(examples)):
        inputs, labels = of_example(task, task.collate(examples, np.array([index]), epoch=epoch), 0)
        for found, label, token in zip(inputs, labels, original(task, examples, index), strict=True):
            if token in tokenizer.all_special_ids:
                special += 1
                assert (found, label) == (token, IGNORED)
    assert special > 500
    assert tokenizer.unk_token_id in examples.columns["input_ids"][0]


def test_a_block_of_nothing_but_ends_has_no_target_and_no_loss() -> None:
    task = masked(block_tokens=8)
    examples = task.encode(documents("the cat", *["\u200b"] * 20))
    batch = task.collate(examples, every(examples)[1:2])
    assert batch["input_ids"][0, 1:-1].unique().tolist() == [task.loaded.tokenizer.sep_token_id]
    assert count_targets(batch) == 0
    loss = task.loss_sum(batch)
    loss.backward()
    assert float(loss.detach()) == 0


def chinese_tokenizer_task(**keys: Any) -> Task:
    texts = ["我喜欢喝茶和咖啡", "今天天气很好 tokenization", "unfriendly readers reading 的猫在树下"]
    tokenizer = train_tokenizer(FAMILIES["bert"], texts, block=TokenizerBlock(vocab_size=110), max_tokens=None)
    loaded = tiny_model("bert", head="masked-lm")
    loaded.model.resize_token_embeddings(len(tokenizer))
    return task_of("masked-lm", loaded=LoadedModel(loaded.model, tokenizer, FAMILIES["bert"], "tiny"), **keys)


@pytest.mark.parametrize(
    "text",
    [
        "unfriendlyreaders rereading tokenization the untokens of friends " * 3,
        "我喜欢喝茶和咖啡，今天天气很好。的猫在树下" * 3,
        "我喜欢 unfriendlyreaders 茶 tea-readingtokens 5€ 天气 untokenization. " * 3,
    ],
    ids=["English", "Chinese", "both"],
)
def test_whole_words_are_those_of_the_tokenizer(text: str) -> None:
    task = chinese_tokenizer_task(whole_word=True, block_tokens=64, mask_rate=0.3)
    encoded = task.loaded.tokenizer(text, add_special_tokens=False)
    examples = task.encode(documents(text))
    pieces = Counter(encoded.word_ids())
    hidden: Counter[int] = Counter()
    inside = 62
    for epoch, index in itertools.product(range(20), every(examples)):
        _, labels = of_example(task, task.collate(examples, np.array([index]), epoch=epoch), 0)
        words = encoded.word_ids()[index * inside : (index + 1) * inside]
        chosen = [label != IGNORED for label in labels[1 : 1 + len(words)]]
        for word in set(words):
            flags = {flag for flag, of in zip(chosen, words, strict=True) if of == word}
            assert len(flags) == 1, (epoch, word)
            hidden[pieces[word]] += flags == {True}
        if words:
            assert sum(chosen) <= max(1, round(0.3 * len(words)))
    assert sum(hidden.values()) > 100
    if "我" in text and "un" not in text:
        assert set(pieces.values()) == {1}  # a character is a word
    else:
        assert hidden[max(hidden)] > 0
        assert max(hidden) > 1


def test_without_whole_words_a_word_may_be_hidden_in_part() -> None:
    task = chinese_tokenizer_task(whole_word=False, block_tokens=64)
    text = "unfriendlyreaders rereading untokenization readingtokens friendlyreading"
    words = task.loaded.tokenizer(text, add_special_tokens=False).word_ids()
    examples = task.encode(documents(text))
    broken = 0
    for epoch in range(30):
        labels = task.collate(examples, np.array([0]), epoch=epoch)["labels"][0][1 : 1 + len(words)]
        chosen = (labels != IGNORED).tolist()
        broken += any(
            len({flag for flag, of in zip(chosen, words, strict=True) if of == word}) == 2 for word in set(words)
        )
    assert broken > 20


def test_blocks_of_bert_hold_every_token_once_between_cls_and_sep() -> None:
    task = masked(block_tokens=16)
    tokenizer = task.loaded.tokenizer
    examples = task.encode(rows(20))
    batch = task.collate(examples, every(examples))
    text: list[int] = []
    for row, index in enumerate(every(examples)):
        tokens = int(batch["attention_mask"][row].sum())
        padding = batch["input_ids"][row][tokens:]
        assert (padding == tokenizer.pad_token_id).all()
        assert (batch["labels"][row][tokens:] == IGNORED).all()
        assert batch["input_ids"][row][0] == tokenizer.cls_token_id
        assert batch["input_ids"][row][tokens - 1] == tokenizer.sep_token_id
        assert tokens == 16 or index == len(examples) - 1
        text += original(task, examples, index)[1:-1]
    wanted: list[int] = []
    for one in rows(20):
        wanted += [*tokenizer(one.fields["text"], add_special_tokens=False)["input_ids"], tokenizer.sep_token_id]
    assert text == wanted


# ---- spans


@pytest.mark.parametrize("keys", [{}, {"block_tokens": 40, "mask_rate": 0.15}, {"block_tokens": 33, "mean_span": 1.5}])
def test_inputs_and_targets_are_full_and_merge_to_the_block(keys: dict[str, Any]) -> None:
    task = task_of("span-corruption", **keys)
    tokenizer = task.loaded.tokenizer
    examples = task.encode(rows(60))
    batch = task.collate(examples, every(examples), epoch=1)
    plan = task._plan  # type: ignore[attr-defined]
    assert batch["input_ids"].shape == (len(examples), task.recipe.block_tokens)  # type: ignore[attr-defined]
    assert batch["labels"].shape == (len(examples), plan.target_tokens)
    sentinels = tokenizer.convert_tokens_to_ids(list(SENTINELS))
    for row in range(len(examples)):
        inputs, labels = (batch[name][row].tolist() for name in ("input_ids", "labels"))
        assert inputs.pop() == labels.pop() == tokenizer.eos_token_id
        assert [token for token in inputs if token in sentinels] == sentinels[: plan.spans]
        assert [token for token in labels if token in sentinels] == sentinels[: plan.spans]
        for number, sentinel in enumerate(sentinels[: plan.spans]):
            start = labels.index(sentinel) + 1
            stop = labels.index(sentinels[number + 1]) if number + 1 < plan.spans else len(labels)
            place = inputs.index(sentinel)
            inputs[place : place + 1] = labels[start:stop]
        assert inputs == original(task, examples, row)


def test_the_published_settings_give_512_and_114_tokens() -> None:
    task = task_of("span-corruption", block_tokens=512, mask_rate=0.15, mean_span=3.0)
    examples = task.encode(rows(45))
    batch = task.collate(examples, np.array([0]))
    assert examples.lengths[0] == 568
    assert batch["input_ids"].shape == (1, 512)
    assert batch["labels"].shape == (1, 114)


def test_a_corpus_shorter_than_a_block_is_told_with_both_lengths() -> None:
    with pytest.raises(DataError, match=facts("corpus", "tokens", 26)):
        task_of("span-corruption").encode(documents("the cat"))


def test_the_rest_that_fills_no_block_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    task = task_of("span-corruption")
    with caplog.at_level("INFO", logger="llmkit"):
        examples = task.encode(rows(20))
    tokens = examples.columns["input_ids"].stream.count.tokens  # type: ignore[attr-defined]
    rest = tokens - 1 - 26 * len(examples)
    assert len(logged(caplog, "INFO", "corpus", rest, f"{tokens:,}", "block")) == 1


@pytest.mark.parametrize("count", [6, 7, 8, 60])
def test_the_bytes_of_hidden_spans_are_their_share_of_the_text(count: int) -> None:
    """The rest that fills no block counted too, and bits per byte came out too low."""
    task = task_of("span-corruption")
    examples = task.encode(rows(count))
    text_bytes = sum(len(row.fields["text"].encode()) for row in rows(count))
    tokens = examples.columns["input_ids"].stream.count.tokens  # type: ignore[attr-defined]
    hidden = len(examples) * task._plan.noise_tokens  # type: ignore[attr-defined]
    assert examples.utf8_bytes / hidden == pytest.approx(text_bytes / tokens, rel=0.1)


def test_more_spans_than_sentinels_are_refused_with_the_next_step() -> None:
    task = task_of("span-corruption", block_tokens=512, mask_rate=0.4, mean_span=1.0)
    with pytest.raises(UsageError, match=facts("block_tokens", 512, "tiny-t5", 100, "sentinels")):
        task.encode(rows())


def test_a_tokenizer_without_sentinels_is_refused() -> None:
    loaded = tiny_model("t5")
    other = LoadedModel(loaded.model, tokenizer_of("gpt2"), FAMILIES["t5"], "odd")
    with pytest.raises(ModelError, match=facts("odd:", "tokenizer", "<extra_id_0>")):
        task_of("span-corruption", loaded=other).encode(rows())


# ---- loss


@pytest.mark.parametrize("name", CORRUPTING)
def test_loss_and_gradients_are_those_of_transformers_own_labels(name: TaskName) -> None:
    """`model(labels=...)` gives the mean over targets; the tied bias is a parameter of its own in BERT's head."""
    ours, theirs = task_of(name), task_of(name)
    with torch.no_grad():
        for task in (ours, theirs):
            if name == "masked-lm":
                task.loaded.model.cls.predictions.bias.copy_(torch.linspace(-1, 1, len(task.loaded.tokenizer)))
    examples = ours.encode(rows())
    batch = ours.collate(examples, every(examples), epoch=0)
    loss = ours.loss_sum(batch)
    wanted = theirs.loaded.model(**batch).loss * count_targets(batch)
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-5)
    loss.backward()
    wanted.backward()
    compared = 0
    for (key, mine), other in zip(ours.loaded.model.named_parameters(), theirs.loaded.model.parameters(), strict=True):
        assert torch.allclose(mine.grad, other.grad, atol=1e-4 * float(other.grad.abs().max()) + 1e-4), key
        compared += bool(other.grad.abs().max() > 0.1)
    assert compared > 10
    if name == "masked-lm":
        bias = ours.loaded.model.cls.predictions.bias
        assert bias is ours.loaded.model.cls.predictions.decoder.bias
        assert float(bias.grad.abs().max()) > 0.1


def test_a_tokenizer_of_the_hub_that_cuts_does_not_cut_a_corpus(tmp_path: Path) -> None:
    """From its file, as it comes from the hub, to the blocks."""
    tokenizer = tokenizer_of("bert")
    tokenizer.backend_tokenizer.enable_truncation(8)
    tokenizer.save_pretrained(tmp_path)
    from transformers import AutoTokenizer

    opened = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    loaded = tiny_model("bert", head="masked-lm")
    task = task_of("masked-lm", loaded=LoadedModel(loaded.model, opened, FAMILIES["bert"], "cutting"))
    text = " ".join(sentence(number) for number in range(10))
    examples = task.encode(documents(text))
    assert examples.lengths.sum() == len(tokenizer_of("bert")(text, add_special_tokens=False)["input_ids"]) + 1

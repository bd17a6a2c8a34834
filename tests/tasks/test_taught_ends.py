"""What ends a text in the targets is what the saved configs call the end, whatever the base's configs said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from adapted import adapted, saved
from builders import FAMILY_OF, TaskName, rows, task_of
from chain_models import CHATML, chain_model, chain_tokenizer, set_ids

from llmkit.inference.engines.special_ids import special_ids
from llmkit.models.chat import encode_chats
from llmkit.models.loaded import LoadedModel
from llmkit.models.loading import load_model
from llmkit.models.losses import IGNORED
from llmkit.tasks.base import Task
from llmkit.training.checks import check_before_training

WRITERS: tuple[TaskName, ...] = ("causal-lm", "instruction", "summarization", "span-corruption", "translation")


def disagreeing(name: TaskName, *, template: str | None = None) -> LoadedModel:
    """A base whose configs take an ordinary word for everything."""
    tokenizer = chain_tokenizer(FAMILY_OF[name])
    tokenizer.chat_template = template
    loaded = chain_model(tokenizer, ["a", "b"], family=FAMILY_OF[name])
    word = tokenizer.convert_tokens_to_ids("e")
    set_ids(loaded, eos_token_id=word, pad_token_id=word, bos_token_id=word)
    return loaded


def last_targets(task: Task) -> set[int]:
    """The last of each stretch of targets."""
    batch = task.collate(task.encode(rows(9)), np.arange(4))
    counted = batch["labels"] != IGNORED  # (B, T)
    after = torch.cat([counted[:, 1:], torch.zeros_like(counted[:, :1])], dim=1)
    return set(batch["labels"][counted & ~after].tolist())


@pytest.mark.parametrize("name", WRITERS)
def test_the_configs_follow_the_tokenizer_that_a_task_teaches_with(name: TaskName) -> None:
    loaded = disagreeing(name)
    task_of(name, loaded=loaded)
    for config in (loaded.model.config, loaded.model.generation_config):
        assert config.eos_token_id == loaded.tokenizer.eos_token_id
        assert config.pad_token_id == loaded.tokenizer.pad_token_id
        assert config.bos_token_id == (loaded.tokenizer.bos_token_id or loaded.tokenizer.eos_token_id)


@pytest.mark.parametrize("key", ["config", "generation_config"])
def test_the_decoder_starts_in_training_as_it_does_in_use(key: str) -> None:
    """transformers shifts the targets behind the start of the one config, and writes behind that of the other."""
    loaded = disagreeing("summarization")
    start = loaded.tokenizer.convert_tokens_to_ids("<extra_id_0>")
    loaded.model.config.decoder_start_token_id = loaded.model.generation_config.decoder_start_token_id = None
    getattr(loaded.model, key).decoder_start_token_id = start
    task_of("summarization", loaded=loaded)
    assert special_ids(loaded).decoder_start == start
    assert loaded.model._shift_right(torch.tensor([[5, 6]])).tolist() == [[start, 5]]


@pytest.mark.parametrize("eos", ["<|endoftext|>", "<|im_end|>"])
def test_an_answer_is_taught_to_end_as_its_template_writes_it(eos: str) -> None:
    loaded = disagreeing("instruction", template=CHATML)
    loaded.tokenizer.eos_token = eos
    task = task_of("instruction", loaded=loaded)
    end, others = loaded.tokenizer.convert_tokens_to_ids("<|im_end|>"), {loaded.tokenizer.eos_token_id}
    assert last_targets(task) == {end}
    assert loaded.model.config.eos_token_id == end
    listed = loaded.model.generation_config.eos_token_id
    assert set(listed if isinstance(listed, list) else [listed]) == {end} | others
    passed = check_before_training(
        task, task.encode(rows(9)), train=task.recipe.train, device=torch.device("cpu")
    )  # that of the end of text among them
    assert "end of text" in {check.name for check in passed}


def test_a_template_that_ends_an_answer_with_two_tokens_teaches_both_and_the_first_ends_it() -> None:
    template = CHATML.replace("<|im_end|>\n", "<|im_end|><|endoftext|>\n")
    loaded = disagreeing("instruction", template=template)
    first, second = loaded.tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "<|im_end|> b"}]
    (encoded,) = encode_chats(loaded, [messages])
    (start, end), *_ = encoded.answers
    assert encoded.ids[start:end][-2:] == [first, second]
    assert encoded.ids.count(first) == 2, "one behind each turn: the user's text and the answer's hold none"
    task_of("instruction", loaded=loaded)
    assert loaded.model.config.eos_token_id == first
    assert special_ids(loaded).ends == (second, first)


def test_an_end_that_only_the_template_knows_may_be_an_added_token_that_is_not_special() -> None:
    loaded = disagreeing("instruction", template=CHATML.replace("<|im_end|>", "<turn>"))
    loaded.tokenizer.add_tokens(["<turn>"])
    loaded.model.resize_token_embeddings(len(loaded.tokenizer))
    task = task_of("instruction", loaded=loaded)
    assert last_targets(task) == {loaded.tokenizer.convert_tokens_to_ids("<turn>")}


@pytest.mark.parametrize("name", ["causal-lm", "instruction", "summarization"])
def test_an_adapter_writes_as_it_was_trained_to_and_not_as_its_base(name: TaskName, tmp_path: Path) -> None:
    loaded = adapted(name, tmp_path / "base")
    generation: Any = loaded.model.generation_config
    generation.max_new_tokens, generation.eos_token_id = 7, [loaded.tokenizer.eos_token_id, 5]
    opened = load_model(str(saved(loaded, tmp_path / "adapter")), head=task_of(name).recipe.HEAD)
    assert opened.model.generation_config.max_new_tokens == 7
    assert opened.model.generation_config.eos_token_id == [loaded.tokenizer.eos_token_id, 5]

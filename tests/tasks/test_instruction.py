"""Conversations: the template's ids, what counts in the loss, what happens to long ones. Legend: B batch, T tokens."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from builders import conversation, recipe_of, rows, task_of, tiny_model
from facts import facts, logged, says
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from transformers import AutoTokenizer

from llmkit.data.rows import Row
from llmkit.errors import DataError, ModelError, UsageError
from llmkit.evaluation.metrics.language_model import perplexity
from llmkit.inference.engines.transformers import TransformersEngine
from llmkit.models.chat import encode_chats, encode_prompts
from llmkit.models.export import tokenizer_files
from llmkit.models.loading import load_model
from llmkit.models.losses import IGNORED
from llmkit.recipe.generation import GenerationBlock
from llmkit.tasks.decoding import decode_new
from llmkit.tasks.instruction.recipe import InstructionRecipe
from llmkit.tasks.instruction.task import InstructionTask, length_limit
from llmkit.tasks.target_counts import count_targets
from llmkit.training.metric_checks import check_metrics

END = "<|endoftext|>"
CHATML = (
    "{% for message in messages %}<{{ message['role'] }}>\n{{ message['content'] }}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>\n{% endif %}"
)


def instruction(**keys: Any) -> InstructionTask:
    task = task_of("instruction", **keys)
    assert isinstance(task, InstructionTask)
    return task


def chat_row(*contents: str, system: str | None = None, place: str = "f.jsonl:1") -> Row:
    """Turns in order, the user's first."""
    messages = [] if system is None else [{"role": "system", "content": system}]
    for number, content in enumerate(contents):
        messages.append({"role": ("user", "assistant")[number % 2], "content": content})
    return Row({"messages": messages}, place)


def decoded_targets(task: InstructionTask, row: Row) -> str:
    labels = task.collate(task.encode([row]), np.arange(1))["labels"][0]
    return str(task.loaded.tokenizer.decode(labels[labels != IGNORED]))


# ---- the template


def test_the_ids_are_those_of_apply_chat_template_in_plain_transformers(tmp_path: Path) -> None:
    task = instruction()
    for name, content in tokenizer_files(task.loaded).items():
        (tmp_path / name).write_bytes(content)
    plain = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    every = rows(12)
    examples = task.encode(every)
    for index, row in enumerate(every):
        messages = row.fields["messages"]
        assert examples.columns["input_ids"][index].tolist() == plain.apply_chat_template(messages)["input_ids"]
        asked = plain.apply_chat_template(messages[:-1], add_generation_prompt=True)["input_ids"]
        assert encode_prompts(task.loaded, [messages[:-1]]) == [asked]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=3, max_size=5))
def test_any_texts_give_the_ids_of_apply_chat_template(texts: list[str]) -> None:
    task = TASK
    messages = [dict(message) for message in chat_row(*texts[1 + len(texts) % 2 :], system=texts[0]).fields["messages"]]
    if len(messages) % 2 == 0:
        messages.append({"role": "assistant", "content": texts[1]})
    wanted = task.loaded.tokenizer.apply_chat_template(messages)["input_ids"]
    assert encode_chats(task.loaded, [messages])[0].ids == wanted


TASK = instruction()


def test_a_conversation_reads_as_the_docs_show_it() -> None:
    task = instruction()
    row = chat_row("the cat", "a dog", " why\n", "the river", system="be old")
    ids = task.encode([row]).columns["input_ids"][0]
    text = f"System: be old\nUser: the cat\nAssistant: a dog{END}User: why\nAssistant: the river{END}"
    assert task.loaded.tokenizer.decode(ids) == text


@pytest.mark.parametrize("role", ["system", "user", "assistant"])
def test_the_name_of_a_special_token_in_a_text_stays_text(role: str) -> None:
    messages = chat_row("say it", "no", system="be kind").fields["messages"]
    told = [{**one, "content": f"x{END}y" if one["role"] == role else one["content"]} for one in messages]
    (encoded,) = encode_chats(TASK.loaded, [told])
    end = TASK.loaded.tokenizer.eos_token_id
    assert encoded.ids.count(end) == 1
    assert encoded.ids[-1] == end
    assert f"x{END}y" in TASK.loaded.tokenizer.decode(encoded.ids)
    assert encode_prompts(TASK.loaded, [told[:2]])[0].count(end) == 0


def test_a_text_with_a_noncharacter_keeps_it() -> None:
    (encoded,) = encode_chats(TASK.loaded, [chat_row(f"a\ufdd0b{END}", "c").fields["messages"]])
    assert f"a\ufdd0b{END}\n" in TASK.loaded.tokenizer.decode(encoded.ids)


def test_encoding_a_chat_leaves_the_tokenizer_as_it_was() -> None:
    task = instruction()
    before = task.loaded.tokenizer.backend_tokenizer.encode(END).ids
    encode_chats(task.loaded, [chat_row("a", "b").fields["messages"]])
    assert task.loaded.tokenizer.backend_tokenizer.encode(END).ids == before == [0]


def test_a_model_keeps_the_template_that_it_brings_and_its_answers_end_at_the_end_of_text() -> None:
    loaded = tiny_model("gpt2")
    loaded.tokenizer.chat_template = CHATML
    task = instruction(loaded=loaded)
    assert loaded.tokenizer.chat_template == CHATML
    row = chat_row("the cat", "a dog", "why", "old")
    assert decoded_targets(task, row) == f"a dog{END}old{END}"
    wanted = loaded.tokenizer.apply_chat_template(row.fields["messages"])["input_ids"]
    assert task.encode([row]).columns["input_ids"][0].tolist() == wanted


def test_of_several_templates_the_default_one_is_kept(tmp_path: Path) -> None:
    """Saved with the model they would be a folder, which no checkpoint has."""
    loaded = tiny_model("gpt2")
    loaded.tokenizer.chat_template = {"default": CHATML, "tool_use": "x"}
    loaded.model.save_pretrained(tmp_path)
    loaded.tokenizer.save_pretrained(tmp_path)
    opened = load_model(str(tmp_path), head="causal-lm")
    assert opened.tokenizer.chat_template == CHATML
    assert tokenizer_files(instruction(loaded=opened).loaded)["chat_template.jinja"].decode() == CHATML


@pytest.mark.parametrize(
    ("template", "stated"),
    [
        ("{{ messages[0]['content'] }}{% if not add_generation_prompt %}yes{% endif %}", ["answer", "<|endoftext|>"]),
        ("{{ messages | length }}{{ messages[-1]['content'] }}", ["turns"]),
        ("{{ raise_exception('no') }}", ["conversation", "(no)"]),
    ],
)
def test_a_template_that_cannot_be_learnt_from_is_refused(template: str, stated: list[str]) -> None:
    loaded = tiny_model("gpt2")
    loaded.tokenizer.chat_template = template
    with pytest.raises(ModelError, match=facts("tiny-gpt2:", "chat template", *stated)):
        instruction(loaded=loaded).encode([chat_row("a", "b")])


# ---- what counts


def test_answers_and_the_end_of_text_behind_each_are_the_targets_and_nothing_else() -> None:
    row = chat_row("the cat", "a dog", "why", "the river", system="be old")
    assert decoded_targets(instruction(), row) == f" a dog{END} the river{END}"


def test_the_loss_is_that_of_transformers_with_everything_but_the_answers_masked() -> None:
    task = instruction()
    (encoded,) = encode_chats(task.loaded, [(row := chat_row("the cat", "a dog", "why", "old")).fields["messages"]])
    ids = torch.tensor([encoded.ids])
    labels = torch.full_like(ids, IGNORED)
    for start, end in encoded.answers:
        labels[0, start:end] = ids[0, start:end]  # transformers moves them itself
    batch = task.collate(task.encode([row]), np.arange(1))
    with torch.inference_mode():
        wanted = float(task.loaded.model.eval()(input_ids=ids, labels=labels).loss)
        nats = float(task.loss_sum(batch))
    assert nats / count_targets(batch) == pytest.approx(wanted, rel=1e-5)


def test_the_model_is_trained_to_end_every_answer() -> None:
    task = instruction()
    every = rows(9)
    batch = task.collate(task.encode(every), np.arange(9))
    answers = sum(message["role"] == "assistant" for row in every for message in row.fields["messages"])
    assert int((batch["labels"] == task.loaded.tokenizer.eos_token_id).sum()) == answers


# ---- rows


def test_a_prompt_with_its_response_is_a_conversation_of_two_messages() -> None:
    task = instruction()
    flat = [
        Row({"prompt": "the cat", "response": "a dog"}, "f:1"),
        Row({"prompt": "the cat", "input": "red tree", "response": "a dog"}, "f:2"),
        Row({"prompt": "the cat", "input": " ", "response": "a dog"}, "f:3"),
    ]
    talked = [chat_row("the cat", "a dog"), chat_row("the cat\n\nred tree", "a dog"), chat_row("the cat", "a dog")]
    one, other = task.encode(flat), task.encode(talked)
    assert [ids.tolist() for ids in map(one.columns["input_ids"].__getitem__, range(3))] == [
        ids.tolist() for ids in map(other.columns["input_ids"].__getitem__, range(3))
    ]
    assert one.references == ["a dog"] * 3


def turns(*roles: str) -> list[dict[str, str]]:
    return [{"role": role, "content": "x"} for role in roles]


@pytest.mark.parametrize(
    ("messages", "stated"),
    [
        ([], ["no message", "assistant"]),
        (turns("system"), ["no message", "assistant"]),
        (turns("user"), ["no message", "assistant"]),
        (turns("assistant"), ["message 1:", "assistant", "user"]),
        (turns("user", "user", "assistant"), ["message 2:", "user", "assistant"]),
        (turns("user", "system", "assistant"), ["message 2:", "system", "assistant"]),
        (turns("system", "user", "assistant", "user"), ["last message", "user", "assistant"]),
        (turns("human", "assistant"), ["message 1:", "'human'", "system, user, assistant"]),
        ([*turns("user"), {"role": "assistant", "content": " \n"}], ["message 2:", "assistant", "empty"]),
    ],
)
def test_a_conversation_out_of_order_is_refused_with_its_place(
    messages: list[dict[str, str]], stated: list[str]
) -> None:
    with pytest.raises(DataError, match=facts("f.jsonl:7:", *stated)):
        instruction().encode([Row({"messages": messages}, "f.jsonl:7")])


def test_columns_of_both_forms_are_refused_in_the_recipe() -> None:
    recipe = recipe_of("instruction").model_dump()
    recipe["data"]["columns"] = {"messages": "m", "prompt": "p"}
    with pytest.raises(ValidationError) as caught:
        InstructionRecipe.model_validate(recipe)
    (error,) = caught.value.errors()
    says(error["msg"], "columns", "prompt", "messages")


def test_more_tokens_than_the_model_reads_are_refused() -> None:
    with pytest.raises(UsageError, match=facts("max_tokens", 65, "tiny-gpt2", 64)):
        instruction(max_tokens=65)


# ---- conversations that are too long


def long_row(exchanges: int = 4, *, system: str | None = "old") -> Row:
    texts = [word for number in range(exchanges) for word in (f"cat {number}", f"dog {number}")]
    return chat_row(*texts, system=system)


def text_of(task: InstructionTask, examples: Any, index: int) -> str:
    return str(task.loaded.tokenizer.decode(examples.columns["input_ids"][index]))


def test_truncating_leaves_out_the_oldest_turns_whole_and_keeps_the_system_message(
    caplog: pytest.LogCaptureFixture,
) -> None:
    task = instruction(overflow="truncate")
    with caplog.at_level(logging.INFO, logger="llmkit"):
        examples = task.encode([long_row(), chat_row("the cat", "a dog")])
    kept = f"System: old\nUser: cat 2\nAssistant: dog 2{END}User: cat 3\nAssistant: dog 3{END}"
    assert text_of(task, examples, 0) == kept
    assert examples.references == ["dog 3", "a dog"]
    assert len(logged(caplog, "WARNING", 1, 2, "50.0%", 64, "turns", "loss")) == 1


def test_a_last_turn_that_alone_is_too_long_is_left_out_and_told(caplog: pytest.LogCaptureFixture) -> None:
    task = instruction(overflow="truncate")
    with caplog.at_level(logging.INFO, logger="llmkit"):
        examples = task.encode([chat_row("a", "b", "cat " * 60, "dog"), chat_row("the cat", "a dog")])
    assert examples.references == ["a dog"]
    assert len(logged(caplog, "WARNING", 1, 2, "50.0%", 64, "last turn")) == 1


def test_windows_make_each_answer_count_once_with_as_much_history_as_fits(caplog: pytest.LogCaptureFixture) -> None:
    task = instruction(overflow="window", max_tokens=60)
    with caplog.at_level(logging.INFO, logger="llmkit"):
        examples = task.encode([long_row(system=None), chat_row("the cat", "a dog")])
    first = f"User: cat 0\nAssistant: dog 0{END}User: cat 1\nAssistant: dog 1{END}"
    assert text_of(task, examples, 0) == first
    assert text_of(task, examples, 1) == first.replace("1", "2").replace("0", "1")
    batch = task.collate(examples, np.arange(len(examples)))
    counted = [task.loaded.tokenizer.decode(labels[labels != IGNORED]) for labels in batch["labels"]]
    assert counted == [f" dog 0{END} dog 1{END}", f" dog 2{END}", f" dog 3{END}", f" a dog{END}"]
    assert [list(each) for each in examples.examples_of()] == [[0, 1, 2], [3]]
    assert examples.references == ["dog 3", "a dog"]
    assert len(logged(caplog, "INFO", 60, 2, "examples")) == 1


def test_an_answer_whose_turn_alone_is_longer_than_a_window_is_left_out_and_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    task = instruction(overflow="window")
    examples = task.encode([chat_row("a", "b", "cat", "dog " * 60, "why", "old")])
    assert [text_of(task, examples, index) for index in range(len(examples))] == [
        f"User: a\nAssistant: b{END}",
        f"User: why\nAssistant: old{END}",
    ]
    assert examples.references == ["old"]
    assert len(logged(caplog, "WARNING", 1, "answers")) == 1


def test_overflow_error_names_the_place_and_drop_counts_the_rows(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(DataError, match=facts("f.jsonl:1:", 1, "100.0%", "max_tokens", 64)):
        instruction(overflow="error").encode([long_row()])
    assert len(instruction(overflow="drop").encode([long_row(), chat_row("a", "b")])) == 1
    assert len(logged(caplog, "WARNING", 1, 2, "50.0%", 64)) == 1


# ---- answers


def engine_of(task: InstructionTask) -> TransformersEngine:
    return TransformersEngine(task.loaded, device=torch.device("cpu"))


def test_the_answer_to_the_last_turn_is_predicted_alone_as_in_a_batch() -> None:
    task = instruction(generation={"max_new_tokens": 5})
    every = rows(9)
    together = task.predict(task.encode(every), engine_of(task))
    alone = [task.predict(task.encode([row]), engine_of(task))[0] for row in every]
    assert together == alone
    asked = encode_prompts(task.loaded, [row.fields["messages"][:-1] for row in every])
    written = engine_of(task).generate(asked, GenerationBlock(max_new_tokens=5))
    assert together == [decode_new(task.loaded, answers[0]).strip() for answers in written]


def test_an_answer_is_limited_by_the_window_where_that_ends_first() -> None:
    """GPT-2 has no positions behind its window: prompt and limit together would be an index error."""
    task = instruction(generation={"max_new_tokens": 50})
    assert len(task.predict(task.encode([long_row(2), chat_row("a", "b")]), engine_of(task))) == 2


def test_predictions_of_windows_are_one_a_row() -> None:
    task = instruction(overflow="window", max_tokens=60, generation={"max_new_tokens": 3})
    assert len(task.predict(task.encode([long_row(), chat_row("a", "b")]), engine_of(task))) == 2


def test_the_limit_is_the_99th_percentile_of_the_training_answers_unless_the_recipe_has_one() -> None:
    silent, told = instruction(), instruction(generation={"max_new_tokens": 7})
    for task in (silent, told):
        task.prepare_training(task.encode([chat_row("a", "dog"), chat_row("a", "b")]))
    longest = len(silent.loaded.tokenizer(" dog")["input_ids"]) + 1
    assert silent.loaded.model.generation_config.max_new_tokens == longest
    assert told.loaded.model.generation_config.max_new_tokens == 7
    assert length_limit([10] * 99 + [500]) == 10
    assert length_limit([10] * 98 + [500] * 2) == 500


def test_no_limit_is_learnt_where_no_conversation_fits() -> None:
    """The percentile of nothing was an error before anyone could say that there are no rows."""
    task = instruction(max_tokens=16, overflow="drop")
    before = task.loaded.model.generation_config.max_new_tokens
    assert len(task.prepare_training(task.encode([long_row()]))) == 0
    assert task.loaded.model.generation_config.max_new_tokens == before


def test_only_tasks_that_write_learn_a_length() -> None:
    task = task_of("classification")
    examples = task.encode(rows())
    assert task.prepare_training(examples) is examples


def test_instruction_is_measured_by_loss_perplexity_and_rouge() -> None:
    from accelerate import Accelerator

    from llmkit.evaluation.measure import measure

    task = instruction(generation={"max_new_tokens": 3})
    examples = task.encode(rows(5))
    scores, predictions, _ = measure(task, examples, engine=engine_of(task), accelerator=Accelerator(cpu=True))
    assert list(scores.values) == ["loss", "perplexity", "rouge1", "rouge2", "rougeL", "rougeLsum"]
    assert scores.values["perplexity"] == pytest.approx(perplexity(scores.values["loss"], 1))
    assert len(predictions) == 5


def test_conversations_of_the_builder_fit_into_the_model() -> None:
    assert len(conversation(0)) == 3
    assert len(instruction(overflow="error").encode(rows())) == len(rows())


@pytest.mark.parametrize("best", ["loss", "perplexity", "rougeL"])
def test_the_best_checkpoint_may_be_picked_by_the_loss_and_by_what_is_written(best: str) -> None:
    check_metrics(recipe_of("instruction", evaluation={"best": best}))


def test_a_figure_that_instruction_does_not_have_is_refused() -> None:
    with pytest.raises(UsageError, match=facts("'bits_per_byte'", "rougeLsum, loss, perplexity")):
        check_metrics(recipe_of("instruction", evaluation={"best": "bits_per_byte"}))

"""The generation options that a task evaluates with and saves: the recipe's over those of the model that it trains."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from adapted import saved
from builders import TaskName, rows, task_of, tiny_model
from pydantic import ValidationError

from llmkit.errors import UsageError
from llmkit.models.loaded import LoadedModel
from llmkit.models.loading import load_model

SUMMARIZER = {
    "no_repeat_ngram_size": 2,
    "length_penalty": 0.6,
    "num_beams": 3,
    "early_stopping": True,
    "repetition_penalty": 1.1,
    "min_length": 3,
    "max_length": 30,
    "bad_words_ids": [[5]],
    "suppress_tokens": [6],
    "encoder_no_repeat_ngram_size": 4,
    "forced_eos_token_id": 1,
}


def with_options(loaded: LoadedModel, **options: Any) -> LoadedModel:
    for name, value in options.items():
        setattr(loaded.model.generation_config, name, value)
    return loaded


def saved_options(task: Any, folder: Path) -> dict[str, Any]:
    opened = load_model(str(saved(task.loaded, folder)), head=task.recipe.HEAD)
    generation: dict[str, Any] = opened.model.generation_config.to_dict()
    return generation


def test_a_finetuned_model_keeps_the_options_of_its_base(tmp_path: Path) -> None:
    task: Any = task_of("summarization", loaded=with_options(tiny_model("t5"), **SUMMARIZER))
    assert (task.options.beams, task.options.no_repeat_ngram_size, task.options.max_new_tokens) == (3, 2, 29)
    task.prepare_training(task.encode(rows(20)))
    kept = saved_options(task, tmp_path / "model")
    same = {name: value for name, value in SUMMARIZER.items() if name not in ("min_length", "max_length")}
    assert kept.items() >= {**same, "min_new_tokens": 2}.items()
    assert (kept["max_length"], kept["min_length"]) == (None, None)
    assert kept["max_new_tokens"] == task.options.max_new_tokens


def test_keys_of_the_recipe_replace_the_options_of_the_base(tmp_path: Path) -> None:
    keys = {"beams": 2, "no_repeat_ngram_size": 0, "length_penalty": -1.0, "min_new_tokens": 1}
    task: Any = task_of("summarization", loaded=with_options(tiny_model("t5"), **SUMMARIZER), generation=keys)
    assert task.options.model_dump().items() >= keys.items()
    kept = saved_options(task, tmp_path / "model")
    assert (kept["num_beams"], kept["no_repeat_ngram_size"], kept["length_penalty"]) == (2, None, -1.0)


def test_greedy_search_in_a_recipe_turns_off_what_beams_alone_use() -> None:
    options = with_options(tiny_model("t5"), **SUMMARIZER)
    task: Any = task_of("summarization", loaded=options, generation={"beams": 1})
    assert (task.options.beams, task.options.length_penalty, task.options.early_stopping) == (1, 1.0, False)


def test_a_chat_model_keeps_its_options_and_answers_with_them(tmp_path: Path) -> None:
    options = {"no_repeat_ngram_size": 3, "do_sample": True, "temperature": 0.6, "min_new_tokens": 1, "max_length": 50}
    task: Any = task_of("instruction", loaded=with_options(tiny_model("gpt2"), **options))
    task.prepare_training(task.encode(rows(20)))
    assert (task.options.no_repeat_ngram_size, task.options.samples) == (3, False)
    kept = saved_options(task, tmp_path / "model")
    assert (kept["no_repeat_ngram_size"], kept["do_sample"], kept["temperature"]) == (3, True, 0.6)
    assert (kept["max_length"], kept["max_new_tokens"]) == (None, task.options.max_new_tokens)


def test_a_minimum_of_the_base_longer_than_the_targets_is_dropped_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    task: Any = task_of("summarization", loaded=with_options(tiny_model("t5"), min_length=31))
    with caplog.at_level(logging.WARNING, logger="llmkit"):
        task.prepare_training(task.encode(rows(20)))
    assert task.options.max_new_tokens < 30
    assert task.options.min_new_tokens == 0
    assert "min_new_tokens 30" in caplog.text


def test_a_minimum_of_the_recipe_raises_the_limit_of_the_targets() -> None:
    task: Any = task_of("summarization", generation={"min_new_tokens": 30})
    task.prepare_training(task.encode(rows(20)))
    assert (task.options.min_new_tokens, task.options.max_new_tokens) == (30, 30)


@pytest.mark.parametrize("name", ["summarization", "instruction"])
def test_options_of_the_base_are_logged_and_so_are_those_not_followed(
    name: TaskName, caplog: pytest.LogCaptureFixture
) -> None:
    loaded = tiny_model("t5" if name == "summarization" else "gpt2")
    with caplog.at_level(logging.INFO, logger="llmkit"):
        task_of(name, loaded=with_options(loaded, no_repeat_ngram_size=2, diversity_penalty=0.5))
    levels = {
        option: record.levelno
        for record in caplog.records
        for option in ("no_repeat_ngram_size 2", "diversity_penalty 0.5")
        if option in record.getMessage()
    }
    assert levels == {"no_repeat_ngram_size 2": logging.INFO, "diversity_penalty 0.5": logging.WARNING}


def test_beam_options_without_beams_are_refused() -> None:
    with pytest.raises(UsageError, match="length_penalty"):
        task_of("summarization", generation={"length_penalty": 2.0})
    with pytest.raises(ValidationError, match="early_stopping"):
        task_of("summarization", generation={"early_stopping": True, "beams": 1})
    with pytest.raises(ValidationError, match="min_new_tokens"):
        task_of("summarization", generation={"min_new_tokens": 9, "max_new_tokens": 8})

"""What a trained model keeps in its configs, and the recipe that is made of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from adapted import saved
from builders import TaskName, task_of, tiny_model
from published_models import published_folder

import llmkit
from llmkit.errors import ModelError
from llmkit.models.families import Head
from llmkit.models.loaded import LoadedModel
from llmkit.models.loading import load_model
from llmkit.tasks import RECIPES
from llmkit.tasks.classification.saved import SavedClassification
from llmkit.tasks.of_model import recipe_of_model
from llmkit.tasks.question_answering.predict import answer_options
from llmkit.tasks.saved import SavedTaskConfig
from llmkit.tasks.seq2seq.saved import summarization_config, text_to_text_config, translation_config
from llmkit.tasks.token_classification.saved import SavedTokenClassification

GOOGLES = {
    "summarization": {"early_stopping": True, "max_length": 200, "num_beams": 4, "prefix": "summarize: "},
    "translation_en_to_de": {"max_length": 300, "num_beams": 3, "prefix": "translate English to German: "},
    "translation_en_to_fr": {"max_length": 300, "num_beams": 4},
}
"""The form of those of 2019."""
TRAINED: list[tuple[TaskName, dict[str, Any]]] = [
    ("classification", {"overflow": "window", "window_overlap": 3}),
    ("classification", {"multilabel": True}),
    ("classification", {"overflow": "error"}),
    ("token-classification", {"window_overlap": 2}),
    ("question-answering", {"window_overlap": 5, "max_answer_tokens": 7, "no_answer_threshold": 1.5}),
    ("instruction", {"generation": {"repetition_penalty": 1.5}}),
    ("summarization", {"prefix": "short: ", "generation": {"beams": 3, "repetition_penalty": 1.25}}),
    ("summarization", {"overflow": "window", "window_overlap": 4}),
    ("translation", {"source_language": "English", "target_language": "pt-BR"}),
    ("text-to-text", {"prefix": ""}),
    ("causal-lm", {}),
    ("masked-lm", {}),
]


def recipe_for(loaded: LoadedModel, head: Head) -> Any:
    return recipe_of_model(loaded, head=head, data=["rows.jsonl"])


@pytest.mark.parametrize(("name", "keys"), TRAINED)
def test_a_saved_model_gives_back_the_recipe_keys_that_its_use_depends_on(
    name: TaskName, keys: dict[str, Any], tmp_path: Path
) -> None:
    task = task_of(name, **keys)
    head = task.recipe.HEAD
    opened = load_model(str(saved(task.loaded, tmp_path / "model")), head=head)
    found = recipe_for(opened, head)
    assert found.task == name
    given = found.model_dump()
    for key, value in keys.items():
        assert given[key] == value if key != "generation" else given[key].items() >= value.items()


def test_a_model_of_another_program_has_the_task_that_its_head_is_usually_for() -> None:
    heads: dict[Head, tuple[str, str]] = {
        "classification": ("bert", "classification"),
        "causal-lm": ("gpt2", "causal-lm"),
        "masked-lm": ("bert", "masked-lm"),
        "question-answering": ("bert", "question-answering"),
        "seq2seq-lm": ("t5", "summarization"),
        "token-classification": ("bert", "token-classification"),
    }
    for head, (family, task) in heads.items():
        loaded = tiny_model(family, head=head)
        loaded.model.config.task_specific_params = None
        assert recipe_for(loaded, head).task == task


def test_each_entry_has_the_name_of_its_task() -> None:
    def below(kind: type[SavedTaskConfig]) -> list[type[SavedTaskConfig]]:
        return [kind, *(one for sub in kind.__subclasses__() for one in below(sub))]

    named = {kind.TASK for kind in below(SavedTaskConfig) if "TASK" in vars(kind)}
    assert named <= set(RECIPES)
    assert {"classification", "summarization", "translation"} < named


# ---- Google's T5


def googles() -> LoadedModel:
    loaded = tiny_model("t5")
    loaded.model.config.task_specific_params = json.loads(json.dumps(GOOGLES))
    return loaded


def test_each_verb_finds_its_own_entry_among_those_of_googles_t5() -> None:
    summary = summarization_config(googles())
    assert (summary.prefix, summary.num_beams, summary.max_length, summary.overflow) == ("summarize: ", 4, 200, None)
    german = translation_config(googles(), source=None, target="de")
    assert (german.prefix, german.num_beams) == ("translate English to German: ", 3)
    assert translation_config(googles(), source="en", target="French").prefix == "translate English to French: "
    other = text_to_text_config(googles())
    assert (other.prefix, other.num_beams, other.max_length) == ("", 4, 200)


def test_googles_t5_is_measured_with_its_prefix_and_generation_options() -> None:
    recipe = recipe_for(googles(), "seq2seq-lm")
    assert (recipe.task, recipe.prefix) == ("summarization", "summarize: ")
    chosen = recipe.generation.model_dump(exclude_none=True)
    assert chosen == {"beams": 4, "early_stopping": True, "max_new_tokens": 199}  # without the decoder's start


# ---- damaged entries


def entry(name: str, **values: Any) -> Any:
    return {name: values}


DAMAGED: list[tuple[str, Any, str]] = [
    ("classify", entry("classification", threshold="high"), "classification.threshold 'high'"),
    ("classify", entry("classification", overflow="drop"), "classification.overflow 'drop'"),
    ("classify", entry("classification", class_weights={"bad": "heavy"}), "classification.class_weights.bad 'heavy'"),
    ("tag", entry("token-classification", window_overlap=-1), "token-classification.window_overlap -1"),
    ("tag", entry("token-classification", window_overlap="many"), "token-classification.window_overlap 'many'"),
    ("answer", entry("question-answering", no_answer="no"), "question-answering.no_answer 'no'"),
    ("answer", entry("question-answering", max_answer_tokens=0), "question-answering.max_answer_tokens 0"),
    ("summarize", entry("summarization", prefix=5), "summarization.prefix 5"),
    ("summarize", entry("summarization", overflow="cut"), "summarization.overflow 'cut'"),
    ("summarize", entry("text-to-text", num_beams="4"), "text-to-text.num_beams '4'"),
    ("generate", entry("text-to-text", max_length=0), "text-to-text.max_length 0"),
    ("translate", entry("translation", source_language="en"), "translation.target_language"),
    ("translate", entry("translation", source_language="en", target_language="Klingonic"), "target_language 'Klin"),
    ("translate", entry("translation_en_to_de", num_beams=2.5), "translation_en_to_de.num_beams 2.5"),
    ("translate", entry("translation_en_to_xqq", num_beams=2), "xqq"),
]
READERS: dict[str, tuple[str, Head, Any]] = {
    "classify": ("bert", "classification", SavedClassification.load),
    "tag": ("bert", "token-classification", SavedTokenClassification.load),
    "answer": ("bert", "question-answering", answer_options),
    "summarize": ("t5", "seq2seq-lm", summarization_config),
    "generate": ("t5", "seq2seq-lm", text_to_text_config),
    "translate": ("t5", "seq2seq-lm", lambda loaded: translation_config(loaded, source=None, target=None)),
}


@pytest.mark.parametrize(("verb", "entries", "named"), DAMAGED)
def test_a_damaged_entry_is_refused_by_its_key(verb: str, entries: Any, named: str) -> None:
    family, head, read = READERS[verb]
    loaded = tiny_model(family, head=head)
    loaded.model.config.task_specific_params = entries
    with pytest.raises(ModelError) as caught:
        read(loaded)
    assert named in str(caught.value)
    assert loaded.name in str(caught.value)


@pytest.mark.parametrize(
    ("entries", "generation", "key"),
    [
        (GOOGLES, {"num_beams": 1000}, "num_beams 1000"),
        ({}, {"repetition_penalty": 0.01}, "repetition_penalty 0.01"),
        (entry("summarization", overflow="window", window_overlap=400), {}, "window_overlap"),
    ],
)
def test_configs_that_no_recipe_could_have_made_are_refused(entries: Any, generation: dict[str, Any], key: str) -> None:
    loaded = tiny_model("t5")
    loaded.model.config.task_specific_params = entries
    for name, value in generation.items():
        setattr(loaded.model.generation_config, name, value)
    with pytest.raises(ModelError, match=key):
        recipe_for(loaded, "seq2seq-lm")


# ---- measuring a model that is no run


def test_a_published_chat_model_is_measured_on_conversations(tmp_path: Path) -> None:
    template = "{% for message in messages %}{{ message['content'] }}{{ eos_token }}{% endfor %}"
    folder = published_folder(tmp_path / "chat", "gpt2", chat_template=template)
    data = tmp_path / "rows.jsonl"
    data.write_text(json.dumps({"prompt": "the cat", "response": "a dog"}) + "\n")
    measured = llmkit.evaluate_model(str(folder), data=[str(data)])
    assert (measured.rows, len(measured.predictions)) == (1, 1)
    assert {"loss", "rougeL"} <= measured.scores.values.keys()

"""The recipe language as a user meets it: files in, a recipe or all its problems out."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import pytest
from facts import facts, says
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import Field

from llmkit.errors import RecipeError
from llmkit.recipe.blocks import ColumnType, Names, PositiveInt
from llmkit.recipe.generation import GenerationBlock
from llmkit.recipe.loading import LoadedRecipe, dump_recipe, load_recipe, recipe_schema
from llmkit.recipe.recipe import Recipe


class SummarizationRecipe(Recipe):
    COLUMN_TYPES: ClassVar[Mapping[str, ColumnType]] = {"text": "text", "summary": "text"}
    FAMILIES = ("t5",)

    task: Literal["summarization"]
    max_source_tokens: PositiveInt = 512
    """Longest source in tokens."""
    overflow: Literal["error", "truncate", "drop", "window"] = "error"
    prefix: str = ""
    generation: GenerationBlock = GenerationBlock()


class ClassificationRecipe(Recipe):
    COLUMN_TYPES: ClassVar[Mapping[str, ColumnType]] = {"text": "text", "label": "label"}
    FAMILIES = ("bert",)

    task: Literal["classification"]
    labels: Names | None = None
    weights: Annotated[dict[str, float], Field(default_factory=dict)]


KINDS: dict[str, type[Recipe]] = {"summarization": SummarizationRecipe, "classification": ClassificationRecipe}
MINIMAL = "recipe: 1\ntask: summarization\nmodel: google-t5/t5-small\ndata:\n  train: a.csv\n"


@pytest.fixture(autouse=True)
def _in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def load(content: str | bytes, *overrides: str, name: str = "x.yaml") -> LoadedRecipe:
    Path(name).write_bytes(content.encode() if isinstance(content, str) else content)
    return load_recipe(name, kinds=KINDS, overrides=overrides)


def problems(content: str | bytes, *overrides: str) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        load(content, *overrides)
    assert caught.value.exit_code == 2
    assert all(problem.isprintable() for problem in caught.value.problems)
    return list(caught.value.problems)


def states(problem: str, start: str, stated: Sequence[object]) -> bool:
    """Whether a problem starts so, and states all of that behind it."""
    return problem.startswith(start) and re.search(facts(*stated), problem.removeprefix(start)) is not None


def only_problem(content: str | bytes, *overrides: str) -> str:
    found = problems(content, *overrides)
    assert len(found) == 1, found
    return found[0]


def dig(recipe: Recipe, key: str) -> object:
    value: object = recipe
    for name in key.split("."):
        value = getattr(value, name)
    return value


def test_a_minimal_recipe_is_completed_with_the_defaults_of_the_schema() -> None:
    loaded = load(MINIMAL)
    assert loaded.recipe == SummarizationRecipe.model_validate(
        {"recipe": 1, "task": "summarization", "model": "google-t5/t5-small", "data": {"train": "a.csv"}}
    )
    assert loaded.recipe.train.batch_size == 32


def test_origins_name_the_place_of_each_given_value_and_of_no_default() -> None:
    loaded = load(MINIMAL + "train: {seed: 3}\n", "train.batch_size=4")
    assert loaded.origins == {
        "recipe": "x.yaml:1:9",
        "task": "x.yaml:2:7",
        "model": "x.yaml:3:8",
        "data.train": "x.yaml:5:10",
        "train.seed": "x.yaml:6:15",
        "train.batch_size": "--set",
    }


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ("train: {learning_rate: 1e-4}", "train.learning_rate", 1e-4),
        ("train: {learning_rate: 3E-4}", "train.learning_rate", 3e-4),
        ("train: {learning_rate: .5}", "train.learning_rate", 0.5),
        ("train: {learning_rate: +1.5e-3}", "train.learning_rate", 1.5e-3),
        ("train: {learning_rate: 1}", "train.learning_rate", 1.0),
        ("train: {max_grad_norm: null}", "train.max_grad_norm", None),
        ("train: {warmup: 7}", "train.warmup", 7),
        ("revision: no", "revision", "no"),
        ("revision: off", "revision", "off"),
        ("revision: '010'", "revision", "010"),
        ('revision: "2020-01-01"', "revision", "2020-01-01"),
        ("revision: 1.2.3", "revision", "1.2.3"),
        ("revision: nan", "revision", "nan"),
        ("revision: $HOME/${oc.env:HF_TOKEN}/~", "revision", "$HOME/${oc.env:HF_TOKEN}/~"),
        ("revision: |\n  two\n  lines", "revision", "two\nlines\n"),
        ('prefix: "a\\tb\\u263a"', "prefix", "a\tb\u263a"),
        ("generation: {stop: ','}", "generation.stop", (",",)),
        ("generation: {stop: &a [x, y]}\nprefix: z", "generation.stop", ("x", "y")),
        ("revision: &a main\nprefix: *a", "prefix", "main"),
    ],
)
def test_a_spelling_means_what_yaml_1_2_says(line: str, key: str, value: object) -> None:
    loaded = dig(load(f"{MINIMAL}{line}\n").recipe, key)
    assert loaded == value
    assert type(loaded) is type(value)


@pytest.mark.parametrize(
    ("word", "stated"),
    [
        ("010", ["10", '"010"']),
        ("-007.5", ["-7.5", '"-007.5"']),
        ("0o10", ["decimal", '"0o10"']),
        ("0x1F", ["decimal", '"0x1F"']),
        ("0b1", ["decimal", '"0b1"']),
        ("1_000", ["1000", '"1_000"']),
        ("1:30", ['"1:30"']),
        ("2020-01-01", ["date", '"2020-01-01"']),
        ("2020-01-01T00:00:00Z", ["date"]),
        (".nan", ["finite"]),
        ("-.inf", ["finite"]),
        ("1e400", ["1e400", "large"]),
        ("9" * 5000, [5000, "digits"]),
    ],
)
@pytest.mark.parametrize("key", ["prefix", "max_source_tokens"])
def test_a_word_that_readers_of_yaml_disagree_about_is_refused_for_text_and_number(
    key: str, word: str, stated: list[str]
) -> None:
    problem = only_problem(f"{MINIMAL}{key}: {word}\n")
    assert states(problem, f"x.yaml:6:{len(key) + 3}: {key}: ", stated), problem
    assert len(problem) < 200


@pytest.mark.parametrize(
    ("line", "place", "stated"),
    [
        ("train: {batch_size: 0}", "6:21: train.batch_size:", [1, 2147483647, 0]),
        ("train: {batch_size: true}", "6:21: train.batch_size:", [1, 2147483647, "true"]),
        ("train: {batch_size: '32'}", "6:21: train.batch_size:", [1, 2147483647, "'32'", " 32 ", "quotes"]),
        ("train: {seed: 8589934592}", "6:15: train.seed:", [0, 4294967295, 8589934592]),
        ("train: {steps: 1e3}", "6:16: train.steps:", [1, 2147483647, "null", "1e3", 1000]),
        ("train: {precision: fp4}", "6:20: train.precision:", ["auto", "fp32", "bf16", "fp16", "'fp4'"]),
        (
            "train: {schedule: cosin}",
            "6:19: train.schedule:",
            ["constant", "linear", "cosine", "'cosin'", "'cosine'"],
        ),
        ("train: {learning_rate: fast}", "6:24: train.learning_rate:", [0, 10, "auto", "'fast'"]),
        ("train: {learning_rate: [1]}", "6:24: train.learning_rate:", [0, 10, "auto", "list"]),
        ("train: {max_grad_norm: 0}", "6:24: train.max_grad_norm:", ["null", 0]),
        ("train: {warmup: -1}", "6:17: train.warmup:", [0, "-1"]),
        ("train: {epochs: 1, steps: 1}", "6:8: train:", ["epochs", "steps"]),
        ("train: {lora: {}, freeze: {layers: 1}}", "6:27: train.freeze:", ["lora"]),
        ("train: {lora: {}, optimizer: adamw-scaled}", "6:30: train.optimizer:", ["adamw-scaled", "adamw."]),
        ("train: {freeze: {}}", "6:17: train.freeze:", ["embeddings: true", "layers"]),
        ("revision: false", "6:11: revision:", ["text", "null", " false", '"false"']),
        ("revision: 123", "6:11: revision:", ["text", "null", 123, '"123"']),
        ("prefix:", "6:1: prefix:", ["text", "no value"]),
        ("prefix: null", "6:9: prefix:", ["text", " null", '"null"']),
        ("evaluation: {metrics: []}", "6:23: evaluation.metrics:", ["list", 1, "null", "empty"]),
        ("generation: {stop: [a, 1]}", "6:24: generation.stop[1]:", ["text", 1, '"1"']),
        ("generation: {stop: 1}", "6:20: generation.stop:", ["text", "list", 1, '"1"']),
        ("generation: {beams: 2, top_k: 1}", "6:13: generation:", ["beams", "temperature", "top_k", "top_p"]),
        ("task : classification", "6:1: task:", ["x.yaml:2:1"]),
        ("evaluation: {best: a, best: b}", "6:23: evaluation.best:", ["x.yaml:6:14"]),
        ("1: x", "6:1:", ["key", 1, '"1"']),
        ("true: x", "6:1:", ["key", "true", '"true"']),
        ("train: {<<: {seed: 1}}", "6:9: train:", ["<<", "YAML 1.2"]),
        ("prefix: !foo x", "6:9: prefix:", ["tag", "!foo"]),
        ("prefix: !!str 1", "6:9: prefix:", ["tag", "!!str"]),
        ("prefix: *a", "6:9: prefix:", ["alias", "*a"]),
        ("labels: &a [*a]", "6:13: labels[0]:", ["alias", "*a"]),
        ('prefix: "\\0"', "6:9: prefix:", ["U+0000"]),
        ('prefix: "\\ud800"', "6:9: prefix:", ["U+D800"]),
        ('prefix: "\\U00110000"', "6:1:", ["YAML", "escape"]),
    ],
)
def test_a_wrong_value_is_reported_once_with_what_was_found_and_what_is_allowed(
    line: str, place: str, stated: list[object]
) -> None:
    found = problems(f"{MINIMAL}{line}\n")
    assert len([problem for problem in found if states(problem, f"x.yaml:{place}", stated)]) == 1, found
    # `labels` is no key of a summarization recipe: the one row with a second, true problem.
    assert len(found) == (2 if line.startswith("labels") else 1), found


@pytest.mark.parametrize(
    ("content", "place", "stated"),
    [
        (b"", "1:1:", ["empty", "`recipe: 1`"]),
        (b"# only a comment\n", "1:1:", ["empty", "`recipe: 1`"]),
        (b"- a\n", "1:1:", ["mapping", "`recipe: 1`", "list"]),
        (b"\n word\n", "2:2:", ["mapping", "`recipe: 1`", "'word'"]),
        (b"a: 1\n---\nb: 1\n", "2:1:", ["second", "document"]),
        (b"a:\n\tb: 1\n", "2:1:", ["tab"]),
        (b"a: 1\n b: 2\n", "2:3:", ["': '", "quotes"]),
        (b"a: 1\nb: {c: [1}\n", "2:10:", ["YAML", "','", "']'", "'}'"]),
        (b"a: \x00", "1:4:", ["U+0000", "UTF-8"]),
        ("a: 1\r\nb: é\x07".encode(), "2:5:", ["U+0007"]),
        ("a: x\u2028y".encode(), "1:5:", ["U+2028"]),
        ("a: x\ufeff".encode(), "1:5:", ["U+FEFF"]),
        ("a: b".encode("utf-16"), "1:1:", ["UTF-16", "UTF-8"]),
        ("a: b".encode("utf-16-le"), "1:2:", ["U+0000", "UTF-8"]),
        ("a: 1\nb: é".encode("latin-1"), "2:4:", ["0xe9", "UTF-8"]),
        ("\ufeffa: 1\nb: \udcff".encode("utf-8", "surrogateescape"), "2:4:", ["0xff", "UTF-8"]),
        ("a: \ud800".encode("utf-8", "surrogatepass"), "1:4:", ["0xed", "UTF-8"]),
        (b"%YAML 1.1\n---\na: no\n", "1:1:", ["YAML 1.2"]),
        (b"%TAG ! tag:x:\n---\na: no\n", "1:1:", ["YAML 1.2"]),
        (b"? [a]\n: 1\n", "1:3:", ["key", "list", "mapping"]),
        (b"? {a: 1}\n: 1\n", "1:3:", ["key", "list", "mapping"]),
        (b"[" * 100_000, "1:21:", [20]),
        (b"{a: " * 100_000, "1:81:", [20]),
        (b"? " * 100_000, "1:3:", ["key", "list", "mapping"]),
        (b"{1: " * 100_000, "1:81:", [20]),
        (b"- a\n" * 200_000, "10000:3:", ["10,000"]),
        (b"!!python/object/apply:os.system ['touch canary']", "1:1:", ["tag", "!!python/object/apply:os.system"]),
        (b"x: 1\n" * 250_000, "", ["1,000,000", "bytes"]),
    ],
)
def test_a_file_that_is_no_recipe_is_refused_at_line_and_column(
    content: bytes, place: str, stated: list[object]
) -> None:
    found = problems(content)
    assert any(states(problem, f"x.yaml:{place}", stated) for problem in found), found
    assert not Path("canary").exists()


def test_aliases_cannot_expand_without_bound() -> None:
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 60))
    says(only_problem(bomb), "x.yaml:", "10,000")


def test_aliases_cannot_nest_without_bound() -> None:
    deep = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [[[[*a{i - 1}]]]]\n" for i in range(1, 500))
    says(only_problem(deep), "x.yaml:6:13:", 20)


@pytest.mark.parametrize("content", ["\ufeff" + MINIMAL, MINIMAL.replace("\n", "\r\n"), "%YAML 1.2\n---\n" + MINIMAL])
def test_byte_order_mark_crlf_and_a_yaml_1_2_line_change_nothing(content: str) -> None:
    assert load(content).recipe == load(MINIMAL).recipe


def test_unknown_recipe_key_is_reported_with_line_column_nearest_and_allowed_keys() -> None:
    problem = only_problem(MINIMAL + "train:\n  epochs: 1\n  learning_rte: 3e-4\n")
    assert states(problem, "x.yaml:8:3: train.learning_rte:", ["unknown", "'learning_rate'", "epochs, steps, "])


def test_a_missing_key_is_reported_where_its_mapping_stands() -> None:
    model, train = problems("recipe: 1\ntask: summarization\ndata:\n  max_rows: 1\n")
    assert states(
        model, "x.yaml:1:1: model:", ["missing", "text", "architecture, size, tokenizer, dropout, attention_dropout"]
    )
    assert states(train, "x.yaml:4:3: data.train:", ["missing", "text", "list"])


def test_all_problems_come_at_once_and_in_the_order_of_the_file() -> None:
    found = problems(
        "recipe: 2\ntask: summarization\nmodel: false\nmodel: x\n"
        "data: {train: 1, tset: x}\ntrain:\n  seed: 010\n  precision: fp4\noverflow: !t drop\n7: 8\n",
        "train.best=1",
        "x",
    )
    assert [problem.split(": ")[0] for problem in found] == [
        "x.yaml:1:9",
        "x.yaml:3:8",
        "x.yaml:4:1",
        "x.yaml:5:15",
        "x.yaml:5:18",
        "x.yaml:7:9",
        "x.yaml:8:14",
        "x.yaml:9:11",
        "x.yaml:10:1",
        "--set train.best=1",
        "--set x",
    ]


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("false", {"3:8: model:": ["text", "architecture, size, ", "false"]}),
        ("[a]", {"3:8: model:": ["text", "architecture, size, ", "list"]}),
        (
            "{size: tiny, architecture: gpt3}",
            {"3:35: model.architecture:": ["gpt2", "bert", "t5", "lstm", "'gpt3'", "'gpt2'"]},
        ),
        ("{str: x, size: tiny, architecture: t5}", {"3:9: model.str:": ["unknown"]}),
        (
            "{size: tiny, architecture: t5, tokenizer: {vocab_size: 1, lowercase: no}}",
            {
                "3:63: model.tokenizer.vocab_size:": [64, 1000000, 1],
                "3:77: model.tokenizer.lowercase:": ["true", "false", "'no'"],
            },
        ),
    ],
)
def test_a_value_of_a_union_is_judged_by_the_member_that_it_aims_at(
    model: str, expected: dict[str, list[object]]
) -> None:
    found = problems(MINIMAL.replace("google-t5/t5-small", model))
    assert len(found) == len(expected), found
    for problem, (place, stated) in zip(found, expected.items(), strict=True):
        assert states(problem, f"x.yaml:{place}", stated), problem


@pytest.mark.parametrize(
    ("validation", "place", "stated"),
    [
        ("false", "5:30: data.validation:", ["text", "list", "false"]),
        ("[a, 1]", "5:34: data.validation[1]:", ["text", 1]),
        ("{a: b}", "5:30: data.validation:", ["text", "list", "mapping"]),
        ("100%", "5:30: data.validation:", ["0%", "100%", "'100%'"]),
    ],
)
def test_a_share_or_sources_has_one_problem_whatever_its_shape(
    validation: str, place: str, stated: list[object]
) -> None:
    content = MINIMAL.replace("data:\n  train: a.csv", "data:\n  {train: a.csv, validation: " + validation + "}")
    problem = only_problem(content)
    assert states(problem, f"x.yaml:{place}", stated), problem


def test_a_validators_text_that_names_a_key_stands_at_that_key() -> None:
    problem = only_problem(MINIMAL + "  columns:\n    foo: x\n")
    says(problem, "x.yaml:7:5: data.columns:", "'foo'", "summarization", "text, summary")


@pytest.mark.parametrize(
    ("content", "place", "stated"),
    [
        ("recipe: 1\n", "1:1: task:", ["missing", "summarization", "classification"]),
        ("task: sumarization\n", "1:7: task:", ["classification", "'sumarization'", "'summarization'"]),
        ("task: [summarization]\n", "1:7: task:", ["summarization", "classification", "list"]),
        ("task: !x summarization\n", "1:7: task:", ["tag", "!x"]),
    ],
)
def test_without_a_known_task_only_the_task_is_reported(content: str, place: str, stated: list[str]) -> None:
    problem = only_problem(content)
    assert states(problem, f"x.yaml:{place}", stated), problem


def test_control_characters_and_line_ends_are_escaped_in_messages() -> None:
    problem = only_problem(MINIMAL + 'overflow: "a\\n\\e[31m\\u202e"\n')
    assert r"'a\n\x1b[31m\u202e'" in problem


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("train.learning_rate=1e-3", "train.learning_rate", 1e-3),
        ("data.train=[a.csv,b.csv]", "data.train", ("a.csv", "b.csv")),
        ("evaluation.best=null", "evaluation.best", None),
        ("prefix='a=b: c'", "prefix", "a=b: c"),
        ("prefix=''", "prefix", ""),
        ("model={architecture: t5, size: tiny}", "model.size", "tiny"),
        ("train.steps=5", "train.epochs", None),
        ("train.steps=5", "train.steps", 5),
        ("train.steps=null", "train.epochs", 2.0),
    ],
)
def test_set_gives_one_value_in_yaml(override: str, key: str, value: object) -> None:
    loaded = load(MINIMAL + "train: {epochs: 2}\n", override)
    assert dig(loaded.recipe, key) == value


@pytest.mark.parametrize(
    ("override", "key", "stated"),
    [
        ("train.epochs", "", ["'='", "--set train.epochs=1"]),
        ("=1", "", ["empty", "--set train.epochs=1"]),
        ("train..epochs=1", "", ["empty", "--set train.epochs=1"]),
        ("train.epochs=", "train.epochs:", ["value", "null", "\"''\""]),
        ("train.seed=010", "train.seed:", ["010", "zero", 10, '"010"']),
        ("train.seed=!x 1", "train.seed:", ["tag", "!x"]),
        ("train=[", "train:", ["YAML", "'<stream end>'"]),
        ("train.seed=-1", "train.seed:", [0, 4294967295, "-1"]),
        ("model.size=tiny", "model.architecture:", ["missing", "gpt2", "bert", "t5", "lstm"]),
    ],
)
def test_a_wrong_set_is_reported_under_its_own_text(override: str, key: str, stated: list[object]) -> None:
    problem = only_problem(MINIMAL, override)
    assert states(problem, f"--set {override}: {key}", stated), problem


def test_an_unknown_key_of_set_gets_the_nearest_one() -> None:
    problem = only_problem(MINIMAL, "train.sed=1")
    assert states(problem, "--set train.sed=1: train.sed:", ["unknown", "'seed'", "epochs, "]), problem


@pytest.mark.parametrize("key", [".".join("a" * 5000), "a" * 5000])
def test_an_endless_key_of_set_is_a_problem_of_one_line(key: str) -> None:
    assert only_problem(MINIMAL, f"{key}=1").startswith("--set a")


def test_the_later_of_two_sets_for_one_key_holds_but_epochs_and_steps_both_set_are_refused() -> None:
    assert load(MINIMAL, "train.epochs=1", "train.epochs=2").recipe.train.epochs == 2
    problem = only_problem(MINIMAL, "train.epochs=1", "train.steps=2")
    says(problem, "--set", "train:", "epochs", "steps")


def test_a_set_leaves_a_missing_key_to_the_file_that_lacks_it() -> None:
    content = "recipe: 1\ntask: summarization\nmodel: x\ndata:\n  max_rows: 3\n"
    assert only_problem(content, "data.max_rows=4").startswith("x.yaml:5:3: data.train:")


def test_extends_merges_mappings_and_replaces_lists() -> None:
    Path("sub").mkdir()
    Path("sub/grand.yaml").write_text(MINIMAL + "train: {seed: 1, batch_size: 8}\nprefix: old\n")
    Path("sub/base.yaml").write_text("extends: grand.yaml\ndata: {train: [b.csv, c.csv]}\ntrain: {seed: 2}\n")
    loaded = load("extends: sub/base.yaml\ndata: {train: [d.csv]}\nprefix: new\n")
    assert loaded.recipe.data.train == ("d.csv",)
    assert (loaded.recipe.train.seed, loaded.recipe.train.batch_size, dig(loaded.recipe, "prefix")) == (2, 8, "new")
    assert loaded.origins["train.seed"] == "sub/base.yaml:3:15"
    assert loaded.origins["train.batch_size"] == "sub/grand.yaml:6:30"
    assert loaded.origins["prefix"] == "x.yaml:3:9"
    assert "extends" not in loaded.origins


@pytest.mark.parametrize(
    ("parent", "child", "key", "value"),
    [
        ("train: {epochs: 3}", "train: {steps: 9}", "train.epochs", None),
        ("train: {steps: 9}", "train: {epochs: 3}", "train.steps", None),
        ("train: {steps: 9}", "train: {epochs: null}", "train.steps", 9),
        ("train: {freeze: {layers: 2}}", "train: {lora: {}}", "train.freeze", None),
        ("revision: main", "model: {architecture: t5, size: tiny}", "model.size", "tiny"),
    ],
)
def test_what_a_child_gives_takes_the_place_of_what_excludes_it(
    parent: str, child: str, key: str, value: object
) -> None:
    Path("base.yaml").write_text(f"{MINIMAL}{parent}\n")
    assert dig(load(f"extends: base.yaml\n{child}\n").recipe, key) == value


def test_a_problem_of_an_extended_recipe_stands_in_the_file_that_has_it() -> None:
    Path("base.yaml").write_text(MINIMAL + "train: {seed: -1, warmup: 08}\n")
    found = problems("extends: base.yaml\ntrain:\n  epochs: 0\n")
    assert [problem.split(": ")[:2] for problem in found] == [
        ["x.yaml:3:11", "train.epochs"],
        ["base.yaml:6:15", "train.seed"],
        ["base.yaml:6:27", "train.warmup"],
    ]


@pytest.mark.parametrize(
    ("content", "place", "stated"),
    [
        ("extends: bas.yaml\n", "x.yaml:1:10: extends: bas.yaml:", ["no such file", "'base.yaml'"]),
        ("extends: x.yaml\n", "x.yaml:1:10: extends: x.yaml:", ["x.yaml -> x.yaml"]),
        ("extends: loop.yaml\n", "loop.yaml:1:10: extends: x.yaml:", ["x.yaml -> loop.yaml -> x.yaml"]),
        ("extends: .\n", "x.yaml:1:10: extends: .:", ["folder"]),
        ("extends: [base.yaml]\n", "x.yaml:1:10: extends:", ["path", "list"]),
        ("extends: !x base.yaml\n", "x.yaml:1:10: extends:", ["tag", "!x"]),
        ("extends: empty.yaml\n", "empty.yaml:1:1:", ["empty", "`recipe: 1`"]),
    ],
)
def test_a_wrong_extends_is_the_only_problem_reported(content: str, place: str, stated: list[str]) -> None:
    Path("base.yaml").write_text(MINIMAL)
    Path("loop.yaml").write_text("extends: ./x.yaml\n")
    Path("empty.yaml").write_text("")
    problem = only_problem(content)
    assert states(problem, place, stated), problem


def test_a_long_chain_of_recipes_is_refused() -> None:
    for i in range(50):
        Path(f"{i}.yaml").write_text(f"extends: {i + 1}.yaml\n")
    with pytest.raises(RecipeError, match=facts("19.yaml:1:10: extends:", "20.yaml:", 20)):
        load_recipe("0.yaml", kinds=KINDS)


@pytest.mark.parametrize(
    ("path", "place", "stated"),
    [
        (".", ".:", ["folder"]),
        ("recipe.yml", "recipe.yml:", ["no such file", "'recipe.yaml'"]),
        ("nowhere/recipe.yaml", "nowhere/recipe.yaml:", ["no such file"]),
        ("recipe.yaml/x", "recipe.yaml/x:", ["no such file"]),
        ("pipe.yaml", "pipe.yaml:", ["regular file"]),
        ("a\0b", r"a\x00b:", ["null byte"]),
        ("loop.yaml", "loop.yaml:", ["Too many levels of symbolic links"]),
        ("/proc/self/mem", "/proc/self/mem:", ["Input/output error"]),
    ],
)
def test_a_path_that_cannot_be_read_is_named_as_the_user_gave_it(path: str, place: str, stated: list[str]) -> None:
    Path("recipe.yaml").write_text(MINIMAL)
    os.mkfifo("pipe.yaml")
    Path("loop.yaml").symlink_to("loop.yaml")
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, kinds=KINDS)
    (problem,) = caught.value.problems
    assert problem.startswith(place)
    says(problem, *stated)


def test_the_schema_tells_the_tasks_apart_and_carries_descriptions_and_defaults() -> None:
    schema = recipe_schema(KINDS)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["discriminator"]["propertyName"] == "task"
    assert list(schema["discriminator"]["mapping"]) == list(KINDS)
    assert [branch["$ref"] for branch in schema["oneOf"]] == list(schema["discriminator"]["mapping"].values())
    properties = schema["$defs"]["SummarizationRecipe"]["properties"]
    assert properties["task"]["const"] == "summarization"
    assert properties["max_source_tokens"]["description"] == "Longest source in tokens."
    assert properties["max_source_tokens"]["default"] == 512
    assert properties["extends"]["type"] == "string"


def test_the_schema_allows_one_source_without_a_list_and_a_child_without_the_parents_keys() -> None:
    schema = recipe_schema({"summarization": SummarizationRecipe})
    train = schema["$defs"]["DataBlock"]["properties"]["train"]
    assert {option["type"] for option in train["anyOf"]} == {"string", "array"}
    definition = schema["$defs"]["SummarizationRecipe"]
    assert definition["required"] == ["task"]
    assert {"required": ["extends"]} in definition["anyOf"]


def test_a_dump_names_every_key_under_its_header() -> None:
    dumped = dump_recipe(load(MINIMAL).recipe, header="made by llmkit\n\nrun \x07")
    assert dumped.startswith("# made by llmkit\n#\n# run \\x07\nrecipe: 1\ntask: summarization\n")
    assert "  learning_rate: auto\n" in dumped
    assert "  train:\n    - a.csv\n" in dumped
    assert "  columns: {}\n" in dumped


@pytest.mark.parametrize("word", ["no", "Yes", "null", "010", "1e3", "1:30", "2020-01-01", "a: b", "", "- a"])
def test_a_dump_quotes_what_a_reader_of_yaml_could_take_for_something_else(word: str) -> None:
    dumped = dump_recipe(load(MINIMAL + f'prefix: "{word}"\n').recipe)
    assert f'\nprefix: "{word}"\n' in dumped


FINITE = st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    st.sampled_from(
        ["no", "~", "null", "010", "1e3", "1:30", "2020-01-01", ".nan", "<<", "=", "a:", "...", "---", "?"]
    ),
    st.sampled_from(["'", '"', "\\", "\u2028", "\x85", "\ufeff", "!x", "😀"]),
    st.sampled_from(["", "- a", "a: b", "a #b", "\r\n", " a", "a "]),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(TEXTS, min_size=1),
    revision=TEXTS,
    learning_rate=st.floats(0, 10, exclude_min=True),
    weights=st.dictionaries(TEXTS.filter(lambda text: len(text) < 100), FINITE),
    seed=st.integers(0, 2**32 - 1),
)
def test_loading_a_dump_gives_an_equal_recipe(
    texts: list[str], revision: str, learning_rate: float, weights: dict[str, float], seed: int
) -> None:
    recipe = ClassificationRecipe.model_validate(
        {
            "recipe": 1,
            "task": "classification",
            "model": {"architecture": "bert", "size": "tiny", "tokenizer": revision},
            "data": {"train": texts},
            "train": {"learning_rate": learning_rate, "seed": seed},
            "labels": texts,
            "weights": weights,
        }
    )
    assert load(dump_recipe(recipe, header=revision)).recipe == recipe


YAML_LINES = [*MINIMAL.splitlines(), "task: classification", "train:", "epochs: 1", "  steps: 2", "extends: x.yaml"]
YAML_MARKS = (
    "\n|\n  |- |[|]|{|}|: |, |&a |*a|!t |'|\"|\\U00110000|>|#|? |<<: "
    "|---\n|...\n|%YAML 1.2\n|\t|\r|1e999|.nan|\0|\ufeff"
)
YAML_PIECES = st.sampled_from([*YAML_LINES, *YAML_MARKS.split("|"), "|\n"])
YAML_TEXTS = st.lists(YAML_PIECES).map("".join)


@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.one_of(
        st.binary(),
        st.text().map(lambda text: text.encode("utf-8", "surrogatepass")),
        YAML_TEXTS.map(str.encode),
        YAML_TEXTS.map(lambda text: (MINIMAL + text).encode()),
    ),
    overrides=st.lists(st.one_of(st.text(), YAML_TEXTS.map("train={}".format)), max_size=2),
)
def test_whatever_the_bytes_loading_succeeds_or_gives_printable_problems(content: bytes, overrides: list[str]) -> None:
    try:
        found = [str(load(content, *overrides).recipe.recipe)]
    except RecipeError as error:
        found = list(error.problems)
    assert found
    assert all(problem.isprintable() for problem in found)


def test_loading_a_recipe_imports_nothing_heavy() -> None:
    script = (
        "import sys; from llmkit.recipe.loading import load_recipe; from llmkit.recipe.recipe import Recipe\n"
        "assert 'yaml' not in sys.modules\n"
        "print(sorted({'torch', 'transformers', 'datasets', 'numpy'} & set(sys.modules)))"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"

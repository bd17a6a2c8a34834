"""What the recipe class of every task says about it, before there is a model."""

from __future__ import annotations

import subprocess
import sys
from typing import get_args

import pytest

from llmkit.evaluation.baselines import BASELINES
from llmkit.evaluation.metrics import METRICS
from llmkit.models.families import FAMILIES
from llmkit.tasks import RECIPES, Verb
from llmkit.tasks.build import TASKS

_PROBE = """
import sys
import llmkit.tasks
print(*(name for name in sys.modules if name in ("torch", "transformers", "numpy")))
print(*(name for name in sys.modules if name.startswith("llmkit.tasks.") and name.endswith((".task", ".predict"))))
"""


def test_each_command_is_that_of_a_task_but_for_the_one_that_takes_any_encoder() -> None:
    assert {recipe.VERB for recipe in RECIPES.values() if recipe.VERB} == set(get_args(Verb)) - {"embed"}


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_class_names_only_what_there_is(name: str) -> None:
    recipe = RECIPES[name]
    assert recipe.model_fields["task"].annotation.__args__ == (name,)  # type: ignore[union-attr]  # a Literal
    assert all(recipe.HEAD in FAMILIES[family].heads for family in recipe.FAMILIES)
    assert recipe.FAMILIES
    assert set(recipe.METRICS) <= set(METRICS)
    assert set(recipe.BASELINES) <= set(BASELINES)
    assert "{model}" in recipe.USE


def test_every_recipe_has_a_task_class() -> None:
    assert TASKS.keys() == RECIPES.keys()


def test_the_table_of_tasks_loads_no_task_and_no_model_library() -> None:
    done = subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []

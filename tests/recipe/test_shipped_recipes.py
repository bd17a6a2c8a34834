"""The recipes in recipes/: each loads, takes its rows from where anybody has them, and says what to expect."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from llmkit.data.hub_names import parse_hub_source
from llmkit.models.families import FAMILIES
from llmkit.recipe.blocks import ScratchModel
from llmkit.recipe.loading import load_recipe
from llmkit.recipe.recipe import Recipe
from llmkit.tasks import RECIPES

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "recipes").rglob("*.yaml"))
HUB = [path for path in SHIPPED if path.parent.name == "hub"]


def loaded(path: Path) -> Recipe:
    return load_recipe(path, kinds=RECIPES).recipe


def sources(recipe: Recipe) -> list[str]:
    held = [recipe.data.train, recipe.data.validation, recipe.data.test]
    return [source for sources in held if isinstance(sources, tuple) for source in sources]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_recipe_loads_and_maps_no_role_that_its_task_lacks(path: Path) -> None:
    recipe = loaded(path)
    assert path.read_text(encoding="utf-8").startswith("# ")  # says what it is for
    assert recipe.data.columns.keys() <= recipe.column_types.keys()
    assert all(column != role for role, column in recipe.data.columns.items())


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_recipe_has_its_rows_from_the_hub_or_from_here(path: Path) -> None:
    for source in sources(loaded(path)):
        if source.startswith("hub:"):
            assert "/" in parse_hub_source(source, default_split="train").name
        else:
            assert source.startswith("builtin:")


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_model_from_random_weights_has_a_size_of_its_family_and_another_one_an_owner(path: Path) -> None:
    model = loaded(path).model
    if isinstance(model, ScratchModel):
        assert model.size in FAMILIES[model.architecture].sizes
    else:
        assert re.fullmatch(r"[\w-]+/[\w.-]+", model), "a bare hub id may fail"


@pytest.mark.parametrize("path", HUB, ids=lambda path: path.stem)
def test_a_recipe_of_the_hub_says_where_its_settings_are_from_and_what_to_expect(path: Path) -> None:
    comment = "".join(line for line in path.read_text().splitlines(keepends=True) if line.startswith("#"))
    assert "# Settings: " in comment
    assert "# Expect: " in comment
    assert "# Data: " in comment or "extends: " in path.read_text()


def test_the_docs_have_a_row_for_each_recipe_of_the_hub() -> None:
    listed = re.findall(r"^\| \[`([\w-]+)\.yaml`\]", (ROOT / "docs/datasets.md").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(path.stem for path in HUB)

"""The pages in docs/: their recipes load, their Python compiles, and their tables are those of the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

import llmkit
import llmkit.api
from llmkit.evaluation.metrics import METRICS, SCORES
from llmkit.evaluation.metrics.external import EXTERNAL_PREFIX
from llmkit.models.families import FAMILIES
from llmkit.recipe.loading import load_recipe, recipe_schema
from llmkit.tasks import RECIPES

DOCS = Path(__file__).parent.parent / "docs"
PAGES = sorted(DOCS.glob("*.md"))
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]*)\)")


def blocks(language: str) -> list[Any]:
    """The fenced blocks of all pages in one language, each a parameter that is named by its page and line."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in FENCED.finditer(text):
            if match[1] == language:
                line = text.count("\n", 0, match.start()) + 1
                found.append(pytest.param(match[2], id=f"{page.name}:{line}"))
    return found


def tables(page: str) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """Each table of a page: the heading above it, its header, its rows of cells."""
    text = FENCED.sub("", (DOCS / page).read_text(encoding="utf-8"))
    heading, rows = "", []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
            continue
        if rows:
            yield heading, rows[0], rows[2:]
            rows = []
        if line.startswith("#"):
            heading = line.lstrip("# ")


def code(cell: str) -> str:
    """The one piece of code that a cell holds."""
    assert cell.startswith("`"), cell
    assert cell.endswith("`"), cell
    return cell.strip("`")


def test_every_page_is_found() -> None:
    assert {page.stem for page in PAGES} >= {"design", "metrics", "python", "recipes", "runs"}


@pytest.mark.parametrize("recipe", [block for block in blocks("yaml") if block.values[0].startswith("recipe: 1\n")])
def test_a_recipe_of_the_docs_loads(recipe: str, tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(recipe, encoding="utf-8")
    load_recipe(file, kinds=RECIPES)


def test_the_docs_have_a_recipe_for_each_task() -> None:
    text = (DOCS / "recipes.md").read_text(encoding="utf-8")
    shown = {match[1] for match in re.finditer(r"^```yaml\nrecipe: 1\ntask: (\S+)$", text, re.MULTILINE)}
    assert shown == set(RECIPES)


@pytest.mark.parametrize("source", blocks("python"))
def test_python_of_the_docs_compiles_and_names_what_there_is(source: str) -> None:
    tree = ast.parse(source)
    compile(tree, "docs", "exec")
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "llmkit.api":
            assert {alias.name for alias in node.names} <= set(llmkit.api.__all__)
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("llmkit."):
            module = __import__(node.module, fromlist=["there"])
            assert all(hasattr(module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "llmkit":
            assert node.attr in llmkit.__all__


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_link_between_pages_leads_to_a_heading_that_is_there(page: Path) -> None:
    for target in LINK.findall(FENCED.sub("", page.read_text(encoding="utf-8"))):
        name, _, anchor = target.partition("#")
        linked = DOCS / name if name else page
        assert linked.is_file(), target
        if not anchor:  # also a picture
            continue
        headings = re.findall(r"^#+ (.*)$", FENCED.sub("", linked.read_text(encoding="utf-8")), re.MULTILINE)
        anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert anchor in anchors, target


# ---- recipes.md against the schema


@cache
def schema_keys(task: str) -> dict[str, dict[str, Any]]:
    """Dotted key -> its schema, with `required`, for one task; blocks inside blocks included."""
    schema = recipe_schema(RECIPES)
    definitions = schema["$defs"]

    def below(definition: dict[str, Any], required: list[str], prefix: str) -> Iterator[tuple[str, dict[str, Any]]]:
        for key, entry in definition["properties"].items():
            yield prefix + key, {**entry, "required": key in required}
            for reference in [entry, *entry.get("anyOf", ())]:
                if "$ref" in reference:
                    inner = definitions[reference["$ref"].rpartition("/")[2]]
                    yield from below(inner, inner.get("required", []), f"{prefix}{key}.")

    top = definitions[schema["discriminator"]["mapping"][task].rpartition("/")[2]]
    return dict(below(top, top["anyOf"][1]["required"], ""))  # what a recipe without `extends` must have


@cache
def documented_keys() -> dict[str, list[tuple[str, str]]]:
    """Task, or "" for all tasks -> its (key, default) as recipes.md has them."""
    found: dict[str, list[tuple[str, str]]] = {"": []}
    for heading, header, rows in tables("recipes.md"):
        if header == ["key", "type", "default", "meaning"]:
            task = code(heading.removeprefix("Only ")) if heading.startswith("Only ") else ""
            found.setdefault(task, []).extend((code(row[0]), row[2]) for row in rows)
    return found


@pytest.mark.parametrize("task", RECIPES)
def test_recipes_page_has_the_keys_of_the_schema_and_no_others(task: str) -> None:
    documented = [key for owner in ("", task) for key, _ in documented_keys()[owner]]
    assert sorted(documented) == sorted(schema_keys(task))


@pytest.mark.parametrize("task", RECIPES)
def test_recipes_page_has_the_defaults_of_the_schema(task: str) -> None:
    for owner in ("", task):
        for key, cell in documented_keys()[owner]:
            assert cell == default_cell(schema_keys(task)[key], written=cell), key


def default_cell(entry: dict[str, Any], *, written: str) -> str:
    """What the column `default` should say; `written` itself where it spells the same value."""
    if entry["required"]:
        return "*required*"
    if "$ref" in entry or (isinstance(entry.get("default"), dict) and entry["default"]):
        return "*its keys*"  # a block
    default = entry.get("default", {} if entry.get("type") == "object" else None)  # pydantic tells no default factory's
    if default is None:
        return "*none*"
    spelt = YAML(typ="safe").load(written.strip("`")) if written.startswith("`") else None
    return written if spelt == default and type(spelt) is type(default) else f"`{default}`"


def test_recipes_page_has_the_sizes_that_there_are() -> None:
    _, header, rows = next(table for table in tables("recipes.md") if table[1][0] == "family")
    shown = {row[0]: {name for name, cell in zip(header[1:], row[1:], strict=True) if cell} for row in rows}
    assert shown == {
        family: set(sizes) for family, sizes in ((one.name, one.sizes) for one in FAMILIES.values()) if sizes
    }
    for row in rows:
        for name, cell in zip(header[1:], row[1:], strict=True):
            if cell:
                size = FAMILIES[row[0]].sizes[name]
                assert cell.startswith(f"{size.layers} x {size.hidden}")


def test_models_page_has_every_family_with_its_types_and_heads() -> None:
    _, _, rows = next(table for table in tables("models.md") if table[1][0] == "family")
    assert [code(row[0]) for row in rows] == [*FAMILIES]
    for (_, types, heads, random), family in zip(rows, FAMILIES.values(), strict=True):
        assert tuple(re.findall(r"`([\w-]+)`", types)) == family.model_types
        encoder = ("classification", "embedding", "masked-lm", "question-answering", "token-classification")
        assert set(re.findall(r"`([\w-]+)`", heads) or encoder) == set(family.heads)
        assert random.startswith("yes") == bool(family.sizes)


def test_recipes_page_has_the_own_metrics_of_each_task() -> None:
    _, _, rows = next(table for table in tables("recipes.md") if table[1] == ["task", "own metrics", "own `best`"])
    for (name, metrics, best), kind in zip(rows, RECIPES.values(), strict=True):
        assert name == next(task for task, recipe in RECIPES.items() if recipe is kind)
        assert tuple(re.findall(r"`(\w+)`", metrics)) == kind.METRICS or metrics.startswith("none")
        assert metrics.startswith("none") == (not kind.METRICS)
        assert code(best) == kind.BEST


# ---- metrics.md against the tables of metrics


def test_metrics_page_has_every_figure_with_its_direction() -> None:
    _, _, rows = next(table for table in tables("metrics.md") if table[1][0] == "score")
    assert [(code(row[0]), row[1]) for row in rows] == [(metric.name, metric.better) for metric in SCORES.values()]


def test_metrics_page_has_every_metric_with_its_figures() -> None:
    _, _, rows = next(table for table in tables("metrics.md") if table[1][0] == "metric")
    shown = {code(row[0]): tuple(re.findall(r"`([\w+]+)`", row[1])) for row in rows}
    assert shown.pop(f"{EXTERNAL_PREFIX}NAME") == ()
    assert shown == {metric.name: metric.scores for metric in METRICS.values()}

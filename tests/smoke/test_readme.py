"""README.md is true: its commands run, its recipes load, its Python compiles and uses names that exist.

In ```console blocks, lines `$ llmkit ...` are commands; they run in the order of the page, in a folder that has the
repository's recipes, with trainings cut to two steps. A recipe that the page shows is written under the name that a
later command calls it by, and data files that it names are made up here.
"""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
from tiny_recipes import llmkit, rows, write_jsonl

import llmkit as package
from llmkit.cli import app
from llmkit.errors import RecipeError
from llmkit.recipe.loading import load_recipe
from llmkit.tasks import RECIPES

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
OWN_PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]  # recipes and Python in docs/ are in test_docs.py
PAGES = [*OWN_PAGES, *sorted((ROOT / "docs").rglob("*.md"))]
_BLOCK = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_SHORT = {"train.steps": "1", "data.max_rows": "700", "evaluation.max_rows": "20"}


def blocks(page: Path, language: str) -> list[str]:
    return [text for kind, text in _BLOCK.findall(page.read_text(encoding="utf-8")) if kind == language]


def commands(text: str) -> list[list[str]]:
    """Arguments of each `$ llmkit ...` line, up to a pipe or a redirection."""
    joined = text.replace("\\\n", " ")
    found = []
    for line in joined.splitlines():
        if not line.startswith("$ llmkit"):
            continue
        lexer = shlex.shlex(line[2:], posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        arguments: list[str] = []
        for word in lexer:
            if set(word) <= set("|<>&;()"):
                break
            arguments.append(word)
        found.append(arguments[1:])
    return found


def parse(arguments: list[str]) -> None:
    """Let Typer read the arguments without running anything; it raises what it does not understand."""
    import typer

    group = typer.main.get_command(app)
    context = group.make_context("llmkit", list(arguments))
    if not context.args and not getattr(context, "_protected_args", []):
        return
    name, command, rest = group.resolve_command(context, [*getattr(context, "_protected_args", []), *context.args])
    command.make_context(name, rest, parent=context)


def needs_hub(arguments: list[str], folder: Path) -> bool:
    values = [argument.partition("=")[2] or argument for argument in arguments]
    return any(
        value.startswith("hub:")
        or (_HUB_ID.fullmatch(value) and not Path(value).suffix and not (folder / value).parent.exists())
        for value in values
    )


def shortened(arguments: list[str]) -> list[str]:
    """The same training in two steps, in one process, on few rows."""
    kept: list[str] = []
    words = iter(arguments)
    for word in words:
        if word == "--processes":
            next(words)
        elif word == "--set":
            change = next(words)
            if change.partition("=")[0] not in {*_SHORT, "train.epochs"}:
                kept += [word, change]
        else:
            kept.append(word)
    return kept + [part for key, value in _SHORT.items() for part in ("--set", f"{key}={value}")]


def make_missing(arguments: list[str], folder: Path, recipe: str | None) -> None:
    """The files that a reader of the page would have: the recipe shown before, and data of their own."""
    names = list(arguments)
    columns: dict[str, str] = {}
    for name in arguments:
        path = folder / name
        if recipe is not None and path.suffix == ".yaml" and not path.exists():
            path.write_text(recipe, encoding="utf-8")
            columns = load_recipe(path, kinds=RECIPES).recipe.data.columns
            names += re.findall(r"[\w./-]+\.(?:csv|jsonl|txt)\b", recipe)
    made = [{**row, **{column: row.get(role, row["text"]) for role, column in columns.items()}} for row in rows(60)]
    for name in names:
        path = folder / name
        if path.exists() or any(char.isspace() for char in name) or path.suffix not in {".txt", ".jsonl", ".csv"}:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".txt":
            path.write_text("".join(row["text"] + "\n" for row in made[:6]))
        elif path.suffix == ".jsonl":
            write_jsonl(path, made)
        else:
            path.write_text(
                "\n".join(",".join(line) for line in [list(made[0]), *(row.values() for row in made)]) + "\n"
            )


def test_every_command_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    (tmp_path / "runs").mkdir()  # a name in it is no hub id
    monkeypatch.chdir(tmp_path)
    recipe: str | None = None
    ran = 0
    for kind, text in _BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8")):
        if kind == "yaml" and text.startswith("recipe: 1"):
            recipe = text
        for arguments in commands(text) if kind == "console" else []:
            if needs_hub(arguments, tmp_path):
                continue  # parsed below
            make_missing(arguments, tmp_path, recipe)
            outcome = llmkit(*(shortened(arguments) if arguments[0] in ("finetune", "pretrain") else arguments))
            # Two steps of training may not pass a gate.
            codes = (0, 7) if "--fail-under" in arguments else (0,)
            assert outcome.code in codes, f"{shlex.join(arguments)}\n{outcome.err}"
            ran += 1
    assert ran > 8, "most commands of README.md need no hub"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_a_page_is_understood(page: Path) -> None:
    for block in blocks(page, "console"):
        for arguments in commands(block):
            parse(arguments)


def test_a_command_that_does_not_exist_would_be_noticed() -> None:
    for wrong in (
        ["frobnicate"],
        ["finetune", "--frobnicate"],
        ["classify", "a", "b"],
        ["classify", "--overflow", "x"],
    ):
        with pytest.raises(Exception, match=r"(?i)no such|unexpected|not one of"):
            parse(wrong)
    parse(["classify", "a text", "--model", "no-one/nothing"])


@pytest.mark.parametrize("page", OWN_PAGES, ids=lambda page: page.name)
def test_every_recipe_of_a_page_loads(page: Path, tmp_path: Path) -> None:
    for number, text in enumerate(blocks(page, "yaml")):
        if text.startswith("recipe: 1"):
            path = tmp_path / f"{number}.yaml"
            path.write_text(text, encoding="utf-8")
            try:
                load_recipe(path, kinds=RECIPES)
            except RecipeError as error:
                pytest.fail(f"{page.name}:\n{text}\n{error}")


@pytest.mark.parametrize("page", OWN_PAGES, ids=lambda page: page.name)
def test_python_on_a_page_compiles_and_uses_names_that_exist(page: Path) -> None:
    for text in blocks(page, "python"):
        compile(text, str(page), "exec")
        for name in re.findall(r"\bllmkit\.(\w+)\(", text):
            assert name in package.__all__

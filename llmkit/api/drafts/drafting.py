"""`draft_recipe`: from a file of rows, or from a task alone, to a recipe that runs as written."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from llmkit.api.drafts.explaining import text_of
from llmkit.api.drafts.matching import given_columns, match_task
from llmkit.api.drafts.models import choose_model, sample_texts
from llmkit.api.drafts.plan import PLACEHOLDER, Plan
from llmkit.api.drafts.recognising import recognise
from llmkit.api.drafts.splits import sibling_splits, training_file
from llmkit.data.field_columns import wrong_delimiter
from llmkit.data.profiles import SAMPLE_ROWS, TableProfile, profile_table
from llmkit.errors import DataError, UsageError, nearest
from llmkit.recipe.blocks import Quoting
from llmkit.recipe.languages import language_code
from llmkit.recipe.loading import load_recipe
from llmkit.tasks import PRETRAINING, RECIPES
from llmkit.tasks.columns import Ask, Match, used
from llmkit.tasks.seq2seq.languages import language_in
from llmkit.training.metric_checks import check_metrics
from llmkit.training.row_checks import check_rows
from llmkit.training.splits import open_splits

logger = logging.getLogger("llmkit")
_CHECKED_ROWS = 10_000
"""Rows that are read to see whether the recipe runs."""
_FEW, _SOME = 500, 5000


@dataclass(frozen=True)
class Draft:
    """A new recipe."""

    text: str
    """YAML with comments."""
    task: str
    reason: str
    """Why this task."""
    source: str
    """The training rows."""
    columns: Mapping[str, str | tuple[str, ...]]
    """Field of the task -> column."""
    model: str
    """A hub id, folder or run, or what kind of random weights."""
    problem: str = ""
    """Why the recipe does not run on its first rows; empty if it does."""

    @property
    def is_placeholder(self) -> bool:
        """Whether the recipe waits for the name of a file."""
        return self.source == PLACEHOLDER

    @property
    def command(self) -> str:
        """The command that trains it."""
        return "llmkit pretrain" if self.task in PRETRAINING else "llmkit finetune"


def draft_recipe(
    task: str | None = None,
    *,
    data: str | Path | None = None,
    model: str | None = None,
    columns: Sequence[str] = (),
    source_language: str | None = None,
    target_language: str | None = None,
    quoting: Quoting = "auto",
    file: str = "recipe.yaml",
    ask: Ask | None = None,
) -> Draft:
    """Propose a recipe; nothing is written.

    Args:
        task: without it, the data decides.
        data: a file, folder, glob, `hub:NAME` or `builtin:NAME`; without it, a built-in data set of the task, or a
            placeholder.
        model: a hub id, a folder, a run, or a size of random weights such as `tiny`. Without it, a small published model,
            or random weights if HF_HUB_OFFLINE keeps it from being downloaded.
        columns: `FIELD=COLUMN` each, where columns are to be others than proposed.
        source_language, target_language: of a translation, if the columns do not say them.
        quoting: what quotes mean in a CSV or TSV file, as `data.quoting` of a recipe.
        file: the name of the recipe, for its first comment.
        ask: asks the user for a decision that the data leaves open, given the question and the choices; all answers are
            accepted if there are no choices. Without it, an open decision is an error.
    Raises:
        UsageError: an open decision; the message names the argument that makes it.
        DataError, MachineError: the data cannot be read.
    """
    if task is not None and task not in RECIPES:
        raise UsageError(f"no task {task!r}.{nearest(task, RECIPES)} Tasks: {', '.join(RECIPES)}.")
    plan = (
        _without_data(task, model, columns, ask) if data is None else _with_data(task, str(data), columns, ask, quoting)
    )
    if plan.has_languages:
        plan = _with_languages(plan, source_language, target_language, ask)
    elif source_language or target_language:
        raise UsageError(f"--from and --to are the languages of a translation, and the task is {plan.task}.")
    texts = sample_texts(value for column in plan.read_columns() for value in column.values[:SAMPLE_ROWS])
    plan = replace(plan, model=choose_model(plan.task, texts=texts, given=model or plan.model_given))
    plan = _with_splits(plan)
    for share in dict.fromkeys((plan.splits.get("validation", ""), "10%", "20%", "40%")):
        proposed = plan if not share else replace(plan, splits={**plan.splits, "validation": share})
        text = text_of(proposed, file)
        problem, lacks_validation = _tried(text) if plan.is_readable else ("", False)
        if not lacks_validation or not plan.splits.get("validation", "5%").endswith("%"):
            break
    assert plan.model is not None
    named = plan.model.name or f"random weights, {plan.model.architecture} {plan.model.size}"
    return Draft(text, plan.task, plan.reason, plan.source, plan.match.columns, named, problem)


def _with_data(task: str | None, source: str, columns: Sequence[str], ask: Ask | None, quoting: Quoting) -> Plan:
    source = training_file(source)
    table = _readable(profile_table(source, quoting=quoting))
    if task is None and columns:
        raise UsageError("--column names the columns of a task; name the task as well: llmkit init TASK --data ...")
    if task is None:
        task, recognised = recognise(table, ask=ask)
        return Plan(task, recognised.reason, source, recognised.match, table)
    given = given_columns(columns, task=task, table=table)
    if table.format == "text" and task not in PRETRAINING:
        needed = ", ".join(RECIPES[task].COLUMN_TYPES)
        raise UsageError(
            f"{source}: plain text has no columns, and {task} needs {needed}. Give a .csv, .tsv, .jsonl, .parquet or .conll "
            f"file, or choose one of {', '.join(PRETRAINING)}."
        )
    match = Match({}) if table.format == "text" else match_task(task, table, given=given, ask=ask)
    return Plan(task, "", source, match, table)


def _readable(table: TableProfile) -> TableProfile:
    """The table, if its rows and the names of its columns can be read; a first row in place of names is a warning.

    Raises:
        DataError: there is no row, or its cells are not separated as its extension says.
    """
    if not table.columns or not table.rows:
        raise DataError(f"{table.source}: no row can be read. Give a file with rows to train on.")
    if table.format not in ("csv", "tsv"):
        return table
    hint = wrong_delimiter([column.name for column in table.columns])
    if hint is not None and all(any(sign in str(value) for sign in ";|,\t") for value in table.columns[0].values):
        raise DataError(f"{table.source}: {hint}")
    repeated = next((column.name for column in table.columns if column.name in column.counts), None)
    if repeated is not None:
        logger.warning(
            "%s: the column %r has its own name as a value; if the first line has no names of columns, add such a line",
            table.source,
            repeated,
        )
    return table


def _without_data(task: str | None, model: str | None, columns: Sequence[str], ask: Ask | None) -> Plan:
    if columns:
        raise UsageError("--column: name the data that has the columns, with --data FILE.")
    if task is None:
        if ask is None:
            raise UsageError(f"give a TASK, or --data FILE to decide by its columns. Tasks: {', '.join(RECIPES)}.")
        task = ask("Which task?", list(RECIPES))
    example = RECIPES[task].DRAFT.EXAMPLE
    if example is None:
        return Plan(task, "", PLACEHOLDER, Match({}))
    # Its rows are not read: building it takes a while, and it fits.
    return Plan(task, "", example.source, example.match, model_given=None if model else "tiny")


def _with_languages(plan: Plan, source: str | None, target: str | None, ask: Ask | None) -> Plan:
    """The languages of a translation: those that are given, else those that the columns are called by."""
    languages = {}
    for name, option, given, example in (("source", "--from", source, "en"), ("target", "--to", target, "de")):
        language = given or language_in(str(plan.match.columns.get(name, name)))
        if language is None and plan.is_placeholder:
            language = example
        if language is None and ask is not None:
            language = ask(f"The {name} language (a code such as {example})?", ())
        if language is None:
            raise UsageError(
                f"{plan.source}: no column says the {name} language. Name it: {option} {example} (a code or an English name)."
            )
        try:
            language_code(language)
        except ValueError as error:
            raise UsageError(f"{option} {language}: {error}.") from error
        languages[f"{name}_language"] = language
    return replace(plan, languages=languages)


def _with_splits(plan: Plan) -> Plan:
    """Files beside the training file, else shares of its rows: larger ones of few rows."""
    columns = used(plan.match.columns)
    table = plan.table
    found = {} if table is None else sibling_splits(plan.source, columns=columns, quoting=table.quoting)
    rows = _CHECKED_ROWS if plan.table is None or not plan.table.is_whole else plan.table.rows
    if "validation" not in found:
        found["validation"] = "20%" if rows < _FEW else "10%" if rows < _SOME else "5%"
    if "test" not in found and found["validation"].endswith("%") and rows >= _FEW:
        found["test"] = "10%"
    return replace(plan, splits=dict(sorted(found.items(), reverse=True)))  # validation first


def _tried(text: str) -> tuple[str, bool]:
    """Read the first rows as the recipe says.

    Returns:
        The fault, empty if there is none; and whether it is that none of the rows is for validation.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "recipe.yaml"
        file.write_text(text, encoding="utf-8")
        recipe = load_recipe(file, kinds=RECIPES).recipe
    check_metrics(recipe)
    recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"max_rows": _CHECKED_ROWS})})
    try:
        splits = open_splits(recipe)
        check_rows(recipe, splits)
        for split in ("train", "validation"):
            if not any(True for _ in splits[split]):
                fix = "Give more rows, or separate files for train and validation."
                return f"data.{split}: none of the rows is in its share. {fix}", split == "validation"
    except DataError as error:
        return str(error), False
    return "", False

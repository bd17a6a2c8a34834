"""`check_data`: looks for faults in the rows of a recipe, without a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from llmkit.data.given import given_names
from llmkit.inspection.findings import SEVERITIES, CheckStage, DataReport
from llmkit.recipe.loading import load_recipe
from llmkit.tasks import RECIPES
from llmkit.training.splits import open_splits


def check_data(
    recipe: str | Path,
    *,
    overrides: Sequence[str] = (),
    report: Callable[[CheckStage], None] = lambda stage: None,
) -> DataReport:
    """Look for faults in the rows of all splits: rows that the task cannot use, duplicates, rows of the test split in
    train, labels that look wrong, faults of encoding and so on. All rows are read into memory.

    Args:
        overrides: `a.b=value` each.
        report: called before each stage.
    Raises:
        RecipeError: a problem in the recipe.
        DataError: a source that is missing, or lacks a column.
    """
    loaded = load_recipe(recipe, kinds=RECIPES, overrides=given_names(overrides, what="overrides")).recipe
    splits = open_splits(loaded)
    from llmkit.inspection.checks import CHECKS  # scikit-learn and others, after errors in the recipe
    from llmkit.inspection.encoding import encoded_rows
    from llmkit.inspection.reading import read_rows

    names = ["rows", *CHECKS, "lengths and tokens"]
    stages = iter(CheckStage(name, number, len(names)) for number, name in enumerate(names))
    report(next(stages))
    inspection, labels, findings = read_rows(loaded, splits)
    for check in CHECKS.values():
        report(next(stages))
        findings += check(inspection)
    report(next(stages))
    if inspection.splits["train"]:
        readable = {split: rows.without_bad_rows() for split, rows in splits.items() if inspection.splits[split]}
        findings += encoded_rows(loaded, readable, labels=labels)
    counts = {split: len(rows) for split, rows in inspection.splits.items()}
    ordered = sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))
    return DataReport(str(recipe), counts, tuple(ordered))

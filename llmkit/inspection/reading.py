"""All rows of a recipe for its checks, and the findings about those that cannot be used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from llmkit.errors import DataError
from llmkit.inspection.encoding import collected_log
from llmkit.inspection.findings import Finding, FoundRow, found
from llmkit.inspection.rows import InspectedRow, Inspection, inspected
from llmkit.tasks.base import TaskRecipe
from llmkit.training.row_checks import check_sources_with_labels, sources_of
from llmkit.training.splits import Split, SplitRows


def read_rows(
    recipe: TaskRecipe, splits: Mapping[Split, SplitRows]
) -> tuple[Inspection, tuple[str, ...] | None, list[Finding]]:
    """All rows that the task can use, the names of its classes, and the findings about the others."""
    findings: list[Finding] = []
    labels: tuple[str, ...] | None = None
    with collected_log():  # the names that it warns of are in the findings
        try:
            labels = recipe.class_names(splits["train"].whole().without_bad_rows())
        except DataError as error:
            findings.append(_fault(error))
    check_sources_with_labels(recipe, splits, labels=labels)
    rows: dict[Split, list[InspectedRow]] = {}
    for split, split_rows in splits.items():
        rows[split] = []
        try:
            # Duplicates are reported even if training removes them.
            rows[split].extend(inspected(recipe, split, replace(split_rows.without_bad_rows(), deduplicate=False)))
        except DataError as error:  # within a file, or there are no rows
            findings.append(_fault(error))
    findings += _unused_rows(recipe, splits)
    unique = {(finding.check, finding.message): finding for finding in findings}
    return Inspection(recipe, rows, labels or ()), labels, list(unique.values())


def _fault(error: DataError) -> Finding:
    return Finding("rows", "error", str(error).replace("\n", " "))


def _unused_rows(recipe: TaskRecipe, splits: Mapping[Split, SplitRows]) -> Iterator[Finding]:
    """Rows that the task cannot use, and rows without text."""
    for split, source in sources_of(splits).items():
        bad: dict[str, list[FoundRow]] = {}
        quiet = source.without_bad_rows()
        try:
            for row in source.bad_rows():
                bad.setdefault(row.reason, []).append(FoundRow(row.place, row.fault))
            for _ in quiet:
                pass
        except DataError:
            pass  # it has been reported
        skips = recipe.data.skip_bad_rows
        for reason, rows in bad.items():
            effect = "are left out (data.skip_bad_rows)" if skips else "cannot be used"
            message = f"{split}: {len(rows):,} rows {effect}: {reason}"
            yield found("bad-rows", "warning" if skips else "error", message, rows=rows, count=len(rows))
        for reason, count in quiet.skipped.items():
            message = f"{split}: {count:,} rows have {reason}, and are skipped"
            places = [FoundRow(place) for place in quiet.skipped_places[reason]]
            yield found("empty-rows", "warning", message, rows=places, count=count)

"""The checks of a recipe's rows, in the order in which they are reported. A new one is a function and a line here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from llmkit.inspection.characters import faulty_characters
from llmkit.inspection.duplicates import (
    different_targets,
    equal_rows,
    nearly_equal_rows,
    nearly_shared_rows,
    shared_clusters,
    shared_rows,
)
from llmkit.inspection.findings import Finding
from llmkit.inspection.labels import label_counts
from llmkit.inspection.languages import languages, scripts
from llmkit.inspection.rows import Inspection
from llmkit.inspection.suspects import suspect_labels
from llmkit.inspection.targets import cut_words, target_lengths

CHECKS: Mapping[str, Callable[[Inspection], Iterator[Finding]]] = {
    "rows in two splits": shared_rows,
    "clusters in two splits": shared_clusters,
    "nearly equal rows in two splits": nearly_shared_rows,
    "duplicates": equal_rows,
    "near-duplicates": nearly_equal_rows,
    "equal texts with different labels": different_targets,
    "labels": label_counts,
    "labels that look wrong": suspect_labels,
    "lengths of targets": target_lengths,
    "spans that cut words": cut_words,
    "characters": faulty_characters,
    "scripts": scripts,
    "languages": languages,
}
"""What a check looks for, for people -> the check."""

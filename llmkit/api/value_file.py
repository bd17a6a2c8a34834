"""The values in a file of predictions or of references, for `score_files`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from llmkit.api.choice_values import INDEX, are_choices
from llmkit.api.value_columns import choose_column
from llmkit.data.clusters import cluster_name
from llmkit.data.column_types import labels, spans
from llmkit.data.fields import Fields
from llmkit.data.files import text_lines
from llmkit.data.sources import column_names, open_rows
from llmkit.data.span_offsets import in_characters
from llmkit.data.word_rows import sentence_column
from llmkit.errors import DataError, UsageError
from llmkit.evaluation.values import Value, ValueKind, fits
from llmkit.recipe.blocks import Quoting

_PLAIN_TEXT = {".txt", ".text", ".md"}
_PRINTED_LABELS = re.compile(r"\(none\)|(\(abstained\)\t)?[^\t]+\t[01]\.\d{4}(\t[^\t]+\t[01]\.\d{4})*")
_PRINTED_NO_ANSWER = "no answer"
_CLUSTER = "cluster"
"""Its column in files of predictions that `evaluate` writes."""


@dataclass(frozen=True)
class ValueFile:
    """A file of predictions or of references."""

    path: str | Path
    side: Literal["prediction", "reference"]
    kinds: Sequence[ValueKind]
    """What all metrics compare."""
    file_column: str | None
    """The column that the user named for this file."""
    shared_column: str | None
    """The column that the user named for both."""
    quoting: Quoting

    def choose(self, *, paired: Sequence[str]) -> str | None:
        """The column of the values; None for a plain text file.

        Args:
            paired: columns that data sets have for what the other file predicts.
        Raises:
            UsageError: several possible columns, or a column of a plain text file.
            DataError: no column has values of these kinds.
        """
        if Path(self.path).suffix.lower() in _PLAIN_TEXT:
            if self.file_column is not None:
                raise UsageError(f"--{self.side}-column: {self.path} is plain text, without columns. Leave it out.")
            return None
        if (option := self.file_column or self.shared_column) is not None:
            return option
        if self.has_choices(INDEX):
            return INDEX
        names = column_names(str(self.path), quoting=self.quoting)
        return choose_column(names, side=self.side, kinds=self.kinds, paired=paired, fits=self._fits, of=str(self.path))

    def has_choices(self, column: str | None) -> bool:
        """Whether the column has choices that `choose` predicted."""
        if self.side == "reference" or column != INDEX:
            return False
        return are_choices(column_names(str(self.path), quoting=self.quoting), self.kinds)

    def values(self, column: str | None) -> list[Value]:
        """All values, including empty ones."""
        if column is None:
            return self._lines()
        return list(self._of_rows(column))

    def own_clusters(self, *, column: str | None) -> list[str | None] | None:
        """As `clusters`, if `evaluate` wrote this file of predictions and its rows have clusters."""
        names = set(self.names()) if column is not None else set()
        return self.clusters(_CLUSTER, column=column) if names >= {"prediction", "reference", "row", _CLUSTER} else None

    def clusters(self, cluster: str, *, column: str | None) -> list[str | None] | None:
        """The cluster of each row; None if the file has no such column.

        Args:
            column: that of the values.
        Raises:
            RowError: a row without a cluster; but in files that `evaluate` wrote, null means that a row is independent of
                all others.
        """
        names = [] if column is None else self.names()
        if column is None or cluster not in names:
            return None
        field = self._field_of(column)
        fields = Fields(
            column_types={field: "any", "group": "any"}, columns={field: column, "group": cluster}, mapping="{column}"
        )
        may_be_null = cluster == _CLUSTER and "row" in names
        clusters: list[str | None] = []
        for row in open_rows([str(self.path)], fields, quoting=self.quoting, keep_empty=True):
            [value] = row.fields["group"]
            independent = may_be_null and value is None
            clusters.append(None if independent else cluster_name(value, column=cluster, place=row.place))
        return clusters

    def names(self) -> list[str]:
        """Of the columns."""
        return column_names(str(self.path), quoting=self.quoting)

    def _of_rows(self, column: str) -> Iterator[Value]:
        option = f"--{self.side}-column"
        another = f"Name another with {option} {{column}}"
        if self.shared_column is not None and self.file_column is None:
            another = f"Name another with --column {{column}}, or for this file alone with {option}"
        field = self._field_of(column)
        column_types: dict[str, Any] = {field: "any"}
        optional: dict[str, bool] = {}
        beside = self._beside(column)
        column_types |= dict.fromkeys(beside, "any")
        optional |= dict.fromkeys(beside, False)
        if self.side == "reference" and "entities" in self.kinds and column != "text":
            column_types["text"] = "any"
            optional["text"] = False
        rows = open_rows(
            [str(self.path)],
            Fields(column_types=column_types, columns={field: column}, optional=optional, mapping=another),
            quoting=self.quoting,
            keep_empty=True,
        )
        name, advice = repr(column), f" Another column is named with {option}."
        for row in rows:
            [value] = row.fields[field]
            if "probabilities" in row.fields and not isinstance(value, Mapping):
                key = "labels" if column == "labels" else "label"
                value = {key: value, **{name: row.fields[name][0] for name in beside if name in row.fields}}
            if "text" in row.fields:
                value = _in_characters(value, row.fields["text"][0], place=row.place)
            yield Value(value, row.place, name, advice)

    def _beside(self, column: str) -> Sequence[str]:
        """The columns that belong to this one: `classify` writes labels and their probabilities in several."""
        if column == "labels":
            return ("probabilities",)
        if self.side == "prediction" and "probabilities" in self.kinds:
            return ("probabilities", "abstained", "best_guess")
        return ()

    def _field_of(self, column: str) -> str:
        """`words` where a table has one tag per row, whose rows become sentences."""
        of_words = set(self.kinds) <= {"tags", "entities"}
        names = column_names(str(self.path), quoting=self.quoting) if of_words else []
        return "words" if sentence_column(names, besides=[column]) else "value"

    def _fits(self, column: str) -> bool:
        """Whether any row has a value that all metrics can compare."""
        predicted = self.side == "prediction"
        return any(
            all(fits(kind, item.value, predicted=predicted) for kind in self.kinds) for item in self._of_rows(column)
        )

    def _lines(self) -> list[Value]:
        path = Path(self.path)
        lines = [line.rstrip("\n") for line in text_lines(path, str(path), translate=True)]
        if self.side == "prediction" and "answer" in self.kinds:
            lines = ["" if line == _PRINTED_NO_ANSWER else line for line in lines]
        of_labels = any("label" in kind for kind in self.kinds)
        if of_labels and self.side == "prediction" and lines and all(map(_PRINTED_LABELS.fullmatch, lines)):
            raise DataError(
                f"{path}: its lines are labels with probabilities, as classify prints them. Let it write JSONL instead, "
                "with --output or --json."
            )
        return [Value(line, f"{path}:{number}", "this line") for number, line in enumerate(lines, 1)]


def _in_characters(value: object, text: object, *, place: str) -> object:
    """Spans with offsets in characters of their text; any other value as it is.

    Raises:
        DataError: spans whose own text is not there.
    """
    found = spans(value) if isinstance(text, str) and labels(value) is None else None
    if found is None or not isinstance(text, str):
        return value
    return in_characters(text, found, unit="auto", place=place)[0]

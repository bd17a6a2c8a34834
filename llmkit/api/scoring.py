"""`evaluate` without a model: the values of one file against those of another."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from llmkit.api.evaluation_result import Evaluation
from llmkit.api.value_columns import choose_column, columns_of_answer
from llmkit.data.files import text_lines
from llmkit.data.sources import column_names, open_rows
from llmkit.errors import DataError, UsageError
from llmkit.evaluation.metrics import RougeTokenizer, check_rows, merge_scores, score_names_of, score_texts, values_of
from llmkit.evaluation.values import Value, ValueKind, fits, values_for
from llmkit.recipe.blocks import Quoting

_PLAIN_TEXT = {".txt", ".text", ".md"}
_PRINTED_LABELS = re.compile(r"\(none\)|[^\t]+\t[01]\.\d{4}(\t[^\t]+\t[01]\.\d{4})*")
_PRINTED_NO_ANSWER = "no answer"


def score_files(
    predictions: str | Path,
    references: str | Path,
    *,
    metrics: Sequence[str],
    column: str | None = None,
    prediction_column: str | None = None,
    reference_column: str | None = None,
    quoting: Quoting = "auto",
    rouge_tokenizer: RougeTokenizer = "auto",
) -> Evaluation:
    """Scores of predictions against references, row by row.

    A plain text file has a value in each line. Of a file with columns that is taken in which the commands write what
    the metrics compare, or the data sets of the tasks have it; `Evaluation.columns` says which it was.

    Args:
        column: the column of both files.
        prediction_column: the column of the predictions.
        reference_column: the column of the references.
        quoting: what quotation marks mean in .csv and .tsv files, as `data.quoting` in a recipe.
    Raises:
        UsageError: an unknown metric, or none; or several columns that could be meant.
        DataError: files that cannot be read, have different numbers of rows, or values that a metric cannot compare.
    """
    if not metrics:
        raise UsageError("give --metric, once or more, such as accuracy, f1 or rouge.")
    score_names_of(metrics)  # an unknown name is told before the files are read
    kinds = list(dict.fromkeys(map(values_of, metrics)))
    told = _ValueFile(predictions, "prediction", kinds, named=prediction_column, both=column, quoting=quoting)
    told_column = told.choose(paired=())
    wanted = _ValueFile(references, "reference", kinds, named=reference_column, both=column, quoting=quoting)
    wanted_column = wanted.choose(paired=columns_of_answer(told_column))
    sides = told.values(told_column), wanted.values(wanted_column)
    check_rows(*sides)
    compared = {name: values_for(name, values_of(name), *sides) for name in metrics}
    scores = merge_scores(score_texts([name], *compared[name], rouge_tokenizer=rouge_tokenizer) for name in metrics)
    return Evaluation(
        None,
        f"{predictions} against {references}",
        len(sides[0]),
        scores,
        compared[metrics[0]][0],
        columns={"predictions": told_column, "references": wanted_column},
    )


@dataclass(frozen=True)
class _ValueFile:
    """A file of predictions or of references."""

    path: str | Path
    side: Literal["prediction", "reference"]
    kinds: Sequence[ValueKind]
    """What all metrics compare."""
    named: str | None
    """The column that the user named for this file."""
    both: str | None
    """The column that the user named for both."""
    quoting: Quoting

    def choose(self, *, paired: Sequence[str]) -> str | None:
        """The column of the values; None for a plain text file.

        Args:
            paired: columns that data sets have for what the other file predicts.
        Raises:
            UsageError: the user must say which; or named one of plain text.
            DataError: no column has such values.
        """
        if Path(self.path).suffix.lower() in _PLAIN_TEXT:
            if self.named is not None:
                raise UsageError(f"--{self.side}-column: {self.path} is plain text, without columns. Leave it out.")
            return None
        if (given := self.named or self.both) is not None:
            return given
        names = column_names(str(self.path), quoting=self.quoting)
        return choose_column(names, side=self.side, kinds=self.kinds, paired=paired, fits=self._fits, of=str(self.path))

    def values(self, column: str | None) -> list[Value]:
        """All values, empty ones too."""
        if column is None:
            return self._lines()
        option = f"--{self.side}-column"
        another = f"Name another with {option} {{column}}"
        if self.both is not None and self.named is None:
            another = f"Name another with --column {{column}}, or for this file alone with {option}"
        column_types: dict[str, Any] = {"value": "any"}
        optional = {}
        if column == "labels":  # `classify` writes what a model of many labels gives in two columns
            column_types["probabilities"] = "any"
            optional["probabilities"] = False
        rows = open_rows(
            [str(self.path)],
            column_types=column_types,
            columns={"value": column},
            optional=optional,
            quoting=self.quoting,
            keep_empty=True,
            mapping=another,
        )
        found = []
        for row in rows:
            [value] = row.fields["value"]
            if "probabilities" in row.fields:
                value = {"labels": value, "probabilities": row.fields["probabilities"][0]}
            found.append(Value(value, row.place, repr(column), f" Another column is named with {option}."))
        return found

    def _fits(self, column: str) -> bool:
        """Whether any row has a value that all metrics can compare."""
        predicted = self.side == "prediction"
        return any(
            all(fits(kind, one.value, predicted=predicted) for kind in self.kinds) for one in self.values(column)
        )

    def _lines(self) -> list[Value]:
        path = Path(self.path)
        lines = [line.rstrip("\n") for line in text_lines(path, str(path), translate=True)]
        if self.side == "prediction" and "answer" in self.kinds:
            lines = ["" if line == _PRINTED_NO_ANSWER else line for line in lines]
        labels = any("label" in kind for kind in self.kinds)
        if labels and self.side == "prediction" and lines and all(map(_PRINTED_LABELS.fullmatch, lines)):
            raise DataError(
                f"{path}: its lines are labels with probabilities, as classify prints them. Let it write JSONL instead, "
                "with --output or --json."
            )
        return [Value(line, f"{path}:{number}", "this line") for number, line in enumerate(lines, 1)]

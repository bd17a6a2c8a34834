"""`evaluate` without a model: the predictions of one file against the references of another."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from llmkit.api.choice_values import INDEX, are_choices, as_indexes
from llmkit.api.evaluation_result import Evaluation
from llmkit.api.value_columns import choose_column, reference_columns_of
from llmkit.data.column_types import labels, spans
from llmkit.data.fields import Fields
from llmkit.data.files import text_lines
from llmkit.data.given import given_names
from llmkit.data.sources import column_names, open_rows
from llmkit.data.span_offsets import in_characters
from llmkit.data.word_rows import sentence_column
from llmkit.errors import DataError, UsageError
from llmkit.evaluation.label_names import LABEL_KINDS, check_labels_match, rename_labels, warn_of_alike
from llmkit.evaluation.metrics import RougeTokenizer, check_rows, merge_scores, score_names_of, score_texts, values_of
from llmkit.evaluation.multi_hot import with_names
from llmkit.evaluation.values import LABEL_SET_KINDS, Value, ValueKind, fits, values_for
from llmkit.recipe.blocks import Quoting
from llmkit.recipe.languages import language_code

_PLAIN_TEXT = {".txt", ".text", ".md"}
_PRINTED_LABELS = re.compile(r"\(none\)|[^\t]+\t[01]\.\d{4}(\t[^\t]+\t[01]\.\d{4})*")
_PRINTED_NO_ANSWER = "no answer"


def score_files(
    predictions: str | Path,
    references: str | Path | Sequence[str | Path],
    *,
    metrics: Sequence[str],
    column: str | None = None,
    prediction_column: str | None = None,
    reference_column: str | None = None,
    quoting: Quoting = "auto",
    rouge_tokenizer: RougeTokenizer = "auto",
    language: str | None = None,
    label_names: Mapping[str, str] | None = None,
) -> Evaluation:
    """Scores of predictions against references, row by row.

    A plain text file has a value in each line. In a file with columns, the column is the one in which the
    commands write such values, or the data sets of the tasks have them; `Evaluation.columns` has its name.

    Args:
        references: a file, or several with a reference of each row in every file. A value that is a list of texts, too,
            is several references of its row.
        column: the column of both files.
        prediction_column: the column of the predictions.
        reference_column: the column of the references.
        quoting: what quotation marks mean in .csv and .tsv files, as `data.quoting` in a recipe.
        language: code of the references' language, for BLEU and TER; without it, their script decides.
        label_names: label -> its name in this comparison, for labels that the files write differently.
    Raises:
        UsageError: an unknown metric, or none; or several possible columns.
        DataError: files that cannot be read, have different numbers of rows, or values that a metric cannot compare.
    """
    language = None if language is None else _language_code(language)
    metrics = given_names(metrics, what="metrics")
    if not metrics:
        raise UsageError("give --metric, once or more, such as accuracy, f1 or rouge.")
    score_names_of(metrics)  # report an unknown name before the files are read
    kinds = list(dict.fromkeys(map(values_of, metrics)))
    prediction_file = _ValueFile(
        predictions, "prediction", kinds, file_column=prediction_column, shared_column=column, quoting=quoting
    )
    predictions_column = prediction_file.choose(paired=())
    paths = [references] if isinstance(references, str | Path) else list(references)
    reference_files = [
        _ValueFile(path, "reference", kinds, file_column=reference_column, shared_column=column, quoting=quoting)
        for path in paths
    ]
    paired = reference_columns_of(predictions_column)
    reference_columns = [file.choose(paired=paired) for file in reference_files]
    sides = [prediction_file.values(predictions_column)]
    sides += [file.values(name) for file, name in zip(reference_files, reference_columns, strict=True)]
    for side in sides[1:]:
        check_rows(sides[0], side)
    if prediction_file.has_choices(predictions_column):
        sides[1:] = [as_indexes(side, predictions, quoting=quoting) for side in sides[1:]]
    compared = {name: _compared(name, sides, label_names=label_names or {}) for name in metrics}
    labelled = next((name for name in metrics if values_of(name) in LABEL_KINDS - {"entities"}), None)
    if labelled is not None and len(sides) == 2:
        warn_of_alike(zip(sides, compared[labelled], strict=True))
    scores = merge_scores(
        score_texts([name], *compared[name], rouge_tokenizer=rouge_tokenizer, language=language) for name in metrics
    )
    return Evaluation(
        None,
        f"{predictions} against {', '.join(map(str, paths))}",
        len(sides[0]),
        scores,
        compared[metrics[0]][0],
        columns={"predictions": predictions_column, "references": _one_name(reference_columns)},
    )


def _compared(
    metric: str, sides: Sequence[Sequence[Value]], *, label_names: Mapping[str, str]
) -> tuple[list[Any], list[Any]]:
    """The predictions and references of a metric."""
    kind = values_of(metric)
    if kind in LABEL_SET_KINDS and len(sides) == 2:
        sides = with_names(metric, *sides)
    predictions, references = values_for(metric, kind, *sides)
    if kind not in LABEL_KINDS:
        return predictions, references
    predictions, references = rename_labels(predictions, label_names), rename_labels(references, label_names)
    check_labels_match(metric, predictions, references)
    return predictions, references


def _language_code(language: str) -> str:
    try:
        return language_code(language)
    except ValueError as error:
        raise UsageError(f"--language: {error}.") from error


def _one_name(columns: Sequence[str | None]) -> str | None:
    """The column of all files, or their columns in order."""
    return columns[0] if len(set(columns)) == 1 else ", ".join(column or "lines" for column in columns)


def _in_characters(value: object, text: object, *, place: str) -> object:
    """Spans with offsets in characters of their text; any other value as it is.

    Raises:
        DataError: spans whose own text is not there.
    """
    found = spans(value) if isinstance(text, str) and labels(value) is None else None
    if found is None or not isinstance(text, str):
        return value
    return in_characters(text, found, unit="auto", place=place)[0]


@dataclass(frozen=True)
class _ValueFile:
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
        option = f"--{self.side}-column"
        another = f"Name another with {option} {{column}}"
        if self.shared_column is not None and self.file_column is None:
            another = f"Name another with --column {{column}}, or for this file alone with {option}"
        field = self._field_of(column)
        column_types: dict[str, Any] = {field: "any"}
        optional = {}
        if column == "labels":  # `classify` writes two columns for a multi-label model
            column_types["probabilities"] = "any"
            optional["probabilities"] = False
        if self.side == "reference" and "entities" in self.kinds and column != "text":
            column_types["text"] = "any"
            optional["text"] = False
        rows = open_rows(
            [str(self.path)],
            Fields(column_types=column_types, columns={field: column}, optional=optional, mapping=another),
            quoting=self.quoting,
            keep_empty=True,
        )
        values = []
        for row in rows:
            [value] = row.fields[field]
            if "probabilities" in row.fields:
                value = {"labels": value, "probabilities": row.fields["probabilities"][0]}
            if "text" in row.fields:
                value = _in_characters(value, row.fields["text"][0], place=row.place)
            values.append(Value(value, row.place, repr(column), f" Another column is named with {option}."))
        return values

    def _field_of(self, column: str) -> str:
        """`words` where a table has one tag per row, whose rows become sentences."""
        of_words = set(self.kinds) <= {"tags", "entities"}
        names = column_names(str(self.path), quoting=self.quoting) if of_words else []
        return "words" if sentence_column(names, besides=[column]) else "value"

    def _fits(self, column: str) -> bool:
        """Whether any row has a value that all metrics can compare."""
        predicted = self.side == "prediction"
        return any(
            all(fits(kind, item.value, predicted=predicted) for kind in self.kinds) for item in self.values(column)
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

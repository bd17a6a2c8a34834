"""The values that metrics compare, as read from files: labels, numbers, tags, answers, texts.

Knows no files: each value comes with its place.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from llmkit.data import column_types
from llmkit.data.records import described
from llmkit.errors import DataError, UsageError
from llmkit.tasks.predicted_label import PredictedLabel

ValueKind = Literal[
    "text",
    "label",
    "label or labels",
    "labels with probabilities",
    "probabilities",
    "number",
    "tags",
    "entities",
    "answer",
    "any",
]
NEEDED: Mapping[ValueKind, str] = {
    "text": "a text, or for references a list of texts",
    "label": "one label: text or a whole number",
    "label or labels": "a label (text or a whole number) or a list of labels",
    "labels with probabilities": "a list of labels, or for predictions also a probability for each label",
    "probabilities": "a label or labels, in predictions with the probability of each label",
    "number": "a number",
    "tags": "a list with the tag of each word",
    "entities": "a list with the tag of each word, or in both files a list of spans with start, end and label",
    "answer": "a text, or for references a list of all correct answers",
    "any": "a value",
}
"""Description of each kind, for messages."""
_SEVERAL: frozenset[ValueKind] = frozenset({"text", "answer", "any"})
"""Kinds of which a row may have several references."""


LABEL_SET_KINDS: frozenset[ValueKind] = frozenset({"label or labels", "labels with probabilities", "probabilities"})
"""Kinds with a list of labels, which may also be written as a 0 or 1 for each label; see multi_hot.py."""


class Value(NamedTuple):
    """One value of a file."""

    value: object
    place: str
    """Such as `gold.csv:7`."""
    name: str
    """Its column in quotes, or `this line`."""
    advice: str = ""
    """How to select another value."""


def fits(kind: ValueKind, value: object, *, predicted: bool) -> bool:
    """Whether a value is of this kind."""
    if _reader(kind, predicted=predicted)(value) is not None:
        return True
    return kind in LABEL_SET_KINDS and not predicted and column_types.flags(value) is not None


def values_for(
    metric: str, kind: ValueKind, predictions: Sequence[Value], *references: Sequence[Value]
) -> tuple[list[Any], list[Any]]:
    """The values that a metric compares, row by row; as many predictions as references.

    Args:
        references: a value per row; or several such lists, each with a reference of every row.
    Raises:
        DataError: a value of another kind, or of different kinds in predictions and references; with its place.
        UsageError: several references, for a metric that compares with one.
    """
    if len(references) > 1:
        if kind not in _SEVERAL:
            raise UsageError(f"{metric} compares each row with one reference. Give --references once.")
        sides = [values_for(metric, kind, predictions, side) for side in references]
        return sides[0][0], [_joined(row) for row in zip(*(side[1] for side in sides), strict=True)]
    return _values_for(metric, kind, predictions, references[0])


def _joined(references: Sequence[Any]) -> list[Any]:
    """All references of a row, of which each file may have several."""
    return [item for value in references for item in (value if isinstance(value, list) else [value])]


def _values_for(
    metric: str, kind: ValueKind, predictions: Sequence[Value], references: Sequence[Value]
) -> tuple[list[Any], list[Any]]:
    if kind == "label or labels":
        return _labels_of_each(metric, predictions, references)
    if kind == "entities":
        return _tags_of_each(metric, predictions, references)
    sides = (
        _read(metric, kind, predictions, _reader(kind, predicted=True)),
        _read(metric, kind, references, _reader(kind, predicted=False)),
    )
    if kind in ("labels with probabilities", "probabilities"):
        _check_same_labels(predictions, sides[0])
    return sides


def _reader(kind: ValueKind, *, predicted: bool) -> Callable[[object], Any]:
    """The function that reads a value of this kind; it returns None for values of another kind."""
    readers: Mapping[ValueKind, tuple[Callable[[object], Any], Callable[[object], Any]]] = {
        "text": (_text, _reference_texts),
        "label": (_label, _label),
        "label or labels": (_label_or_labels, _label_or_labels),
        "labels with probabilities": (_scored_labels, _labels),
        "probabilities": (predicted_label, _label_or_labels),
        "number": (column_types.number, column_types.number),
        "tags": (column_types.labels, column_types.labels),
        "entities": (_tags_or_spans, _tags_or_spans),
        "answer": (_answer, _correct_answers),
        "any": (column_types.anything, column_types.anything),
    }
    return readers[kind][0 if predicted else 1]


def _read(metric: str, kind: ValueKind, values: Sequence[Value], read: Callable[[object], Any]) -> list[Any]:
    if kind == "any":
        labelled = (
            isinstance(item.value, Mapping) and {"label", "probabilities"} <= item.value.keys() for item in values
        )
        return [item.value["label"] if has else item.value for item, has in zip(values, labelled, strict=True)]  # type: ignore[index]
    results = [read(item.value) for item in values]
    for item, result in zip(values, results, strict=True):
        if result is None:
            needed = f"{metric} needs {NEEDED[kind]}."
            raise DataError(f"{item.place}: {item.name} is {_described(item.value)}. {needed}{item.advice}")
    return results


def _labels_of_each(
    metric: str, predictions: Sequence[Value], references: Sequence[Value]
) -> tuple[list[Any], list[Any]]:
    """Lists of labels if each row of both sides has a list; else one label per row. A cell may have a list as JSON."""
    are_lists = [all(_labels(item.value) is not None for item in side) for side in (predictions, references)]
    kind: ValueKind = "label or labels"
    if all(are_lists):
        return _read(metric, kind, predictions, _labels), _read(metric, kind, references, _labels)
    if any(are_lists) and not any(_is_listed(item.value) for item in (references if are_lists[0] else predictions)):
        listed, single = (predictions[0], references[0]) if are_lists[0] else (references[0], predictions[0])
        raise DataError(
            f"{listed.place}: {listed.name} is a list of labels, and {single.place}: {single.name} is "
            f"{_described(single.value)}. {metric} needs one label per row in both files, or a list in both."
        )
    for side in (predictions, references):
        if any(_is_listed(item.value) for item in side):  # some rows only: name the first row that has none
            _read(metric, kind, side, _labels)
    return _read(metric, kind, predictions, _label), _read(metric, kind, references, _label)


def _tags_of_each(
    metric: str, predictions: Sequence[Value], references: Sequence[Value]
) -> tuple[list[Any], list[Any]]:
    """The tags of the words; of spans in a text, the tags of its characters, which have the same entities."""
    have_spans = [any(_has_spans(item.value) for item in side) for side in (predictions, references)]
    if not any(have_spans):
        return _read(metric, "tags", predictions, column_types.labels), _read(
            metric, "tags", references, column_types.labels
        )
    sides = [_read(metric, "entities", side, column_types.spans) for side in (predictions, references)]
    lengths = [max([0, *(span["end"] for span in (*row, *other))]) for row, other in zip(*sides, strict=True)]
    tagged = [
        [_character_tags(spans, length, item) for spans, length, item in zip(side, lengths, values, strict=True)]
        for side, values in zip(sides, (predictions, references), strict=True)
    ]
    return tagged[0], tagged[1]


def _character_tags(spans: Sequence[Mapping[str, Any]], length: int, item: Value) -> list[str]:
    tags = ["O"] * length
    for span in spans:
        start, end, label = span["start"], span["end"], span["label"]
        if not 0 <= start < end or any(tag != "O" for tag in tags[start:end]):
            raise DataError(
                f"{item.place}: the span {start} to {end} of {item.name} is empty or overlaps with another."
            )
        tags[start:end] = [f"B-{label}", *[f"I-{label}"] * (end - start - 1)]
    return tags


def _check_same_labels(values: Sequence[Value], predictions: Sequence[Any]) -> None:
    names = [
        prediction.names if isinstance(prediction, PredictedLabel) else tuple(prediction["probabilities"])
        for prediction in predictions
    ]
    for item, labels in zip(values, names, strict=True):
        if set(labels) != set(names[0]):
            raise DataError(f"{item.place}: {item.name} has probabilities of other labels than {values[0].place}.")


def _text(value: object) -> str | None:
    """A text, or the only text of a list, as `generate` writes it."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value if isinstance(value, str) else None


def _reference_texts(value: object) -> str | list[str] | None:
    """A text, or several if the row has several references; of a conversation, the answer at its end."""
    messages = _value(column_types.messages, value) if isinstance(value, list) else None
    if messages and messages[-1]["role"] == "assistant":
        answer: str = messages[-1]["content"].strip()
        return answer
    if isinstance(value, list) and len(value) > 1:
        return value if all(isinstance(text, str) for text in value) else None
    return _text(value)


def _label(value: object) -> str | None:
    """As in the rows of a task, but a prediction may be empty, which counts as wrong."""
    if isinstance(value, Mapping):
        value = value.get("label")
    return value if isinstance(value, str) else column_types.label(value)


def _labels(value: object) -> list[str] | None:
    return column_types.labels(value["labels"] if isinstance(value, Mapping) and "labels" in value else value)


def _label_or_labels(value: object) -> str | list[str] | None:
    labels = _labels(value)
    return _label(value) if labels is None else labels


def _scored_labels(value: object) -> dict[str, Any] | None:
    labels = _labels(value)
    if labels is None or not isinstance(value, Mapping) or not isinstance(value.get("probabilities"), Mapping):
        return None
    probabilities = {label: column_types.number(number) for label, number in value["probabilities"].items()}
    return None if None in probabilities.values() else {"labels": labels, "probabilities": probabilities}


def predicted_label(value: object) -> PredictedLabel | dict[str, Any] | None:
    """A label, or the labels of a row, with probabilities, as `classify` writes them; None for a value of another kind."""
    if not isinstance(value, Mapping) or "labels" in value or "probabilities" not in value:
        return _scored_labels(value)
    label, shares = (
        _label(value.get("best_guess") if value.get("label") is None else value["label"]),
        value["probabilities"],
    )
    if label is None or not isinstance(shares, Mapping) or label not in shares:
        return None
    numbers = [column_types.number(number) for number in shares.values()]
    if None in numbers:
        return None
    import numpy as np

    order = sorted(zip(map(str, shares), numbers, strict=True))  # every row's in the same
    abstained = column_types.flag(value.get("abstained"))

    return PredictedLabel(label, tuple(name for name, _ in order), np.array([n for _, n in order]), abstained=abstained)


def _tags_or_spans(value: object) -> list[Any] | None:
    tags = column_types.labels(value)
    return column_types.spans(value) if tags is None else tags


def _answer(value: object) -> str | None:
    """`answer` writes null if there is no answer."""
    return "" if value is None else _text(value)


def _correct_answers(value: object) -> str | list[str] | None:
    if value is None:
        return []
    answers = _value(column_types.answers, value)
    texts = column_types.texts(value) if answers is None else answers["text"]
    return value if texts is None and isinstance(value, str) else texts


def _value(read: Callable[[object], Any], value: object) -> Any:
    """What a reader of a column type makes of a value; None for a value of another type."""
    try:
        return read(value)
    except column_types.ValueFault:
        return None


def _is_listed(value: object) -> bool:
    return isinstance(value, list) or (isinstance(value, Mapping) and "label" not in value)


def _has_spans(value: object) -> bool:
    return column_types.labels(value) is None and column_types.spans(value) is not None


def _described(value: object) -> str:
    return f"the text {json.dumps(value, ensure_ascii=False):.40}" if isinstance(value, str) else described(value)

"""Rows to read: the most confident mistakes, the highest losses, outputs that were cut, and a sample."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llmkit.report.blocks import Block, Paragraph, RowCard, RowCards, Text, Tone, Word
from llmkit.report.predictions import Digest, Line, is_right, labels_of
from llmkit.report.reading import SavedEvaluation
from llmkit.report.wording import count, file_name, score, shortened, text_of

_MOST_CHARACTERS = 700
"""Of each text."""
_PREVIEW_CHARACTERS, _PREVIEW_LINES = 280, 5
_MOST_WORDS = 120
_OUTSIDE = "O"


def mistake_blocks(evaluation: SavedEvaluation, digest: Digest) -> dict[str, list[Block]]:
    """Title -> the mistakes that tell most: the most confident ones, or the largest; else a sample of them."""
    if digest.largest_errors:
        return {"Largest errors": _cards(evaluation, digest.largest_errors)}
    if digest.confident_mistakes:
        return {"Most confident mistakes": _cards(evaluation, digest.confident_mistakes)}
    kind = evaluation.record.value_kind
    if not digest.mistakes or kind in ("text", "any"):
        return {}
    what = "wrong" if "label" in kind else "not entirely right"
    share = f"{count(digest.wrong)} of {count(digest.judged)} predictions are {what}."
    cards = _cards(evaluation, digest.mistakes)
    return {"Sample of mistakes": [Paragraph(share), *cards] if cards else []}


def loss_blocks(evaluation: SavedEvaluation, digest: Digest) -> list[Block]:
    if not digest.highest_loss:
        return []
    about = "Loss in nats per target. Wrong references and damaged rows are often among these."
    return [Paragraph(about), *_cards(evaluation, digest.highest_loss)]


def cut_blocks(evaluation: SavedEvaluation, digest: Digest) -> list[Block]:
    return _cards(evaluation, digest.cut)


def sample_blocks(evaluation: SavedEvaluation, digest: Digest) -> list[Block]:
    """A uniform sample, the same each time."""
    return _cards(evaluation, digest.samples)


def _cards(evaluation: SavedEvaluation, lines: Sequence[Line]) -> list[Block]:
    kind = evaluation.record.value_kind
    if "label" in kind and not evaluation.shown_rows and all(_is_bare(line) for line in lines):
        return []  # labels without their rows say no more than their counts
    return [RowCards([_card(evaluation, line, kind=kind) for line in lines])] if lines else []


def _is_bare(line: Line) -> bool:
    """Whether a line has nothing but one label and its prediction."""
    return isinstance(line.reference, str) and line.loss is None and line.confidence is None


def _card(evaluation: SavedEvaluation, line: Line, *, kind: str) -> RowCard:
    shown = evaluation.shown_rows.get(line.number)
    fields: Mapping[str, Any] = shown.fields if shown else {}
    number = f"prediction {count(line.number + 1)}" if line.row is None else f"row {count(line.row)}"
    title = shown.place if shown else number
    words = _words(fields.get("words"), line, kind=kind)
    if words:
        fields = {name: value for name, value in fields.items() if name != "words"}
    texts = [*_inputs(fields, line), *([] if words else _outcome(line, kind=kind))]
    return RowCard(file_name(title), list(_facts(line)), texts, words)


def _facts(line: Line) -> Iterator[str]:
    if line.cluster is not None:
        yield f"cluster {shortened(file_name(line.cluster), 60)}"
    if line.confidence is not None:
        yield f"confidence {line.confidence:.3f}"
    if line.loss is not None:
        targets = f" over {count(line.targets)} targets" if (line.targets or 1) > 1 else ""
        yield f"loss {score(line.loss)}{targets}"


def inputs_of(evaluation: SavedEvaluation, line: Line) -> list[Text]:
    """What the model read in a row, where the run folder has kept it."""
    shown = evaluation.shown_rows.get(line.number)
    return list(_inputs(shown.fields, line)) if shown else []


def _inputs(fields: Mapping[str, Any], line: Line) -> Iterator[Text]:
    """What the model read; a column that only repeats the reference is left out."""
    for name, value in fields.items():
        text = " ".join(map(str, value)) if name == "words" and isinstance(value, list) else text_of(value)
        if value != line.reference and text:
            yield _folded(name, shortened(text, _MOST_CHARACTERS))


def _folded(name: str, text: str) -> Text:
    """A text whose first lines are shown at once."""
    end = min(_PREVIEW_CHARACTERS, len(text))
    for _ in range(text.count("\n", 0, end) - _PREVIEW_LINES + 1):
        end = text.rindex("\n", 0, end)
    shown = text[:end].rstrip()
    return (
        Text(name, shown, rest=text[len(shown) :]) if len(text) - end > _PREVIEW_CHARACTERS // 4 else Text(name, text)
    )


def _outcome(line: Line, *, kind: str) -> Iterator[Text]:
    right = is_right(line.prediction, line.reference, kind=kind)
    yield Text("reference", written_value(line.reference, kind=kind))
    tone: Tone = "plain" if right is None or kind == "text" else "good" if right else "bad"
    yield Text("prediction", written_value(line.prediction, kind=kind), tone)


def written_value(value: Any, *, kind: str) -> str:
    """A prediction or a reference as text."""
    if kind in ("label or labels", "labels with probabilities") and isinstance(value, list | Mapping):
        text = ", ".join(map(text_of, labels_of(value))) or "(no label)"
    elif kind == "answer" and not value:
        text = "(no answer)"
    elif kind in ("tags", "entities") and isinstance(value, list):
        text = " ".join(map(text_of, value))
    else:
        text = text_of(value)
    return shortened(text, _MOST_CHARACTERS) or "(empty)"


def _words(words: Any, line: Line, *, kind: str) -> list[Word]:
    """The words of a tagged text, where the row has them."""
    if kind not in ("tags", "entities") or not isinstance(words, list):
        return []
    sides = line.reference, line.prediction
    if not all(isinstance(tags, list) and len(tags) >= len(words) - 1 for tags in sides):
        return []
    tagged = list(zip(words, *sides, strict=False))[:_MOST_WORDS]
    return [Word(shortened(str(word), 60), _tag(reference), _tag(prediction)) for word, reference, prediction in tagged]


def _tag(tag: Any) -> str:
    return "" if tag == _OUTSIDE else shortened(str(tag), 40)

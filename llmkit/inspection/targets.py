"""Targets that do not fit their texts: summaries as long as the text, and spans that cut words."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from llmkit.data.rows import Row
from llmkit.inspection.findings import Finding, FoundRow, found, share
from llmkit.inspection.rows import InspectedRow, Inspection
from llmkit.tasks.question_answering.rows import located_answers
from llmkit.tasks.seq2seq.recipe import Seq2SeqRecipe
from llmkit.tasks.token_classification.splitting import UNSPACED

_ODD_RATIO = 3.0
"""A translation this many times as long or as short as usual."""
_LEAST_CHARACTERS = 20
"""Of a text whose length is compared."""


def target_lengths(inspection: Inspection) -> Iterator[Finding]:
    """Summaries that are not shorter than their text; translations that are much longer or shorter than the others."""
    recipe = inspection.recipe
    if not isinstance(recipe, Seq2SeqRecipe) or recipe.TARGET_LENGTH == "any":
        return
    source, target = recipe.SOURCE, recipe.TARGET
    pairs = [(row, len(row.fields[source]), len(row.fields[target])) for row in inspection.rows]
    if recipe.TARGET_LENGTH == "shorter":
        longer = [(row, read, written) for row, read, written in pairs if written >= read]
        if longer:
            yield _lengths(
                f"{share(len(longer), len(pairs))} rows have a {target} that is not shorter than its {source}", longer
            )
        return
    usual = median(written / read for _, read, written in pairs if read) if pairs else 1.0
    odd = [
        (row, read, written)
        for row, read, written in pairs
        if max(read, written) >= _LEAST_CHARACTERS
        and not usual / _ODD_RATIO <= written / max(read, 1) <= usual * _ODD_RATIO
    ]
    if odd:
        yield _lengths(
            f"{share(len(odd), len(pairs))} rows have a {target} that is {_ODD_RATIO:g} times as long or as short "
            f"as usual (usually {usual:.2f} characters for each of the {source})",
            odd,
        )


def _lengths(message: str, rows: list[tuple[InspectedRow, int, int]]) -> Finding:
    return found(
        "target-lengths",
        "warning",
        message,
        rows=(FoundRow(row.place, row.text, f"{written:,} characters for {read:,}") for row, read, written in rows),
        count=len(rows),
    )


def cut_words(inspection: Inspection) -> Iterator[Finding]:
    """Spans and answers that begin or end inside a word."""
    kinds = {"spans": "text", "answers": "context"}
    for name, text_field in kinds.items():
        if name not in inspection.recipe.column_types:
            continue
        total, cut = 0, []
        for row in inspection.rows:
            for start, end in _spans(row, name):
                total += 1
                text = row.fields[text_field]
                if _inside(text, start) or _inside(text, end):
                    cut.append(FoundRow(row.place, text[max(0, start - 20) : end + 20], text[start:end]))
        if cut:
            message = f"{share(len(cut), total)} {name} begin or end inside a word"
            yield found("cut-words", "warning", message, rows=cut, count=len(cut))


def _spans(row: InspectedRow, name: str) -> list[tuple[int, int]]:
    if name not in row.fields:
        return []
    if name == "answers":
        return [(answer.start, answer.end) for answer in located_answers(Row(dict(row.fields), row.place))]
    return [(span["start"], span["end"]) for span in row.fields[name]]


def _inside(text: str, place: int) -> bool:
    """Whether a word goes on over a place between two characters; never in a script without spaces."""
    before, after = text[place - 1 : place], text[place : place + 1]
    return before.isalnum() and after.isalnum() and not (UNSPACED.match(before) or UNSPACED.match(after))

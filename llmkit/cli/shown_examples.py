"""Examples as lines of tokens, coloured on a terminal; brackets say the same without colour."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import TYPE_CHECKING

from llmkit.cli.output import one_line

if TYPE_CHECKING:
    from rich.text import Text

    from llmkit.api import ShownExample, ShownSequence, ShownToken

_COLUMNS = 80
_OPEN, _CLOSE, _SPACE, _TARGET = "\u27e6", "\u27e7", "\u2581", "\u2192"
_ISOLATE, _END_OF_ISOLATE = "\u2068", "\u2069"
LEGEND = (
    f"{_OPEN} {_CLOSE} counts in the loss; a{_TARGET}b: at token a, b is to be predicted; {_SPACE} is a space; "
    "[PAD] x3: three tokens of padding"
)
_STYLES = {"special": "dim cyan", "padding": "dim", "text": ""}
_LOSS, _HIDDEN = "green", "bold yellow"


def print_examples(examples: Iterable[ShownExample]) -> None:
    """A legend, and the sequences of each example, wrapped to the terminal, in a file or a pipe to 80 columns."""
    from rich.console import Console
    from rich.text import Text

    is_terminal = sys.stdout.isatty()
    console = Console(highlight=False) if is_terminal else Console(width=_COLUMNS, highlight=False)
    with console.capture() as capture:
        console.print(Text(LEGEND, style="dim"))
        for example in examples:
            title = f"row {example.number}  {one_line(example.place)}" if example.place else f"block {example.number}"
            console.print(Text(f"\n{title}", style="bold"))
            for sequence in example.sequences:
                console.print(_line(f"{sequence.name}", _tokens(sequence, isolate=is_terminal)))
            for name, value in example.facts.items():
                console.print(_line(name, Text(one_line(value))))
            for note in example.notes:
                console.print(_line("note", Text(one_line(note))))
    print("\n".join(line.rstrip() for line in capture.get().splitlines()))


def _line(name: str, content: Text) -> Text:
    from rich.text import Text

    return Text.assemble((f"  {name}: ", "bold"), content)


def _tokens(sequence: ShownSequence, *, isolate: bool) -> Text:
    """The tokens between spaces; consecutive ones that count in the loss between brackets, padding as a number."""
    from rich.text import Text

    parts: list[Text] = []
    for (in_loss, is_padding), group in groupby(
        sequence.tokens, lambda token: (token.in_loss, token.role == "padding")
    ):
        tokens = list(group)
        if is_padding:
            parts.append(Text(f"{tokens[0].text} x{len(tokens)}", style=_STYLES["padding"]))
            continue
        words = [_word(token, isolate=isolate) for token in tokens]
        parts += [Text(_OPEN, style=_LOSS), *words, Text(_CLOSE, style=_LOSS)] if in_loss else words
    count = sum(token.in_loss for token in sequence.tokens)
    real = sum(token.role != "padding" for token in sequence.tokens)
    counted = f", {count:,} in the loss" if count else ""
    return Text(" ").join([*parts, Text(f"({real:,} tokens{counted})", style="dim")])


def _word(token: ShownToken, *, isolate: bool) -> Text:
    from rich.text import Text

    shown = _visible(token.text, isolate=isolate)
    if token.target is None:
        return Text(shown, style=_LOSS if token.in_loss else _STYLES[token.role])
    return Text(f"{shown}{_TARGET}{_visible(token.target, isolate=isolate)}", style=_HIDDEN)


def _visible(text: str, *, isolate: bool) -> str:
    """Spaces as a mark and control characters as escapes.

    Args:
        isolate: keep a token of a script that is written from right to left in its place on the line.
    """
    shown = "".join(_escaped(one_line(text))).replace(" ", _SPACE)
    from_right = isolate and any(unicodedata.bidirectional(char) in ("R", "AL") for char in shown)
    return f"{_ISOLATE}{shown}{_END_OF_ISOLATE}" if from_right else shown


def _escaped(text: str) -> Iterator[str]:
    """Invisible characters, such as those that change the direction of writing, as escapes."""
    for char in text:
        invisible = char != " " and unicodedata.category(char) in ("Cf", "Zs")
        yield f"\\u{ord(char):04x}" if invisible else char

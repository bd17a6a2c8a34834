"""What a page is made of. Each block has a template of its name in `templates/`; texts in blocks are plain, never HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

Tone = Literal["plain", "good", "bad", "warning"]


@dataclass(frozen=True)
class Heading:
    """A heading below that of the section."""

    template: ClassVar[str] = "heading.html"
    text: str


@dataclass(frozen=True)
class Paragraph:
    template: ClassVar[str] = "paragraph.html"
    text: str
    tone: Tone = "plain"
    """A paragraph with another tone has a coloured edge."""


@dataclass(frozen=True)
class Facts:
    """Names with their values."""

    template: ClassVar[str] = "facts.html"
    facts: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Listing:
    """Texts, one below the other."""

    template: ClassVar[str] = "listing.html"
    items: Sequence[str]


@dataclass(frozen=True)
class Cell:
    text: str
    note: str = ""
    """A second line in small letters."""
    number: bool = False
    """Aligned to the right; made by `number_cell`."""
    share: float | None = None
    """In 0..1: how strongly the cell is coloured."""
    strong: bool = False


def number_cell(text: str, *, note: str = "", share: float | None = None, strong: bool = False) -> Cell:
    return Cell(text, note, True, share, strong)


@dataclass(frozen=True)
class Table:
    """A table whose first column names its rows. A wide one scrolls in its own box."""

    template: ClassVar[str] = "table.html"
    caption: str
    header: Sequence[Cell]
    rows: Sequence[Sequence[Cell]]
    more: str = ""
    """What is left out."""


@dataclass(frozen=True)
class CodeLine:
    text: str
    note: str = ""
    strong: bool = False


@dataclass(frozen=True)
class Code:
    template: ClassVar[str] = "code.html"
    label: str
    lines: Sequence[CodeLine]


@dataclass(frozen=True)
class Details:
    """Blocks that a click unfolds."""

    template: ClassVar[str] = "details.html"
    summary: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Tick:
    text: str
    percent: float
    """Its place on the axis, from the left or from the top."""


@dataclass(frozen=True)
class Series:
    name: str
    colour: str
    """The name of a CSS variable without its dashes."""
    path: str
    """An SVG path in a box of `charts.WIDTH` by `charts.HEIGHT`."""
    dots: bool = False
    thin: bool = False


@dataclass(frozen=True)
class Chart:
    """Curves over a horizontal axis."""

    template: ClassVar[str] = "chart.html"
    title: str
    summary: str
    """The chart in a sentence, also for those who cannot see it."""
    series: Sequence[Series]
    x_label: str
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]
    wide: bool = False
    square: bool = False
    diagonal: bool = False
    """Draw the line from the lower left to the upper right."""
    legend: bool = True


@dataclass(frozen=True)
class Charts:
    """Charts side by side, where there is room."""

    template: ClassVar[str] = "charts.html"
    charts: Sequence[Chart]


@dataclass(frozen=True)
class Range:
    """A score on an axis, with its interval."""

    name: str
    text: str
    percent: float
    low: float | None = None
    width: float | None = None
    strong: bool = False


@dataclass(frozen=True)
class Ranges:
    """Scores on one axis."""

    template: ClassVar[str] = "ranges.html"
    caption: str
    ranges: Sequence[Range]
    ticks: Sequence[Tick]


@dataclass(frozen=True)
class Word:
    """A word of a tagged text."""

    text: str
    reference: str = ""
    """Its tag; empty for a word outside."""
    prediction: str = ""

    @property
    def is_right(self) -> bool:
        return self.reference == self.prediction


@dataclass(frozen=True)
class Text:
    """A text of a row."""

    name: str
    text: str
    tone: Tone = "plain"
    rest: str = ""
    """What a click unfolds."""


@dataclass(frozen=True)
class RowCard:
    title: str
    facts: Sequence[str] = ()
    texts: Sequence[Text] = ()
    words: Sequence[Word] = ()


@dataclass(frozen=True)
class RowCards:
    template: ClassVar[str] = "rows.html"
    rows: Sequence[RowCard]


Block = Heading | Paragraph | Facts | Listing | Table | Code | Details | Chart | Charts | Ranges | RowCards


@dataclass(frozen=True)
class Section:
    name: str
    """In the address of the section."""
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Figure:
    """A large number at the head of the page."""

    value: str
    label: str
    note: str = ""


@dataclass(frozen=True)
class Page:
    title: str
    kind: str
    """`Run` or `Runs`, above the title."""
    chips: Sequence[tuple[str, Tone]]
    figures: Sequence[Figure] = ()
    notes: Sequence[Paragraph] = ()
    sections: Sequence[Section] = field(default_factory=tuple)

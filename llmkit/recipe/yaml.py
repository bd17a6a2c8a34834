"""YAML text -> nodes: plain values, each with its line and column. Knows no recipe and no schema.

ruamel.yaml is used only for its events. It never constructs objects, so that keys, tags, aliases, numbers and depth are
all checked here, and a tag cannot run any code.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import replace

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from llmkit.recipe.nodes import BROKEN, Key, Node, Place, Problem, describe_value, shortened
from llmkit.recipe.scalars import resolve

MAX_DEPTH = 20
MAX_VALUES = 10_000  # aliases count as often as they are used, so that nothing expands without bound

# The line breaks of YAML 1.1 (U+0085, U+2028, U+2029) are errors: ruamel counts them as lines, editors do not.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
_FORBIDDEN_ESCAPED = re.compile("[\x00\ud800-\udfff]")
_LINE_END = re.compile("\r\n|\r|\n")

_SECOND_DOCUMENT = "a second document starts here; a recipe is one document"
_FAULTS = {
    "found character '\\t' that cannot start any token": "a tab is not allowed here; indent with spaces",
    "mapping values are not allowed here": "unexpected ': '; check the indentation, or put the text in quotes",
}


class _Unreadable(Exception):
    """Reading cannot continue after this problem."""

    def __init__(self, place: Place, text: str, path: tuple[Key, ...] = ()) -> None:
        super().__init__(text)
        self.problem = Problem(place, path, text)


def decode(content: bytes, *, source: str) -> tuple[str, list[Problem]]:
    """Decode UTF-8 with or without a byte order mark; the text ends before the first invalid byte."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "", [Problem(Place(source, 1, 1), (), "the file is UTF-16. Save it as UTF-8")]
    try:
        return content.decode("utf-8-sig"), []
    except UnicodeDecodeError as error:
        bad_byte = content.removeprefix(b"\xef\xbb\xbf")[error.start :][:1]
        text = content.decode("utf-8-sig", "replace").partition("\ufffd")[0]
        fault = f"byte 0x{bad_byte.hex()} is not UTF-8. Save the file as UTF-8"
        return text, [Problem(_place_after(text, source), (), fault)]


def read_yaml(text: str, *, source: str, has_lines: bool = True) -> tuple[Node | None, list[Problem]]:
    """The only document of `text`, or None if there is none or it cannot be parsed; and all problems in it.

    Args:
        source: the name to show before line and column in messages, such as a file path.
        has_lines: whether positions have a line and a column; a command-line option has none.
    """
    reader = _Reader(text, source=source, has_lines=has_lines)
    try:
        return reader.document(), reader.problems
    except _Unreadable as stop:
        return None, [*reader.problems, stop.problem]


def _place_after(text: str, source: str) -> Place:
    lines = _LINE_END.split(text)
    return Place(source, len(lines), len(lines[-1]) + 1)


def _extent(node: Node) -> tuple[int, int]:
    """The number of values and of levels in a tree."""
    extents = [_extent(child) for child in node.children]
    return 1 + sum(count for count, _ in extents), 1 + max((levels for _, levels in extents), default=0)


class _Reader:
    """One pass over the events of one text. Invalid values are collected; a syntax error stops it."""

    def __init__(self, text: str, *, source: str, has_lines: bool) -> None:
        self.problems: list[Problem] = []
        self._text = text
        self._source = source
        self._has_lines = has_lines
        self._anchors: dict[str, Node] = {}
        self._values = 0
        self._events = self._parsed()

    def document(self) -> Node | None:
        self._refuse_characters()
        next(self._events)  # the start of the stream
        start = next(self._events)
        if isinstance(start, StreamEndEvent):
            return None
        assert isinstance(start, DocumentStartEvent)
        if start.tags or start.version not in (None, (1, 2)):
            raise _Unreadable(self._at(1, 1), "a recipe is YAML 1.2. Remove the lines that start with %")
        root = self._node(next(self._events), ())
        next(self._events)  # the end of the document
        after = next(self._events)
        if not isinstance(after, StreamEndEvent):
            raise _Unreadable(self._place(after), _SECOND_DOCUMENT)
        return root

    def _refuse_characters(self) -> None:
        match = _FORBIDDEN.search(self._text)
        if match:
            after = _place_after(self._text[: match.start()], self._source)
            hint = "Save the file as UTF-8" if match[0] == "\0" else 'Remove it, or write it as an escape in "quotes"'
            fault = f"the character U+{ord(match[0]):04X} is not allowed. {hint}"
            raise _Unreadable(self._at(after.line, after.column), fault)

    def _parsed(self) -> Iterator[Event]:
        last = self._at(1, 1)
        try:
            for event in YAML(typ="safe", pure=True).parse(io.StringIO(self._text)):
                last = self._place(event)
                yield event
        except MarkedYAMLError as error:
            mark = error.problem_mark
            place = last if mark is None else self._at(mark.line + 1, mark.column + 1)
            raise _Unreadable(place, _syntax_fault(error)) from error
        except (ValueError, OverflowError) as error:  # chr() of an escape such as "\U00110000"
            raise _Unreadable(last, "not YAML: after this place, an escape does not encode a character") from error
        except YAMLError as error:
            raise _Unreadable(last, f"not YAML, after this place: {error}") from error

    def _node(self, event: Event, path: tuple[Key, ...]) -> Node:
        self._count(event, path, values=1, levels=1)
        if isinstance(event, AliasEvent):
            return self._aliased(event, path)
        assert isinstance(event, ScalarEvent | SequenceStartEvent | MappingStartEvent), event
        node = self._content(event, path)
        if event.tag is not None:
            tag = shortened(str(event.tag).replace("tag:yaml.org,2002:", "!!"))
            node = self._broken(node, path, f"the tag {tag} is not allowed; a recipe contains plain values. Remove it")
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _content(self, event: ScalarEvent | SequenceStartEvent | MappingStartEvent, path: tuple[Key, ...]) -> Node:
        if isinstance(event, MappingStartEvent):
            return self._mapping(event, path)
        if isinstance(event, SequenceStartEvent):
            return self._sequence(event, path)
        return self._scalar(event, path)

    def _mapping(self, start: Event, path: tuple[Key, ...]) -> Node:
        children: dict[str, Node] = {}
        while not isinstance(event := next(self._events), MappingEndEvent):
            if not isinstance(event, ScalarEvent):
                raise _Unreadable(self._place(event), "a key must be text, found a list, a mapping or an alias", path)
            key = self._key(event, path)
            value = self._node(next(self._events), (*path, str(event.value)))
            if not isinstance(key.value, str):
                continue
            if key.value in children:
                first = children[key.value].key_place
                self._broken(key, (*path, key.value), f"given twice, the first time at {first}. Remove one")
                continue
            # An empty value has no position of its own: ruamel gives it that of the next key.
            place = key.place if value.value is None and not value.spelling else value.place
            children[key.value] = replace(value, place=place, key_place=key.place)
        return Node(children, self._place(start))

    def _key(self, event: ScalarEvent, path: tuple[Key, ...]) -> Node:
        """The node of a key; its value is text, or a problem was reported."""
        if event.value == "<<" and event.style is None:
            merge_key = Node(BROKEN, self._place(event))
            return self._broken(merge_key, path, "merge keys (<<) are not part of YAML 1.2. Write the keys out")
        node = self._node(event, path)
        if isinstance(node.value, str) or node.value is BROKEN:
            return node
        quoted = f'. Write "{shortened(node.spelling)}"' if node.spelling else ""
        return self._broken(node, path, f"a key must be text, found {describe_value(node)}{quoted}")

    def _sequence(self, start: Event, path: tuple[Key, ...]) -> Node:
        children: list[Node] = []
        while not isinstance(event := next(self._events), SequenceEndEvent):
            children.append(self._node(event, (*path, len(children))))
        return Node(children, self._place(start))

    def _scalar(self, event: ScalarEvent, path: tuple[Key, ...]) -> Node:
        node = Node(event.value, self._place(event))
        if event.style is None and event.tag is None:
            try:
                return replace(node, value=resolve(event.value), spelling=event.value)
            except ValueError as refusal:
                return self._broken(node, path, str(refusal))
        match = _FORBIDDEN_ESCAPED.search(event.value)
        if match:
            return self._broken(node, path, f"the character U+{ord(match[0]):04X} is not allowed in text")
        return node

    def _aliased(self, event: AliasEvent, path: tuple[Key, ...]) -> Node:
        node = self._anchors.get(event.anchor)
        if node is None:
            fault = f"the alias *{shortened(event.anchor)} has no anchor before it"
            return self._broken(Node(BROKEN, self._place(event)), path, fault)
        values, levels = _extent(node)
        self._count(event, path, values=values, levels=levels)
        return node

    def _count(self, event: Event, path: tuple[Key, ...], *, values: int, levels: int) -> None:
        self._values += values
        if self._values > MAX_VALUES:
            raise _Unreadable(self._place(event), f"more than {MAX_VALUES:,} values; a recipe may not have more")
        if len(path) + levels > MAX_DEPTH:
            raise _Unreadable(self._place(event), f"nested deeper than {MAX_DEPTH} levels")

    def _broken(self, node: Node, path: tuple[Key, ...], fault: str) -> Node:
        self.problems.append(Problem(node.place, path, fault))
        return replace(node, value=BROKEN)

    def _place(self, event: Event) -> Place:
        return self._at(event.start_mark.line + 1, event.start_mark.column + 1)

    def _at(self, line: int, column: int) -> Place:
        return Place(self._source, line, column) if self._has_lines else Place(self._source)


def _syntax_fault(error: MarkedYAMLError) -> str:
    problem = str(error.problem)
    if problem in _FAULTS:
        return _FAULTS[problem]
    return f"not YAML: {problem}" + (f" {error.context}" if error.context else "")

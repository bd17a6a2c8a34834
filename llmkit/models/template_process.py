"""Chat templates, rendered in a separate process. Knows Jinja and nothing else of llmkit; started by rendering.py.

A template comes with a model and is a program. Jinja's sandbox keeps it from files and from Python, but limits neither
its time nor its memory: here there is a time limit per text and a memory limit for the process, and exceeding them ends
only this process. The environment is that of transformers' `apply_chat_template`, so the texts are the same.
"""

from __future__ import annotations

import faulthandler
import json
import math
import signal
import sys
import time
from datetime import datetime
from typing import Any

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.nodes import CallBlock, Node
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

SECONDS, MEGABYTES = 5, 512
"""Limits for a text, and for the whole process (on Linux)."""
_SPARE_CHARACTERS, _TIMES_AS_LONG = 100_000, 10
"""A text may have this many characters, plus this many times those of its messages."""


class _Generation(Extension):
    """`{% generation %}`, which marks the assistant's text in a template; the marks are removed."""

    tags = {"generation"}  # noqa: RUF012  # as Jinja declares it

    def parse(self, parser: Parser) -> Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return CallBlock(self.call_method("_unchanged"), [], [], body).set_lineno(line)

    def _unchanged(self, caller: Any) -> str:
        return str(caller())


class _Dict:
    """`dict` for templates, as a function, since the class would give access to Python's internals."""

    def __call__(self, *args: Any, **entries: Any) -> dict[Any, Any]:
        return dict(*args, **entries)

    def fromkeys(self, *args: Any) -> dict[Any, Any]:
        return dict.fromkeys(*args)


class _Namespace(jinja2.utils.Namespace):
    """`namespace` for templates, without names that begin with an underscore."""

    def __init__(*args: Any, **entries: Any) -> None:
        self, rest = args[0], args[1:]
        attributes = dict(*rest, **entries)
        for name in attributes:
            _Namespace._check(name)
        jinja2.utils.Namespace.__init__(self, attributes)

    def __setitem__(self, name: str, value: Any) -> None:
        _Namespace._check(name)
        jinja2.utils.Namespace.__setitem__(self, name, value)

    @staticmethod
    def _check(name: object) -> None:
        if isinstance(name, str) and name.startswith("_"):
            raise jinja2.exceptions.SecurityError(f"a namespace cannot have {name!r}")


def make_environment() -> jinja2.Environment:
    """As in transformers: the same settings, extensions and functions."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals |= {
        "raise_exception": _raise_exception,
        "strftime_now": lambda form: datetime.now().strftime(form),
        "dict": _Dict(),
        "namespace": _Namespace,
    }
    return environment


def main() -> None:
    """Read a line with the template, then one for each list of conversations. All lines are JSON.

    The reply to the template is a line. So is the reply to each text: the text, or an object with the error, after which
    no more texts of the line are rendered.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends at the end of its input
    _limit_memory()
    first = json.loads(sys.stdin.readline())
    faulthandler.dump_traceback_later(SECONDS, exit=True)  # constant expressions are computed now
    try:
        template = make_environment().from_string(first["template"])
    except Exception as error:
        _reply({"error": _message(error)})
        return
    finally:
        faulthandler.cancel_dump_traceback_later()
    _reply("")
    for line in sys.stdin:
        try:
            _render(template, json.loads(line), variables=first["variables"])
        except Exception as error:  # a template may raise anything
            _reply({"error": _message(error)})
        finally:
            faulthandler.cancel_dump_traceback_later()
            sys.stdout.flush()


def _render(template: jinja2.Template, conversations: list[dict[str, Any]], *, variables: dict[str, Any]) -> None:
    """Write the texts. A watchdog ends the process if a text takes too long, also within a single operation.

    A watchdog is a thread and costs as much as a text, so texts within the same tenth of a second share one.
    """
    set_at = -math.inf
    for conversation in conversations:
        for count, prompted in conversation["prefixes"]:
            if time.monotonic() - set_at > SECONDS / 10:
                set_at = time.monotonic()
                faulthandler.dump_traceback_later(SECONDS, exit=True)
            text = _text(
                template, conversation["messages"][:count], add_generation_prompt=prompted, variables=variables
            )
            sys.stdout.write(json.dumps(text) + "\n")


def _text(
    template: jinja2.Template, messages: list[dict[str, str]], *, add_generation_prompt: bool, variables: dict[str, Any]
) -> str:
    limit = _SPARE_CHARACTERS + _TIMES_AS_LONG * sum(len(message["content"]) for message in messages)
    values = {"messages": messages, "tools": None, "documents": None, "add_generation_prompt": add_generation_prompt}
    chunks: list[str] = []
    length = 0
    for chunk in template.generate({**values, **variables}):
        chunks.append(chunk)
        length += len(chunk)
        if length > limit:
            raise ValueError(f"it writes more than {limit:,} characters")
    return "".join(chunks)


def _to_json(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """`tojson` as chat templates expect it: Jinja's filter escapes HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: object) -> None:
    raise jinja2.TemplateError(str(message))


def _message(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return f"it needs more than {MEGABYTES} MB"
    kind = "" if type(error) is jinja2.TemplateError else f"{type(error).__name__}: "  # raised by the template itself
    return f"{kind}{str(error)[:200]}"


def _reply(content: object) -> None:
    sys.stdout.write(json.dumps(content) + "\n")
    sys.stdout.flush()


def _limit_memory() -> None:
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEGABYTES * 2**20, MEGABYTES * 2**20))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

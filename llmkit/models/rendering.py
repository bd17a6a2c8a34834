"""Chat templates of models, rendered in a separate process (template_process.py), which may hang, run out of memory or
crash.

Within this process every operator and filter of Jinja would need limits; for a separate process the operating system
enforces them. It is started once per template, which takes a tenth of a second, and renders each
conversation.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import weakref
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from threading import Lock

from llmkit.models.template_process import MEGABYTES, SECONDS

_START = (
    "import json, sys\nsys.path[:] = json.loads(sys.argv[1])\nfrom llmkit.models.template_process import main\nmain()\n"
)


Prefixes = Sequence[tuple[int, bool]]
"""Beginnings of a conversation: the number of messages, and whether the assistant's answer follows."""
_BATCH = 64
"""Conversations in a request to the process."""


class TemplateFault(Exception):
    """An error in a template, or raised by it for a conversation."""


class Renderer:
    """A template that is ready to be rendered."""

    def __init__(self, template: str, variables: str) -> None:
        self._first_line = json.dumps({"template": template, "variables": json.loads(variables)})
        self._process: subprocess.Popen[str] | None = None
        self._lock = Lock()

    def render(self, conversations: Sequence[tuple[Sequence[Mapping[str, str]], Prefixes]]) -> list[list[str]]:
        """For each conversation, the texts of its prefixes.

        Raises:
            TemplateFault: it is not a valid template, fails, or exceeds a limit.
        """
        texts: list[list[str]] = []
        with self._lock:
            for start in range(0, len(conversations), _BATCH):
                texts += self._render_batch(conversations[start : start + _BATCH])
        return texts

    def _render_batch(self, conversations: Sequence[tuple[Sequence[Mapping[str, str]], Prefixes]]) -> list[list[str]]:
        request = [
            {"messages": [dict(message) for message in messages], "prefixes": list(prefixes)}
            for messages, prefixes in conversations
        ]
        complete = False
        try:
            self._process = self._process or self._start()
            _write(self._process, json.dumps(request))
            texts = [[_read(self._process) for _ in prefixes] for _, prefixes in conversations]
            complete = True
        finally:
            if not complete and self._process is not None:  # its remaining output belongs to no request
                _stop(self._process)
                self._process = None
        return texts

    def _start(self) -> subprocess.Popen[str]:
        paths = [path for path in sys.path if Path(path).is_absolute()]
        process = subprocess.Popen(
            [sys.executable, "-I", "-c", _START, json.dumps(paths)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
            start_new_session=True,  # Ctrl-C at a terminal must not reach it
        )
        weakref.finalize(self, _stop, process)
        self._process = process
        _write(process, self._first_line)
        _read(process)
        return process


@lru_cache(maxsize=2)
def renderer(template: str, variables: str) -> Renderer:
    """The renderer of a template; the same for the same template.

    Args:
        variables: the other variables of the template, as JSON.
    """
    return Renderer(template, variables)


def _write(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None, "a pipe"
    try:
        process.stdin.write(line + "\n")
        process.stdin.flush()
    except BrokenPipeError:  # it has ended: reading reports that
        return


def _read(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None, "a pipe"
    line = process.stdout.readline()
    if not line:
        raise TemplateFault(f"it needs more than {SECONDS} seconds or {MEGABYTES} MB for one text")
    answer = json.loads(line)
    if not isinstance(answer, str):
        raise TemplateFault("".join(char if char.isprintable() else " " for char in answer["error"]))
    if any("\ud800" <= char <= "\udfff" for char in answer):
        raise TemplateFault("it writes half of a surrogate pair, which is not a character")
    return answer


def _stop(process: subprocess.Popen[str]) -> None:
    process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):  # unread input cannot be flushed
                pipe.close()
    process.wait()

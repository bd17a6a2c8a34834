"""Every error that a user can cause, and its exit code. Imports nothing else of llmkit.

    LlmkitError              exit  kind
    |- UsageError              2   usage        an invalid option or argument
    |- RecipeError             2   recipe       one or more problems in a recipe
    |- DataError               3   data         rows, files and labels
    |  `- RowError             3   data         one row that a task cannot use
    |- ModelError              4   model        missing, damaged, unsafe or unsuitable model
    |  `- RunError             4   run          a run folder or a checkpoint
    |- MachineError            5   environment  disk, permission, lock, network, memory
    |- DivergedError           6   diverged     the loss is no longer a finite number
    |- GateFailed              7   gate         a score of `evaluate` is worse than its gate allows
    `- InterruptedRun    130/143   interrupted  a signal, after a checkpoint was saved

Exit code 1 means a bug in llmkit itself. A message names the place, the fault, the value, what is allowed,
and the next step; the command line prints it as `error[kind]: message`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import ClassVar

_OUT_OF_MEMORY = re.compile(r"(out of|not enough|can't allocate|cannot allocate) memory|_ALLOC_FAILED", re.IGNORECASE)
"""Of a RuntimeError of torch: its allocator of CPUs has no error class of its own, nor has cuBLAS."""


class LlmkitError(Exception):
    """A mistake that the user can fix. `str(error)` is the message, one problem per line."""

    exit_code: ClassVar[int]
    kind: ClassVar[str]


class UsageError(LlmkitError):
    exit_code = 2
    kind = "usage"


class RecipeError(LlmkitError):
    """All problems of a recipe, each with its position: `file:line:column: key: fault`."""

    exit_code = 2
    kind = "recipe"

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))


class DataError(LlmkitError):
    exit_code = 3
    kind = "data"


class RowError(DataError):
    """A row that a task cannot use; the other rows of its file may be good."""

    def __init__(self, place: str, fault: str, *, reason: str) -> None:
        """
        Args:
            place: `reviews.csv:7`.
            fault: the fault, the value that was found, and what to do.
            reason: the same for all rows with such a fault, for counts: `no 'label'`.
        """
        super().__init__(f"{place}: {fault}")
        self.place = place
        self.fault = fault
        self.reason = reason


class ModelError(LlmkitError):
    exit_code = 4
    kind = "model"


class RunError(ModelError):
    kind = "run"


class MachineError(LlmkitError):
    exit_code = 5
    kind = "environment"


class DivergedError(LlmkitError):
    exit_code = 6
    kind = "diverged"


class GateFailed(LlmkitError):
    """A gate of `evaluate` failed, after the results were written."""

    exit_code = 7
    kind = "gate"


class InterruptedRun(LlmkitError):
    """Training stopped by a signal, after its checkpoint was published."""

    kind = "interrupted"

    def __init__(self, message: str, *, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number  # type: ignore[misc]  # the only code that depends on the event


def nearest(word: str, allowed: Iterable[str]) -> str:
    """` Did you mean X?` for the closest allowed word, with its leading space, or nothing."""
    match = get_close_matches(word, list(allowed), n=1, cutoff=0.6)
    return f" Did you mean {match[0]!r}?" if match else ""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device or the machine had no memory left."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and _OUT_OF_MEMORY.search(str(error)) is not None

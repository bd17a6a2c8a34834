"""Which cases of a test run among the quick ones; the others repeat them and run among the slow ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest


def quick_if(is_quick: Callable[[Any], bool], cases: Iterable[Any]) -> list[Any]:
    """The cases for `parametrize`, slow unless `is_quick`; cases with marks of their own keep them."""
    return [
        case if hasattr(case, "marks") or is_quick(case) else pytest.param(case, marks=pytest.mark.slow)
        for case in cases
    ]

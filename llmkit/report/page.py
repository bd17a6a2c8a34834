"""A page as HTML: texts are escaped by Jinja, control characters are visible, and nothing is loaded from elsewhere."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from llmkit.report.blocks import Page
from llmkit.report.wording import visible

if TYPE_CHECKING:
    from jinja2 import Environment


def render(page: Page) -> str:
    """The page as one HTML file; the same page gives the same text."""
    return _environment().get_template("page.html").render(page=page)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("llmkit.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalized,
    )


def _finalized(value: Any) -> Any:
    """Every text of a page passes here before it is escaped; what a template has rendered already stays."""
    return value if hasattr(value, "__html__") or not isinstance(value, str) else visible(value)

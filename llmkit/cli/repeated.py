"""A command that rejects an option with one value if it is given twice: the first value would be ignored."""

from __future__ import annotations

from collections import Counter
from typing import Any

from typer.core import TyperCommand, TyperOption

from llmkit.errors import UsageError


class Command(TyperCommand):
    """A command as Typer makes it, with that check."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """
        Raises:
            UsageError: a repeated option that takes one value.
        """
        _, _, parameters = self.make_parser(ctx).parse_args(args=list(args))  # one for each time it is given
        for parameter, count in Counter(parameters).items():
            if count > 1 and isinstance(parameter, TyperOption) and not parameter.multiple:
                names = "/".join([*parameter.opts, *parameter.secondary_opts])
                raise UsageError(f"{names} is given {count} times; it takes one value. Give it once.")
        return super().parse_args(ctx, args)

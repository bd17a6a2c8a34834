"""An option that takes one value may be given once: the last one would win without a word."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from facts import says
from tiny_recipes import llmkit
from typer.core import TyperOption
from typer.main import get_command

from llmkit.cli import app


def _commands(group: Any, *names: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Each command with its names, those of groups such as `data check` included."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, *names, name)
        else:
            yield (*names, name), command


SINGLE = [
    (names, option)
    for names, command in _commands(get_command(app))
    for option in command.params
    if isinstance(option, TyperOption) and not option.multiple and option.name != "help"
]


@pytest.mark.slow
def test_every_single_valued_option_of_every_command_is_refused_where_it_is_given_twice() -> None:
    assert len(SINGLE) > 80
    accepted = []
    for command, option in SINGLE:
        value = [] if option.is_flag else ["1"]
        first, last = [option.opts[0], *value], [(option.secondary_opts or option.opts)[-1], *value]
        outcome = llmkit(*command, *first, *last)
        if outcome.code != 2 or option.opts[0] not in outcome.err or " 2 " not in outcome.err:
            accepted.append((command, option.opts[0], outcome.err))
    assert not accepted


@pytest.mark.parametrize("options", [["-m", "a", "--model=b"], ["--top-k=3", "--search", "x", "--top-k", "3"]])
def test_short_and_long_names_and_equal_values_count_as_repeated(options: list[str]) -> None:
    outcome = llmkit("embed", "a text", *options)
    assert (outcome.code, outcome.out) == (2, "")
    says(outcome.err, "error[usage]:", 2)


def test_options_that_may_be_repeated_still_are() -> None:
    outcome = llmkit("generate", "--prompt", "a", "--stop", "x", "--stop", "y", "-m", "./none")
    assert outcome.code == 4  # there is no such model

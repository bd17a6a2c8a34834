"""`llmkit models`: the families of models as a table, or one model."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from llmkit.cli.output import one_line, shown
from llmkit.cli.tables import print_table
from llmkit.errors import ModelError, UsageError

if TYPE_CHECKING:
    from llmkit.api import FamilyDescription, ModelDescription

_COLUMNS = 80
_LABELS_SHOWN = 20
_MAX_CHARACTERS = 2000
"""Of a value."""


def models(
    model: Annotated[
        str | None,
        typer.Argument(help="A run, a model folder or a hub id. Default: a table of all families of models."),
    ] = None,
    revision: Annotated[
        str | None, typer.Option(help="Commit, branch or tag of a hub model. Default: its newest.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object, with all details.")] = False,
) -> None:
    """List the model families, or describe a model without loading its weights: its size, and what it can be used for.

    Exits with 4 if the model can neither be used nor trained.
    """
    if model is not None:
        _describe(model, revision=revision, as_json=as_json)
    elif revision is not None:
        raise UsageError("--revision: name the hub model that it is of.")
    else:
        _list(as_json=as_json)


COMMANDS = (models,)


def _describe(model: str, *, revision: str | None, as_json: bool) -> None:
    from llmkit.api import describe_model

    found = describe_model(model, revision=revision)
    if as_json:
        print(shown(json.dumps(asdict(found), ensure_ascii=False, default=str)))
    else:
        _print_lines(_facts(found))
    if not found.is_usable:
        raise ModelError(f"{found.name}: {found.refusals[0].reason}")


def _facts(found: ModelDescription) -> Iterator[tuple[str, str]]:
    """Name and value of each line."""
    yield "model", found.name if found.revision is None else f"{found.name}, commit {found.revision}"
    if found.base is not None:
        yield "adapter", f"of {found.base}"
    if found.modules:
        yield "modules", f"{', '.join(found.modules)} (sentence-transformers)"
    yield "type", ", ".join(filter(None, (found.model_type or "unknown", found.architecture)))
    if found.run_task is not None:
        yield "trained on", found.run_task
    yield "commands", ", ".join(found.verbs) or "none"
    yield "training", ", ".join(found.tasks) or "none"
    if found.labels:
        more = ", ..." if len(found.labels) > _LABELS_SHOWN else ""
        yield "labels", f"{len(found.labels)}: {', '.join(found.labels[:_LABELS_SHOWN])}{more}"
    if found.parameters is not None:
        yield "window", "no limit" if found.window is None else f"{found.window:,} tokens"
        added = "" if found.adapter_parameters is None else f", and {found.adapter_parameters:,} of the adapter"
        yield "parameters", f"{found.parameters:,}{added}"
    if found.weight_bytes is not None:
        types = ", ".join(f"{numbers:,} {kind}" for kind, numbers in found.precision.items())
        yield "weights", f"{types} ({found.weight_bytes:,} bytes)"
    if found.tokenizer is not None:
        yield "tokenizer", f"{found.tokenizer}, {found.vocabulary:,} tokens"
        names = (f"{role.removesuffix('_token')} {token}" for role, token in found.special_tokens.items())
        yield "special", ", ".join(names) or "none"
        yield "chat template", "yes" if found.chat_template else "no"
    if found.generation:
        yield "generation", ", ".join(f"{option} {value}" for option, value in found.generation.items())
    if found.not_followed:
        yield "not followed", ", ".join(found.not_followed)
    for refusal in found.refusals:
        yield "refused", f"{', '.join(refusal.uses) or 'everything'}: {refusal.reason}"


def _print_lines(facts: Iterable[tuple[str, str]]) -> None:
    lines = [(name, one_line(value[:_MAX_CHARACTERS])) for name, value in facts]
    width = max(len(name) for name, _ in lines)
    for name, value in lines:
        indent = " " * (width + 2)
        wrapped = textwrap.wrap(value, _COLUMNS - len(indent), break_long_words=False, break_on_hyphens=False)
        print("\n".join([f"{name:<{width}}  {wrapped[0]}", *(indent + line for line in wrapped[1:])]))


def _list(*, as_json: bool) -> None:
    from llmkit.api import list_families

    families = list_families()
    if as_json:
        print(json.dumps({"families": [asdict(family) for family in families]}))
        return
    print_table(
        ("family", "model types", "attention"),
        [(family.name, ", ".join(family.model_types), ", ".join(family.attention_kernels)) for family in families],
    )
    print()
    print_table(("families", "heads", "tasks"), list(_kinds(families)))
    print("\nRandom weights with a vocabulary of 8,000, and default learning rates:\n")
    print_table(
        ("family", "sizes, in millions of parameters", *families[0].learning_rates),
        [
            (family.name, _sizes(family), *(f"{rate:g}" for rate in family.learning_rates.values()))
            for family in families
        ],
    )


def _kinds(families: Iterable[FamilyDescription]) -> Iterator[tuple[str, str, str]]:
    """Families with the same heads and tasks in one row."""
    kinds: dict[tuple[str, str], list[str]] = {}
    for family in families:
        kinds.setdefault((", ".join(family.heads), ", ".join(family.tasks)), []).append(family.name)
    for (heads, tasks), names in kinds.items():
        yield ", ".join(names), heads, tasks


def _sizes(family: FamilyDescription) -> str:
    return ", ".join(f"{size} {count / 1e6:,.1f}" for size, count in family.sizes.items())

"""What the keys of recipes mean: meaning, type, default, allowed values and an example, from the classes of recipes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from llmkit.errors import UsageError
from llmkit.recipe.blocks import Block
from llmkit.recipe.documentation import key_docs
from llmkit.recipe.expectations import (
    Type,
    bare,
    describe_type,
    field_type,
    inputs,
    is_block,
    listed,
    literals,
    members,
)
from llmkit.recipe.nodes import RIVALS
from llmkit.recipe.recipe import Recipe
from llmkit.recipe.writing import dump_value

_NEAREST = 3
_EXAMPLES: Mapping[str, Any] = {
    "model": "google-bert/bert-base-uncased",
    "revision": "main",
    "data": {"train": "reviews.train.csv"},
    "data.train": "reviews.train.csv",
    "data.test": "10%",
    "data.cluster": "user_id",
    "data.columns": {"text": "review", "label": "stars"},
    "evaluation.every": "500 steps",
    "evaluation.best": "f1_macro",
    "evaluation.metrics": ["accuracy", "f1"],
    "evaluation.patience": 3,
    "train.steps": 1000,
    "train.epochs": 3,
    "train.learning_rate": 5e-5,
    "train.layer_decay": 0.9,
    "model.tokenizer": {"vocab_size": 16000},
    "card.license": "apache-2.0",
    "card.languages": ["en"],
    "card.description": "Finds angry reviews.",
}
"""Of the keys of all tasks, where the default is no example. A task's own keys have `Field(examples=[...])`."""
_OF_TYPE: Mapping[Any, Any] = {bool: True, int: 128, float: 0.1, str: "text"}


@dataclass(frozen=True)
class Explanation:
    """One key, or a block of keys."""

    key: str
    """With dots: `train.schedule`."""
    meaning: str
    type: str
    """What it may be, in words."""
    required: bool
    default: Any
    """None for none, and for keys that are required."""
    allowed: tuple[str, ...]
    """The words that it may be, if they are listed."""
    example: str
    """Lines of a recipe."""
    tasks: tuple[str, ...]
    """The tasks that have it."""
    of_all_tasks: bool
    keys: tuple[str, ...]
    """The keys of a block."""
    replaces: tuple[str, ...]
    """Keys beside it that it replaces in a parent recipe."""

    @property
    def is_choice(self) -> bool:
        """Whether it must be one of some words, which tasks may list differently, as `task` itself."""
        return self.required and bool(self.allowed)


def explain_keys(kinds: Mapping[str, type[Recipe]]) -> list[Explanation]:
    """Every key of every task's recipe, in the order of the classes.

    A key that several tasks define alike appears once.
    """
    found: list[Explanation] = []
    for task, kind in kinds.items():
        for new in _of_block(kind, prefix="", task=task):
            place = next((at for at, known in enumerate(found) if _is_same(known, new)), None)
            if place is None:
                found.append(new)
            else:
                found[place] = _merged(found[place], new)
    return [replace(one, of_all_tasks=len(one.tasks) == len(kinds)) for one in found]


def explain_key(key: str, kinds: Mapping[str, type[Recipe]]) -> list[Explanation]:
    """The explanations of a key: several where tasks define it differently.

    Raises:
        UsageError: there is no such key; the message names the nearest.
    """
    everything = explain_keys(kinds)
    found = [one for one in everything if one.key == key]
    if not found:
        found = _ends_with(key, everything)
    if not found:
        names = list(dict.fromkeys(one.key for one in everything))
        last = {name.rpartition(".")[2]: name for name in reversed(names)}
        near = get_close_matches(key, names, n=_NEAREST, cutoff=0.6)
        near += [last[name] for name in get_close_matches(key.rpartition(".")[2], last, n=_NEAREST, cutoff=0.6)]
        hint = f" Nearest: {', '.join(list(dict.fromkeys(near))[:_NEAREST])}." if near else ""
        raise UsageError(f"explain: no recipe has the key {key!r:.80}.{hint} `llmkit explain` lists the keys.")
    return found


def _ends_with(key: str, everything: list[Explanation]) -> list[Explanation]:
    """Of a key without its block, `schedule`, if only one block has it."""
    matching = [one for one in everything if one.key.endswith(f".{key}")]
    return matching if len({one.key for one in matching}) == 1 else []


def _is_same(first: Explanation, second: Explanation) -> bool:
    """Whether two tasks define a key alike, except for the words to choose from."""
    if first.key == second.key and first.is_choice and second.is_choice:
        return True
    return replace(first, tasks=()) == replace(second, tasks=())


def _merged(first: Explanation, second: Explanation) -> Explanation:
    tasks = (*first.tasks, *second.tasks)
    if not first.is_choice:
        return replace(first, tasks=tasks)
    allowed = tuple(dict.fromkeys((*first.allowed, *second.allowed)))
    return replace(first, tasks=tasks, allowed=allowed, type=listed(list(allowed)))


def _of_block(block: type[Block], *, prefix: str, task: str) -> Iterator[Explanation]:
    docs = key_docs(block)
    for name, field in block.model_fields.items():
        key, expected = f"{prefix}{name}", field_type(field)
        inner = [one for one in map(bare, inputs(expected)) if is_block(one)]
        default = _default(field)
        yield Explanation(
            key=key,
            meaning=" ".join(docs.get(name, _meaning_of_block(inner)).split()),
            type=describe_type(expected),
            required=field.is_required(),
            default=default,
            allowed=tuple(map(str, literals(expected))),
            example=_example(key, default, expected, marked=field.examples),
            tasks=(task,),
            of_all_tasks=False,
            keys=tuple(f"{key}.{inner_name}" for one in inner for inner_name in one.model_fields),
            replaces=RIVALS.get(key, ()),
        )
        for one in inner:
            yield from _of_block(one, prefix=f"{key}.", task=task)


def _meaning_of_block(blocks: list[Type]) -> str:
    docs = [block.__doc__ for block in blocks if block.__doc__ and block.__doc__ != Block.__doc__]
    return docs[0] if docs else ""


def _default(field: FieldInfo) -> Any:
    """As a recipe writes it."""
    if field.is_required():
        return None
    value = field.get_default(call_default_factory=True)
    if isinstance(value, Block):
        return value.model_dump(mode="json")
    return None if value is PydanticUndefined else value


def _example(key: str, default: Any, expected: Type, *, marked: Sequence[Any] | None) -> str:
    """Lines of a recipe with the key.

    Args:
        marked: the examples of the field.
    """
    candidates = (
        *(marked or _marked(expected)),
        _EXAMPLES.get(key),
        default,
        *literals(expected),
        *(_OF_TYPE.get(kind) for kind in map(bare, inputs(expected))),
    )
    value = next((value for value in candidates if value is not None), None)
    *blocks, last = key.split(".")
    lines = {last: value}
    for name in reversed(blocks):
        lines = {name: lines}
    return dump_value(lines)


def _marked(expected: Type) -> Sequence[Any]:
    """The examples of a type inside a union."""
    marks = (mark for member in members(expected) for mark in getattr(member, "__metadata__", ()))
    return next((mark.examples for mark in marks if isinstance(mark, FieldInfo) and mark.examples), ())

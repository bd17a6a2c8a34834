"""What may change between a run and its continuation, and what may not."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from llmkit.errors import DataError, RecipeError
from llmkit.recipe.blocks import Recipe
from llmkit.runs.folder import Run, read_json

if TYPE_CHECKING:
    from llmkit.training.checkpoints import Checkpoint

_log = logging.getLogger("llmkit")
_FREE = {"train.save_every", "train.keep_checkpoints", "train.micro_batch_tokens"}
"""None of them changes an update, dropout's draws aside."""


def check_recipe(kept: Recipe, wanted: Recipe, *, run: Run) -> None:
    """Refuse a continuation whose recipe differs in what matters.

    Raises:
        RecipeError: every such key, with its old and its new value.
    """
    before, after = dict(_leaves(kept.model_dump())), dict(_leaves(wanted.model_dump()))
    changed = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
    refused = [key for key in changed if key not in _FREE]
    if "task" in refused:
        refused = ["task"]  # its other keys differ for that reason alone
    if refused:
        listed = [f"{run.folder}: {key} was {_told(before, key)}, is now {_told(after, key)}" for key in refused]
        raise RecipeError([*listed, f"{run.folder}: only a new run can change this; start it without --resume."])
    if "train.micro_batch_tokens" in changed:
        _log.warning("train.micro_batch_tokens differs: the updates stay the same, but not bit for bit")


def find_checkpoint(run: Run, *, keep: int) -> Checkpoint | None:
    """The newest whole checkpoint of a run; without one, training starts again."""
    from llmkit.training.checkpoints import CheckpointStore

    found = CheckpointStore(run.checkpoints, run_id=run.manifest()["id"], keep=keep).newest()
    if found is None:
        _log.warning("%s has no complete checkpoint; training starts again at step 0", run.folder)
    return found


def check_data(run: Run, now: Mapping[str, Any]) -> None:
    """Refuse a continuation on other data, labels or tokenizer.

    Raises:
        DataError: names what changed.
    """
    before = check_sources(run, now["sources"])
    for key in ("sources", "shares", "labels", "tokenizer_sha256"):
        if before[key] != now[key]:
            raise DataError(f"{key} differs from {run.folder}/data.json. Start a new run without --resume.")


def check_sources(run: Run, now: Mapping[str, Any]) -> dict[str, Any]:
    """Compare the tables of some splits with those in data.json, which is returned.

    Raises:
        DataError: names the first table that changed, with both hashes.
    """
    before = read_json(run.folder / "data.json")
    for split, tables in now.items():
        for old, new in zip(before["sources"].get(split, ()), tables, strict=False):
            if old != new:
                raise DataError(
                    f"{old['name']} has changed since {run.folder} began: sha256 {str(old.get('sha256'))[:12]} then, "
                    f"{str(new.get('sha256'))[:12]} now. Put the old content back, or start a new run."
                )
    return before


def warn_of_environment(run: Run, now: Mapping[str, Any]) -> None:
    """Withdraw the promise of bit-identity where versions, device or processes differ."""
    before = read_json(run.folder / "env.json")
    differs = sorted(key for key in now if before.get(key) != now[key])
    if differs:
        _log.warning(
            "not bit-identical to an uninterrupted run: %s differ from %s/env.json", ", ".join(differs), run.folder
        )


def _told(values: Mapping[str, Any], key: str) -> str:
    value = values.get(key)
    return "not set" if value is None else repr(value)


def _leaves(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, inner in value.items():
        if isinstance(inner, dict) and inner:
            yield from _leaves(inner, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", inner

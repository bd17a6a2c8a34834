"""The model card of a run, from what its folder says. Does not import torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from llmkit.errors import RunError
from llmkit.models.families import FAMILIES
from llmkit.recipe.loading import load_recipe
from llmkit.runs.card import CardFacts, MeasuredRows
from llmkit.runs.folder import Run
from llmkit.runs.saved_json import DataManifest, read_checked, read_json
from llmkit.tasks import RECIPES
from llmkit.tasks.base import TaskRecipe


def card_facts(
    run: Run, files: Mapping[str, bytes], *, best: Mapping[str, Any], recipe: TaskRecipe | None = None
) -> CardFacts:
    """What the card of a run's model says.

    Args:
        files: the model's JSON files.
        best: as in run.json: the score that selected the checkpoint, and its scores on the validation rows.
        recipe: the run's, if it is at hand.
    """
    recipe = recipe or load_recipe(run.recipe, kinds=RECIPES).recipe
    config, adapter = (
        _json(files, "config.json") or _json(files, "model_config.json"),
        _json(files, "adapter_config.json"),
    )
    base = adapter.get("base_model_name_or_path")
    family = next((family for family in FAMILIES.values() if config.get("model_type") in family.model_types), None)
    library = "llmkit" if family is not None and not family.is_of_transformers else "peft" if base else "transformers"
    window = _json(files, "tokenizer_config.json").get("model_max_length")
    return CardFacts(
        manifest=run.manifest(),
        data=read_checked(run.folder / "data.json", DataManifest),
        recipe=recipe,
        measured=[MeasuredRows("validation", best["validation"], best.get("intervals") or {}), *_evaluations(run)],
        best=best.get("metric") or best.get("figure") or "loss",
        purpose=recipe.purpose,
        pipeline_tag=recipe.PIPELINE_TAG,
        use=recipe.USE.format(model="FOLDER"),
        library=library,
        base=base,
        architecture=next(iter(config.get("architectures") or ()), None) if library == "transformers" else None,
        window=window if isinstance(window, int) and window < 10**9 else None,
    )


def _evaluations(run: Run) -> list[MeasuredRows]:
    """The scores of `llmkit evaluate` on the run's own test rows; none where there are none, or they are damaged."""
    try:
        record = read_json(run.folder / "evaluation" / "test.json")
    except RunError:
        return []
    scores, intervals = record.get("scores"), record.get("intervals")
    if not isinstance(scores, dict):
        return []
    return [MeasuredRows("test", scores, intervals if isinstance(intervals, dict) else {}, record.get("rows"))]


def _json(files: Mapping[str, bytes], name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(files.get(name, b"{}"))
    return content

"""The model card of a finished model: what it is for, how it was trained, its limits, its scores, and how to use it.

The metadata are those of the hub (huggingface_hub's `ModelCardData`): `model-index` in the card, and `.eval_results/` for
rows of the hub's data sets. Knows no tasks: what depends on one is an argument.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from llmkit.recipe.blocks import ScratchModel
from llmkit.recipe.recipe import Recipe
from llmkit.recipe.writing import dump_recipe

_NAMES_SHOWN = 30
_HUB = re.compile(r"hub:(?P<name>[^@:#]+)(@(?P<revision>[^:#]+))?(:(?P<config>[^#]+))?(#(?P<split>.+))?")


@dataclass(frozen=True)
class MeasuredRows:
    """The scores of some rows."""

    split: str
    """validation or test."""
    scores: Mapping[str, float | None]
    intervals: Mapping[str, Any]
    """Score -> the ends of its 95 % interval, for those that have one."""
    rows: int | None = None


@dataclass(frozen=True)
class CardFacts:
    """What a card says."""

    manifest: Mapping[str, Any]
    """run.json."""
    data: Mapping[str, Any]
    """data.json."""
    recipe: Recipe
    measured: Sequence[MeasuredRows]
    best: str
    """The score that selected the checkpoint."""
    purpose: str
    """What the model does, as the rest of a sentence."""
    pipeline_tag: str | None
    use: str
    """The command that uses the model, with FOLDER for its name."""
    library: str
    """The library that opens the folder, by its name on the hub: transformers, peft, or llmkit for its own models."""
    base: str | None = None
    """For an adapter, the model that it needs."""
    architecture: str | None = None
    """Its class in transformers."""
    window: int | None = None
    """Tokens that it reads."""


def model_card(facts: CardFacts, *, name: str = "FOLDER") -> str:
    """README.md of the model folder, with the metadata block that the hub reads.

    Args:
        name: the model's name in commands; on the hub, its id.
    """
    metadata = _metadata(facts, name=facts_name(facts)).to_yaml()
    sections = [
        f"# {facts_name(facts)}",
        facts.recipe.card.description or "",
        f"A model that {facts.purpose}.",
        *_training(facts),
        "## Limits",
        "\n".join(f"- {limit}" for limit in _limits(facts)),
        *(section for measured in facts.measured for section in _scores(measured)),
        "## Use",
        f"```\n{facts.use.replace('FOLDER', name)}\n```",
        _libraries(facts, name=name),
        "## Recipe",
        f"```yaml\n{dump_recipe(without_folders(facts.recipe)).rstrip()}\n```",
    ]
    return f"---\n{metadata}\n---\n" + "\n\n".join(section for section in sections if section) + "\n"


def facts_name(facts: CardFacts) -> str:
    return f"{facts.manifest['task']} from {PurePath(str(facts.manifest['model'])).name}"


def eval_results(facts: CardFacts) -> str | None:
    """The file in `.eval_results/` for rows that are a whole split of a hub data set; None if there are none."""
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml
    from huggingface_hub.utils import yaml_dump  # type: ignore[attr-defined]

    entries = []
    for measured in facts.measured:
        source = _hub_source(getattr(facts.recipe.data, measured.split, None))
        value = measured.scores.get(facts.best)
        if source is not None and _is_finite(value):
            notes = f"{facts.best} of the {measured.split} rows, measured by llmkit"
            task = source["config"] or "default"
            entries.append(EvalResultEntry(dataset_id=source["name"], task_id=task, value=value, notes=notes))
    return yaml_dump(eval_result_entries_to_yaml(entries)) if entries else None


def without_folders(recipe: Recipe) -> Recipe:
    """The recipe with the last part of each absolute path alone: a card is for people with other folders."""
    data = {key: _shortened(getattr(recipe.data, key)) for key in ("train", "validation", "test")}
    model: Any = recipe.model
    if isinstance(model, ScratchModel):
        model = model.model_copy(update={"tokenizer": _shortened(model.tokenizer)})
    changes = {"data": recipe.data.model_copy(update=data), "model": _shortened(model)}
    return recipe.model_copy(update=changes)


def _shortened(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_shortened, value))
    if isinstance(value, str) and (PurePath(value).is_absolute() or value.startswith("~")):
        return PurePath(value).name
    return value


def _metadata(facts: CardFacts, *, name: str) -> Any:
    """huggingface_hub's `ModelCardData`."""
    from huggingface_hub import ModelCardData

    recipe, manifest = facts.recipe, facts.manifest
    languages = recipe.card.languages or ([recipe.written_language] if recipe.written_language else None)
    base = manifest["model"] if manifest.get("model_revision") else None
    sources = [match["name"] for source in recipe.data.train if (match := _HUB.fullmatch(source))]
    results = list(_index(facts))
    return ModelCardData(
        license=recipe.card.license,
        language=list(languages) if languages else None,
        library_name=facts.library,
        pipeline_tag=facts.pipeline_tag,
        base_model=base,
        datasets=sources or None,
        tags=["llmkit", manifest["task"]],
        model_name=name if results else None,
        eval_results=results or None,
    )


def _index(facts: CardFacts) -> Iterator[Any]:
    """The entries of `model-index`: finite scores, with their intervals."""
    from huggingface_hub import EvalResult

    for measured in facts.measured:
        given = getattr(facts.recipe.data, measured.split, None)
        sources = given if isinstance(given, tuple) else facts.recipe.data.train  # a share of the training rows
        source = _hub_source(sources)
        names = ", ".join(str(_shortened(table)) for table in sources)
        for score, value in measured.scores.items():
            if _is_finite(value) and not score.startswith("majority_"):
                interval = measured.intervals.get(score)
                yield EvalResult(
                    task_type=facts.pipeline_tag or facts.manifest["task"],
                    dataset_type=source["name"] if source else "custom",
                    dataset_name=source["name"] if source else names,
                    dataset_split=measured.split,
                    metric_type=score,
                    metric_value=value,
                    metric_name=score,
                    metric_args={"interval_95": list(interval)} if interval else None,
                )


def _hub_source(sources: Any) -> Mapping[str, Any] | None:
    """The parts of the only source, if it is a data set of the hub."""
    match = _HUB.fullmatch(sources[0]) if isinstance(sources, tuple) and len(sources) == 1 else None
    return match.groupdict() if match else None


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _training(facts: CardFacts) -> Iterator[str]:
    manifest = facts.manifest
    yield "## Training"
    yield (
        f"{manifest['parameters']:,} parameters, trained by llmkit {manifest['llmkit']} with seed {manifest['seed']},\n"
        f"in {manifest['precision']['format']} on {manifest['device']}.{_standardisation(facts.data.get('targets'))}"
    )
    tables = [
        f"- {split}: {_counted(table)}{_share(facts, split)}"
        for split, sources in facts.data.get("sources", {}).items()
        for table in sources
    ]
    yield "Data:\n\n" + "\n".join(tables) if tables else ""


def _counted(table: Mapping[str, Any]) -> str:
    """A table's name without its folder, and its usable rows."""
    name, rows = _shortened(str(table.get("name", "?"))), table.get("rows")
    return f"`{_code(name)}`" + (f", {rows:,} rows" if isinstance(rows, int) else "")


def _share(facts: CardFacts, split: str) -> str:
    """Which share of a table is a split, where several splits have it."""
    given = getattr(facts.recipe.data, split, None)
    return f", of which {given} by a hash of the text" if isinstance(given, str) else ""


def _limits(facts: CardFacts) -> Iterator[str]:
    recipe = facts.recipe
    if facts.window is not None:
        overflow = getattr(recipe, "overflow_in_use", None) or getattr(recipe, "overflow", None)
        by = f"; training used `overflow: {overflow}` for longer ones" if overflow else ""
        yield f"It reads {facts.window:,} tokens at once{by}."
    languages = recipe.card.languages
    if languages:
        yield f"It saw texts in these languages: {', '.join(languages)}. Others are likely to work badly."
    else:
        yield "The languages of its training texts were not stated. Expect it to work only on texts like those."
    labels = facts.data.get("labels")
    if labels:
        shown = ", ".join(f"`{_code(label)}`" for label in labels[:_NAMES_SHOWN])
        more = f" and {len(labels) - _NAMES_SHOWN:,} more" if len(labels) > _NAMES_SHOWN else ""
        yield f"It knows {len(labels):,} labels and no others: {shown}{more}."
    if getattr(recipe, "calibrate", None):
        yield "Its probabilities are calibrated in llmkit; other programs get those before calibration."
    yield "Its scores are those of rows like its training rows; on other texts they may be lower."
    if any(measured.split == "validation" for measured in facts.measured):
        yield "The validation rows chose the checkpoint, so their scores are slightly too good."


def _scores(measured: MeasuredRows) -> Iterator[str]:
    count = f" ({measured.rows:,})" if measured.rows else ""
    yield f"## Scores on the {measured.split} rows{count}"
    has_intervals = any(measured.intervals.get(name) for name in measured.scores)
    lines = (
        ["| metric | score | 95 % interval |", "|---|---|---|"]
        if has_intervals
        else ["| metric | score |", "|---|---|"]
    )
    for name, value in measured.scores.items():
        line = f"| {name} | {'not finite' if value is None or not _is_finite(value) else f'{value:.4f}'} |"
        interval = measured.intervals.get(name)
        ends = f" {interval[0]:.4f} to {interval[1]:.4f} |" if interval else " |"
        lines.append(line + (ends if has_intervals else ""))
    yield "\n".join(lines)


def _code(text: str) -> str:
    """A name inside Markdown's code marks, on one line."""
    return " ".join(str(text).replace("`", "'").replace("|", "\\|").split())


def _libraries(facts: CardFacts, *, name: str) -> str:
    """The libraries that open the folder."""
    if facts.library == "llmkit":
        return "Its files are those of a Hugging Face folder, but transformers has no such model: only llmkit opens it."
    if facts.base is not None:
        return f"It is an adapter of {facts.base}: peft opens it too."
    text = "It is a plain Hugging Face folder: transformers opens it too."
    if facts.architecture is None:
        return text
    code = "\n".join(
        [
            f"from transformers import AutoTokenizer, {facts.architecture}",
            "",
            f'tokenizer = AutoTokenizer.from_pretrained("{name}")',
            f'model = {facts.architecture}.from_pretrained("{name}")',
        ]
    )
    return f"{text}\n\n```python\n{code}\n```"


def _standardisation(targets: Mapping[str, Any] | None) -> str:
    """A paragraph about the scale of a regression's targets; empty for other tasks."""
    if targets is None:
        return ""
    return f"""

It was trained on standardised numbers ({targets["mean"]:.6g} subtracted, divided by
{targets["standard_deviation"]:.6g}, from {targets["rows"]:,} training rows); its output is in the unit of the rows."""

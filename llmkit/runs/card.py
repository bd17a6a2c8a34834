"""The model card of a finished model: its base, its scores, and how to use it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def model_card(
    manifest: Mapping[str, Any],
    *,
    recipe: str,
    scores: Mapping[str, float | None],
    use: str,
    library: str,
    base: str | None = None,
) -> str:
    """README.md of the model folder, with the metadata block that the hub reads.

    Args:
        use: the command that uses the model.
        base: for an adapter, the model that it needs.
        library: the library that opens the folder, by its name on the hub: transformers, or llmkit for its own models.
    """
    rows = "\n".join(
        f"| {name} | {'not finite' if value is None else f'{value:.4f}'} |" for name, value in scores.items()
    )
    return f"""---
library_name: {library}
tags: [llmkit, {manifest["task"]}]
---
# {manifest["task"]} from {manifest["model"]}

{manifest["parameters"]:,} parameters, trained by llmkit {manifest["llmkit"]} with seed {manifest["seed"]},
in {manifest["precision"]["format"]} on {manifest["device"]}.{_standardisation(manifest.get("targets"))}

## Scores on the validation rows

| metric | score |
|---|---|
{rows}

## Use

```
{use}
```

{_libraries(library, base)}

## Recipe

```yaml
{recipe.rstrip()}
```
"""


def _libraries(library: str, base: str | None) -> str:
    """The libraries that open the folder."""
    if library == "llmkit":
        return "Its files are those of a Hugging Face folder, but transformers has no such model: only llmkit opens it."
    if base is None:
        return "It is a plain Hugging Face folder: transformers opens it too."
    return f"It is an adapter of {base}: peft opens it too."


def _standardisation(targets: Mapping[str, Any] | None) -> str:
    """A paragraph about the scale of a regression's targets; empty for other tasks."""
    if targets is None:
        return ""
    return f"""

It was trained on standardised numbers ({targets["mean"]:.6g} subtracted, divided by
{targets["standard_deviation"]:.6g}, from {targets["rows"]:,} training rows); its output is in the unit of the rows."""

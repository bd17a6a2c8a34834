"""The card of a finished model: what it is, from what, how good, and how to use it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def model_card(
    manifest: Mapping[str, Any], *, recipe: str, figures: Mapping[str, float | None], use: str, base: str | None = None
) -> str:
    """README.md of the model folder, with the metadata block that the hub reads.

    Args:
        use: the command that uses the model.
        base: of an adapter, the model that it needs.
    """
    kind = "a plain Hugging Face folder: transformers" if base is None else f"an adapter of {base}: peft"
    rows = "\n".join(
        f"| {name} | {'not finite' if value is None else f'{value:.4f}'} |" for name, value in figures.items()
    )
    return f"""---
library_name: {"transformers" if base is None else "peft"}
tags: [llmkit, {manifest["task"]}]
---
# {manifest["task"]} from {manifest["model"]}

{manifest["parameters"]:,} parameters, trained by llmkit {manifest["llmkit"]} with seed {manifest["seed"]},
in {manifest["precision"]["format"]} on {manifest["device"]}.

## Figures on the validation rows

| figure | value |
|---|---|
{rows}

## Use

```
{use}
```

It is {kind} opens it too.

## Recipe

```yaml
{recipe.rstrip()}
```
"""

"""What the user says in a row of instructions. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping


def user_text(fields: Mapping[str, str]) -> str:
    """What the user says in a row with a `prompt` and perhaps an `input`."""
    return "\n\n".join([fields["prompt"], *([fields["input"]] if fields.get("input", "").strip() else [])])

"""The block of a recipe for the model card."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from llmkit.recipe.blocks import Block, DistinctNames
from llmkit.recipe.languages import language_code


def _language_codes(languages: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(language_code, languages))


class CardBlock(Block):
    """What only you know about the model, for its card. Nothing here changes the training."""

    license: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.+-]*$")] | None = None
    """The model's license as the hub writes it, such as `apache-2.0` or `mit`."""
    languages: Annotated[DistinctNames, AfterValidator(_language_codes)] | None = None
    """Codes or English names of the languages of the training texts, such as `en`."""
    description: Annotated[str, Field(min_length=1)] | None = None
    """What the model is for, in your words; Markdown."""

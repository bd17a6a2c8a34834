"""The recipe of a tagger: one tag for each word of a text."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from llmkit.data.labels import LabelCount, in_order
from llmkit.errors import DataError
from llmkit.models.families import Head, families_with
from llmkit.recipe.blocks import ColumnType, DistinctNames
from llmkit.tasks.base import TaskRecipe
from llmkit.tasks.class_weights import ClassWeights
from llmkit.tasks.draft import TaskDraft
from llmkit.tasks.token_classification.draft import TokenClassificationDraft
from llmkit.tasks.token_classification.notations import CANONICAL, OUTSIDE, UNTYPED, notation_of, refuse_unclear
from llmkit.tasks.token_classification.row_checks import check_tags
from llmkit.tasks.token_classification.rows import has_words, tags_of_words
from llmkit.tasks.token_classification.saved import SavedTokenClassification
from llmkit.tasks.token_classification.tags import ENDING, bio_labels, has_prefixes, split_tag

if TYPE_CHECKING:
    from collections.abc import Iterable

    from llmkit.data.rows import Row
    from llmkit.models.loaded import LoadedModel

logger = logging.getLogger("llmkit")


class TokenClassificationRecipe(TaskRecipe):
    HEAD: ClassVar[Head] = "token-classification"
    VERB: ClassVar[str] = "tag"
    USE: ClassVar[str] = 'llmkit tag "a text" --model {model}'
    PURPOSE: ClassVar[str] = "tags the words of a text, such as the names in it"
    PIPELINE_TAG: ClassVar[str] = "token-classification"
    COLUMN_TYPES: ClassVar[Mapping[str, ColumnType]] = {
        "words": "words",
        "tags": "labels",
        "text": "text",
        "spans": "spans",
        "sentence": "any",
    }
    OPTIONAL_FIELDS: ClassVar[Mapping[str, bool]] = {"sentence": True}
    FIELD_GROUPS: ClassVar[tuple[tuple[str, ...], ...]] = (("words", "tags"), ("text", "spans"))
    READ_FIELDS: ClassVar[tuple[str, ...]] = ("words", "text")
    TARGET_FIELDS: ClassVar[tuple[str, ...]] = ("tags", "spans")
    FAMILIES: ClassVar[tuple[str, ...]] = families_with("token-classification")
    METRICS: ClassVar[tuple[str, ...]] = ("entities",)
    BEST: ClassVar[str] = "entity_f1"
    BASELINES: ClassVar[tuple[str, ...]] = ("most-frequent-tag",)
    DRAFT: ClassVar[TaskDraft] = TokenClassificationDraft()

    task: Literal["token-classification"]
    labels: Annotated[DistinctNames, Field(examples=[("O", "B-PER", "I-PER")])] | None = None
    """The tags in the order of the model's outputs; without it, those of all rows of `data.train`, in order, `O` first."""
    scheme: Literal["auto", "bio", "plain"] = "auto"
    """What the tags are: entities with prefixes, which become BIO, or plain tags; `auto` goes by the prefixes, and
    refuses tags that could be either."""
    class_weights: ClassWeights | None = None
    """Weight of a word in the loss, by its tag: `auto` gives rare tags more, N / (C x count)."""
    max_tokens: Annotated[int, Field(ge=4)] | None = None
    """The longest sequence, special tokens included; without it, the model's window."""
    overflow: Literal["error", "truncate", "drop", "window"] = "window"
    """What happens to longer texts, always with counts. Windows lose no tag, so they are the default."""
    window_overlap: Annotated[int, Field(ge=0)] | None = None
    """Tokens that neighbouring windows share; without it, a quarter of the window."""

    @property
    def overflow_in_use(self) -> str | None:
        return "window" if self.overflow == "drop" else None

    @property
    def window_tokens(self) -> int | None:
        return self.max_tokens

    @property
    def default_metrics(self) -> tuple[str, ...]:
        return ("tag_accuracy",) if self.scheme == "plain" else self.METRICS

    @property
    def default_best(self) -> str:
        metrics = self.evaluation.metrics or self.default_metrics
        return self.BEST if "entities" in metrics else "tag_accuracy"

    @model_validator(mode="after")
    def _windows_and_schemes_fit(self) -> TokenClassificationRecipe:
        if self.window_overlap is not None and self.overflow != "window":
            raise ValueError(f"window_overlap: belongs to overflow: window, and overflow is {self.overflow}")
        if self.labels is None or self.scheme == "plain":
            return self
        notation = notation_of(self.labels)
        if notation is not None and notation != CANONICAL:
            example = f"B-{UNTYPED}" if not notation.separator else "B-PER"
            raise ValueError(f"labels: they are {notation.described}; rows become BIO, so write them as {example}")
        if not has_prefixes(self.labels):
            if self.scheme == "bio":
                raise ValueError("labels: scheme: bio takes O, and tags with a prefix such as B-; else scheme: plain")
            return self
        if OUTSIDE not in self.labels:
            raise ValueError(f"labels: tags of entities need {OUTSIDE!r} for the words outside")
        other = next((label for label in self.labels if split_tag(label)[0] in ENDING), None)
        if other is not None:
            raise ValueError(f"labels: {other!r} is not BIO; rows become BIO, so name B-TYPE and I-TYPE")
        return self

    def class_names(self, rows: Iterable[Row]) -> tuple[str, ...]:
        """The recipe's labels, or those of the rows, in order, `O` first; of entities, `B-` and `I-` of each.

        Raises:
            DataError: there are fewer than two, or they do not fit the recipe's scheme.
        """
        if self.labels:
            return self.labels
        tags: set[str] = set()
        types: set[str] = set()
        count = LabelCount()
        for row in rows:
            if has_words(row):
                row_tags = tags_of_words(row)
                tags.update(row_tags)
                count.add((split_tag(tag)[1] or tag for tag in row_tags), place=row.place)
            else:
                row_types = [span["label"] for span in row.fields["spans"]]
                types.update(row_types)
                count.add(row_types, place=row.place)
        count.warn_of_alike(what="tags")
        if self.scheme != "plain" and (found := _entity_types(tags, strict=self.scheme == "bio")) is not None:
            types |= found
            if types:
                return bio_labels(types)
        tags |= {f"B-{label}" for label in types}
        _warn_of_mixture(tags)
        if len(tags) < 2:
            listed = ", ".join(tags) or "none"
            raise DataError(f"token-classification needs two tags or more; the training rows have {listed}.")
        return (*(tags & {OUTSIDE}), *in_order(tags - {OUTSIDE}))

    def check_row(self, row: Row, labels: Sequence[str] | None) -> None:
        check_tags(row, scheme=self.scheme, labels=self.labels or labels, numbered=self.labels or ())

    @classmethod
    def keys_of_model(cls, loaded: LoadedModel) -> dict[str, Any]:
        keys = SavedTokenClassification.load(loaded).model_dump(exclude_none=True, exclude={"splitting"})
        if keys.get("overflow", "window") != "window":
            keys.pop("window_overlap", None)
        return keys


def _entity_types(tags: Collection[str], *, strict: bool) -> set[str] | None:
    """The types of entities that the tags of words name, none where all words are outside; None for plain tags.

    Args:
        strict: they must be tags of entities.
    Raises:
        DataError: they are not, or it is unclear.
    """
    inside = set(tags) - {OUTSIDE}
    if not inside:
        return set()
    notation = notation_of(tags)
    if notation is None and strict:
        odd = sorted(tag for tag in inside if not has_prefixes([tag]))
        raise DataError(f"scheme: bio, but the tag {odd[0]!r} has no prefix such as B-. Take scheme: plain.")
    if notation is None:
        refuse_unclear(tags)
        return None
    if notation != CANONICAL:
        example = f"B-{UNTYPED} and I-{UNTYPED}" if not notation.separator else "B-PER"
        logger.info("tags: %s, read as %s", notation.described, example)
    read = (notation.canonical(tag) for tag in inside)
    return {split_tag(tag)[1] for tag in read if tag not in (None, OUTSIDE)}


def _warn_of_mixture(tags: Collection[str]) -> None:
    """Tags of which only some have a prefix are taken as plain tags, which is rarely intended."""
    prefixed = sorted(tag for tag in tags if split_tag(tag)[0] in "BI")
    bare = sorted(tag for tag in tags if split_tag(tag)[0] == OUTSIDE and tag != OUTSIDE)
    if prefixed and bare:
        logger.warning("tags: %r has a prefix and %r has none; all are taken as plain tags", prefixed[0], bare[0])

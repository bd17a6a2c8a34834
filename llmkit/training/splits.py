"""The rows of a recipe's splits: their sources, their shares, and the removal of duplicates."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

from llmkit.data.bad_rows import OnBadRow
from llmkit.data.column_types import texts_for_split
from llmkit.data.fields import Fields
from llmkit.data.rows import Row, RowSource
from llmkit.data.sources import open_rows
from llmkit.data.splits import split_of
from llmkit.recipe.blocks import DataBlock, Quoting, parse_share
from llmkit.recipe.recipe import Recipe
from llmkit.tasks.base import TaskRecipe

logger = logging.getLogger("llmkit")
Split = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class SplitRows:
    """The rows of one split, read anew at each iteration."""

    source: RowSource
    split: Split
    validation: float = 0.0
    """Shares that other splits take out of the same source."""
    test: float = 0.0
    deduplicate: bool = False
    read_fields: tuple[str, ...] = ("text",)
    """Columns of the input; the first one that a row has decides its split."""
    options: str = ""
    """Other options that select rows of the source, such as its columns."""
    _logged: set[str] = field(default_factory=set, repr=False, compare=False)
    """Messages that were logged: the rows are read several times, but duplicates are reported once."""

    def __iter__(self) -> Iterator[Row]:
        rows = iter(self.source) if not self.validation and not self.test else self._of_the_split()
        return _without_duplicates(rows, split=self.split, logged=self._logged) if self.deduplicate else rows

    def whole(self) -> SplitRows:
        """All rows of the source, those of the other splits and duplicates included."""
        return replace(self, validation=0.0, test=0.0, deduplicate=False)

    def without_bad_rows(self) -> SplitRows:
        """The same rows, without bad ones, and without a word in the log."""
        return replace(self, source=self.source.without_bad_rows())

    def count_texts(self) -> tuple[int, int]:
        """Rows of the source, and the different texts that they have."""
        texts = [hash(_read(row, self.read_fields)) for row in self.source]
        return len(texts), len(set(texts))

    def identity(self) -> str:
        """Hash of the files' contents and of every option that selects rows."""
        return json.dumps(
            [self.source.content, self.options, self.split, self.validation, self.test, self.deduplicate],
            sort_keys=True,
        )

    def _of_the_split(self) -> Iterator[Row]:
        for row in self.source:
            if split_of(_read(row, self.read_fields), validation=self.validation, test=self.test) == self.split:
                yield row


def _without_duplicates(rows: Iterable[Row], *, split: Split, logged: set[str]) -> Iterator[Row]:
    """The rows without duplicates, which are counted at the end."""
    seen: set[bytes] = set()
    count = 0
    for count, row in enumerate(rows, 1):  # noqa: B007  # read after the loop
        content = json.dumps(row.fields, sort_keys=True, ensure_ascii=False)
        digest = hashlib.blake2b(content.encode(), digest_size=16).digest()
        if digest not in seen:
            seen.add(digest)
            yield row
    message = f"{split}: {count - len(seen):,} of {count:,} rows removed as duplicates"
    if count > len(seen) and message not in logged:
        logged.add(message)
        logger.info(message)


def _read(row: Row, fields: Sequence[str]) -> str:
    """The model's input in a row, as one text: rows with the same text belong to the same split."""
    return "\0".join(texts_for_split(next(row.fields[field] for field in fields if field in row.fields)))


def open_splits(recipe: TaskRecipe) -> dict[Split, SplitRows]:
    """The splits that the recipe defines. Shares are split by a hash of the text, so no text is in two splits.

    Raises:
        DataError: a source is missing or lacks a column.
    """
    data = recipe.data
    shares: dict[str, Any] = {name: _share(getattr(data, name)) for name in ("validation", "test")}
    same: dict[str, Any] = {
        "deduplicate": data.deduplicate,
        "read_fields": recipe.READ_FIELDS,
        "options": reading_options(recipe),
    }
    train = _open(recipe, data.train, split="train", max_rows=data.max_rows)
    splits: dict[Split, SplitRows] = {"train": SplitRows(train, "train", **shares, **same)}
    for name, setting in (("validation", data.validation), ("test", data.test)):
        split: Split = name  # type: ignore[assignment]  # the two literals above
        if isinstance(setting, tuple):
            splits[split] = SplitRows(_open(recipe, setting, split=split, max_rows=None), split, **same)
        elif setting is not None:
            splits[split] = SplitRows(train, split, **shares, **same)
    return splits


def reading_as(
    recipe: Recipe,
    *,
    columns: Mapping[str, str | tuple[str, ...]],
    quoting: Quoting | None,
    skip_bad_rows: bool | None = None,
) -> DataBlock:
    """The recipe's `data` with some columns mapped by the user; the other columns keep their mapping.

    If the columns belong to another row format, such as `messages` instead of `prompt` and `response`, the
    recipe's mapping is ignored.
    """
    groups = recipe.FIELD_GROUPS
    chosen = {field for group in groups if not columns.keys().isdisjoint(group) for field in group}
    other_fields = {field for group in groups for field in group} - chosen if chosen else set()
    mapped = recipe.data.columns if other_fields.isdisjoint(recipe.data.columns) else {}
    skip = recipe.data.skip_bad_rows if skip_bad_rows is None else skip_bad_rows
    return recipe.data.model_copy(
        update={
            "columns": {**mapped, **columns},
            "quoting": quoting or recipe.data.quoting,
            "skip_bad_rows": skip,
        }
    )


def reading_options(recipe: Recipe, *, reading: DataBlock | None = None) -> str:
    """For `SplitRows.options`.

    Args:
        reading: used instead of the recipe's `data`.
    """
    data = reading or recipe.data
    label_sets = recipe.label_sets()
    options = [
        dict(recipe.column_types),
        data.columns,
        data.max_rows,
        getattr(recipe, "text_files", None),
        data.quoting,
        data.offsets,
        *([] if label_sets is None else [label_sets.names, label_sets.separator]),
    ]
    if data.skip_bad_rows:  # other keys of the task decide which rows are bad
        options.append(recipe.model_dump(mode="json", exclude={"model", "train", "evaluation", "data"}))
    return json.dumps(options, sort_keys=True)


def _share(setting: str | tuple[str, ...] | None) -> float:
    return (parse_share(setting) or 0.0) if isinstance(setting, str) else 0.0


def _open(recipe: TaskRecipe, sources: tuple[str, ...], *, split: Split, max_rows: int | None) -> RowSource:
    return open_rows(
        sources,
        Fields(
            column_types=recipe.column_types,
            optional=recipe.OPTIONAL_FIELDS,
            groups=recipe.FIELD_GROUPS,
            aliases=recipe.COLUMN_ALIASES,
            columns=recipe.data.columns,
            label_sets=recipe.label_sets(),
        ),
        max_rows=max_rows,
        split=split,
        text_files=getattr(recipe, "text_files", "line"),
        quoting=recipe.data.quoting,
        offsets=recipe.data.offsets,
        check=partial(recipe.check_row, labels=None),
        on_bad_row=on_bad_row(recipe.data),
        advice="data.skip_bad_rows: true",
    )


def on_bad_row(data: DataBlock) -> OnBadRow:
    return "skip" if data.skip_bad_rows else "list"


def warn_of_shared_texts(splits: dict[Split, SplitRows]) -> None:
    """Warn about held-out texts that are also in the training rows, if the splits are separate files."""
    separate = [name for name, rows in splits.items() if name != "train" and rows.source is not splits["train"].source]
    if not separate:
        return
    fields = splits["train"].read_fields
    trained = {hash(_read(row, fields)) for row in splits["train"]}
    for name in separate:
        texts = [_read(row, fields) for row in splits[name]]
        shared = sum(hash(text) in trained for text in texts)
        if shared:
            logger.warning("%s: %s of %s texts are also in the training rows", name, f"{shared:,}", f"{len(texts):,}")

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
from llmkit.data.clusters import NO_CLUSTERS, Clusters
from llmkit.data.column_types import texts_for_split
from llmkit.data.conll import DOCUMENT
from llmkit.data.fields import Fields
from llmkit.data.rows import Row, RowSource
from llmkit.data.sources import open_rows
from llmkit.data.splits import split_of
from llmkit.recipe.blocks import DataBlock, Quoting, parse_share
from llmkit.recipe.recipe import Recipe
from llmkit.runs.folder import Run
from llmkit.runs.saved_json import DataManifest, read_checked
from llmkit.tasks.base import TaskRecipe
from llmkit.training.cluster_shares import ClusterShares

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
    cluster_shares: ClusterShares | None = None
    """What decides the split of a row instead of its text, if the data name clusters."""
    _logged: set[str] = field(default_factory=set, repr=False, compare=False)
    """Messages that were logged: the rows are read several times, but duplicates are reported once."""

    def __iter__(self) -> Iterator[Row]:
        rows = iter(self.source) if not self.validation and not self.test else self._of_the_split()
        return _without_duplicates(rows, split=self.split, logged=self._logged) if self.deduplicate else rows

    def whole(self) -> SplitRows:
        """All rows of the source, those of the other splits and duplicates included."""
        return replace(self, validation=0.0, test=0.0, deduplicate=False, cluster_shares=None)

    def without_bad_rows(self) -> SplitRows:
        """The same rows, without bad ones, and without a word in the log."""
        return replace(self, source=self.source.without_bad_rows())

    def count_texts(self) -> tuple[int, int]:
        """Rows of the source, and the different texts that they have."""
        texts = [hash(_read(row, self.read_fields)) for row in self.source]
        return len(texts), len(set(texts))

    def identity(self) -> str:
        """Hash of the files' contents and of every option that selects rows."""
        clusters = [] if self.cluster_shares is None else ["by cluster"]
        return json.dumps(
            [self.source.content, self.options, self.split, self.validation, self.test, self.deduplicate, *clusters],
            sort_keys=True,
        )

    def _of_the_split(self) -> Iterator[Row]:
        return (row for row in self.source if self._split_of(row) == self.split)

    def _split_of(self, row: Row) -> Split:
        if self.cluster_shares is not None:
            return self.cluster_shares.split_of(row)
        return split_of(_read(row, self.read_fields), validation=self.validation, test=self.test)


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


def open_splits(recipe: TaskRecipe, *, run: Run | None = None) -> dict[Split, SplitRows]:
    """The splits that the recipe defines. Shares are split by a hash of the text, so no text is in two splits; or by
    clusters, if the data name them, so no cluster is.

    Args:
        run: the run of the recipe, whose splits they are. Older runs split the documents of CoNLL files.
    Raises:
        DataError: a source is missing or lacks a column.
        RunError: data.json of the run is missing or damaged.
    """
    data = recipe.data
    shares: dict[str, Any] = {name: _share(getattr(data, name)) for name in ("validation", "test")}
    same: dict[str, Any] = {
        "deduplicate": data.deduplicate,
        "read_fields": recipe.READ_FIELDS,
        "options": reading_options(recipe),
    }
    clusters = clusters_of(recipe)
    if run is not None and any(shares.values()):
        clusters = replace(clusters, documents=clusters.documents and splits_documents_whole(run))
    train = _open(recipe, data.train, clusters, split="train", max_rows=data.max_rows)
    if train.clusters.has_names and any(shares.values()):
        shares["cluster_shares"] = ClusterShares(train, **shares)
    splits: dict[Split, SplitRows] = {"train": SplitRows(train, "train", **shares, **same)}
    for name, setting in (("validation", data.validation), ("test", data.test)):
        split: Split = name  # type: ignore[assignment]  # the two literals above
        if isinstance(setting, tuple):
            splits[split] = SplitRows(_open(recipe, setting, clusters, split=split, max_rows=None), split, **same)
        elif setting is not None:
            splits[split] = SplitRows(train, split, **shares, **same)
    return splits


def clusters_of(recipe: Recipe, *, is_required: bool = True) -> Clusters:
    """What tells which of the recipe's rows are not independent; see `Clusters`."""
    if recipe.data.cluster == NO_CLUSTERS:
        return Clusters(documents=False)
    return Clusters(recipe.data.cluster, recipe.CLUSTER_FIELD, is_required=is_required)


def splits_documents_whole(run: Run) -> bool:
    """Whether a run took the documents of CoNLL files for clusters.

    Raises:
        RunError: its data.json is missing or damaged.
    """
    return read_checked(run.folder / "data.json", DataManifest).get("clusters") == DOCUMENT


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
        *([] if data.cluster is None else [{"cluster": data.cluster}]),
    ]
    if data.skip_bad_rows:  # other keys of the task decide which rows are bad
        options.append(recipe.model_dump(mode="json", exclude={"model", "train", "evaluation", "data", "tracking"}))
    return json.dumps(options, sort_keys=True)


def _share(setting: str | tuple[str, ...] | None) -> float:
    return (parse_share(setting) or 0.0) if isinstance(setting, str) else 0.0


def _open(
    recipe: TaskRecipe, sources: tuple[str, ...], clusters: Clusters, *, split: Split, max_rows: int | None
) -> RowSource:
    return open_rows(
        sources,
        Fields(
            column_types=recipe.column_types,
            optional=recipe.OPTIONAL_FIELDS,
            groups=recipe.FIELD_GROUPS,
            aliases=recipe.COLUMN_ALIASES,
            columns=recipe.data.columns,
            label_sets=recipe.label_sets(),
            clusters=clusters,
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
    """Warn about held-out texts, and clusters with names, that are also in the training rows, unless a hash of the text
    makes the splits."""
    train = splits["train"]
    separate = [
        name
        for name, rows in splits.items()
        if name != "train" and (rows.source is not train.source or rows.cluster_shares is not None)
    ]
    if not separate:
        return
    fields = train.read_fields
    has_names = train.source.clusters.has_names
    trained: set[int] = set()
    clusters: set[str] = set()
    for row in train:
        trained.add(hash(_read(row, fields)))
        if has_names and row.cluster is not None:
            clusters.add(row.cluster)
    for name in separate:
        held_out = [(hash(_read(row, fields)), row.cluster) for row in splits[name]]
        shared = sum(text in trained for text, _ in held_out)
        if shared:
            logger.warning(
                "%s: %s of %s texts are also in the training rows", name, f"{shared:,}", f"{len(held_out):,}"
            )
        in_both = sum(cluster in clusters for _, cluster in held_out)
        if in_both:
            logger.warning(
                "%s: %s of %s rows belong to clusters that are also in the training rows: their scores are too optimistic",
                *(name, f"{in_both:,}", f"{len(held_out):,}"),
            )

"""Sources as a recipe names them: files, globs, folders, `hub:` and `builtin:`. Turns them into one `RowSource`."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path

from llmkit.data.bad_rows import OnBadRow
from llmkit.data.clusters import Clusters
from llmkit.data.conll import DOCUMENT
from llmkit.data.fields import Fields
from llmkit.data.hub_names import parse_hub_source
from llmkit.data.readers import FORMATS, BadRecord, InputUnit, format_of
from llmkit.data.rows import Check, RowSource, no_check
from llmkit.data.tables import BUILTINS, BuiltinTable, FileTable, Table
from llmkit.data.word_rows import SENTENCE, with_sentences
from llmkit.errors import DataError, MachineError, nearest
from llmkit.recipe.blocks import ColumnType, OffsetUnit, Quoting

_KNOWN = ", ".join(FORMATS)
_IN_FOLDERS = tuple(extension for extension, file_format in FORMATS.items() if file_format != "json")
"""Without .json: in a data folder it usually contains metadata."""


def open_rows(
    sources: Sequence[str],
    fields: Fields,
    *,
    max_rows: int | None = None,
    split: str | None = None,
    text_files: InputUnit = "line",
    quoting: Quoting = "auto",
    offsets: OffsetUnit = "auto",
    keep_empty: bool = False,
    check: Check = no_check,
    on_bad_row: OnBadRow = "raise",
    advice: str = "",
) -> RowSource:
    """Check all sources and the columns of every table; rows are read when the result is iterated.

    Args:
        sources: files, globs, folders (their files of a known type, sorted, without hidden files and subfolders),
            `hub:OWNER/NAME[@REVISION][:CONFIG][#SPLIT]` or `builtin:NAME`. Paths are relative to the current
            directory.
        max_rows: stop after this number of usable rows, over all sources.
        split: split of hub data sets whose source names no split; by default `train`.
        text_files: what a row of a .txt, .text or .md file is: a non-blank line, the text between blank lines, or the
            whole file; for inference, `every line`, blank or not, or the file as one `input`. Only for tasks whose
            single field, optional ones aside, is a text.
        quoting: the meaning of quotes in .csv and .tsv files; `auto` detects it for each .tsv file.
        offsets: what the offsets of spans count.
        keep_empty: do not skip rows with an empty text, if rows of input and output must stay aligned; a null is then
            an empty text.
        check: raises a RowError for a row that the task cannot use.
        on_bad_row: what iterating does at a bad row; see bad_rows.py.
        advice: how to leave out bad rows, for the message that lists them.
    Raises:
        DataError: a source does not exist, has an unknown type, cannot be read, or lacks a column.
        MachineError: permission to read a file is denied, or hub data is not in the cache and cannot be downloaded.
    """
    tables = _open_tables(sources, fields, split=split or "train", text_files=text_files, quoting=quoting)
    clusters, fields = fields.clusters, fields.without(SENTENCE)
    by_document = clusters is not None and _are_documents(tables, clusters)
    if clusters is not None and clusters.column is not None and not by_document:
        fields = fields.with_cluster(clusters.column, is_required=clusters.is_required)
    return RowSource(
        tables,
        fields,
        by_document=by_document,
        max_rows=max_rows,
        keep_empty=keep_empty,
        offsets=offsets,
        check=check,
        on_bad_row=on_bad_row,
        advice=advice,
    )


def column_names(source: str, *, quoting: Quoting = "auto") -> list[str]:
    """Names of the columns of the first table of a source; empty if it has neither a row nor a header.

    Raises:
        DataError, MachineError: as `open_rows`, for plain text as well.
    """
    tables = _tables(
        source, column_types={"value": "any"}, columns={}, split="train", text_files="line", quoting=quoting
    )
    return list(next(tables).columns())


def first_records(source: str, count: int, *, quoting: Quoting) -> tuple[list[str], list[Mapping[str, object]]]:
    """Names of the columns of the first table of a source, and the first records of all tables that can be read.

    Plain text has the column `text`, with the text between blank lines.

    Raises:
        DataError, MachineError: as `open_rows`.
    """
    tables = _tables(
        source,
        column_types={"text": "text"},
        columns={},
        split="train",
        text_files="document",
        quoting=quoting,
    )
    first = next(tables)
    names = list(first.columns())
    records = (
        record
        for table in chain([first], tables)
        for _, record in table.records(names)
        if not isinstance(record, BadRecord)
    )
    return names, list(islice(records, count))


def is_plain_text(source: str | Path) -> bool:
    """Whether a source is a file of lines without columns."""
    return format_of(Path(source)) == "text"


def _open_tables(
    sources: Sequence[str], fields: Fields, *, split: str, text_files: InputUnit, quoting: Quoting
) -> list[Table]:
    """The tables of all sources; in those with one word per row, sentences are rows."""
    column_types = {
        field: kind for field, kind in fields.column_types.items() if kind != "any" or field not in fields.optional
    }
    tables: list[Table] = []
    for source in sources:
        tables += _tables(
            source,
            column_types=column_types,
            columns=fields.columns,
            split=split,
            text_files=text_files,
            quoting=quoting,
        )
    _refuse_repeated(tables)
    if "words" in fields.column_types:
        one_column = {field: column for field, column in fields.columns.items() if isinstance(column, str)}
        tables = [with_sentences(table, one_column) for table in tables]
    return tables


def _tables(
    source: str,
    *,
    column_types: Mapping[str, ColumnType],
    columns: Mapping[str, str | tuple[str, ...]],
    split: str,
    text_files: InputUnit,
    quoting: Quoting,
) -> Iterator[Table]:
    if source.startswith("hub:"):
        hub_source = parse_hub_source(source, default_split=split)
        from llmkit.data.hub import HubTable  # imports datasets

        yield HubTable(hub_source)
    elif source.startswith("builtin:"):
        yield _builtin(source)
    elif "://" in source:
        raise DataError(f"{source}: is a URL. Download the file first, or name a hub data set: hub:OWNER/NAME.")
    else:
        for path in _paths(source):
            field = _single_text_field(path, column_types)
            yield FileTable(path, text_column=str(columns.get(field, field)), text_files=text_files, quoting=quoting)


def _are_documents(tables: Sequence[Table], clusters: Clusters) -> bool:
    """Whether clusters are documents that CoNLL files mark: the default if there are several."""
    if clusters.column not in (None, DOCUMENT) or not (clusters.documents or clusters.column):
        return False
    marked = [table.documents if isinstance(table, FileTable) else 0 for table in tables]
    return all(marked) and (sum(marked) > 1 or clusters.column is not None)


def _builtin(source: str) -> Table:
    name = source.removeprefix("builtin:")
    if name not in BUILTINS:
        allowed = ", ".join(f"builtin:{builtin}" for builtin in BUILTINS)
        raise DataError(f"{source}: no such built-in data set.{nearest(name, BUILTINS)} Use {allowed}.")
    return BuiltinTable(name)


def _paths(source: str) -> list[Path]:
    """The files of a local source, sorted."""
    if "\0" in source or not source.strip():
        raise DataError(f"{source!r}: is not the name of a file.")
    path = Path(source)
    if os.path.isdir(path):  # noqa: PTH112  # pathlib raises where a name is too long
        return _files_in(path)
    if not os.path.lexists(path) and glob.has_magic(source):
        matches = sorted(glob.glob(source, recursive=True))  # noqa: PTH207  # Path.glob takes no absolute pattern
        paths = [match for match in map(Path, matches) if not match.is_dir()]
        if not paths:
            raise DataError(f"{source}: matches no file in {Path.cwd()}.")
    elif not os.path.exists(path):  # noqa: PTH110  # as above
        raise _missing(path)
    else:
        paths = [path]
    for data_file in paths:
        _check_extension(data_file)
    return paths


def _files_in(folder: Path) -> list[Path]:
    try:
        names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise MachineError(f"{folder.as_posix()}: cannot be listed ({error.strerror}). Check permissions.") from error
    paths = [folder / name for name in names if format_of(Path(name)) not in (None, "json")]
    files = [path for path in paths if not path.is_dir()]
    if not files:
        fix = f"It may contain {', '.join(_IN_FOLDERS)}; for its subfolders, write a glob: {folder.as_posix()}/**/*.csv"
        raise DataError(f"{folder.as_posix()}: no data file in this folder. {fix}")
    return files


def _check_extension(path: Path) -> None:
    if format_of(path) is None:
        extension = f"the unknown extension {path.suffix!r}" if path.suffix else "no extension"
        raise DataError(f"{path.as_posix()}: has {extension}; llmkit reads {_KNOWN}. Unpack or convert it first.")


def _missing(path: Path) -> DataError:
    """Suggest the nearest file name, and give the folder that was searched."""
    if os.path.islink(path):  # noqa: PTH114  # as above
        return DataError(f"{path.as_posix()}: is a link to {str(path.readlink())!r}, which does not exist.")
    folder = path.absolute().parent
    if not folder.is_dir():
        return DataError(f"{path.as_posix()}: no such file; there is no folder {folder}.{_hub_hint(path)}")
    siblings = [sibling.name for sibling in folder.iterdir()]
    return DataError(f"{path.as_posix()}: no such file in {folder}.{nearest(path.name, siblings)}{_hub_hint(path)}")


def _hub_hint(path: Path) -> str:
    """`owner/name` without an extension may be meant for the hub."""
    looks_like_hub = len(path.parts) == 2 and format_of(path) is None and not path.is_absolute()
    return f" A data set of the hub is written hub:{path.as_posix()}" if looks_like_hub else ""


def _single_text_field(path: Path, column_types: Mapping[str, ColumnType]) -> str:
    """The field of the lines of a plain text file; for other formats it does not matter."""
    if format_of(path) == "text" and list(column_types.values()) != ["text"]:
        words = "A CoNLL file is read if its name ends in .conll. " if "words" in column_types else ""
        fix = f"{words}Use .csv, .tsv, .jsonl or .parquet."
        raise DataError(
            f"{path.as_posix()}: plain text has no columns, and this task needs {', '.join(column_types)}. {fix}"
        )
    return next(iter(column_types))


def _refuse_repeated(tables: Sequence[Table]) -> None:
    """Reject a duplicate file, whose rows would count twice."""
    seen: set[str] = set()
    for table in tables:
        if table.name in seen:
            raise DataError(f"{table.name}: occurs twice among the sources. Remove one.")
        seen.add(table.name)

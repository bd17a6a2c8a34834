"""Data sets of the Hugging Face hub, pinned to a commit. The only file of llmkit that calls `datasets.load_dataset`.

The revision is resolved to a commit first, and what `datasets` loads must have that commit: without a network,
`datasets` silently uses any version in its cache. Code in a repository is never run: datasets 5 cannot run it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import datasets
from datasets import ClassLabel, Dataset, LargeList, List
from datasets.exceptions import DatasetNotFoundError, DatasetsError
from huggingface_hub import hf_hub_download
from huggingface_hub.constants import HF_HUB_CACHE
from huggingface_hub.errors import (  # type: ignore[attr-defined]  # HTTPError: of whichever library it uses
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from llmkit.data.hub_names import HubSource
from llmkit.data.readers import Record
from llmkit.errors import DataError, MachineError

_COMMIT = re.compile(r"[0-9a-f]{40}")

logger = logging.getLogger("llmkit")


class HubTable:
    """One split of a hub data set, downloaded or from the cache when it is made; memory-mapped, never loaded whole."""

    unit: Literal["line", "row"] = "row"
    null_is_empty = True

    def __init__(self, source: HubSource) -> None:
        """Raises:
        DataError: no such data set, revision, configuration or split, or it needs a login.
        MachineError: it is not cached, and the hub cannot be reached.
        """
        self.name = f"hub:{source.name}" + (f":{source.config}" if source.config else "") + f"#{source.split}"
        self._source = source
        self._commit = resolve_commit(source)
        self._dataset = load_split(source, self._commit)

    def columns(self) -> Sequence[str]:
        return list(self._dataset.column_names)

    def records(self, columns: Sequence[str]) -> Iterator[Record]:
        """Rows from index 0. Class numbers, also in lists, are converted to class names; None if there is no label."""
        class_names = {}
        for column in columns:
            feature = self._dataset.features[column]
            item = feature.feature if isinstance(feature, List | LargeList) else feature
            if isinstance(item, ClassLabel):
                class_names[column] = item.names
        for index, values in enumerate(self._dataset.select_columns(list(columns))):
            names_by_column = {column: _class_names(names, values[column]) for column, names in class_names.items()}
            yield index, {**values, **names_by_column}

    def place(self, number: int) -> str:
        return f"{self.name}[{number}]"

    def fingerprint(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "revision": self._commit,
            "config": self._dataset.info.config_name,
            "split": self._source.split,
        }


def _class_names(names: Sequence[str], numbers: int | list[int] | None) -> Any:
    """-1 in test splits means that the label is not published."""
    if isinstance(numbers, list):
        return [_class_names(names, number) for number in numbers]
    return None if numbers is None or numbers < 0 else names[numbers]


def resolve_commit(source: HubSource) -> str:
    """The current commit of the revision; without a network, the commit that was last looked up.

    Raises:
        DataError: no such data set or revision.
        MachineError: the hub cannot be reached and the cache does not know.
    """
    if _COMMIT.fullmatch(source.revision):
        return source.revision
    reference = Path(HF_HUB_CACHE, f"datasets--{source.name.replace('/', '--')}", "refs", source.revision)
    with _hub_errors(source):
        try:
            # Requesting any file, even a missing one, makes huggingface_hub store the commit of the revision.
            hf_hub_download(source.name, "README.md", repo_type="dataset", revision=source.revision)
        except LocalEntryNotFoundError:
            if not reference.is_file():
                raise
            logger.warning("hub:%s: the hub cannot be reached; using the commit in the cache", source.name)
        except EntryNotFoundError:
            pass  # a data set without a card
    return reference.read_text(encoding="ascii").strip()


def load_split(source: HubSource, commit: str) -> Dataset:
    """The split at that commit, downloaded if it is not in the cache.

    Raises:
        DataError: no such configuration or split, or files that `datasets` cannot read.
        MachineError: it is not cached, and the hub cannot be reached.
    """
    with _hub_errors(source):
        # With hf://, datasets does not use a local folder of the same name.
        path = f"hf://datasets/{source.name}"
        builder = datasets.load_dataset_builder(path, source.config, revision=commit)
        if builder.hash != commit:
            raise _unreachable(source, f"the cache has commit {builder.hash}, the requested commit is {commit}")
        builder.download_and_prepare()
        dataset = builder.as_dataset(split=source.split)
    assert isinstance(dataset, Dataset)
    return dataset


@contextmanager
def _hub_errors(source: HubSource) -> Iterator[None]:
    """Convert the errors of datasets and huggingface_hub to our own."""
    try:
        yield
    except GatedRepoError as error:
        fix = "Request access on its page, then run: hf auth login"
        raise DataError(f"hub:{source.name}: is gated, and you have no access. {fix}") from error
    except RevisionNotFoundError as error:
        raise DataError(
            f"hub:{source.name}: has no revision {source.revision!r}. See its page for branches."
        ) from error
    except (RepositoryNotFoundError, DatasetNotFoundError) as error:
        fix = "Check the spelling and the owner, or run hf auth login if it is private."
        raise DataError(f"hub:{source.name}: no such data set on the hub ({_first_line(error)}). {fix}") from error
    except (LocalEntryNotFoundError, ConnectionError, HTTPError) as error:
        reason = _first_line(error) if isinstance(error, HfHubHTTPError) else "offline, or HF_HUB_OFFLINE is set"
        raise _unreachable(source, reason) from error
    except FileNotFoundError as error:
        # datasets reports a broken connection as "couldn't find any data file".
        if isinstance(error.__context__ and error.__context__.__context__, LocalEntryNotFoundError):
            raise _unreachable(source, "offline, or the hub is down") from error
        raise DataError(f"hub:{source.name}: {_first_line(error)}") from error
    except (ValueError, RuntimeError, DatasetsError) as error:  # an unknown split or configuration, a script, bad files
        raise DataError(f"hub:{source.name}: {_first_line(error)}") from error
    except OSError as error:
        raise MachineError(f"hub:{source.name}: cannot be stored or read ({_first_line(error)}).") from error


def _unreachable(source: HubSource, reason: str) -> MachineError:
    fix = "Connect once to download it, or use a local file."
    return MachineError(f"hub:{source.name}: not in the cache and the hub cannot be reached ({reason}). {fix}")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]

"""Files of hub models: whole, or of the weights nothing but their headers. Every fault of the hub is an error of llmkit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import (  # type: ignore[attr-defined]  # HTTPError: of whichever library it uses
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    NotASafetensorsRepoError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    SafetensorsParsingError,
)
from huggingface_hub.utils._safetensors import SafetensorsFileMetadata

from llmkit.errors import MachineError, ModelError
from llmkit.models.adapters import ADAPTER_WEIGHTS
from llmkit.models.stored import weight_files

_WEIGHTS = ".safetensors"


def download(name: str, *, revision: str | None, files: list[str]) -> Path:
    """The folder in the cache, with the files that match these patterns; its name is the commit.

    Raises:
        ModelError: the hub has no such model or revision, or does not give it to this user.
        MachineError: the hub cannot be reached, or fails.
    """
    with _hub_faults(name, revision=revision):
        return Path(snapshot_download(name, revision=revision, allow_patterns=files))


def download_headers(name: str, *, revision: str | None, files: list[str], place: Path) -> Path:
    """As `download`, but each file of weights that is not in the cache has its real size and header, and no numbers.

    Such a file takes no space on most file systems, so a model of any size can be described in a second.

    Args:
        place: where the folder with these files is made; a folder in the cache is returned if it has all files.
    Raises:
        ModelError, MachineError: as `download`; a damaged header.
    """
    cached = download(name, revision=revision, files=[file for file in files if not file.endswith(_WEIGHTS)])
    patterns = [file for file in files if file.endswith(_WEIGHTS)]
    if _has_weights(cached, patterns, name=name):
        return cached
    with _hub_faults(name, revision=revision):
        api = HfApi()
        listed = api.list_repo_files(name, revision=cached.name)
        weights = [file for file in listed if any(fnmatch(file, pattern) for pattern in patterns)]
        folder = place / name.replace("/", "--") / cached.name
        shutil.copytree(cached, folder, ignore=shutil.ignore_patterns(f"*{_WEIGHTS}"), dirs_exist_ok=True)
        for file in weights:
            header = api.parse_safetensors_file_metadata(name, file, revision=cached.name)
            _write_header(folder, file, header, name=name)
    return folder


def _has_weights(cached: Path, patterns: Sequence[str], *, name: str) -> bool:
    """Whether the cache has the files with these names, or for patterns a model's weights or an adapter's."""
    if not any("*" in pattern for pattern in patterns):
        return all((cached / file).is_file() for file in patterns)
    if (cached / ADAPTER_WEIGHTS).is_file():
        return True
    try:
        return bool(weight_files(cached, name=name))
    except ModelError:  # none, not all of them, or damaged: its headers say what is wrong
        return False


def _write_header(folder: Path, file: str, header: SafetensorsFileMetadata, *, name: str) -> None:
    """Write a file of the size that its header says, with nothing but the header."""
    path = folder / file
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ModelError(f"{name}: has a file {file!r}, which is outside the folder.")
    content = {
        key: {"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": tensor.data_offsets}
        for key, tensor in header.tensors.items()
    }
    encoded = json.dumps(content | ({"__metadata__": header.metadata} if header.metadata else {})).encode()
    size = max((tensor.data_offsets[1] for tensor in header.tensors.values()), default=0)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as output:
        output.write(len(encoded).to_bytes(8, "little") + encoded)
        output.truncate(8 + len(encoded) + size)


@contextmanager
def _hub_faults(name: str, *, revision: str | None) -> Iterator[None]:
    """Report every fault of the hub with the name of the model and what to do."""
    try:
        yield
    except HFValidationError as error:
        raise ModelError(f"{name!r} is neither a folder nor a hub id (OWNER/NAME).") from error
    except GatedRepoError as error:
        raise ModelError(f"{name}: the hub model is gated; accept its terms, then set HF_TOKEN.") from error
    except RevisionNotFoundError as error:
        raise ModelError(f"{name}: the hub model has no revision {revision!r}.") from error
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"{name}: the hub has no such model, or it is private. Check the owner and the name; it is not a local folder either."
        ) from error
    except LocalEntryNotFoundError as error:
        raise MachineError(
            f"{name}: not a local folder, not in the hub cache, and the hub cannot be reached. "
            "Connect, or copy the model to a folder and give its path."
        ) from error
    except (NotASafetensorsRepoError, SafetensorsParsingError) as error:
        raise ModelError(
            f"{name}: the header of its weights is damaged ({str(error).splitlines()[0][:200]})."
        ) from error
    except HfHubHTTPError as error:
        raise MachineError(
            f"{name}: the hub answered with an error ({error.response.status_code}). Try again."
        ) from error
    except (HTTPError, OSError) as error:  # a broken connection or redirect, a file of another size, a full disk
        fault = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise MachineError(f"{name}: it cannot be downloaded from the hub ({fault}). Try again.") from error

"""`push`: a model folder to the Hugging Face hub, after a plan of what is sent. Imports torch for neither."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from llmkit.api.cards import card_facts
from llmkit.atomic import MANIFEST
from llmkit.errors import LlmkitError, MachineError, ModelError, UsageError
from llmkit.runs.card import eval_results, model_card
from llmkit.runs.folder import Run, open_run

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from llmkit.models.resolve import ResolvedModel

_EVAL_RESULTS = ".eval_results/llmkit.yaml"
_LOGIN = "Log in with: hf auth login, or set HF_TOKEN"


@dataclass(frozen=True)
class PushedFile:
    """A file to send."""

    name: str
    """Its path in the repository."""
    content: Path | bytes
    bytes: int


@dataclass(frozen=True)
class PushPlan:
    """What `push` sends, and where to."""

    model: str
    folder: Path
    repo_id: str
    private: bool
    files: tuple[PushedFile, ...]
    left_out: tuple[str, ...]
    """Other files of the folder, which are not sent."""
    card: str
    """Where README.md comes from: `the run`, `your file`, or `none`."""

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files)


@dataclass(frozen=True)
class Pushed:
    """A commit on the hub."""

    url: str
    commit: str


def plan_push(model: str, *, repo_id: str, private: bool = False) -> PushPlan:
    """What `push` would send: the files of the model and its card, and nothing else in the folder. Sends nothing.

    The card of a run is written anew, with its newest scores, unless you changed `model/README.md`.

    Args:
        model: a run or a model folder.
        repo_id: OWNER/NAME on the hub.
        private: whether a new repository is private.
    Raises:
        UsageError: the id is not valid, or the model is not in a folder.
        ModelError: a folder that no command would use; a file names a path of this machine; an adapter of such a path.
    """
    from llmkit.models.integrity import check_saved_weights
    from llmkit.models.resolve import find_model, folder_of
    from llmkit.models.sent_files import CARD, model_file_names, other_file_names

    _check_repo_id(repo_id)
    if not Path(model).is_dir():
        raise UsageError(f"{model}: there is no such folder. Push a run, such as runs/reviews-001, or a model folder.")
    resolved = find_model(model)
    root, _ = folder_of(model, revision=None)
    check_saved_weights(root, name=model)
    _check_base(resolved)
    names = model_file_names(resolved, root)
    contents: dict[str, Path | bytes] = {name: root / name for name in names}
    cards = _cards_of_run(model, root, names, repo_id=repo_id)
    contents.update(cards)
    for name, content in contents.items():
        _check_no_local_paths(name, content, model=model)
    files = tuple(
        PushedFile(name, content, len(content) if isinstance(content, bytes) else content.stat().st_size)
        for name, content in sorted(contents.items())
    )
    origin = "the run" if cards else "your file" if CARD in names else "none"
    left_out = tuple(other_file_names(root, sent=names))
    return PushPlan(model, root, repo_id, private, files, left_out, origin)


def push(plan: PushPlan) -> Pushed:
    """Send the files of a plan as one commit, into a new or an existing repository; other files there stay.

    Raises:
        UsageError: the repository is public, and the plan says private; the hub refuses its id.
        MachineError: no login, no permission, or no connection.
    """
    from huggingface_hub import CommitOperationAdd, HfApi, get_token
    from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]

    if get_token() is None:
        raise MachineError(f"not logged in to the hub. {_LOGIN}.")
    if not sys.stderr.isatty():
        disable_progress_bars()
    api = HfApi(library_name="llmkit")
    with _hub_errors(plan.repo_id):
        api.create_repo(plan.repo_id, private=plan.private or None, exist_ok=True)
        if plan.private:
            _check_private(api, plan.repo_id)
        operations = [CommitOperationAdd(file.name, _sent(file)) for file in plan.files]
        commit = api.create_commit(plan.repo_id, operations, commit_message="Upload the model with llmkit")
    return Pushed(url=f"{api.endpoint}/{plan.repo_id}", commit=commit.oid)


def _sent(file: PushedFile) -> str | bytes:
    return file.content if isinstance(file.content, bytes) else str(file.content)


def _check_private(api: HfApi, repo_id: str) -> None:
    if not api.model_info(repo_id).private:
        raise UsageError(
            f"{repo_id}: exists and is public, so --private would not hide what is sent. Make it private in its settings, "
            "give another name, or leave out --private."
        )


def _check_repo_id(repo_id: str) -> None:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise UsageError(f"{repo_id!r} is not a name on the hub: {error} Give OWNER/NAME.") from error
    if repo_id.count("/") != 1:
        raise UsageError(f"{repo_id!r} has no owner. Give OWNER/NAME, such as {'me'}/{repo_id}.")


def _check_base(resolved: ResolvedModel) -> None:
    if resolved.base is not None and resolved.base.revision is None:
        raise ModelError(
            f"{resolved.name}: it is an adapter of {resolved.base.name}, a folder that nobody else has. Merge it first: "
            f"llmkit merge {resolved.name} --output FOLDER"
        )


def _cards_of_run(model: str, root: Path, names: list[str], *, repo_id: str) -> dict[str, Path | bytes]:
    """The card and the results of a run's model; empty if it is not of a run, or its card was changed by hand."""
    from llmkit.models.sent_files import CARD

    if root.name != "model" or not (root.parent / "run.json").exists() or _is_changed(root / CARD, root):
        return {}
    run: Run = open_run(root.parent)
    files = {name: (root / name).read_bytes() for name in names if name.endswith("config.json")}
    facts = card_facts(run, files, best=run.manifest()["best"])
    results = eval_results(facts)
    added: dict[str, Path | bytes] = {CARD: model_card(facts, name=repo_id).encode()}
    return added if results is None else {**added, _EVAL_RESULTS: results.encode()}


def _is_changed(card: Path, root: Path) -> bool:
    """Whether the card is not the one that was saved with the model."""
    if not card.exists():
        return False
    manifest = root / MANIFEST
    saved: Mapping[str, Any] = json.loads(manifest.read_bytes())["files"] if manifest.exists() else {}
    changed: bool = hashlib.sha256(card.read_bytes()).hexdigest() != saved.get(card.name, {}).get("sha256")
    return changed


def _check_no_local_paths(name: str, content: Path | bytes, *, model: str) -> None:
    """
    Raises:
        ModelError: a config or the card names an absolute path that exists here.
    """
    if not name.endswith(("config.json", ".md", ".yaml", "base.json")):
        return
    text = (content if isinstance(content, bytes) else content.read_bytes()).decode("utf-8", "replace")
    for folder in {str(Path.home()), str(Path.cwd()), str(Path(model).resolve().parent)}:
        if len(PurePath(folder).parts) > 1 and f"{folder}/" in text:
            raise ModelError(
                f"{model}: {name} names a path of this machine, in {folder}. Remove it from the file first."
            )


@contextmanager
def _hub_errors(repo_id: str) -> Iterator[None]:
    """Turn the errors of huggingface_hub into our own; none has the token in it."""
    from huggingface_hub.errors import (  # type: ignore[attr-defined]  # HTTPError: of whichever library it uses
        HfHubHTTPError,
        HTTPError,
        OfflineModeIsEnabled,
    )

    try:
        yield
    except LlmkitError:
        raise
    except ValueError as error:  # its check of the card
        reason = " ".join(str(error).split())[:300]
        raise ModelError(
            f"{repo_id}: the hub refuses the card ({reason}) Correct README.md; nothing was committed."
        ) from error
    except OfflineModeIsEnabled as error:
        raise MachineError(f"{repo_id}: HF_HUB_OFFLINE is set, so nothing can be sent. Unset it.") from error
    except HfHubHTTPError as error:
        raise _refused(repo_id, error) from error
    except (HTTPError, OSError) as error:
        fault = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise MachineError(
            f"{repo_id}: the hub cannot be reached ({fault}). Try again; nothing was committed."
        ) from error


def _refused(repo_id: str, error: Any) -> LlmkitError:
    status = error.response.status_code
    reason = (error.server_message or "").strip().splitlines()
    said = f" ({reason[0][:200]})" if reason else ""
    if status == 401:
        return MachineError(f"{repo_id}: the hub does not accept your token{said}. {_LOGIN}.")
    if status == 403:
        return MachineError(
            f"{repo_id}: your token may not write there{said}. Check the owner, and that the token has the permission to write."
        )
    if status in (400, 404, 409):
        return UsageError(f"{repo_id}: the hub refuses it{said}. Check the owner and the name.")
    return MachineError(f"{repo_id}: the hub answered with an error ({status}){said}. Try again.")

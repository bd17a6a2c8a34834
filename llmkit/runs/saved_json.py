"""Reads the JSON files of a run folder. A kill, a full disk or an editor may have damaged them, so nothing is trusted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from llmkit.errors import RunError

FORMAT = 1


class _Saved(BaseModel):
    """Keys that the code relies on; there may be others."""

    model_config = ConfigDict(strict=True, extra="allow")


class Best(_Saved):
    metric: str = ""
    figure: str = ""
    """Name of `metric` in older runs."""
    step: int
    validation: dict[str, float | int | None]
    intervals: dict[str, list[float | int]] = {}
    """Name of a score -> the ends of its 95 % interval; without scores that have none."""

    @model_validator(mode="after")
    def _has_a_metric(self) -> Best:
        if not self.metric and not self.figure:
            raise ValueError("metric is missing")
        if (self.metric or self.figure) not in self.validation:
            raise ValueError(f"validation has no {self.metric or self.figure}")
        return self


class RunManifest(_Saved):
    """run.json."""

    id: str
    status: Literal["started", "running", "interrupted", "failed", "finished"]
    task: str | None = None
    finished: str | None = None
    total_steps: int | None = None
    training_seconds: float | int = 0
    micro_batch_tokens: int | None = Field(default=None, ge=1)
    replanned: list[dict[str, Any]] = []
    best: Best | None = None

    @model_validator(mode="after")
    def _is_complete(self) -> RunManifest:
        if self.status == "finished" and (self.best is None or self.task is None):
            raise ValueError(f"the run is finished, but {'best' if self.best is None else 'task'} is missing")
        return self


class DataManifest(_Saved):
    """data.json."""

    sources: dict[str, list[dict[str, Any]]]


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file of a run.

    Raises:
        RunError: it is missing or damaged, or a newer llmkit wrote it.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(f"{path} cannot be read ({error.strerror}).") from error
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path} is damaged ({error}).") from error
    if not isinstance(content, dict):
        raise RunError(f"{path} is damaged: it is not a JSON object.")
    version = content.get("format", FORMAT)
    if not isinstance(version, int):
        raise RunError(f"{path} has the format {version!r}, which is not a number.")
    if version > FORMAT:
        raise RunError(
            f"{path} was written by llmkit {content.get('llmkit')}, format {version} > {FORMAT}. Update llmkit."
        )
    return content


def read_checked(path: Path, model: type[BaseModel]) -> dict[str, Any]:
    """The object in a JSON file of a run, whose keys have the types of `model`.

    Raises:
        RunError: as `read_json`; or a key is missing or has another type.
    """
    content = read_json(path)
    try:
        model.model_validate(content)
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(map(str, fault["loc"]))
        raise RunError(
            f"{path} is damaged: {f'{place}: ' if place else ''}{fault['msg']}. Restore it from a copy, or start a new run."
        ) from error
    return content


def read_lines(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The objects with a `step` in a file of JSON lines, and the number of damaged lines.

    The end of the file after the last line break is not counted: a kill can leave an incomplete line there.
    """
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
    objects = [read for line in lines if (read := _object_with_step(line)) is not None]
    return objects, len(lines) - len(objects)


def _object_with_step(line: str) -> dict[str, Any] | None:
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(content, dict) or type(content.get("step")) is not int:
        return None
    are_numbers = all(value is None or type(value) in (int, float) for value in content.values())
    return content if are_numbers else None

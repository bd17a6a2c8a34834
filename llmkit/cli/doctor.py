"""`llmkit doctor`: what this machine has for llmkit, and what is broken."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from llmkit.cli.lines import print_lines, size
from llmkit.cli.output import shown
from llmkit.errors import MachineError

if TYPE_CHECKING:
    from llmkit.api import Diagnosis


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object, for a bug report.")] = False,
) -> None:
    """Show versions, devices, precision, caches, the hub and the disk, and what is wrong. No secrets are shown.

    Exits with 5 if something is broken.
    """
    from llmkit.api import diagnose

    found = diagnose()
    if as_json:
        print(shown(json.dumps(asdict(found), ensure_ascii=False)))
    else:
        print_lines(_facts(found))
    if found.problems:
        raise MachineError("\n".join(found.problems))


COMMANDS = (doctor,)


def _facts(found: Diagnosis) -> Iterator[tuple[str, str]]:
    """Name and value of each line."""
    yield "system", f"Python {found.python} on {found.system}"
    yield "versions", ", ".join(f"{name} {version or 'not installed'}" for name, version in found.versions.items())
    for extra, packages in found.extras.items():
        missing = [name for name, version in packages.items() if version is None]
        state = f"{', '.join(missing)} not installed" if missing else "installed"
        yield "extras", f"{extra}: {state}"
    for device in found.devices:
        memory = (
            "" if device.total_bytes is None else f", {size(device.free_bytes or 0)} of {size(device.total_bytes)} free"
        )
        yield "device", f"{device.name}: {device.description}{memory}"
        yield "precision", f"{device.name}: auto is {device.precision}, {device.reason}"
        for name, answer in device.formats.items():
            yield "precision", f"{device.name}: {name} {answer}"
    yield "cpu", ", ".join(f"{name} {value}" for name, value in found.cpu.items())
    for cache in found.caches:
        state = "writable" if cache.writable else "not writable"
        yield "cache", f"{cache.what}: {cache.folder}, {size(cache.bytes)}, {state}, {size(cache.free_bytes)} free"
    hub = found.hub
    answer = {True: "reachable", False: "not reachable", None: "not tried"}[hub.reachable]
    yield "hub", f"{hub.endpoint}: {answer}, {hub.detail}"
    yield "disk", f"{size(found.free_bytes)} free in the current folder"
    yield "broken", f"{len(found.problems)} problems" if found.problems else "nothing"

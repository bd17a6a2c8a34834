"""`diagnose`: what this machine has for llmkit, and what is wrong with it. For bug reports: no secrets."""

from __future__ import annotations

import platform
from pathlib import Path

from llmkit.diagnosis.report import Device, Diagnosis


def diagnose() -> Diagnosis:
    """Versions, devices and their precision, caches, the hub, the disk, and what is broken."""
    from llmkit.atomic import free_bytes, megabytes
    from llmkit.diagnosis import folders, packages

    found, unwritable = tuple(folders.caches()), []
    for cache in found:
        if not cache.writable:
            unwritable.append(f"the cache of {cache.what}, {cache.folder}, cannot be written. Check its permissions.")
    versions = {name: packages.installed(name) for name in packages.SHOWN}
    devices, cpu, faults = _devices()
    free = free_bytes(Path())
    full = [f"the disk of the current folder has {megabytes(free)} free. Make room."] if free < _LEAST_BYTES else []
    hub = folders.hub()
    return Diagnosis(
        python=platform.python_version(),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        versions=versions,
        extras=packages.extras(),
        devices=devices,
        cpu=cpu,
        caches=found,
        hub=hub,
        free_bytes=free,
        problems=(*packages.bad_versions(), *faults, *unwritable, *full),
    )


_LEAST_BYTES = 100 * 2**20


def _devices() -> tuple[tuple[Device, ...], dict[str, str], list[str]]:
    """The devices and the CPU; empty with the fault if torch cannot be loaded."""
    try:
        from llmkit.diagnosis import devices
    except (ImportError, OSError) as error:  # a missing package or library
        return (), {}, [f"torch cannot be loaded: {error}. Install it again."]
    return tuple(devices.devices()), dict(devices.cpu()), []

"""Installed packages: their versions, llmkit's extras, and versions that do not fit each other. Imports none of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

Installed = Callable[[str], str | None]
SHOWN = (
    "llmkit",
    "torch",
    "transformers",
    "tokenizers",
    "datasets",
    "accelerate",
    "peft",
    "safetensors",
    "huggingface_hub",
    "numpy",
    "pyarrow",
)
_PUBLISHED_RANGES = ("transformers", "tokenizers", "datasets", "accelerate", "peft", "torch")
"""Packages whose own requirements are compared with what is installed."""

BAD_PAIRS: tuple[tuple[str, str, str, str, str], ...] = (
    # package, its versions, other package, its versions, what happens and the source
    ("torch", "<2.3", "numpy", ">=2", "2.3 is the first version for NumPy 2 (pytorch/pytorch#132179 on GitHub)"),
    ("pyarrow", "<16", "numpy", ">=2", "16 is the first version built for NumPy 2 (apache/arrow#39848 on GitHub)"),
)
"""Pairs that the packages' own requirements, which are checked too, did not exclude."""


def installed(name: str) -> str | None:
    """The version of a package; None if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def bad_versions(installed: Installed = installed) -> Iterator[str]:
    """Installed versions that do not fit llmkit or each other, with what to do."""
    for name in ("llmkit", *_PUBLISHED_RANGES):
        if installed(name) is not None:
            yield from _outside_the_range(name, installed)
    for first, first_versions, second, second_versions, fault in BAD_PAIRS:
        if _is_in(installed(first), first_versions) and _is_in(installed(second), second_versions):
            yield f"{first} {installed(first)} with {second} {installed(second)}: {fault}. Upgrade {first}."


def _outside_the_range(name: str, installed: Installed) -> Iterator[str]:
    try:
        texts = requires(name) or []
    except PackageNotFoundError:  # not installed as a package, such as from a folder
        return
    for requirement in map(Requirement, texts):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        found = installed(requirement.name)
        if found is None:
            yield f"{name} needs {requirement.name}, which is not installed. pip install '{requirement.name}{requirement.specifier}'"
        elif not requirement.specifier.contains(found, prereleases=True):
            yield f"{name} needs {requirement.name}{requirement.specifier}, found {found}. pip install '{requirement.name}{requirement.specifier}'"


def extras(installed: Installed = installed) -> dict[str, Mapping[str, str | None]]:
    """llmkit's extras for users, each with its packages and their versions."""
    found: dict[str, dict[str, str | None]] = {}
    try:
        texts = requires("llmkit") or []
    except PackageNotFoundError:
        return {}
    for requirement in map(Requirement, texts):
        for extra in _extras_of(requirement):
            found.setdefault(extra, {})[requirement.name] = installed(requirement.name)
    return dict(found)


def _extras_of(requirement: Requirement) -> list[str]:
    """The extras that ask for a package."""
    if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
        return []
    known = _names("llmkit")
    return [extra for extra in known if extra not in ("test", "dev") and requirement.marker.evaluate({"extra": extra})]


def _names(package: str) -> list[str]:
    from importlib.metadata import metadata

    return metadata(package).get_all("Provides-Extra") or []


def _is_in(found: str | None, versions: str) -> bool:
    return found is not None and SpecifierSet(versions).contains(found, prereleases=True)

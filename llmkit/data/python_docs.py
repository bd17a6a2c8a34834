"""`builtin:python-docs`: docstrings of the standard library and of llmkit's dependencies, as labelled text.

Read from the installed sources with `ast`: nothing is downloaded, shipped or imported. A fixed sample of the files
of each package, selected by a hash of the path, so the rows depend on the installed versions only. The summary is
the docstring's first sentence or line, the text is the rest, `docstring` is both, the label is the package. Exact
duplicates are removed; near-duplicates are not: transformers repeats docstrings between models, so scores on these
rows are too optimistic.

Other sets are derived from the same files: a module with another `row_of` calls `load_rows` and `print_sample`, as
`python_docs_entities.py` does.
"""

from __future__ import annotations

import ast
import gc
import hashlib
import importlib.metadata
import importlib.util
import inspect
import json
import logging
import os
import platform
import subprocess
import sys
import sysconfig
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

from llmkit.data.caches import cache_folder, publish_file
from llmkit.errors import MachineError

STANDARD_LIBRARY = "python"
PACKAGES = ("torch", "transformers", "numpy", "datasets", "accelerate", "rich", "huggingface_hub")
LABELS = (STANDARD_LIBRARY, *PACKAGES)
COLUMNS = ("text", "summary", "docstring", "label", "name")

_FORMAT = 5  # increase it whenever the rules below change, or old caches would be used
_ROWS_PER_LABEL = 4000
_SHORTEST_TEXT = 40  # characters
_SHORTEST_SUMMARY = 10
_EXCLUDED = {"test", "tests", "_internal", "_vendor", "vendor", "_vendored", "vendored", "third_party", "externals"}
_EXCLUDED |= {"site-packages", "dist-packages", "idlelib", "lib2to3", "turtledemo", "__pycache__"}

logger = logging.getLogger("llmkit")


def load_python_docs() -> list[dict[str, str]]:
    """All rows, with the keys of `COLUMNS`, in one fixed order; built once for the installed versions, then cached.

    Raises:
        MachineError: a package of `PACKAGES` is not installed, or the cache folder cannot be written to.
    """
    return load_rows("python-docs", rules=0, module="llmkit.data.python_docs")


def load_rows(name: str, *, rules: int, module: str) -> list[dict[str, Any]]:
    """The rows of a set that is derived from docstrings, in one fixed order; built once, then cached.

    Args:
        name: of the set, without `builtin:`.
        rules: version of the set's rules, besides those of this file; increase it whenever they change, or old caches
            would be used.
        module: the module that prints the rows of one package when it is run, with `print_sample`.
    Raises:
        MachineError: as `load_python_docs`.
    """
    versions = python_docs_versions()
    key = hashlib.sha256(json.dumps([_FORMAT, rules, versions]).encode()).hexdigest()[:16]
    path = cache_folder() / name / f"{key}.jsonl"
    rows = read_cache(path)
    if rows is None:
        rows = _build_rows(module)
        _write_cache(path, rows)
    return rows


def python_docs_versions() -> dict[str, str]:
    """Label -> version of the package that its rows are read from.

    Raises:
        MachineError: a package is not installed.
    """
    versions = {STANDARD_LIBRARY: platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError as error:
            raise _missing(package) from error
    return versions


def _missing(package: str) -> MachineError:
    fix = f"Install it (pip install {package}) or train on your own files."
    return MachineError(f"builtin:python-docs needs the package {package}, which is not installed. {fix}")


def _build_rows(module: str) -> list[dict[str, Any]]:
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as threads:  # each waits for its own process
        samples = threads.map(lambda label: _sample_in_process(label, module), LABELS)
        rows = without_shared_texts([row for sample in samples for row in sample])
    # Mix the labels, for readers that stop early; the order must not depend on the hash that `split_of` uses.
    return sorted(rows, key=lambda row: (_hash(f"order {row['label']} {row['name']}"), row["text"]))


def _sample_in_process(label: str, module: str) -> list[dict[str, Any]]:
    """`_sample` in another process: parsing takes seconds per package, and threads would share a single core."""
    command = [sys.executable, "-m", module, label, str(_source_folder(label))]
    process = subprocess.run(command, capture_output=True, check=False)
    if process.returncode:
        fault = process.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise MachineError(f"builtin:python-docs: reading {label} failed ({' '.join(fault)}).")
    rows: list[dict[str, Any]] = json.loads(process.stdout)
    return rows


def _source_folder(label: str) -> Path:
    if label == STANDARD_LIBRARY:
        return Path(sysconfig.get_path("stdlib"))
    spec = importlib.util.find_spec(label)  # a top-level name is looked up, never imported
    if spec is None or not spec.submodule_search_locations:
        raise _missing(label)
    return Path(spec.submodule_search_locations[0])


def print_sample(row_of: Callable[[Documented, str], dict[str, Any] | None], *, most_rows: int) -> None:
    """The program that `load_rows` runs for a package; its arguments are the label and the folder of the sources.

    Args:
        row_of: returns the row of a definition with a docstring, or None. Rows with the same `text` are duplicates.
        most_rows: stop after the file in which this number is reached.
    """
    gc.disable()  # syntax trees have no cycles, and searching for cycles takes a quarter of the time
    sys.stdout.write(json.dumps(_sample(sys.argv[1], Path(sys.argv[2]), row_of, most_rows)))


def _sample(
    label: str, folder: Path, row_of: Callable[[Documented, str], dict[str, Any] | None], most_rows: int
) -> list[dict[str, Any]]:
    """The rows of one package: whole files in the order of their hashes, until there are enough rows."""
    rows: dict[str, dict[str, Any]] = {}  # by text with normalized white space; the first row is used
    for relative in sorted(_python_files(folder), key=lambda path: _hash(f"{label}/{path}")):
        if len(rows) >= most_rows:
            break
        for name, node in _file_definitions(label, folder, relative):
            docstring = ast.get_docstring(node, clean=False)
            row = row_of(node, docstring) if docstring else None
            if row is not None:
                rows.setdefault(_normalized(row["text"]), {**row, "label": label, "name": name})
    return list(rows.values())


def _python_files(folder: Path) -> Iterator[PurePosixPath]:
    """Paths below the folder, in arbitrary order."""
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in _EXCLUDED]
        for name in names:
            if name.endswith(".py"):
                yield PurePosixPath(Path(parent, name).relative_to(folder).as_posix())


def _file_definitions(label: str, folder: Path, relative: PurePosixPath) -> Iterator[tuple[str, Documented]]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)  # "\d" in the sources of packages
            warnings.simplefilter("ignore", DeprecationWarning)
            tree = ast.parse((folder / relative).read_bytes())
    except (SyntaxError, ValueError):
        return  # a template that only looks like Python
    parts = relative.with_suffix("").parts
    package = () if label == STANDARD_LIBRARY else (label,)
    module = ".".join(package + (parts[:-1] if parts[-1] == "__init__" else parts))
    yield from definitions(tree, module)


Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def definitions(tree: ast.Module, module: str) -> Iterator[tuple[str, Documented]]:
    """The module, its classes, functions and methods with their dotted names; no functions inside functions."""
    yield module, tree
    yield from _members(tree, module)


def _members(node: ast.AST, prefix: str) -> Iterator[tuple[str, Documented]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            name = f"{prefix}.{child.name}"
            yield name, child
            if isinstance(child, ast.ClassDef):
                yield from _members(child, name)
        elif isinstance(child, ast.If | ast.Try):
            yield from _members(child, prefix)


def row_of(docstring: str) -> dict[str, str] | None:
    """Summary and text of a docstring; None if either is missing, too short, or cannot be encoded as UTF-8."""
    lines = inspect.cleandoc(docstring).split("\n")
    summary_lines = _summary_length(lines)
    summary = " ".join(line.strip() for line in lines[:summary_lines])
    text = inspect.cleandoc("\n".join(["", *lines[summary_lines:]]))
    is_heading = summary.endswith(":")  # "Args:" is no summary
    if is_heading or len(summary) < _SHORTEST_SUMMARY or len(text) < _SHORTEST_TEXT:
        return None
    if "\0" in docstring or any("\ud800" <= character <= "\udfff" for character in docstring):
        return None  # they come from escapes such as "\ud800" in the source
    return {"text": text, "summary": summary, "docstring": "\n".join(lines)}


def _summary_length(lines: list[str]) -> int:
    """Number of lines of the first sentence: up to a line that ends a sentence, or to a blank line."""
    for count, line in enumerate(lines):
        if not line.strip():
            return count
        if line.rstrip().endswith((".", "!", "?", ":")):
            return count + 1
    return len(lines)


def without_shared_texts(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows without texts that occur with several labels, which cannot be classified."""
    labels: dict[str, set[str]] = {}
    for row in rows:
        labels.setdefault(_normalized(row["text"]), set()).add(row["label"])
    return [row for row in rows if len(labels[_normalized(row["text"])]) == 1]


def _normalized(text: str) -> str:
    return " ".join(text.split())


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _write_cache(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write the SHA-256 of the rows on the first line, then one row per line: a single file, so that both agree."""
    body = "".join(json.dumps(row) + "\n" for row in rows).encode()
    header = json.dumps({"sha256": hashlib.sha256(body).hexdigest()}) + "\n"
    publish_file(path, header.encode() + body)


def read_cache(path: Path) -> list[dict[str, Any]] | None:
    """The rows, or None if the file is missing or damaged and must be rebuilt."""
    try:
        header, _, body = path.read_bytes().partition(b"\n")
    except FileNotFoundError:
        return None
    expected = json.dumps({"sha256": hashlib.sha256(body).hexdigest()}).encode()
    if header != expected:
        logger.warning("%s: the cache is damaged; rebuilding it", path)
        return None
    return [json.loads(line) for line in body.splitlines()]


if __name__ == "__main__":
    print_sample(lambda node, docstring: row_of(docstring), most_rows=_ROWS_PER_LABEL)

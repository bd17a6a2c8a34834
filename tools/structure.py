"""Statistics of the code's structure, for one or more checkouts.

    python tools/structure.py [CHECKOUT ...]
    python tools/structure.py --commit REVISION     files and packages that a commit touches under llmkit/

Counts imports inside functions, names of tasks and model families outside their packages, long functions, long
files, and circles of imports between modules. Reads the source only; imports nothing of llmkit.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

LONG_FUNCTION, LONG_FILE = 60, 300
_HOMES = {"tasks": ("tasks/", "models/families/"), "models/families": ("models/families/",)}
"""Model heads are named after tasks, and families list their heads."""


def main() -> None:
    if sys.argv[1:2] == ["--commit"]:
        _print_commit(sys.argv[2])
        return
    checkouts = [Path(argument) for argument in sys.argv[1:]] or [Path(__file__).parents[1]]
    columns = [statistics(checkout / "llmkit") for checkout in checkouts]
    for name in columns[0]:
        print(f"{name:<52}" + "".join(f"{column[name]:>10,}" for column in columns))


def statistics(package: Path) -> dict[str, int]:
    trees = {
        path.relative_to(package).as_posix(): ast.parse(path.read_text()) for path in sorted(package.rglob("*.py"))
    }
    lines = {name: len((package / name).read_text().splitlines()) for name in trees}
    functions = [(name, node) for name, tree in trees.items() for node in ast.walk(tree) if _is_function(node)]
    names = {"tasks": _tasks(trees), "models/families": _families(trees)}
    lengths = [node.end_lineno - node.lineno + 1 for _, node in functions]  # type: ignore[attr-defined]
    return {
        "files": len(trees),
        "lines": sum(lines.values()),
        f"files over {LONG_FILE} lines": sum(count > LONG_FILE for count in lines.values()),
        f"functions over {LONG_FUNCTION} lines": sum(length > LONG_FUNCTION for length in lengths),
        "imports inside functions": len({node for _, f in functions for node in _imports(f)}),
        "names of tasks outside tasks/ and models/families/": _literals(trees, "tasks", names),
        "names of model families outside models/families/": _literals(trees, "models/families", names),
        "circles of imports": len(circles(imported_modules(trees))),
    }


def _is_function(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)


def _imports(function: ast.AST) -> Iterator[ast.AST]:
    return (node for node in ast.walk(function) if isinstance(node, ast.Import | ast.ImportFrom))


def _tasks(trees: Mapping[str, ast.Module]) -> set[str]:
    """Keys of the table of recipe classes."""
    tables = (node.value for node in trees["tasks/__init__.py"].body if isinstance(node, ast.AnnAssign))
    keys = (key for table in tables if isinstance(table, ast.Dict) for key in table.keys)
    return {str(key.value) for key in keys if isinstance(key, ast.Constant)}


def _families(trees: Mapping[str, ast.Module]) -> set[str]:
    """What the classes of families are called: `name = "bert"`."""
    return {
        str(node.value.value)
        for path, tree in trees.items()
        if path.startswith("models/families/")
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        and ast.unparse(node.targets[0]) == "name"
        and isinstance(node.value, ast.Constant)
    }


def _literals(trees: Mapping[str, ast.Module], home: str, names: Mapping[str, set[str]]) -> int:
    """Number of strings that are equal to the name of a task or a family."""
    return sum(
        isinstance(node, ast.Constant) and node.value in names[home]
        for name, tree in trees.items()
        if not name.startswith(_HOMES[home])
        for node in ast.walk(tree)
    )


def imported_modules(trees: Mapping[str, ast.Module]) -> dict[str, set[str]]:
    """Module -> modules of the package that it imports, at its top, in a function, or for types alone."""
    names = {name: name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in trees}
    known = set(names.values())
    graph: dict[str, set[str]] = {module: set() for module in known}
    for name, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("llmkit."):
                module = str(node.module).removeprefix("llmkit.")
                whole = {f"{module}.{alias.name}" for alias in node.names} & known
                graph[names[name]] |= (whole or {module} & known) - {names[name]}
    return graph


def circles(graph: Mapping[str, set[str]]) -> list[set[str]]:
    """Groups of modules that all reach each other."""
    reached = {module: _reach(graph, module) for module in graph}
    groups = {frozenset(other for other in reached[module] if module in reached[other]) | {module} for module in graph}
    return [set(group) for group in groups if len(group) > 1]


def _reach(graph: Mapping[str, set[str]], start: str) -> set[str]:
    waiting, seen = [start], set[str]()
    while waiting:
        new = graph[waiting.pop()] - seen
        seen |= new
        waiting += new
    return seen


def _print_commit(revision: str) -> None:
    command = ["git", "diff-tree", "--no-commit-id", "--name-only", "-r", revision, "--", "llmkit"]
    touched = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    packages = sorted({path.split("/")[1] for path in touched if path.count("/") > 1})
    print(f"{revision}: {len(touched)} files in {len(packages)} packages ({', '.join(packages)})")
    print("\n".join(f"  {path}" for path in touched))


if __name__ == "__main__":
    main()

"""What the numbers depend on besides recipe and data: versions and the machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from llmkit.report.blocks import Facts, Section
from llmkit.report.reading import RunContent
from llmkit.report.wording import text_of


def environment_section(content: RunContent) -> Section | None:
    facts = list(_facts(content))
    return Section("environment", "Environment", [Facts(facts)]) if facts else None


def _facts(content: RunContent) -> Iterator[tuple[str, str]]:
    precision = content.manifest.get("precision")
    for name, value in content.environment.items():
        if isinstance(value, Mapping):
            for package, version in value.items():
                yield str(package), text_of(version)
        elif name == "precision" and isinstance(precision, Mapping):
            yield "precision", f"{text_of(precision.get('format'))}: {text_of(precision.get('reason'))}"
        elif value is not None:
            yield name.replace("_", " "), text_of(value)
    for key, name in (("git_commit", "git commit"), ("model_revision", "model revision")):
        if content.manifest.get(key):
            yield name, text_of(content.manifest[key])

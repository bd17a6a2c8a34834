"""The report of one run."""

from __future__ import annotations

from llmkit.report.blocks import Page, Section
from llmkit.report.page import render
from llmkit.report.reading import RunContent
from llmkit.report.sections.data import data_section
from llmkit.report.sections.environment import environment_section
from llmkit.report.sections.evaluation import evaluation_sections
from llmkit.report.sections.head import chips, figures, notes
from llmkit.report.sections.recipe import recipe_section
from llmkit.report.sections.speed import speed_section
from llmkit.report.sections.training import training_section


def run_report(content: RunContent) -> str:
    """HTML of everything that the run folder says; the same folder gives the same text."""
    others = (training_section, data_section, recipe_section, speed_section, environment_section)
    sections: list[Section | None] = [*evaluation_sections(content), *(section(content) for section in others)]
    return render(
        Page(
            title=content.name,
            kind="Run",
            chips=chips(content),
            figures=figures(content),
            notes=notes(content),
            sections=[section for section in sections if section is not None],
        )
    )

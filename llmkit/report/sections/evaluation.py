"""One result of `llmkit evaluate`: everything that its files have."""

from __future__ import annotations

from llmkit.report.blocks import Block, Heading, Paragraph, Section
from llmkit.report.predictions import Digest, digest_predictions
from llmkit.report.reading import RunContent, SavedEvaluation, cut_texts
from llmkit.report.sections.head import main_score
from llmkit.report.sections.labels import confusion_blocks, scatter_blocks
from llmkit.report.sections.reliability import reliability_blocks
from llmkit.report.sections.rows import cut_blocks, loss_blocks, mistake_blocks, sample_blocks
from llmkit.report.sections.scores import class_blocks, note_blocks, score_blocks
from llmkit.report.wording import count


def evaluation_sections(content: RunContent, *, most: int = 3) -> list[Section]:
    """A section for each evaluation; of those after the first `most` only the scores."""
    return [_section(content, evaluation, whole=number < most) for number, evaluation in enumerate(content.evaluations)]


def digest_of(evaluation: SavedEvaluation) -> Digest | None:
    """What the predictions of an evaluation say."""
    if evaluation.predictions is None:
        return None
    record = evaluation.record
    return digest_predictions(evaluation.predictions, kind=record.value_kind, cut=cut_texts(record))


def _section(content: RunContent, evaluation: SavedEvaluation, *, whole: bool) -> Section:
    blocks: list[Block] = score_blocks(evaluation, strong=main_score(content, evaluation))
    blocks += note_blocks(evaluation)
    blocks += class_blocks(evaluation)
    digest = digest_of(evaluation) if whole else None
    if digest is not None:
        parts = {
            "Confusion of labels": confusion_blocks(evaluation, digest, labels=content.data.get("labels")),
            "Predictions and references": scatter_blocks(digest),
            "Reliability of probabilities": reliability_blocks(digest),
            **mistake_blocks(evaluation, digest),
            "Rows with the highest loss": loss_blocks(evaluation, digest),
            "Outputs cut by the length limit": cut_blocks(evaluation, digest),
            "Sample of predictions": sample_blocks(evaluation, digest),
        }
        for title, part in parts.items():
            blocks += [Heading(title), *part] if part else []
        if digest.damaged_lines:
            lines = f"{count(digest.damaged_lines)} lines of {evaluation.name}.predictions.jsonl"
            blocks.append(Paragraph(f"{lines} are damaged and left out.", "warning"))
    return Section(f"evaluation-{evaluation.name}", evaluation.title, blocks)

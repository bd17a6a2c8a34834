"""The scores that metrics return: the meaning of each number, defined once."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ScoreInfo:
    """The meaning of a score: its direction, and its scale in words."""

    name: str
    better: Literal["higher", "lower"]
    scale: str

    @property
    def bounds(self) -> tuple[float, float] | None:
        """The ends of the scale, of which the second may be infinite."""
        if ends := re.match(r"(-?\d+)\.\.(\d+),", self.scale):
            return float(ends[1]), float(ends[2])
        start = re.search(r", from (\d+)$", self.scale) or re.match(r"(\d+)\.\.\d+ and beyond", self.scale)
        return (float(start[1]), math.inf) if start else None


SCORES: dict[str, ScoreInfo] = {
    score.name: score
    for score in (
        ScoreInfo("loss", "lower", "nats per target, from 0"),
        ScoreInfo("perplexity", "lower", "exp(loss), from 1"),
        ScoreInfo("bits_per_byte", "lower", "bits per UTF-8 byte, from 0"),
        ScoreInfo("generator_loss", "lower", "nats per hidden token, from 0"),
        ScoreInfo("detection_accuracy", "higher", "0..1, share of tokens"),
        # A baseline for detection_accuracy: that of taking every token for the text's own.
        ScoreInfo("unreplaced_share", "higher", "0..1, share of tokens"),
        ScoreInfo("accuracy", "higher", "0..1, share of rows"),
        # A baseline for accuracy: it depends only on the references, not on the model.
        ScoreInfo("majority_share", "higher", "0..1, share of the most frequent reference label"),
        ScoreInfo("precision_micro", "higher", "0..1, over rows"),
        ScoreInfo("precision_macro", "higher", "0..1, mean over labels"),
        ScoreInfo("recall_micro", "higher", "0..1, over rows"),
        ScoreInfo("recall_macro", "higher", "0..1, mean over labels"),
        ScoreInfo("f1_micro", "higher", "0..1, over rows"),
        ScoreInfo("f1_macro", "higher", "0..1, mean over labels"),
        ScoreInfo("mcc", "higher", "-1..1, correlation"),
        ScoreInfo("map", "higher", "0..1, mean over labels"),
        ScoreInfo("ece", "lower", "0..1, mean over rows, or over rows and labels"),
        ScoreInfo("brier", "lower", "0..2, mean over rows; 0..1 over rows and labels"),
        ScoreInfo("nll", "lower", "nats, from 0, mean over rows, or over rows and labels"),
        ScoreInfo("coverage", "higher", "0..1, share of rows that are answered"),
        ScoreInfo("selective_accuracy", "higher", "0..1, share of the answered rows"),
        ScoreInfo("mse", "lower", "squared units of the number, from 0"),
        ScoreInfo("pearson", "higher", "-1..1, correlation"),
        ScoreInfo("spearman", "higher", "-1..1, correlation of ranks"),
        ScoreInfo("rouge1", "higher", "0..1, mean F-measure over rows"),
        ScoreInfo("rouge2", "higher", "0..1, mean F-measure over rows"),
        ScoreInfo("rougeL", "higher", "0..1, mean F-measure over rows"),
        ScoreInfo("rougeLsum", "higher", "0..1, mean F-measure over rows"),
        ScoreInfo("neighbour_recall_1", "higher", "0..1, share of rows"),
        ScoreInfo("neighbour_recall_10", "higher", "0..1, share of rows"),
        # As for majority_share: baselines that depend only on the labels.
        ScoreInfo("neighbour_chance_1", "higher", "0..1, expected share of rows"),
        ScoreInfo("neighbour_chance_10", "higher", "0..1, expected share of rows"),
        ScoreInfo("entity_precision", "higher", "0..1, over predicted entities"),
        ScoreInfo("entity_recall", "higher", "0..1, over reference entities"),
        ScoreInfo("entity_f1", "higher", "0..1, over entities"),
        ScoreInfo("entity_f1_macro", "higher", "0..1, mean over types"),
        ScoreInfo("tag_accuracy", "higher", "0..1, share of words"),
        ScoreInfo("majority_tag_share", "higher", "0..1, share of the most frequent reference tag"),
        ScoreInfo("exact_match", "higher", "0..1, share of rows"),
        ScoreInfo("answer_f1", "higher", "0..1, mean F1 over rows"),
        # These four are on sacrebleu's scale, as usually reported.
        ScoreInfo("bleu", "higher", "0..100, over all rows"),
        ScoreInfo("chrf", "higher", "0..100, over all rows"),
        ScoreInfo("chrf++", "higher", "0..100, over all rows"),
        ScoreInfo("ter", "lower", "0..100 and beyond, edits in % of the references' words"),
        ScoreInfo("exact_text", "higher", "0..1, share of rows"),
    )
}

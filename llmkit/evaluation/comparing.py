"""Compare a model's scores with its task's baselines on the same rows, with a verdict in one sentence."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from llmkit.data.column_types import texts_in
from llmkit.data.examples import Examples
from llmkit.data.rows import Row
from llmkit.evaluation.baselines import baselines_of, judged_by_loss
from llmkit.evaluation.measure import score_rows
from llmkit.evaluation.metrics import SCORES, RougeTokenizer, is_better, perplexity
from llmkit.reservoir import Reservoir
from llmkit.tasks.base import Task, TaskRecipe

logger = logging.getLogger("llmkit")
MOST_ROWS = 100_000
MOST_CHARACTERS = 50_000_000
"""Training rows for a baseline. 51 million characters with two labels took 0.6 GB and half a minute of a core."""


@dataclass(frozen=True)
class Compared:
    """A baseline's scores."""

    name: str
    title: str
    scores: dict[str, float]


@dataclass(frozen=True)
class Comparison:
    """The comparison of a model with its baselines."""

    baselines: tuple[Compared, ...]
    metric: str
    """The score that the verdict compares."""
    better: bool
    """Whether the model beats the best of the baselines in it."""
    verdict: str
    train_rows: int
    """Number of rows that the baselines were trained on; 0 if none of them learns."""


def needs_training_rows(recipe: TaskRecipe) -> bool:
    """Whether a baseline of this recipe's task learns something; the unigram loss does."""
    return judged_by_loss(recipe) or any(baseline.learns for baseline in baselines_of(recipe))


def compare_predictions(
    task: Task,
    scores: Mapping[str, float],
    *,
    train: Iterable[Row],
    rows: Sequence[Row],
    examples: Examples,
    metrics: Sequence[str],
    rouge_tokenizer: RougeTokenizer,
) -> Comparison | None:
    """The baselines on the rows of the model's evaluation; None if the task has none, or no score to compare.

    Args:
        scores: the model's.
        train: the training rows, of which at most `MOST_ROWS` and `MOST_CHARACTERS` are used, sampled evenly.
        rows: the rows of `examples`.
        metrics: the metrics of the model's scores.
    """
    baselines = baselines_of(task.recipe)
    metric = compared_metric(scores, best=task.recipe.best)
    if not baselines or metric is None:
        return None
    held = _drawn(train) if any(baseline.learns for baseline in baselines) else []
    measured = _measured_rows(task, rows, count=examples.rows)
    found = []
    for baseline in baselines:
        if not baseline.fits(held) or not baseline.fits(measured):
            logger.warning("baselines: %s needs rows with %s; skipped", baseline.title, " and ".join(baseline.needs))
            continue
        predictions = baseline.predict(task.recipe, held, measured)
        if baseline.writes:
            predictions = [_cut(task, text) for text in predictions]
        scored = score_rows(task, predictions, examples.references, metrics=metrics, rouge_tokenizer=rouge_tokenizer)
        found.append(Compared(baseline.name, baseline.title, scored.values))
    return judge(scores, found, metric=metric, train_rows=len(held)) if found else None


def compare_loss(task: Task, scores: Mapping[str, float], *, train: Examples, examples: Examples) -> Comparison:
    """Compare a language model with predicting by token frequency alone; its training rows are blocks."""
    from llmkit.evaluation.baseline import unigram_loss

    loss = unigram_loss(task, train, examples)
    unigram = {"loss": loss, "perplexity": perplexity(loss, 1)}
    if "bits_per_byte" in scores:  # of the same targets and bytes
        unigram["bits_per_byte"] = scores["bits_per_byte"] * loss / scores["loss"]
    compared = Compared("unigram", "frequency of each token", unigram)
    return judge(scores, [compared], metric="loss", train_rows=len(train))


def compared_metric(scores: Mapping[str, float], *, best: str) -> str | None:
    """The score to compare: the one that selected the checkpoint, else the first one of predictions with a direction."""
    if best in scores and best != "loss":
        return best
    fits = (name for name in scores if name in SCORES and name not in ("loss", "majority_share"))
    return next(fits, None)


def judge(scores: Mapping[str, float], found: Sequence[Compared], *, metric: str, train_rows: int) -> Comparison:
    """Compare the model with the best of the baselines."""
    best = found[0]
    for one in found[1:]:
        if is_better(metric, one.scores[metric], best.scores[metric]):
            best = one
    mine, its = scores[metric], best.scores[metric]
    better = is_better(metric, mine, its)
    shown, other = _apart(mine, its)
    if better:
        verdict = f"The model beats {best.title} in {metric}, {shown} to {other}."
    elif mine == its:
        verdict = f"The model is no better than {best.title} in {metric}, {shown} each: it is not worth its cost yet."
    else:
        verdict = f"The model loses to {best.title} in {metric}, {shown} to {other}: it is not worth its cost yet."
    return Comparison(tuple(found), metric, better, verdict, train_rows)


def _apart(first: float, second: float) -> tuple[str, str]:
    """Both values with as few decimals as distinguish them, from 2 to 6."""
    for decimals in range(2, 7):
        shown = f"{first:.{decimals}f}", f"{second:.{decimals}f}"
        if shown[0] != shown[1]:
            break
    return (f"{first:.4f}", f"{second:.4f}") if first == second else shown


def _drawn(rows: Iterable[Row], *, most_rows: int = MOST_ROWS, most_characters: int = MOST_CHARACTERS) -> list[Row]:
    """All rows in their order; of more than there is room for, rows drawn evenly, always the same ones."""
    sample: Reservoir[tuple[int, Row]] = Reservoir()  # characters of each row, and the row
    characters = 0
    for row in rows:
        size = sum(map(len, texts_in(row.fields)))
        characters += size
        sample.add((size, row))
        while len(sample) > most_rows or (characters > most_characters and len(sample) > 1):
            characters -= sample.drop_last()[0]
    if len(sample) < (count := sample.items_added):
        logger.warning("baselines: trained on %s of %s training rows, drawn evenly", f"{len(sample):,}", f"{count:,}")
    return [row for _, row in sample]


def _measured_rows(task: Task, rows: Sequence[Row], *, count: int) -> Sequence[Row]:
    """The rows that became examples: `overflow: drop` leaves some out."""
    if count == len(rows):
        return rows
    with _quiet():
        return list(_kept(task, rows, count))


def _kept(task: Task, rows: Sequence[Row], count: int) -> Iterator[Row]:
    """Found by halves: what was dropped is seldom much."""
    if count in (0, len(rows)):
        yield from rows[:count]
        return
    middle = len(rows) // 2
    first = task.encode(rows[:middle]).rows
    yield from _kept(task, rows[:middle], first)
    yield from _kept(task, rows[middle:], count - first)


@contextmanager
def _quiet() -> Iterator[None]:
    """What encoding says of these rows was said already."""
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = False


def _cut(task: Task, text: str) -> str:
    """The text, truncated at the maximum number of tokens that the model may generate."""
    limit: int | None = task.loaded.model.generation_config.max_new_tokens
    encoded = task.loaded.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    ends: list[tuple[int, int]] = encoded["offset_mapping"]
    return text[: ends[limit - 1][1]] if limit is not None and len(ends) > limit else text

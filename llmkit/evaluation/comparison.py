"""Compare a model's scores with its task's baselines on the same rows, with a verdict in one sentence."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence

from llmkit.data.column_types import texts_in
from llmkit.data.examples import Examples
from llmkit.data.rows import Row
from llmkit.evaluation.baselines import baselines_of, judged_by_loss
from llmkit.evaluation.measure import Measured, score_rows
from llmkit.evaluation.metrics import RougeTokenizer, score_names_of, values_of
from llmkit.evaluation.metrics.language_model import loss_scores, loss_statistics
from llmkit.evaluation.repeated_messages import no_repeated_messages
from llmkit.evaluation.uncertainty.score_intervals import difference_interval
from llmkit.evaluation.unigram import unigram_nats
from llmkit.evaluation.verdict import BaselineScores, Comparison, compared_metric, judge
from llmkit.reservoir import Reservoir
from llmkit.tasks.base import Scores, Task, TaskRecipe

logger = logging.getLogger("llmkit")
MOST_ROWS = 100_000
MOST_CHARACTERS = 50_000_000
"""Training rows for a baseline. 51 million characters with two labels took 0.6 GB and half a minute of a core."""


def needs_training_rows(recipe: TaskRecipe) -> bool:
    """Whether a baseline of this recipe's task learns something; the unigram loss does."""
    return judged_by_loss(recipe) or any(baseline.learns for baseline in baselines_of(recipe))


def compare_predictions(
    task: Task,
    scores: Scores,
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
    own = [name for name in metrics if values_of(name) == "probabilities"]  # baselines predict labels alone
    metrics = [name for name in metrics if name not in own]
    comparable = {name: value for name, value in scores.values.items() if name not in score_names_of(own)}
    metric = compared_metric(comparable, best=task.recipe.best)
    if not baselines or metric is None or not metrics:
        return None
    train_rows = _sample_rows(train) if any(baseline.learns for baseline in baselines) else []
    measured = _measured_rows(task, rows, count=examples.rows)
    baseline_scores = []
    for baseline in baselines:
        if not baseline.fits(train_rows) or not baseline.fits(measured):
            logger.warning("baselines: %s needs rows with %s; skipped", baseline.title, " and ".join(baseline.needs))
            continue
        predictions = baseline.predict(task.recipe, train_rows, measured)
        scored = score_rows(task, predictions, examples.references, metrics=metrics, rouge_tokenizer=rouge_tokenizer)
        baseline_scores.append(BaselineScores(baseline.name, baseline.title, scored.values, scored.statistics))
    if not baseline_scores:
        return None
    return judge(
        scores.values,
        baseline_scores,
        metric=metric,
        train_rows=len(train_rows),
        interval_of=lambda baseline: difference_interval(
            scores.statistics, baseline.statistics, metric, clusters=examples.clusters
        ),
    )


def compare_loss(task: Task, measured: Measured, *, train: Examples, examples: Examples) -> Comparison:
    """Compare a language model with predicting by token frequency alone, and one that tells replaced tokens with taking
    none for replaced; its training rows are blocks."""
    scores = measured.scores.values
    if "unreplaced_share" in scores:
        none = BaselineScores("unreplaced", "no token replaced", {"detection_accuracy": scores["unreplaced_share"]})
        return judge(scores, [none], metric="detection_accuracy", train_rows=len(train))
    nats, sizes = unigram_nats(task, train, examples), measured.losses.utf8_bytes
    targets = int(measured.losses.targets.sum())
    names = [name for name in ("loss", "perplexity", "bits_per_byte") if name in scores]
    unigram = loss_scores(names, float(nats.sum()), targets, examples.utf8_bytes)
    statistics = loss_statistics(names, nats, measured.losses.targets, sizes)
    baseline = BaselineScores("unigram", "frequency of each token", unigram, statistics)
    return judge(
        scores,
        [baseline],
        metric="loss",
        train_rows=len(train),
        interval_of=lambda baseline: difference_interval(measured.scores.statistics, baseline.statistics, "loss"),
    )


def _sample_rows(
    rows: Iterable[Row], *, most_rows: int = MOST_ROWS, most_characters: int = MOST_CHARACTERS
) -> list[Row]:
    """All rows in their order, or an even sample of them, always the same, if they exceed the limits."""
    sample: Reservoir[tuple[int, Row]] = Reservoir()  # characters of each row, and the row
    characters = 0
    for row in rows:
        size = sum(map(len, texts_in(row.fields)))
        characters += size
        sample.add((size, row))
        while len(sample) > most_rows or (characters > most_characters and len(sample) > 1):
            characters -= sample.drop_last()[0]
    if len(sample) < (count := sample.items_added):
        logger.warning("baselines: trained on %s of %s training rows, sampled evenly", f"{len(sample):,}", f"{count:,}")
    return [row for _, row in sample]


def _measured_rows(task: Task, rows: Sequence[Row], *, count: int) -> Sequence[Row]:
    """The rows that became examples: `overflow: drop` leaves some out."""
    if count == len(rows):
        return rows
    with no_repeated_messages():
        return list(_encoded_rows(task, rows, count))


def _encoded_rows(task: Task, rows: Sequence[Row], count: int) -> Iterator[Row]:
    """Search by halves, since few rows are dropped."""
    if count in (0, len(rows)):
        yield from rows[:count]
        return
    middle = len(rows) // 2
    first = task.encode(rows[:middle]).rows
    yield from _encoded_rows(task, rows[:middle], first)
    yield from _encoded_rows(task, rows[middle:], count - first)

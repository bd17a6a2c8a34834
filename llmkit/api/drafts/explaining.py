"""The keys of a new recipe, each with a comment that explains it or says why it has this value."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from llmkit.api.drafts.lengths import token_limit
from llmkit.api.drafts.plan import Plan
from llmkit.api.drafts.writing import Line, recipe_text
from llmkit.data.profiles import SAMPLE_ROWS
from llmkit.models.families import FAMILIES
from llmkit.recipe.blocks import TrainBlock
from llmkit.recipe.documentation import key_docs
from llmkit.tasks import PRETRAINING
from llmkit.tasks.base import WRITING_HEADS
from llmkit.tasks.columns import free_columns
from llmkit.tasks.seq2seq.recipe import Seq2SeqRecipe

_VOCABULARY = 4000


def text_of(plan: Plan, file: str) -> str:
    verb = "pretrain" if plan.task in PRETRAINING else "finetune"
    header = f"Written by llmkit init. Check and train: llmkit {verb} {shlex.quote(file)}\nEvery key with its default: docs/recipes.md"
    return recipe_text(
        header,
        [*_task_lines(plan), *_model_lines(plan), *_data_lines(plan), *_length_lines(plan), *_training_lines(plan)],
    )


def _task_lines(plan: Plan) -> Iterator[Line]:
    yield Line("recipe", 1, "version of the recipe language")
    yield Line("task", plan.task, plan.reason)
    docs = key_docs(plan.recipe_class)
    for key, value in plan.match.keys.items():
        yield Line(key, value, " ".join(docs[key].split()))  # type: ignore[arg-type]  # scalars
    for key, language in plan.languages.items():
        swap = "swap the two languages, and their columns below, for the other direction" if "source" in key else ""
        yield Line(key, language, swap)


def _model_lines(plan: Plan) -> Iterator[Line]:
    model = plan.model
    assert model is not None
    if model.name is not None:
        yield Line("model", model.name, model.comment)
        return
    yield Line("model", comment=model.comment)
    yield Line("architecture", model.architecture, depth=1)
    yield Line("size", model.size, "tiny, mini, small, ...: docs/recipes.md has the table", depth=1)
    yield Line("tokenizer", comment="trained on these rows", depth=1)
    yield Line("vocab_size", _VOCABULARY, depth=2)


def _data_lines(plan: Plan) -> Iterator[Line]:
    yield Line("data")
    yield Line("train", plan.source, _source_comment(plan), depth=1)
    for split, value in plan.splits.items():
        what = "scored during training, to keep the best checkpoint" if split == "validation" else "for llmkit evaluate"
        share = "share of the rows, " if value.endswith("%") else ""
        yield Line(split, value, share + what, depth=1)
    if plan.table is not None and plan.table.quoting != "auto":
        yield Line("quoting", plan.table.quoting, "what quotes mean in the file", depth=1)
    mapped = {name: column for name, column in plan.match.columns.items() if column != name}
    if plan.is_placeholder:
        mapped = {name: name for name in plan.recipe_class.COLUMN_TYPES}
    if mapped:
        yield Line("columns", comment=_columns_comment(plan), depth=1)
    for name, column in mapped.items():
        yield Line(name, column, depth=2)


def _source_comment(plan: Plan) -> str:
    table = plan.table
    if plan.is_builtin:
        return "from the Python packages on this machine, to try llmkit; put your file here"
    if table is None:
        return "put your file here (.csv, .tsv, .jsonl, .parquet)"
    rows = f"{table.rows:,}" if table.is_whole else f"more than {SAMPLE_ROWS:,}"
    count = "lines" if plan.is_lines else f"{rows} {'documents' if table.format == 'text' else 'rows'}"
    return f"{count}; the path is relative to the folder you train in"


def _columns_comment(plan: Plan) -> str:
    """Field -> column, and the columns that are not read."""
    table = plan.table
    unread = [] if table is None else [column.name for column in free_columns(table, plan.match.columns)]
    rest = f"; not read: {', '.join(unread)}" if unread else ""
    return f"the task's name of a column -> its name in your data{rest}"


def _length_lines(plan: Plan) -> Iterator[Line]:
    if plan.is_lines:
        yield Line("text_files", "line", "each line is a text; document: the text between blank lines")
    columns = plan.read_columns()
    fields = plan.recipe_class.model_fields
    if "block_tokens" in fields:
        yield Line("block_tokens", 128, "the text is cut into blocks of this length; up to the model's window")
    elif issubclass(plan.recipe_class, Seq2SeqRecipe):
        sides = {
            "max_source_tokens": (plan.recipe_class.SOURCE, 32),
            "max_target_tokens": (plan.recipe_class.TARGET, 16),
        }
        for key, (name, least) in sides.items():
            column = plan.column(name)
            limit = 128 if column is None else token_limit([column], least=least, most=512)
            yield Line(key, limit, _limit_comment(plan))
    elif "max_tokens" in fields:
        is_part = "sentence" in plan.match.columns  # a row is a word, not a text
        limit = token_limit(columns, least=32, most=512) if columns and not is_part else 128
        yield Line("max_tokens", limit, _limit_comment(plan))


def _limit_comment(plan: Plan) -> str:
    overflow = plan.recipe_class.model_fields["overflow"].default
    longer = "read in windows" if overflow == "window" else "truncated, with a count"
    return f"{'estimated from the texts; ' if plan.table is not None else ''}longer ones are {longer}"


def _training_lines(plan: Plan) -> Iterator[Line]:
    model = plan.model
    assert model is not None
    yield Line("train")
    yield Line("epochs", 1 if plan.is_builtin else 3, "passes over the training rows", depth=1)
    yield Line("batch_size", 16, "rows per update", depth=1)
    optimizer = FAMILIES[model.architecture].random_optimizer
    if model.name is None and optimizer != TrainBlock().optimizer:
        yield Line("optimizer", optimizer, f"{model.architecture} with random weights needs it", depth=1)
    if plan.recipe_class.HEAD in WRITING_HEADS and plan.recipe_class.METRICS:
        yield Line("evaluation")
        yield Line("max_rows", 100, "validation rows to write texts for during training, which takes time", depth=1)

"""What the functions of the Python API take as many texts, and what they say to the rest."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from builders import tiny_model
from tiny_recipes import FOOD, SPORT

import llmkit
from llmkit import api
from llmkit.api import Model
from llmkit.data.given import given_pairs, given_texts, given_texts_or_pairs
from llmkit.errors import DataError, LlmkitError, UsageError
from llmkit.evaluation.metrics import score_texts

TEXTS = ["a red house", "a green tree", "the sea"]
COLUMNS: dict[str, Callable[[], Any]] = {
    "list": lambda: TEXTS,
    "tuple": lambda: tuple(TEXTS),
    "iterator": lambda: iter(TEXTS),
    "dictionary keys": lambda: dict.fromkeys(TEXTS).keys(),
    "open file": lambda: io.StringIO("\n".join(TEXTS) + "\n"),
    "Series": lambda: pd.Series(TEXTS),
    "Series of strings": lambda: pd.Series(TEXTS, dtype="string"),
    "categories": lambda: pd.Series(TEXTS, dtype="category"),
    "Index": lambda: pd.Index(TEXTS),
    "column of a DataFrame": lambda: pd.DataFrame({"t": TEXTS})["t"],
    "Array": lambda: pa.array(TEXTS),
    "large Array": lambda: pa.array(TEXTS, pa.large_string()),
    "ChunkedArray": lambda: pa.table({"t": TEXTS})["t"],
    "dictionary Array": lambda: pa.array(TEXTS).dictionary_encode(),
    "numpy text": lambda: np.array(TEXTS),
    "numpy objects": lambda: np.array(TEXTS, dtype=object),
    "Dataset column": lambda: datasets.Dataset.from_dict({"t": TEXTS})["t"],
    "Dataset slice": lambda: datasets.Dataset.from_dict({"t": TEXTS})[:]["t"],
}
NO_LISTS: dict[str, Callable[[], Any]] = {
    "text": lambda: "a red house",
    "numpy scalar": lambda: np.array("a red house"),
    "bytes": lambda: b"a red house",
    "path": lambda: Path("rows.csv"),
    "dict": lambda: {"text": TEXTS},
    "DataFrame": lambda: pd.DataFrame({"text": TEXTS}),
    "Table": lambda: pa.table({"text": TEXTS}),
    "RecordBatch": lambda: pa.RecordBatch.from_pydict({"text": TEXTS}),
    "Dataset": lambda: datasets.Dataset.from_dict({"text": TEXTS}),
    "DatasetDict": lambda: datasets.DatasetDict({"train": datasets.Dataset.from_dict({"text": TEXTS})}),
    "set": lambda: set(TEXTS),
    "number": lambda: 3,
    "None": lambda: None,
}
BAD_ITEMS = [None, float("nan"), np.nan, pd.NA, pd.NaT, 3, b"text", Path("a"), {"text": "a"}, np.array(["a", "b"])]


@pytest.mark.parametrize("name", list(COLUMNS))
def test_any_column_gives_its_texts_in_order(name: str) -> None:
    texts = list(given_texts(COLUMNS[name]()))
    assert texts == TEXTS
    assert all(type(text) is str for text in texts)
    assert list(given_texts_or_pairs(COLUMNS[name]())) == TEXTS


@pytest.mark.parametrize("item", BAD_ITEMS, ids=repr)
def test_a_bad_item_is_named_by_its_number(item: object) -> None:
    for values in ([*TEXTS, item], iter([*TEXTS, item]), pd.Series([*TEXTS, item], dtype=object)):
        with pytest.raises(DataError, match="row 4"):
            list(given_texts(values))
    with pytest.raises(DataError, match="row 1"):
        list(given_pairs([("a", item)]))
    with pytest.raises(DataError, match="row 2"):
        list(given_pairs([("a", "b"), ("a", "b", "c")]))


def test_a_missing_value_of_arrow_is_named_by_its_number() -> None:
    for values in (pa.array(["a", None]), pd.Series(["a", None], dtype="string"), np.array(["a", None], dtype=object)):
        with pytest.raises(DataError, match="row 2"):
            list(given_texts(values))


def test_pairs_may_be_tuples_lists_and_rows_of_an_array() -> None:
    expected = [("a", "b"), ("c", "d")]
    for values in (expected, [list(pair) for pair in expected], np.array(expected), zip("ac", "bd", strict=True)):
        assert list(given_pairs(values)) == expected


VERBS: dict[str, Callable[[Model, Any], Any]] = {
    "classify": lambda model, values: list(model.classify(values)),
    "embed": lambda model, values: model.embed(values),
    "search": lambda model, values: model.search(values, TEXTS),
    "search in": lambda model, values: model.search(["a sea"], values),
    "save_vectors": lambda model, values: api.save_vectors(model, values, "v.jsonl"),
    "fill": lambda model, values: list(model.fill(values)),
    "generate": lambda model, values: list(model.generate(values, max_new_tokens=2)),
    "summarize": lambda model, values: list(model.summarize(values)),
    "translate": lambda model, values: list(model.translate(values)),
    "tag": lambda model, values: list(model.tag(values)),
    "answer_many": lambda model, values: list(model.answer_many(values)),
    "choose": lambda model, values: list(model.choose(values)),
}


class AnyModel(Model):
    """A model that passes for one of any verb, since no verb comes to read a text here."""

    def __init__(self) -> None:
        super().__init__(tiny_model("bert"), None, head="classification")  # type: ignore[arg-type]

    def _check_head(self, verb: Any) -> None: ...


@pytest.fixture(scope="module")
def any_model() -> Model:
    return AnyModel()


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in ("summarize", "translate")])
def test_every_verb_refuses_what_is_no_list(any_model: Model, verb: str) -> None:
    for name, values in NO_LISTS.items():
        with pytest.raises(UsageError) as caught:
            VERBS[verb](any_model, values())
        assert "column" in str(caught.value) or "list" in str(caught.value) or "read_texts" in str(caught.value), name


def test_real_verbs_take_columns_and_name_bad_items(here: Path) -> None:
    models = {verb: llmkit.load(f"runs/{run}-001") for verb, run in
              (("classify", "classify"), ("generate", "write"), ("summarize", "summarize"))}  # fmt: skip
    for verb, model in models.items():
        expected = VERBS[verb](model, [SPORT, FOOD])
        assert VERBS[verb](model, pd.Series([SPORT, FOOD])) == expected
        assert VERBS[verb](model, pa.array([SPORT, FOOD])) == expected
        with pytest.raises(DataError, match="row 2"):
            VERBS[verb](model, [SPORT, None])
        for values in NO_LISTS.values():
            with pytest.raises(UsageError):
                VERBS[verb](model, values())


def test_single_texts_are_checked_as_well(here: Path) -> None:
    for text in (None, [SPORT], 3):
        with pytest.raises(UsageError, match="prompt"):
            next(llmkit.load("runs/write-001").stream(text))  # type: ignore[arg-type]


@pytest.mark.parametrize("messages", ["hello", None, {"role": "user", "content": "a"}, [None], [{"role": "user"}], 3])
def test_a_conversation_of_another_kind_is_refused(here: Path, messages: Any) -> None:
    with pytest.raises(LlmkitError, match="messages"):
        llmkit.load("runs/instruct-001").chat(messages)


@pytest.mark.parametrize("data", ["rows.jsonl", Path("rows.jsonl"), pd.DataFrame({"text": TEXTS}), [3]])
def test_data_that_are_no_list_of_sources_are_refused(here: Path, data: Any) -> None:
    for evaluate in (llmkit.evaluate_model, api.evaluate_embeddings):
        with pytest.raises(UsageError, match="data"):
            evaluate("runs/classify-001", data=data)


def test_sources_may_be_paths_and_metrics_are_a_list(own_runs: Path) -> None:
    assert llmkit.evaluate_model("runs/classify-001", data=[Path("rows.jsonl")]).rows == 80  # type: ignore[list-item]
    with pytest.raises(UsageError, match="metrics"):
        llmkit.evaluate_model("runs/classify-001", data=["rows.jsonl"], metrics="accuracy")
    with pytest.raises(UsageError, match="overrides"):
        llmkit.finetune("classify.yaml", overrides="train.steps=1")


def test_scores_are_of_columns_of_any_kind() -> None:
    expected = score_texts(["rouge"], TEXTS, TEXTS[::-1]).values

    def columns() -> Iterator[Any]:
        yield from (pd.Series(TEXTS), pa.array(TEXTS), np.array(TEXTS), iter(TEXTS), tuple(TEXTS))

    for column in columns():
        assert score_texts(["rouge"], column, TEXTS[::-1]).values == expected
    with pytest.raises(UsageError, match="references"):
        score_texts(["rouge"], TEXTS, "a red house")
    for bad in (None, float("nan")):
        with pytest.raises(DataError, match="row 2"):
            score_texts(["rouge"], ["a", bad], ["a", "b"])

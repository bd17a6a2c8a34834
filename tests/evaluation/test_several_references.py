"""Several references per row: the scores of sacrebleu and rouge-score with all of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from facts import facts, says
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER
from tiny_recipes import llmkit as command_line

import llmkit
from llmkit.errors import DataError, UsageError
from llmkit.evaluation.metrics import score_texts

WRITTEN = ["a red fox ran over the hill", "it was dark at night", "the old bridge fell down"]
FIRST = ["a red fox crossed the hill", "the night was dark", "the old bridge collapsed"]
SECOND = ["over the hill ran a fox that was red", "it was dark that night", "down fell the bridge"]
ROWS = [list(pair) for pair in zip(FIRST, SECOND, strict=True)]
SACREBLEU = {"bleu": BLEU(), "chrf": CHRF(), "chrf++": CHRF(word_order=2), "ter": TER()}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, texts in (("p", WRITTEN), ("first", FIRST), ("second", SECOND)):
        (tmp_path / f"{name}.txt").write_text("\n".join(texts) + "\n")
    return tmp_path


@pytest.mark.parametrize("metric", SACREBLEU)
def test_scores_of_sacrebleu_use_all_references(metric: str) -> None:
    found = score_texts([metric], WRITTEN, ROWS)
    assert found.values[metric] == pytest.approx(SACREBLEU[metric].corpus_score(WRITTEN, [FIRST, SECOND]).score)
    assert found.values[metric] != pytest.approx(score_texts([metric], WRITTEN, FIRST).values[metric])
    assert "nrefs:2" in found.details[metric]["signature"]


@pytest.mark.parametrize("metric", SACREBLEU)
def test_rows_may_have_different_numbers_of_references(metric: str) -> None:
    found = score_texts([metric], WRITTEN, [ROWS[0], FIRST[1], [*ROWS[2], "x"]])
    columns: Any = [FIRST, [SECOND[0], None, SECOND[2]], [None, None, "x"]]
    assert found.values[metric] == pytest.approx(SACREBLEU[metric].corpus_score(WRITTEN, columns).score)
    assert "nrefs:var" in found.details[metric]["signature"]


def test_ter_counts_characters_of_all_references_in_a_script_without_spaces() -> None:
    near, far = "ฉันรักคุณ", "วันนี้อากาศดี"
    assert score_texts(["ter"], [near], [[far, near]]).values["ter"] == 0
    assert score_texts(["ter"], [near], [far]).values["ter"] > 50


def test_chrf_plus_plus_is_chrf_with_words() -> None:
    values = score_texts(["chrf", "chrf++"], WRITTEN, FIRST).values
    assert values["chrf++"] == pytest.approx(CHRF(word_order=2).corpus_score(WRITTEN, [FIRST]).score)
    assert values["chrf++"] != pytest.approx(values["chrf"])


def test_each_rouge_score_of_a_row_is_that_of_its_best_reference() -> None:
    found = score_texts(["rouge"], WRITTEN, ROWS).values
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL", "rougeLsum"], use_stemmer=True)
    rows = [[scorer.score(text, written) for text in texts] for texts, written in zip(ROWS, WRITTEN, strict=True)]
    for name, value in found.items():
        best = [max(scores[name].fmeasure for scores in row) for row in rows]
        assert value == pytest.approx(sum(best) / len(best))
    assert found["rouge1"] > score_texts(["rouge"], WRITTEN, FIRST).values["rouge1"]


def test_a_row_without_words_in_any_reference_is_counted_once() -> None:
    details = score_texts(["rouge"], ["a b", "a b"], [["...", "a b"], ["...", "!"]]).details["rouge"]
    assert (details["references_without_tokens"], details["references_without_bigrams"]) == (1, 1)


def test_a_text_that_equals_any_reference_is_exact() -> None:
    assert score_texts(["exact_text"], ["a  b", "c"], [["x", "a b"], ["x", "y"]]).values["exact_text"] == 0.5


@pytest.mark.parametrize("metric", [*SACREBLEU, "rouge", "exact_text", "squad"])
@pytest.mark.parametrize("layout", ["jsonl", "parquet", "files", "both"])
def test_references_of_a_row_are_a_list_in_the_column_or_one_in_each_file(
    metric: str, layout: str, folder: Path
) -> None:
    if layout == "jsonl":
        (folder / "r.jsonl").write_text("".join(json.dumps({"reference": row}) + "\n" for row in ROWS))
    if layout == "both":
        lists = [[text] for text in FIRST]
        (folder / "r.jsonl").write_text("".join(json.dumps({"reference": row}) + "\n" for row in lists))
    if layout == "parquet":
        pq.write_table(pa.table({"id": [1, 2, 3], "target": ROWS}), folder / "r.parquet")
    files = {"files": ["first.txt", "second.txt"], "both": ["r.jsonl", "second.txt"]}.get(layout, [f"r.{layout}"])
    found = llmkit.score_files("p.txt", files, metrics=[metric])
    assert found.scores.values == score_texts([metric], WRITTEN, ROWS).values
    assert found.rows == 3


def test_the_command_takes_references_once_for_each_file(folder: Path) -> None:
    outcome = command_line(
        *("evaluate", "--predictions", "p.txt", "--references", "first.txt", "--references", "second.txt"),
        *("--metric", "bleu", "--metric", "chrf++"),
    )
    assert outcome.code == 0, outcome.err
    says(outcome.out, "first.txt", "second.txt")
    for metric in ("bleu", "chrf++"):
        says(outcome.out, metric, f"{SACREBLEU[metric].corpus_score(WRITTEN, [FIRST, SECOND]).score:.4f}")
        says(outcome.out, metric, "nrefs:2")


@pytest.mark.parametrize("metric", ["accuracy", "f1", "mcc", "mse", "tag_accuracy", "entities", "map", "confusion"])
def test_a_metric_that_compares_with_one_reference_refuses_several_files(metric: str, folder: Path) -> None:
    with pytest.raises(UsageError, match=facts(metric, "--references")):
        llmkit.score_files("p.txt", ["first.txt", "second.txt"], metrics=[metric])


@pytest.mark.parametrize("reference", [[], ["a", None], ["a", 3], [["a"], "b"], None, {"a": "b"}])
def test_a_row_whose_references_are_not_texts_is_named(reference: object, folder: Path) -> None:
    rows = [{"reference": "a"}, {"reference": reference}, {"reference": ["a", "b"]}]
    (folder / "r.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError, match=facts("r.jsonl:2:", "bleu")):
        llmkit.score_files("p.txt", "r.jsonl", metrics=["bleu"])


def test_files_of_references_with_other_numbers_of_rows_are_refused(folder: Path) -> None:
    (folder / "second.txt").write_text("a\nb\n")
    with pytest.raises(DataError, match=facts(3, 2)):
        llmkit.score_files("p.txt", ["first.txt", "second.txt"], metrics=["bleu"])

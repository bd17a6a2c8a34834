"""The Python API: the same verbs as plain functions."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from facts import facts, logged, says
from tiny_recipes import FOOD, SPORT, rows, write_jsonl

import llmkit
from llmkit.api import Begun, Evaluated, Saved, StepResult
from llmkit.errors import DataError, ModelError, RunError, UsageError


def test_finetune_reports_its_events_in_order_and_returns_the_best(work: Path) -> None:
    events: list[object] = []
    overrides = ["train.steps=4", "evaluation.every=2 steps"]
    finished = llmkit.finetune("classify.yaml", overrides=overrides, run="mine", report=events.append)
    assert finished is not None
    assert [type(event) for event in events] == [Begun, *[StepResult, StepResult, Evaluated, Saved] * 2]
    evaluated = [event for event in events if isinstance(event, Evaluated)]
    best = max(event.scores.values["accuracy"] for event in evaluated)
    assert finished.scores[finished.best] == finished.scores["accuracy"] == best
    assert finished.best_step == next(e.step for e in evaluated if e.scores.values["accuracy"] == best)
    assert finished.run.folder == Path("mine")
    assert not finished.already_complete


def test_a_training_reported_to_can_be_stopped_by_the_caller_and_resumed(work: Path, trained: Path) -> None:
    class Enough(Exception):
        pass

    def stop_after_the_first_checkpoint(event: object) -> None:
        if isinstance(event, Saved):
            raise Enough

    with pytest.raises(Enough):
        llmkit.finetune("classify.yaml", run="mine", report=stop_after_the_first_checkpoint)
    finished = llmkit.finetune(resume="mine")
    assert finished is not None
    weights = [folder / "model/model.safetensors" for folder in (work / "mine", trained / "runs/classify-001")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_a_classifier_gives_label_and_probabilities_in_order(here: Path) -> None:
    results = list(llmkit.load("runs/classify-001").classify(iter([SPORT, FOOD, SPORT])))
    assert [result.label for result in results] == ["sport", "food", "sport"]
    assert results[0] == results[2]
    assert results[1].text == FOOD
    assert sum(results[1].probabilities.values()) == pytest.approx(1)


def test_a_language_model_gives_the_same_text_whole_and_in_pieces(here: Path) -> None:
    model = llmkit.load("runs/write-001")
    assert model.continues
    (whole,) = model.generate([SPORT], max_new_tokens=8)
    pieces = list(model.stream(SPORT, max_new_tokens=8))
    assert "".join(pieces) == whole.texts[0]
    assert len(pieces) > 1


def test_a_summarizer_gives_one_summary_a_text(here: Path) -> None:
    model = llmkit.load("runs/summarize-001")
    assert not model.continues
    results = list(model.summarize([SPORT, FOOD], max_new_tokens=4, beams=2, num_return_sequences=2))
    assert [result.prompt for result in results] == [SPORT, FOOD]
    assert [len(result.texts) for result in results] == [2, 2]


def test_one_text_where_texts_belong_is_refused(here: Path) -> None:
    model = llmkit.load("runs/classify-001")
    with pytest.raises(UsageError, match=facts("list of texts")):
        model.classify(SPORT)


@pytest.mark.parametrize(
    ("option", "value"), [("temperature", 0.0), ("top_p", 0.0), ("top_k", -1), ("beams", 0), ("max_new_tokens", 0)]
)
def test_an_option_outside_its_range_is_refused_with_the_range(here: Path, option: str, value: float) -> None:
    with pytest.raises(UsageError, match=facts(f"--{option.replace('_', '-')}", value)):
        llmkit.load("runs/write-001").generate([SPORT], **{option: value})


def test_a_model_without_a_verb_is_opened_by_its_own_kind(here: Path) -> None:
    assert llmkit.load("runs/classify-001").loaded.family.name == "bert"
    assert llmkit.load("runs/write-001/model").loaded.family.name == "gpt2"
    with pytest.raises(UsageError, match=facts("model", "hub id")):
        llmkit.load()
    with pytest.raises(ModelError, match=facts("runs/nothing", "folder")):
        llmkit.load("runs/nothing")


def test_the_newest_finished_run_that_fits_is_chosen(own_runs: Path, caplog: pytest.LogCaptureFixture) -> None:
    shutil.copytree("runs/classify-001", "runs/a-newer-one")
    manifest = json.loads(Path("runs/classify-001/run.json").read_text())
    Path("runs/a-newer-one/run.json").write_text(json.dumps({**manifest, "finished": "2999-01-01T00:00:00"}))
    shutil.copytree("runs/classify-001", "runs/unfinished")
    shutil.rmtree("runs/unfinished/model")
    Path("runs/notes").mkdir()
    with caplog.at_level("INFO", logger="llmkit"):
        assert llmkit.load(verb="classify").loaded.name == "runs/a-newer-one"
        assert llmkit.load(verb="generate").loaded.name == "runs/write-001"
    assert len(logged(caplog, "INFO", "runs/a-newer-one", "classify")) == 1


def test_without_a_run_classify_asks_for_a_model(work: Path) -> None:
    with pytest.raises(UsageError, match=facts("classification", "--model")):
        llmkit.load(verb="classify")


def test_score_files_compares_row_by_row(tmp_path: Path) -> None:
    predictions = write_jsonl(tmp_path / "p.jsonl", [{"label": name} for name in ("a", "b", "a")])
    references = write_jsonl(tmp_path / "r.jsonl", [{"label": name} for name in ("a", "b", "b")])
    evaluation = llmkit.score_files(predictions, references, metrics=["accuracy", "f1"])
    assert evaluation.rows == 3
    assert evaluation.predictions == ["a", "b", "a"]
    assert evaluation.scores.values["accuracy"] == pytest.approx(2 / 3)
    with pytest.raises(UsageError, match=facts("--metric")):
        llmkit.score_files(predictions, references, metrics=[])


def test_evaluate_model_agrees_with_classify(own_runs: Path) -> None:
    evaluation = llmkit.evaluate_model("runs/classify-001/model", data=["rows.jsonl"])
    texts = [row["text"] for row in rows()]
    labels = [result.label for result in llmkit.load("runs/classify-001").classify(texts)]
    assert evaluation.predictions == labels
    right = sum(label == row["label"] for label, row in zip(labels, rows(), strict=True))
    assert evaluation.scores.values["accuracy"] == right / len(texts)


def test_evaluation_uses_the_test_rows_where_the_recipe_has_them(work: Path) -> None:
    overrides = ["train.steps=2", "data.test=20%"]
    llmkit.finetune("classify.yaml", overrides=overrides, run="mine")
    evaluation = llmkit.evaluate_model("mine")
    says(evaluation.data, "test", "mine")
    assert (work / "mine/evaluation/test.json").exists()


def test_an_unseen_label_is_refused_with_its_count_and_the_labels_there_are(here: Path, tmp_path: Path) -> None:
    data = write_jsonl(tmp_path / "d.jsonl", [{"text": "a b", "label": "sports"}] * 2)
    with pytest.raises(DataError, match=facts("'sports'", "d.jsonl:1", "'sport'", "food, sport")) as caught:
        llmkit.evaluate_model("runs/classify-001/model", data=[str(data)])
    assert "2 of 2 rows" in str(caught.value)


def test_resuming_what_is_no_run_is_refused(here: Path) -> None:
    with pytest.raises(RunError, match=facts("tiny-t5", "run.json")):
        llmkit.finetune(resume="tiny-t5")


def test_a_model_that_was_opened_for_another_verb_says_how_to_open_it(trained: Path) -> None:
    classifier = llmkit.load(str(trained / "runs/classify-001"))
    writer = llmkit.load(str(trained / "runs/write-001"))
    for use in (
        lambda: classifier.tag([SPORT]),
        lambda: classifier.answer("who", SPORT),
        lambda: classifier.generate([SPORT]),
        lambda: classifier.stream(SPORT),
        lambda: writer.classify([SPORT]),
        lambda: writer.summarize([SPORT]),
        lambda: writer.translate([SPORT]),
        lambda: writer.embed([SPORT]),
    ):
        with pytest.raises(UsageError, match=facts("llmkit.load(", "verb=")):
            use()

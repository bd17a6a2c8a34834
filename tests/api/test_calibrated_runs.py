"""A classifier that is calibrated and may abstain, from its recipe to its use."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from facts import says
from scipy.stats import binomtest
from tiny_recipes import WORDS, write_jsonl
from tiny_recipes import llmkit as command_line
from transformers import BertForSequenceClassification

import llmkit
from llmkit.errors import ModelError, RunError, UsageError

RECIPE = """recipe: 1
task: classification
model: {architecture: bert, size: tiny, tokenizer: {vocab_size: 200}}
data: {train: train.jsonl, validation: validation.jsonl}
calibrate: temperature
abstain: {accuracy: 0.55}
train: {steps: 8, batch_size: 16, learning_rate: 3e-3}
evaluation: {every: 4 steps}
"""


def write_rows(path: Path, count: int, *, seed: int) -> list[str]:
    """Texts of six words; every fifth has the wrong label, so that no model is right about all."""
    rng, rows = random.Random(seed), []
    for number in range(count):
        label = ["food", "sport"][number % 2]
        text = " ".join(rng.choice(WORDS[label]) for _ in range(6))
        rows.append({"text": text, "label": {"food": "sport", "sport": "food"}[label] if number % 5 == 0 else label})
    write_jsonl(path, rows)
    return [row["text"] for row in rows]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("calibrated")
    write_rows(folder / "train.jsonl", 200, seed=1)
    write_rows(folder / "validation.jsonl", 200, seed=2)
    (folder / "recipe.yaml").write_text(RECIPE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert llmkit.finetune("recipe.yaml", run="run") is not None
    shutil.copytree(folder / "run", folder / "untouched")
    return folder


@pytest.fixture
def here(trained: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(trained)
    return trained


def saved(folder: Path) -> dict[str, Any]:
    config = json.loads((folder / "run/model/config.json").read_text())
    entry: dict[str, Any] = config["task_specific_params"]["classification"]
    return entry


def test_evaluation_and_use_have_the_probabilities_that_were_calibrated(here: Path) -> None:
    entry = saved(here)
    assert entry["temperature"] > 0
    best = json.loads((here / "run/run.json").read_text())["best"]["validation"]
    measured = llmkit.evaluate_model("run")
    assert measured.scores.values == pytest.approx(best)
    assert {"ece", "coverage", "selective_accuracy"} <= measured.scores.values.keys()
    assert measured.scores.details["temperature"] == entry["temperature"]
    assert measured.scores.details["abstain_below"] == entry["abstain_below"]
    alone = llmkit.evaluate_model("run/model", data=["validation.jsonl"])
    assert alone.scores.values == pytest.approx(measured.scores.values)
    texts = [json.loads(line)["text"] for line in (here / "validation.jsonl").read_text().splitlines()]
    lines = map(json.loads, (here / "run/evaluation/validation.predictions.jsonl").read_text().splitlines())
    for result, line in zip(llmkit.load("run").classify(texts), lines, strict=True):
        assert result.probabilities == pytest.approx(line["probabilities"], abs=1e-6)
        assert result.best_guess == line["prediction"]
        assert result.abstained == line["abstained"] == (max(result.probabilities.values()) < entry["abstain_below"])
        assert result.label == (None if result.abstained else result.best_guess)


def test_another_program_opens_the_model_with_probabilities_as_they_were_trained(here: Path) -> None:
    texts = ["soup bread salt", "ball goal team"]
    model = BertForSequenceClassification.from_pretrained("run/model").eval()
    ours = llmkit.load("run")
    for text, result in zip(texts, ours.classify(texts), strict=True):
        logits = model(**ours.loaded.tokenizer(text, return_tensors="pt")).logits[0]
        plain = logits.softmax(0).tolist()
        cooled = (logits / saved(here)["temperature"]).softmax(0).tolist()
        assert list(result.probabilities.values()) == pytest.approx(cooled, abs=1e-5)
        assert plain != pytest.approx(cooled, abs=1e-3)


def test_texts_below_a_given_limit_have_a_guess_and_no_label(here: Path) -> None:
    texts = write_rows(here / "texts.jsonl", 40, seed=3)
    limit = sorted(max(result.probabilities.values()) for result in llmkit.load("run").classify(texts))[20]
    outcome = command_line("classify", "texts.jsonl", "--model", "run", "--abstain-below", str(limit), "--json")
    assert outcome.code == 0, outcome.err
    says(outcome.err, "abstained", 20, 40)
    for record in outcome.records:
        abstained = record["probabilities"][record["best_guess"]] < limit
        assert record["abstained"] == abstained
        assert record["label"] == (None if abstained else record["best_guess"])
    assert sum(record["abstained"] for record in outcome.records) == 20
    plain = command_line("classify", "texts.jsonl", "--model", "run", "--abstain-below", str(limit)).out.splitlines()
    assert [line.startswith("(abstained)\t") for line in plain] == [record["abstained"] for record in outcome.records]
    every = llmkit.load("run").classify(texts, abstain_below=0)
    assert all(result.label is not None for result in every)


@pytest.mark.parametrize("limit", ["1.5", "-0.1", "nan", "many"])
def test_a_limit_that_is_no_probability_is_refused(limit: str, here: Path) -> None:
    outcome = command_line("classify", "a text", "--model", "run", "--abstain-below", limit)
    assert outcome.code == 2
    says(outcome.err, "error[usage]:", "--abstain-below")


def test_a_model_without_a_limit_that_reaches_its_accuracy_says_so_in_use(here: Path, tmp_path: Path) -> None:
    config = json.loads((here / "run/model/config.json").read_text())
    del config["task_specific_params"]["classification"]["abstain_below"]
    for file in (here / "run/model").iterdir():
        if file.name not in ("config.json", "MANIFEST.json"):
            (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "config.json").write_text(json.dumps(config))
    model = llmkit.load(str(tmp_path))
    with pytest.raises(ModelError, match="abstain"):
        model.classify(["soup"])
    assert next(model.classify(["soup"], abstain_below=0)).label is not None
    scores = llmkit.evaluate_model(str(tmp_path), data=["validation.jsonl"]).scores.values
    assert scores["coverage"] == 0


def test_baselines_are_compared_without_probabilities(here: Path) -> None:
    outcome = command_line("evaluate", "--model", "run", "--baseline")
    assert outcome.code == 0, outcome.err
    says(outcome.out, "ece")
    says(outcome.out, "temperature")
    with pytest.raises(UsageError):
        llmkit.evaluate_model("run", metrics=["map"])


def test_the_best_evaluation_of_a_training_is_saved_as_evaluate_saves_it(here: Path, tmp_path: Path) -> None:
    copy_of_run(here, tmp_path)
    folder = tmp_path / "run/evaluation"
    kinds = {"validation.json", "validation.predictions.jsonl", "validation.shown_rows.jsonl"}
    assert {path.name for path in folder.iterdir()} == kinds
    in_training = {path.name: path.read_text() for path in folder.iterdir()}
    assert (
        json.loads(in_training["validation.json"])["step"]
        == json.loads((here / "run/run.json").read_text())["best"]["step"]
    )
    llmkit.evaluate_model(str(tmp_path / "run"))
    evaluated = {path.name: path.read_text() for path in folder.iterdir()}
    assert evaluated["validation.shown_rows.jsonl"] == in_training["validation.shown_rows.jsonl"]
    before, after = (json.loads(files["validation.json"]) for files in (in_training, evaluated))
    assert before["details"].keys() == after["details"].keys()
    assert "step" not in after
    for key in ("scores", "intervals"):
        assert before[key] == {name: pytest.approx(value) for name, value in after[key].items()}
    lines = [
        list(map(json.loads, files["validation.predictions.jsonl"].splitlines())) for files in (in_training, evaluated)
    ]
    for old, new in zip(*lines, strict=True):
        assert {**old, "probabilities": pytest.approx(old["probabilities"]), "loss": pytest.approx(old["loss"])} == new


def test_predictions_of_another_checkpoint_than_the_model_are_not_kept(here: Path, tmp_path: Path) -> None:
    run = copy_of_run(here, tmp_path)
    record = json.loads((run / "evaluation/validation.json").read_text())
    (run / "evaluation/validation.json").write_text(json.dumps({**record, "step": 3}))
    (run / "model/model.safetensors").unlink()
    assert llmkit.finetune(resume=str(run)) is not None
    assert not list((run / "evaluation").iterdir())


def test_a_limit_for_an_accuracy_is_that_of_the_validation_rows(here: Path) -> None:
    limit = llmkit.load("run").abstain_limit(0.6)
    lines = list(map(json.loads, (here / "run/evaluation/validation.predictions.jsonl").read_text().splitlines()))
    answered = [line for line in lines if max(line["probabilities"].values()) >= limit.below]
    right = sum(line["prediction"] == line["reference"] for line in answered)
    assert (limit.rows, limit.answered, limit.accuracy) == (len(lines), len(answered), right / len(answered))
    exact = binomtest(right, len(answered)).proportion_ci(0.95, method="exact")
    assert limit.interval == pytest.approx((exact.low, exact.high))
    outcome = command_line("classify", "ball soup", "--model", "run", "--abstain-accuracy", "0.6", "--json")
    assert outcome.records[0]["abstain_below"] == limit.below
    says(outcome.err, f"{limit.accuracy:.4f}", f"{100 * limit.coverage:.1f} %", "validation rows")
    (result,) = llmkit.load("run").classify(["ball soup"], abstain_accuracy=0.6)
    assert result.abstain_below == limit.below


@pytest.mark.parametrize("accuracy", ["1", "0", "-0.5", "nan", "inf", "0.999"])
def test_an_accuracy_that_no_limit_can_have_is_refused(accuracy: str, here: Path) -> None:
    outcome = command_line("classify", "a text", "--model", "run", "--abstain-accuracy", accuracy)
    assert (outcome.code, outcome.out) == (2, "")
    says(outcome.err, "error[usage]:", accuracy)
    with pytest.raises(UsageError, match="abstain_accuracy"):
        llmkit.load("run").classify(["a text"], abstain_accuracy=float(accuracy))


def test_a_limit_is_given_or_chosen_not_both(here: Path) -> None:
    outcome = command_line(
        "classify", "a text", "--model", "run", "--abstain-accuracy", "0.6", "--abstain-below", "0.5"
    )
    assert outcome.code == 2
    says(outcome.err, "--abstain-accuracy", "--abstain-below")
    with pytest.raises(UsageError, match="abstain_below"):
        llmkit.load("run").classify(["a text"], abstain_accuracy=0.6, abstain_below=0.5)


def test_a_limit_needs_a_run_with_predictions_of_its_own_model(here: Path, tmp_path: Path) -> None:
    shutil.copytree(here / "run/model", tmp_path / "folder")
    with pytest.raises(UsageError, match="not a run"):
        llmkit.load(str(tmp_path / "folder")).abstain_limit(0.6)
    run = copy_of_run(here, tmp_path)
    predictions = run / "evaluation/validation.predictions.jsonl"
    assert llmkit.load(str(run / "model")).abstain_limit(0.6) == llmkit.load("run").abstain_limit(0.6)
    whole = predictions.read_text()
    for damaged in (whole.replace('"food"', '"meal"'), '{"prediction": "food", "reference": "food"}\n', "{\n", ""):
        predictions.write_text(damaged)
        with pytest.raises(RunError, match=r"validation\.predictions"):
            llmkit.load(str(run)).abstain_limit(0.6)
    predictions.unlink()
    with pytest.raises(RunError, match="validation"):
        llmkit.load(str(run)).abstain_limit(0.6)


def copy_of_run(here: Path, tmp_path: Path) -> Path:
    """A copy of the run as training left it, to be changed."""
    return Path(shutil.copytree(here / "untouched", tmp_path / "run"))

"""A regression learns numbers of any scale, and everything that leaves it has the scale of the rows."""

from __future__ import annotations

import json
import math
import os
import random
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from facts import says
from peft import PeftModel
from published_models import published_folder
from tiny_recipes import WORDS, write_jsonl
from tiny_recipes import llmkit as command_line
from torch import Tensor
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    T5ForTokenClassification,
)

import llmkit
from llmkit.api import Saved
from llmkit.atomic import publish_folder
from llmkit.models.scale import TargetScale, mean_and_deviation
from llmkit.runs.folder import Run

pytestmark = pytest.mark.slow  # trains 53 times

RECIPE = """recipe: 1
task: classification
regression: true
model: {model}
data: {{train: rows-{name}.jsonl, validation: validation-{name}.jsonl}}
max_tokens: 64
train: {{steps: 6, batch_size: 16, learning_rate: 2e-3}}
evaluation: {{every: 3 steps}}
"""
SCRATCH = "{{architecture: {}, size: tiny, tokenizer: {{vocab_size: {}}}}}"
MODELS = {
    "bert": SCRATCH.format("bert", 200),
    "gpt2": SCRATCH.format("gpt2", 300),
    "llama": SCRATCH.format("llama", 300),
    "lstm": SCRATCH.format("lstm", 200),
    "t5": SCRATCH.format("t5", 400),
    **{f"{family}-folder": f"{family}-folder" for family in ("bert", "gpt2", "t5")},
}
LORA = {"merged": ("train.lora={rank: 2}",), "adapter": ("train.lora={rank: 2, save: adapter}",)}
WAYS = [(model, "") for model in MODELS if model != "llama"] + [
    (f"{family}-folder", save) for family in ("bert", "gpt2", "t5") for save in LORA
]
"""What a training begins from, and how its adapter is saved; nothing shifts the output of a Llama."""


class Killed(BaseException):
    """Ends a training where it stands."""


def write_rows(factor: float, offset: float) -> str:
    """Rows whose number is how many of their words are about food, in another unit; returns the unit's name."""
    name = f"{factor:g}-{offset:g}"
    rng = random.Random(5)
    for split, count in (("rows", 48), ("validation", 16)):
        rows: list[dict[str, Any]] = []
        for _ in range(count):
            food = rng.randrange(6)
            words = rng.choices(WORDS["food"], k=food) + rng.choices(WORDS["sport"], k=5 - food)
            rows.append({"text": " ".join(words), "label": factor * food + offset})
        write_jsonl(Path(f"{split}-{name}.jsonl"), rows)
    return name


def numbers_of(name: str, *, split: str = "rows") -> list[float]:
    lines = Path(f"{split}-{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["label"] for line in lines]


def texts() -> list[str]:
    lines = next(Path().glob("validation-*.jsonl")).read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["text"] for line in lines]


def write_recipe(model: str, name: str) -> Path:
    file = Path(f"{model.replace('/', '-')}-{name}.yaml")
    file.write_text(RECIPE.format(model=MODELS.get(model, model), name=name), encoding="utf-8")
    return file


def trained(model: str, lora: str = "", *, factor: float = 20.0, offset: float = 50.0) -> Run:
    """A finished run, made once; the units are those of the rows."""
    name = write_rows(factor, offset)
    folder = Path("runs") / f"{model}-{lora}-{name}"
    if not folder.exists():
        overrides = LORA.get(lora, ())
        llmkit.finetune(write_recipe(model, name), run=folder, overrides=[*overrides, "train.keep_checkpoints=9"])
    return Run(folder)


def values(model: str | Path) -> np.ndarray:
    """What llmkit says of the validation texts."""
    results = llmkit.load(str(model), verb="classify").classify(texts())
    return np.array([result.value for result in results])


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders that transformers made, and the trainings of this file."""
    folder = tmp_path_factory.mktemp("regressions")
    for family in ("bert", "gpt2", "t5"):
        published_folder(folder / f"{family}-folder", family)  # type: ignore[arg-type]  # of a tuple of literals
    return folder


@pytest.fixture(autouse=True)
def here(work: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(work)
    yield
    os.chdir(before)


# ---- learning


@pytest.mark.parametrize(("model", "lora"), WAYS)
def test_numbers_in_another_unit_give_the_same_training_in_that_unit(model: str, lora: str) -> None:
    plain = trained(model, lora, factor=1.0, offset=0.0)
    scaled = trained(model, lora)
    expected = 20 * values(plain.folder) + 50
    assert values(scaled.folder) == pytest.approx(expected, abs=0.02)  # a thousandth of the unit
    before = [line for line in plain.metrics() if "train/loss" in line]
    after = [line for line in scaled.metrics() if "train/loss" in line]
    assert [line["train/loss"] for line in after] == pytest.approx(
        [400 * line["train/loss"] for line in before], rel=1e-3
    )
    assert [line["train/gradient_norm"] for line in after] == pytest.approx(
        [line["train/gradient_norm"] for line in before], rel=1e-3
    )


@pytest.mark.parametrize(("factor", "offset"), [(1e9, -3e9), (1e-9, 0.0), (1.0, 1e5)])
def test_huge_tiny_and_distant_numbers_are_learnt_as_others_are(factor: float, offset: float) -> None:
    plain = trained("bert", factor=1.0, offset=0.0)
    scaled = trained("bert", factor=factor, offset=offset)
    expected = values(plain.folder) * factor + offset
    assert np.abs(values(scaled.folder) - expected).max() < 0.02 * factor


@pytest.mark.parametrize("model", ["bert", "gpt2", "llama", "lstm"])
def test_default_settings_beat_the_mean_on_numbers_up_to_100(model: str) -> None:
    name = write_rows(20.0, 0.0)
    recipe = write_recipe(model, name)
    defaults = recipe.read_text(encoding="utf-8").replace(", learning_rate: 2e-3", "").replace("steps: 6", "steps: 45")
    recipe.write_text(defaults, encoding="utf-8")
    finished = llmkit.finetune(recipe, overrides=["evaluation.every=45 steps"])
    assert finished is not None
    truth = np.array(numbers_of(name, split="validation"))
    of_the_mean = np.square(truth - np.mean(numbers_of(name))).mean()
    assert finished.scores["mse"] < 0.8 * of_the_mean
    assert finished.scores["loss"] == pytest.approx(finished.scores["mse"], rel=1e-4)


def test_validation_rows_have_no_say_in_the_scale() -> None:
    run = trained("bert")
    numbers = numbers_of("20-50")
    targets = json.loads((run.folder / "data.json").read_text(encoding="utf-8"))["targets"]
    wanted = {"rows": 48, "mean": np.mean(numbers), "standard_deviation": np.std(numbers)}
    assert targets == pytest.approx(wanted)
    assert run.manifest()["targets"] == targets


# ---- what leaves a training


def plain_numbers(model: PreTrainedModel, folder: Path) -> np.ndarray:
    """By transformers alone, one text at a time."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    numbers = []
    for text in texts():
        ids = torch.tensor([tokenizer(text, truncation=False, padding=False)["input_ids"]])
        with torch.no_grad():
            logits: Tensor = model.eval()(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        numbers.append(float(logits.mean()))  # of T5, the mean over its tokens
    return np.array(numbers)


def class_for(model: str) -> Any:
    return T5ForTokenClassification if model.startswith("t5") else AutoModelForSequenceClassification


@pytest.mark.parametrize("model", [model for model in MODELS if model not in ("lstm", "t5")])
def test_plain_transformers_gives_the_numbers_of_llmkit_by_model_and_by_checkpoint(model: str) -> None:
    run = trained(model)
    folders = [run.model, *sorted(run.checkpoints.iterdir())]
    assert len(folders) == 3
    for folder in folders:
        opened = class_for(model).from_pretrained(folder)
        assert plain_numbers(opened, folder) == pytest.approx(values(folder), abs=1e-3)
    measured = llmkit.evaluate_model(str(run.folder))
    assert measured.scores.values["mse"] == pytest.approx(run.manifest()["best"]["validation"]["mse"], rel=1e-4)


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")  # peft asks transformers for it
@pytest.mark.parametrize("family", ["bert", "gpt2", "t5"])
def test_plain_peft_gives_the_numbers_of_llmkit_by_adapter_and_merged(family: str, tmp_path: Path) -> None:
    run = trained(f"{family}-folder", "adapter")
    base = class_for(family).from_pretrained(f"{family}-folder", num_labels=1)
    opened = PeftModel.from_pretrained(base, str(run.model))
    opened.base_model.model.config.pad_token_id = 0
    wanted = values(run.folder)
    assert np.ptp(wanted) > 0
    assert plain_numbers(opened, run.model) == pytest.approx(wanted, abs=1e-3)
    merged = llmkit.merge(str(run.folder), output=tmp_path / "merged").folder
    assert values(merged) == pytest.approx(wanted, abs=1e-3)
    assert values(trained(f"{family}-folder", "merged").folder) == pytest.approx(wanted, abs=1e-3)


# ---- from a model that gives numbers already


@pytest.mark.parametrize("model", ["bert", "gpt2", "llama", "lstm", "t5-folder"])
def test_a_training_from_a_trained_regression_begins_with_its_predictions(model: str) -> None:
    first = trained(model)
    name = write_rows(3.0, -1000.0)
    recipe = write_recipe(str(first.folder), name)
    tiny_step = ["train.steps=1", "train.learning_rate=1e-9", "evaluation.every=1 steps"]
    again = llmkit.finetune(recipe, overrides=tiny_step)
    assert again is not None
    assert values(again.run.folder) == pytest.approx(values(first.folder), abs=0.02)


@pytest.mark.parametrize("lora", ["", "merged"])
@pytest.mark.parametrize("family", ["bert", "gpt2", "t5"])
def test_a_training_from_a_head_that_transformers_made_begins_with_its_predictions(family: str, lora: str) -> None:
    folder = Path(f"{family}-one-output")
    if not folder.exists():
        shutil.copytree(f"{family}-folder", folder)
        torch.manual_seed(4)
        class_for(family).from_pretrained(f"{family}-folder", num_labels=1).save_pretrained(folder)
    before = values(folder)
    recipe = write_recipe(str(folder), write_rows(20.0, 50.0))
    tiny_step = ["train.steps=1", "train.learning_rate=1e-9", "evaluation.every=1 steps", *LORA.get(lora, ())]
    finished = llmkit.finetune(recipe, overrides=tiny_step)
    assert finished is not None
    assert values(finished.run.folder) == pytest.approx(before, abs=1e-3)


# ---- going on


def kill_behind(step: int) -> Any:
    def report(event: Any) -> None:
        if isinstance(event, Saved) and event.step == step:
            raise Killed

    return report


@pytest.mark.parametrize(
    ("model", "lora"),
    [("bert", ""), ("gpt2", ""), ("llama", ""), ("lstm", ""), ("t5-folder", ""), ("gpt2-folder", "adapter")],
)
def test_a_killed_regression_goes_on_to_the_same_bytes(model: str, lora: str) -> None:
    whole = trained(model, lora)
    recipe, folder = write_recipe(model, write_rows(20.0, 50.0)), Path("runs") / f"{model}-{lora}-killed"
    keys = [*LORA.get(lora, ()), "train.keep_checkpoints=9"]
    with pytest.raises(Killed):
        llmkit.finetune(recipe, run=folder, overrides=keys, report=kill_behind(3))
    llmkit.finetune(resume=folder)
    killed = Run(folder)
    weights = "adapter_model.safetensors" if lora else "model.safetensors"
    last = "step-00000006"
    for name in (weights, "standardised_head.safetensors", "optimizer.safetensors"):
        assert (killed.checkpoints / last / name).read_bytes() == (whole.checkpoints / last / name).read_bytes(), name
    assert (killed.model / weights).read_bytes() == (whole.model / weights).read_bytes()
    scores = [
        [{key: value for key, value in line.items() if "seconds" not in key} for line in run.metrics()]
        for run in (whole, killed)
    ]
    assert scores[0] == scores[1]


def test_a_run_that_began_without_a_scale_goes_on_without_one() -> None:
    recipe, folder = write_recipe("bert", write_rows(20.0, 50.0)), Path("runs/old")
    with pytest.raises(Killed):
        llmkit.finetune(recipe, run=folder, report=kill_behind(3))
    run = Run(folder)
    without_scale(run.checkpoints / "step-00000003")
    data = json.loads((run.folder / "data.json").read_text(encoding="utf-8"))
    data.pop("targets")
    (run.folder / "data.json").write_text(json.dumps(data), encoding="utf-8")
    llmkit.finetune(resume=folder)
    assert not list(run.folder.rglob("standardised_head.safetensors"))
    assert "targets" not in json.loads((run.folder / "data.json").read_text(encoding="utf-8"))
    losses = [line["train/loss"] for line in run.metrics() if "train/loss" in line]
    assert all(math.isfinite(loss) for loss in losses)
    assert len(losses) == 6


def without_scale(checkpoint: Path) -> None:
    """The checkpoint as one that has none: the head gives the numbers as they are."""
    about = json.loads((checkpoint / "MANIFEST.json").read_text(encoding="utf-8"))
    files = {path.name: path.read_bytes() for path in checkpoint.iterdir() if path.name in about["files"]}
    del files["standardised_head.safetensors"]
    shutil.rmtree(checkpoint)
    publish_folder(checkpoint, files, about={key: about[key] for key in ("run", "step", "task", "batch_size")})


# ---- numbers that no scale fits


@pytest.mark.parametrize(
    ("numbers", "stated"),
    [
        ([1.0, 1e17], ["1e+17", "float32", "unit"]),
        ([1e-17, 2e-17], ["2e-17", "float32", "unit"]),
        ([1e9, 1e9 + 1], ["mean 1e+09", "deviation 0.5", "float32"]),
        ([1e308, -1e308], ["1e+308", "float32", "unit"]),
    ],
)
def test_numbers_that_float32_cannot_tell_apart_are_refused(numbers: Sequence[float], stated: list[str]) -> None:
    rows = [{"text": f"soup {place}", "label": number} for place, number in enumerate([*numbers] * 10)]
    write_jsonl(Path("rows-odd.jsonl"), rows)  # type: ignore[arg-type]  # numbers among the texts
    write_jsonl(Path("validation-odd.jsonl"), rows[:4])  # type: ignore[arg-type]
    outcome = command_line("finetune", write_recipe("bert", "odd"))
    assert outcome.code == 3
    says(outcome.err, "error[data]:", *stated)
    assert "Traceback" not in outcome.err


def test_the_scale_does_not_depend_on_the_order_of_the_rows() -> None:
    numbers = [random.Random(seed).gauss(1e3, 7.0) for seed in range(1000)]
    first = mean_and_deviation(numbers)
    assert mean_and_deviation(numbers[::-1]) == first
    assert first == pytest.approx((np.mean(numbers), np.std(numbers)))


def test_a_scale_and_its_inverse_are_each_other_undone() -> None:
    scale = TargetScale(mean=50.0, deviation=20.0)
    assert scale.standardise(90.0) == 2.0
    assert scale.inverse.standardise(2.0) == pytest.approx(90.0)

"""`pretrain`: from raw text to a model that finetuning begins from; what cannot be pretrained on is told at once."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from facts import facts, says
from safetensors.torch import load_file
from tiny_recipes import llmkit, rows, save_tiny_t5, write_jsonl

from llmkit.api import evaluate_model, pretrain
from llmkit.errors import UsageError
from llmkit.recipe.loading import load_recipe
from llmkit.tasks import RECIPES
from llmkit.tasks.base import Task
from llmkit.training.prepare import load_task
from llmkit.training.row_checks import check_rows
from llmkit.training.splits import open_splits

MASKED = """recipe: 1
task: masked-lm
model: {architecture: bert, size: tiny, tokenizer: {vocab_size: 200}}
data: {train: text.txt, validation: 30%}
block_tokens: 24
train: {steps: 4, batch_size: 4}
evaluation: {every: 2 steps}
"""
SPANS = """recipe: 1
task: span-corruption
model: tiny-t5
data: {train: text.txt, validation: 30%}
block_tokens: 24
mask_rate: 0.2
train: {steps: 4, batch_size: 4}
evaluation: {every: 2 steps}
"""
NEXT = """recipe: 1
task: causal-lm
model: {architecture: gpt2, size: tiny, tokenizer: {vocab_size: 300}}
data: {train: text.txt, validation: 30%}
block_tokens: 24
train: {steps: 2, batch_size: 4}
"""
CLASSIFY = """recipe: 1
task: classification
model: runs/masked-001
data: {train: rows.jsonl, validation: 20%}
max_tokens: 24
train: {steps: 2, batch_size: 8}
"""
SUMMARIZE = """recipe: 1
task: summarization
model: runs/spans-001
data: {train: rows.jsonl, validation: 20%}
max_source_tokens: 48
max_target_tokens: 8
train: {steps: 2, batch_size: 4}
evaluation: {max_rows: 2}
"""
RECIPE_TEXTS = {"masked": MASKED, "spans": SPANS, "next": NEXT, "classify": CLASSIFY, "summarize": SUMMARIZE}


def text_of(count: int = 60) -> str:
    """Documents of two lines, a blank line between them."""
    return "\n\n".join(row["text"].replace(" ", "\n", 1) for row in rows(count)) + "\n"


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with text, recipes, a cache of its own, and the finished runs masked-001, spans-001 and next-001."""
    folder = tmp_path_factory.mktemp("pretrained")
    (folder / "text.txt").write_text(text_of())
    write_jsonl(folder / "rows.jsonl", rows())
    save_tiny_t5(folder / "tiny-t5")
    for name, text in RECIPE_TEXTS.items():
        (folder / f"{name}.yaml").write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("LLMKIT_CACHE", str(folder / "cache"))
        for name in ("masked", "spans", "next"):
            outcome = llmkit("pretrain", f"{name}.yaml")
            assert outcome.code == 0, outcome.err
            (folder / f"{name}.err").write_text(outcome.err)
    return folder


@pytest.fixture
def here(pretrained: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """For tests that only read."""
    monkeypatch.chdir(pretrained)
    monkeypatch.setenv("LLMKIT_CACHE", str(pretrained / "cache"))
    return pretrained


@pytest.fixture
def work(pretrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own, with recipes and text but no run and an empty cache."""
    for name in ("text.txt", "rows.jsonl", *(f"{name}.yaml" for name in RECIPE_TEXTS)):
        shutil.copy(pretrained / name, tmp_path / name)
    (tmp_path / "tiny-t5").symlink_to(pretrained / "tiny-t5")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path


# ---- what finetuning begins from


def task_for(recipe: str) -> Task:
    """The task that `finetune` would train, before its first step."""
    loaded: Any = load_recipe(Path(recipe), kinds=RECIPES).recipe
    splits = open_splits(loaded)
    return load_task(loaded, splits, labels=check_rows(loaded, splits))


def test_a_classifier_begins_from_the_pretrained_body_with_a_head_of_its_own(here: Path) -> None:
    kept = load_file("runs/masked-001/model/model.safetensors")
    task = task_for("classify.yaml")
    weights = task.loaded.model.state_dict()
    body = [name for name in kept if name.startswith("bert.")]
    assert len(body) > 30
    assert all(torch.equal(weights[name], kept[name]) for name in body)
    new = {name for name in weights if name not in kept and "position_ids" not in name}
    assert new == {"bert.pooler.dense.weight", "bert.pooler.dense.bias", "classifier.weight", "classifier.bias"}
    assert float(weights["classifier.weight"].abs().max()) > 0
    assert task.loaded.labels == ("food", "sport")
    untrained = task_for("masked.yaml").loaded.model.state_dict()
    assert not torch.equal(untrained["bert.embeddings.word_embeddings.weight"], kept["bert.embeddings.word_embeddings.weight"])  # fmt: skip


def test_a_summarizer_begins_from_all_weights_of_span_corruption(here: Path) -> None:
    kept = load_file("runs/spans-001/model/model.safetensors")
    before = load_file("tiny-t5/model.safetensors")
    weights = task_for("summarize.yaml").loaded.model.state_dict()
    assert all(torch.equal(weights[name], kept[name]) for name in kept)
    assert not torch.equal(kept["shared.weight"], before["shared.weight"])


@pytest.mark.parametrize(("recipe", "run"), [("classify", "masked"), ("summarize", "spans")])
def test_finetuning_goes_on_from_a_pretrained_run(here: Path, tmp_path: Path, recipe: str, run: str) -> None:
    outcome = llmkit("finetune", f"{recipe}.yaml", "--run", tmp_path / "mine")
    assert outcome.code == 0, outcome.err
    manifest = json.loads((tmp_path / "mine/run.json").read_text())
    assert (manifest["status"], manifest["model"]) == ("finished", f"runs/{run}-001")


@pytest.mark.parametrize("name", ["masked", "spans"])
def test_the_next_command_is_told(here: Path, name: str) -> None:
    assert f"llmkit finetune RECIPE --set model=runs/{name}-001" in (here / f"{name}.err").read_text()


@pytest.mark.parametrize("name", ["masked", "spans", "next"])
def test_evaluating_a_pretrained_run_gives_the_figures_of_its_training(here: Path, tmp_path: Path, name: str) -> None:
    run = tmp_path / f"{name}-001"
    shutil.copytree(here / f"runs/{name}-001", run)
    best = json.loads((run / "run.json").read_text())["best"]
    scores = evaluate_model(str(run)).scores.values
    assert scores == pytest.approx(best["validation"], rel=1e-5)
    assert set(scores) == {"loss", "perplexity", "bits_per_byte"}


def test_each_split_is_encoded_once_and_a_second_training_takes_it_from_the_cache(work: Path) -> None:
    first = llmkit("pretrain", "masked.yaml")
    stores = {path.name: path.stat().st_mtime_ns for path in (work / "cache/tokens").glob("*.arrow")}
    second = llmkit("pretrain", "masked.yaml")
    assert (first.code, second.code) == (0, 0), second.err
    assert len(stores) == 2
    assert {path.name: path.stat().st_mtime_ns for path in (work / "cache/tokens").glob("*.arrow")} == stores
    assert first.err.count("cache") == 0
    assert second.err.count("cache") == 2
    models = [(work / f"runs/masked-00{number}/model/model.safetensors").read_bytes() for number in (1, 2)]
    assert models[0] == models[1]


def test_evaluation_on_another_column_does_not_meet_the_tokens_of_the_first(work: Path, pretrained: Path) -> None:
    """The column was no part of what the cache goes by."""
    records = [{"text": row["text"], "body": f"unlike {row['summary']}"} for row in rows(20)]
    write_jsonl(work / "both.jsonl", records)
    shutil.copytree(pretrained / "runs/next-001", work / "runs/next-001")
    model, data = "runs/next-001", ["both.jsonl"]
    first = evaluate_model(model, data=data)
    second = evaluate_model(model, data=data, columns={"text": "body"})
    write_jsonl(work / "one.jsonl", [{"text": record["body"]} for record in records])
    wanted = evaluate_model(model, data=["one.jsonl"])
    assert second.scores.values == wanted.scores.values != first.scores.values


# ---- what is refused


def nothing_was_written(folder: Path) -> bool:
    return not (folder / "runs").exists()


@pytest.mark.parametrize(("recipe", "task"), [("classify", "classification"), ("summarize", "summarization")])
def test_a_task_of_pairs_is_refused_and_finetune_named(work: Path, recipe: str, task: str) -> None:
    outcome = llmkit("pretrain", f"{recipe}.yaml")
    assert (outcome.code, outcome.out) == (2, "")
    says(
        outcome.err,
        f"error[usage]: {recipe}.yaml:",
        task,
        "`llmkit finetune`",
        "causal-lm, masked-lm, replaced-token-detection, span-corruption",
    )
    assert outcome.err.count("\n") == 1
    assert nothing_was_written(work)


def test_a_run_of_another_kind_is_not_resumed_by_pretrain(here: Path, tmp_path: Path) -> None:
    assert llmkit("finetune", "classify.yaml", "--run", tmp_path / "mine").code == 0
    with pytest.raises(UsageError, match=facts("classification", "`llmkit finetune`")):
        pretrain(resume=tmp_path / "mine")


def test_finetune_trains_a_recipe_of_pretraining_as_before(work: Path) -> None:
    outcome = llmkit("finetune", "masked.yaml", "--set", "train.steps=1")
    assert outcome.code == 0, outcome.err


FAULTS: list[tuple[str, str, dict[str, Any], str | bytes, int, list[object]]] = [
    ("empty", "masked", {}, "", 3, ["text.txt:", 0, "rows"]),
    ("blank lines", "spans", {}, "\n \n\n", 3, ["text.txt:", 0, "rows"]),
    ("nothing to see", "masked", {"model": "runs"}, "\u200b\n\n\u200c\n", 3, ["no text"]),
    ("too short", "spans", {}, "goal\n\nteam\n\nball\n\nsoup\n", 3, ["corpus", "tokens", 26]),
    ("beyond the window", "masked", {"block_tokens": 600}, text_of(), 2, [600, "bert-tiny", 512]),
    ("beyond a run's", "masked", {"model": "runs", "block_tokens": 40}, text_of(), 2, ["block_tokens", 40, 24]),
    ("binary", "next", {}, b"\x80\x81\xfe\xff" * 100, 3, ["text.txt:1:", "0x80", 0, "UTF-8"]),
    ("binary with NUL", "spans", {}, b"\x7fELF\0\0\0\n" * 100, 3, ["text.txt: ", "UTF-8"]),
    (
        "too many spans",
        "spans",
        {"block_tokens": 400, "mask_rate": 0.4, "mean_span": 1},
        text_of(),
        2,
        ["block_tokens", 400, "sentinels"],
    ),
    ("no validation", "masked", {"data.validation": "1%"}, text_of(6), 3, ["data.validation", "rows", "1%"]),
    ("no validation, spans", "spans", {"data.validation": "0.01%"}, text_of(), 3, ["data.validation", "rows", "0.01%"]),
]


@pytest.mark.parametrize(("recipe", "keys", "text", "code", "stated"), [case[1:] for case in FAULTS], ids=[case[0] for case in FAULTS])  # fmt: skip
def test_a_fault_is_told_and_no_run_folder_is_left(
    work: Path, pretrained: Path, recipe: str, keys: dict[str, Any], text: str | bytes, code: int, stated: list[object]
) -> None:
    (work / "text.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    changed = {**keys, **({"model": pretrained / "runs/masked-001"} if "model" in keys else {})}
    overrides = [part for key, value in changed.items() for part in ("--set", f"{key}={value}")]
    outcome = llmkit("pretrain", f"{recipe}.yaml", *overrides)
    assert (outcome.code, outcome.out) == (code, ""), outcome.err
    says(outcome.err, "error[", *stated)
    assert nothing_was_written(work)


def test_texts_that_stood_there_already_are_counted_and_not_trained_on_twice(work: Path) -> None:
    (work / "text.txt").write_text(text_of() + "\n" + text_of(10))
    twice = llmkit("pretrain", "masked.yaml", "--set", "data.deduplicate=true")
    assert twice.code == 0, twice.err
    counted = [line.split() for line in twice.err.splitlines() if re.match(r"(train|validation): \d+ ", line)]
    assert [words[0] for words in counted] == ["train:", "validation:"]  # once each, though read several times
    assert sum(int(words[1]) for words in counted) == 10
    (work / "text.txt").write_text(text_of())
    once = llmkit("pretrain", "masked.yaml")
    assert once.code == 0, once.err
    models = [(work / f"runs/masked-00{number}/model/model.safetensors").read_bytes() for number in (1, 2)]
    assert models[0] == models[1]

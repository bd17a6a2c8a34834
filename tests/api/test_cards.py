"""The model card of a run: the hub's metadata, and what people read."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, get_args

import pytest
from builders import recipe_of
from huggingface_hub import ModelCard, parse_eval_result_entries
from pydantic import ValidationError
from ruamel.yaml import YAML
from trained_runs import here, trained

from llmkit.api.cards import card_facts
from llmkit.recipe.blocks import ScratchModel
from llmkit.runs.card import CardFacts, MeasuredRows, eval_results, model_card, without_folders
from llmkit.runs.folder import Run
from llmkit.tasks import RECIPES
from llmkit.tasks.classification.recipe import ClassificationRecipe

__all__ = ["here", "trained"]
MANIFEST = {
    "task": "classification",
    "model": "bert-tiny",
    "parameters": 1000,
    "llmkit": "0.1.0",
    "seed": 17,
    "precision": {"format": "fp32"},
    "device": "cpu",
}
SCORES = {"loss": 0.5, "accuracy": 0.8, "majority_share": 0.5, "perplexity": math.inf, "f1_macro": None}


def facts(*, manifest: Any = None, measured: Any = None, labels: Any = ("bad", "good"), **keys: Any) -> CardFacts:
    recipe = ClassificationRecipe.model_validate(
        {**recipe_of("classification").model_dump(), "model": "bert", "data": {"train": "rows.jsonl"}, **keys}
    )
    return CardFacts(
        manifest={**MANIFEST, **(manifest or {})},
        data={"labels": list(labels), "sources": {"train": [{"name": "/home/me/rows.jsonl", "rows": 1200}]}},
        recipe=recipe,
        measured=measured or [MeasuredRows("validation", SCORES, {"accuracy": [0.7, 0.9]}, 100)],
        best="accuracy",
        purpose="gives a text one of its labels",
        pipeline_tag="text-classification",
        use="llmkit classify --model FOLDER",
        library="transformers",
        architecture="BertForSequenceClassification",
        window=96,
    )


@pytest.mark.parametrize("name", ["classify", "write", "instruct", "summarize"])
def test_the_hub_reads_the_metadata_of_a_trained_model(here: Path, name: str) -> None:
    run = Path(f"runs/{name}-001")
    manifest = json.loads((run / "run.json").read_text())
    card = ModelCard.load(run / "model/README.md")
    task = manifest["task"]
    assert card.data.pipeline_tag == RECIPES[task].PIPELINE_TAG
    assert card.data.tags == ["llmkit", task]
    scores = {result.metric_type: result.metric_value for result in card.data.eval_results or ()}
    expected = manifest["best"]["validation"]
    assert scores.keys() >= {manifest["best"]["metric"]} & {
        name for name, value in expected.items() if value is not None
    }
    assert all(scores[name] == expected[name] for name in scores)
    assert str(here) not in card.content


def test_scores_that_are_no_numbers_stand_in_the_card_and_not_in_its_metadata() -> None:
    card = ModelCard(model_card(facts()))
    results = {result.metric_type: result for result in card.data.eval_results or ()}
    assert results.keys() == {"loss", "accuracy"}
    assert results["accuracy"].metric_args == {"interval_95": [0.7, 0.9]}
    assert "| perplexity | not finite |" in card.text
    assert "| f1_macro | not finite |" in card.text
    assert "| accuracy | 0.8000 | 0.7000 to 0.9000 |" in card.text


def test_what_the_recipe_says_for_the_card_is_in_it() -> None:
    given = {"license": "apache-2.0", "languages": ["en", "German"], "description": "Sorts *mail*."}
    card = ModelCard(model_card(facts(card=given), name="me/mail"))
    assert (card.data.license, card.data.language) == ("apache-2.0", ["en", "de"])
    assert "Sorts *mail*." in card.text
    assert "llmkit classify --model me/mail" in card.text
    assert 'BertForSequenceClassification.from_pretrained("me/mail")' in card.text
    plain = ModelCard(model_card(facts()))
    assert (plain.data.license, plain.data.language) == (None, None)


@pytest.mark.parametrize("wrong", [{"license": "Apache 2"}, {"languages": ["xx-none"]}, {"author": "me"}])
def test_what_no_card_can_have_is_refused_in_the_recipe(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        recipe_of("classification", card=wrong)


def test_only_a_model_of_the_hub_is_a_base_model() -> None:
    hub = {"model": "google-bert/bert-base-uncased", "model_revision": "1" * 40}
    assert ModelCard(model_card(facts(manifest=hub))).data.base_model == "google-bert/bert-base-uncased"
    assert ModelCard(model_card(facts(manifest={"model": "/home/me/bert"}))).data.base_model is None


def test_folders_of_the_machine_are_not_in_the_card() -> None:
    data = {"train": ["/home/me/rows.jsonl", "hub:stanfordnlp/imdb"], "test": "~/test.csv"}
    given = facts(data=data, model="/home/me/bert", manifest={"model": "/home/me/bert"})
    card = ModelCard(model_card(given))
    assert "/home/me" not in card.content
    assert "~/" not in card.content
    assert card.data.datasets == ["stanfordnlp/imdb"]
    assert without_folders(given.recipe).data.train == ("rows.jsonl", "hub:stanfordnlp/imdb")


def test_labels_with_marks_of_markdown_break_no_table() -> None:
    labels = ["a`b", "c|d", "e\nf", "<script>"] + [f"label {number}" for number in range(60)]
    text = model_card(facts(labels=labels))
    [line] = [line for line in text.splitlines() if "64 labels" in line]
    assert "34 more" in line
    assert line.count("`") % 2 == 0
    assert "`<script>`" in line


def test_results_on_a_split_of_the_hub_have_a_file_of_their_own() -> None:
    data = {"train": "hub:stanfordnlp/imdb", "test": "hub:stanfordnlp/imdb:plain_text#test"}
    measured = [MeasuredRows("validation", SCORES, {}), MeasuredRows("test", {"accuracy": 0.75}, {}, 500)]
    content = eval_results(facts(data=data, measured=measured))
    assert content is not None
    [entry] = parse_eval_result_entries(YAML(typ="safe").load(content))
    assert (entry.dataset_id, entry.task_id, entry.value) == ("stanfordnlp/imdb", "plain_text", 0.75)
    assert eval_results(facts(measured=measured)) is None


@pytest.mark.parametrize("task", RECIPES)
def test_every_task_has_a_purpose_and_a_start_of_a_recipe(task: str) -> None:
    kind = RECIPES[task]
    assert kind.PURPOSE
    assert kind.DRAFT.FORMS
    assert kind.FAMILIES[0] in get_args(ScratchModel.model_fields["architecture"].annotation)


def test_the_card_has_the_scores_of_the_test_rows_that_were_measured(here: Path, tmp_path: Path) -> None:
    run = Run(tmp_path)
    for name in ("run.json", "recipe.yaml", "data.json"):
        (tmp_path / name).write_bytes(Path("runs/classify-001", name).read_bytes())
    best = run.manifest()["best"]
    before = card_facts(run, {}, best=best)
    assert [rows.split for rows in before.measured] == ["validation"]
    (tmp_path / "evaluation").mkdir()
    record = {"rows": 40, "scores": {"accuracy": 0.5}, "intervals": {"accuracy": [0.4, 0.6]}}
    (tmp_path / "evaluation/test.json").write_text(json.dumps(record))
    text = model_card(card_facts(run, {}, best=best))
    assert "| accuracy | 0.5000 | 0.4000 to 0.6000 |" in text
    (tmp_path / "evaluation/test.json").write_text("{")
    assert [rows.split for rows in card_facts(run, {}, best=best).measured] == ["validation"]

"""`llmkit models`: the table of families, one model, and the exit code of a model that llmkit refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from adapted import saved
from builders import LABELS, tiny_model
from facts import says
from tiny_recipes import llmkit

from llmkit.models.families import FAMILIES


def test_the_table_has_every_family_in_80_columns() -> None:
    outcome = llmkit("models")
    assert outcome.code == 0
    assert [line for line in outcome.out.splitlines() if len(line) > 80 or line != line.rstrip()] == []
    for name, family in FAMILIES.items():
        assert outcome.out.count(f"\n{name} ") >= 2, name
        assert all(kind in outcome.out for kind in family.model_types)


def test_the_json_of_the_table_has_sizes_heads_tasks_and_rates() -> None:
    families = {family["name"]: family for family in json.loads(llmkit("models", "--json").out)["families"]}
    assert families.keys() == FAMILIES.keys()
    assert families["t5"]["model_types"] == ["t5", "mt5"]
    assert families["bert"]["sizes"]["tiny"] == 1_503_362
    assert families["deberta"]["sizes"] == {}
    assert families["deberta"]["attention_kernels"] == ["eager"]
    assert families["gpt2"]["learning_rates"] == {"pretrained": 5e-5, "random": 1e-3, "lora": 2e-4}
    assert "masked-lm" in families["electra"]["heads"]
    assert "span-corruption" in families["t5"]["tasks"]


def test_a_model_is_described_in_lines_and_in_json(tmp_path: Path) -> None:
    folder = saved(tiny_model("bert"), tmp_path / "model")
    outcome = llmkit("models", folder)
    assert outcome.code == 0
    assert [line for line in outcome.out.splitlines() if len(line) > 80 and "/" not in line] == []
    says(outcome.out, "BertForSequenceClassification")
    says(outcome.out, "classify", "embed")
    says(outcome.out, *LABELS)
    record = json.loads(llmkit("models", folder, "--json").out)
    assert record["folder"] == str(folder)
    assert record["verbs"] == ["classify", "embed"]
    assert record["labels"] == list(LABELS)
    assert {"uses": ["choose"], "reason": "it was not trained on multiple-choice; it has 3 outputs."} in record[
        "refusals"
    ]


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_a_model_without_any_use_is_described_and_exits_with_4(arguments: tuple[str, ...], tmp_path: Path) -> None:
    folder = saved(tiny_model("bert"), tmp_path / "model")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    outcome = llmkit("models", folder, *arguments)
    assert outcome.code == 4
    assert "pickle" in outcome.out
    says(outcome.err, "error[model]:", str(folder), "pickle")
    assert outcome.err.count("\n") == 1


def test_names_with_control_characters_are_escaped(tmp_path: Path) -> None:
    folder = saved(tiny_model("bert"), tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    config |= {"id2label": {"0": "\x1b[2J", "1": "a\nb", "2": "c"}, "architectures": ["\x07" + "B" * 5000]}
    (folder / "config.json").write_text(json.dumps(config))
    outcome = llmkit("models", folder)
    assert "\\x1b[2J" in outcome.out
    assert not set(outcome.out) & {"\x1b", "\x07"}
    assert max(map(len, outcome.out.splitlines())) < 2100


def test_no_such_model_is_an_error_with_nothing_on_standard_output(tmp_path: Path) -> None:
    outcome = llmkit("models", tmp_path / "missing")
    assert (outcome.code, outcome.out) == (4, "")
    says(outcome.err, "error[model]:", "no such folder")


def test_a_run_is_described_with_its_task(here: Path) -> None:
    record = json.loads(llmkit("models", "runs/classify-001", "--json").out)
    assert record["run_task"] == "classification"
    assert record["verbs"][0] == "classify"
    assert record["folder"].endswith("runs/classify-001/model")
    says(llmkit("models", "runs/instruct-001").out, "chat template", "yes")

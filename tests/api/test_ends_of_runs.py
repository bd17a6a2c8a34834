"""A run from a published folder whose configs name a word as the end: the finished model names what was taught."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from builders import FAMILY_OF, TaskName, rows
from published_models import RECIPE_KEYS, published_folder
from tiny_recipes import write_jsonl
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

import llmkit

WORD = 40


@pytest.mark.parametrize(
    ("name", "lora"), [("causal-lm", False), ("instruction", True), ("summarization", False), ("translation", True)]
)
def test_a_finished_model_ends_in_transformers_as_it_does_in_llmkit(
    name: TaskName, lora: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    family = FAMILY_OF[name]
    assert family in ("gpt2", "t5")
    folder = published_folder(tmp_path / "published", family)
    for file in ("config.json", "generation_config.json"):
        content = json.loads((folder / file).read_text())
        (folder / file).write_text(json.dumps({**content, "eos_token_id": WORD, "pad_token_id": WORD}))
    write_jsonl(tmp_path / "rows.jsonl", [dict(row.fields) for row in rows()])
    (tmp_path / "recipe.yaml").write_text(
        f"recipe: 1\ntask: {name}\nmodel: {folder}\ndata: {{train: rows.jsonl, validation: 20%}}\n"
    )
    monkeypatch.chdir(tmp_path)
    keys = {**RECIPE_KEYS[name], "train.steps": 2, "train.batch_size": 8, "evaluation.max_rows": 2}
    keys |= {"train.lora.rank": 2} if lora else {}
    llmkit.finetune("recipe.yaml", overrides=[f"{key}={value}" for key, value in keys.items()], run="run")

    model = llmkit.load("run")
    end, pad = model.loaded.tokenizer.eos_token_id, model.loaded.tokenizer.pad_token_id
    for file in ("config.json", "generation_config.json"):
        content = json.loads(Path("run/model", file).read_text())
        assert content["eos_token_id"] == end
        assert content["pad_token_id"] == pad
    kind = AutoModelForCausalLM if family == "gpt2" else AutoModelForSeq2SeqLM
    plain = kind.from_pretrained("run/model", local_files_only=True)
    texts = [row.fields["text"][:12] for row in rows(4) if "text" in row.fields] or ["the cat", "a dog sees"]
    ids = [model.loaded.tokenizer(text)["input_ids"] for text in texts]
    output = [
        plain.generate(torch.tensor([each]), max_new_tokens=9, do_sample=False, num_beams=1, repetition_penalty=1.0)[0]
        for each in ids
    ]
    new = [row[len(each) if family == "gpt2" else 1 :].tolist() for row, each in zip(output, ids, strict=True)]
    decode = model.loaded.tokenizer.decode
    expected = [str(decode(row, skip_special_tokens=True)).rstrip("\N{REPLACEMENT CHARACTER}") for row in new]
    options = {"max_new_tokens": 9, "beams": 1, "repetition_penalty": 1.0}
    assert [one.texts[0] for one in model.generate(texts, raw=True, **options)] == expected

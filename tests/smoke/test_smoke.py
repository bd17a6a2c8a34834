"""From rows to a model in use, by the program itself, for each family; then the model in plain transformers."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from tiny_recipes import CLASSIFY, NAME, SPORT, SUMMARIZE, WRITE, llmkit_process, rows, save_tiny_t5, write_jsonl

os.environ["HF_HUB_OFFLINE"] = "1"  # for the models opened in this process

CASES = {
    "classification": (CLASSIFY, ["classify", SPORT], "accuracy"),
    "causal-lm": (WRITE, ["generate", "--prompt", SPORT, "--max-new-tokens", "5"], "perplexity"),
    "summarization": (SUMMARIZE, ["summarize", SPORT], "rougeL"),
    "text-to-text": (NAME, ["generate", "--prompt", SPORT], "exact_text"),
}


@pytest.mark.parametrize("task", CASES)
def test_a_recipe_becomes_a_model_that_works_here_and_in_transformers(tmp_path: Path, task: str) -> None:
    recipe, use, figure = CASES[task]
    write_jsonl(tmp_path / "rows.jsonl", rows())
    (tmp_path / "tiny.yaml").write_text(recipe)
    if task in ("summarization", "text-to-text"):
        save_tiny_t5(tmp_path / "tiny-t5")

    trained = llmkit_process("finetune", "tiny.yaml", cwd=tmp_path)
    assert trained.code == 0, trained.err
    assert trained.out.startswith("runs/tiny-001  ")

    used = llmkit_process(*use, cwd=tmp_path)
    assert used.code == 0, used.err
    if task == "classification":
        assert used.out.startswith("sport\t")
    if task == "causal-lm":
        assert used.out.startswith(SPORT)

    measured = llmkit_process("evaluate", "--json", cwd=tmp_path)
    assert measured.code == 0, measured.err
    record = json.loads(measured.out)
    assert record["model"] == "runs/tiny-001"
    assert figure in record["figures"]

    label = _open_in_transformers(tmp_path / "runs/tiny-001/model", task)
    if task == "classification":
        assert label == "sport"


def _open_in_transformers(folder: Path, task: str) -> str:
    """Text or label for SPORT, with nothing but transformers."""
    import torch
    from transformers import (
        AutoModelForCausalLM,
        AutoModelForSeq2SeqLM,
        AutoModelForSequenceClassification,
        AutoTokenizer,
    )

    classes = {
        "classification": AutoModelForSequenceClassification,
        "causal-lm": AutoModelForCausalLM,
        "summarization": AutoModelForSeq2SeqLM,
        "text-to-text": AutoModelForSeq2SeqLM,
    }
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model, report = classes[task].from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    inputs = tokenizer(SPORT, return_tensors="pt", return_token_type_ids=False)
    with torch.inference_mode():
        if task == "classification":
            return str(model.config.id2label[int(model(**inputs).logits.argmax())])
        written = model.generate(**inputs, max_new_tokens=5)
    return str(tokenizer.decode(written[0]))

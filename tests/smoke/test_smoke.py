"""From rows to a model in use, by the program itself, for each family; then the model in plain transformers."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from tiny_recipes import (
    ANSWER,
    CHOOSE,
    CLASSIFY,
    INSTRUCT,
    NAME,
    SPORT,
    SUMMARIZE,
    TAG,
    WRITE,
    llmkit_process,
    rows,
    save_tiny_t5,
    write_conll,
    write_jsonl,
    write_questions,
)

pytestmark = pytest.mark.slow

os.environ["HF_HUB_OFFLINE"] = "1"  # for the models opened in this process

CASES = {
    "classification": (CLASSIFY, ["classify", SPORT], "accuracy"),
    "question-answering": (ANSWER, ["answer", "--question", "which food", SPORT + " bread"], "answer_f1"),
    "causal-lm": (WRITE, ["generate", "--prompt", SPORT, "--max-new-tokens", "5"], "perplexity"),
    "instruction": (INSTRUCT, ["chat", "--json"], "perplexity"),
    "summarization": (SUMMARIZE, ["summarize", SPORT], "rougeL"),
    "token-classification": (TAG, ["tag", SPORT], "entity_f1"),
    "multiple-choice": (CHOOSE, ["choose", "--context", SPORT, "--choice", "food", "--choice", "sport"], "accuracy"),
    "text-to-text": (NAME, ["generate", "--prompt", SPORT], "exact_text"),
}


@pytest.mark.parametrize("task", CASES)
def test_a_recipe_becomes_a_model_that_works_here_and_in_transformers(tmp_path: Path, task: str) -> None:
    recipe, use, metric = CASES[task]
    write_jsonl(tmp_path / "rows.jsonl", rows())
    write_conll(tmp_path / "rows.conll")
    write_questions(tmp_path / "questions.json")
    (tmp_path / "tiny.yaml").write_text(recipe)
    if task in ("summarization", "text-to-text"):
        save_tiny_t5(tmp_path / "tiny-t5")

    trained = llmkit_process("finetune", "tiny.yaml", cwd=tmp_path)
    assert trained.code == 0, trained.err
    assert trained.out.startswith("runs/tiny-001  ")

    used = llmkit_process(*use, cwd=tmp_path, stdin=f"{SPORT}\n".encode())  # only chat reads it
    assert used.code == 0, used.err
    if task in ("classification", "multiple-choice"):
        assert used.out.startswith("sport\t")
    if task == "token-classification":
        assert used.out == "[goal](SPORT) [team](SPORT) [ball](SPORT) [match league](SPORT)\n"
    if task == "causal-lm":
        assert used.out.startswith(SPORT)
    if task == "instruction":
        assert used.records[0]["prompt"] == SPORT
        assert used.records[0]["answer"]

    measured = llmkit_process("evaluate", "--json", cwd=tmp_path)
    assert measured.code == 0, measured.err
    record = json.loads(measured.out)
    assert record["model"] == "runs/tiny-001"
    assert metric in record["scores"]

    result = _open_in_transformers(tmp_path / "runs/tiny-001/model", task)
    if task in ("classification", "multiple-choice"):
        assert result == "sport"
    if task == "token-classification":
        assert result == "B-SPORT B-SPORT B-SPORT B-SPORT I-SPORT"  # each word is one piece
    if task == "question-answering":
        assert used.out in (f"{result}\n", "no answer\n")
    if task == "instruction":
        assert result == used.records[0]["answer"]


def _open_in_transformers(folder: Path, task: str) -> str:
    """Text, label, tags or answer for SPORT, with nothing but transformers."""
    import torch
    from transformers import (
        AutoModelForCausalLM,
        AutoModelForMultipleChoice,
        AutoModelForQuestionAnswering,
        AutoModelForSeq2SeqLM,
        AutoModelForSequenceClassification,
        AutoModelForTokenClassification,
        AutoTokenizer,
    )

    classes = {
        "classification": AutoModelForSequenceClassification,
        "causal-lm": AutoModelForCausalLM,
        "question-answering": AutoModelForQuestionAnswering,
        "instruction": AutoModelForCausalLM,
        "multiple-choice": AutoModelForMultipleChoice,
        "summarization": AutoModelForSeq2SeqLM,
        "token-classification": AutoModelForTokenClassification,
        "text-to-text": AutoModelForSeq2SeqLM,
    }
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model, report = classes[task].from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    if task == "question-answering":
        inputs = tokenizer("which food", SPORT + " bread", return_tensors="pt")
        with torch.inference_mode():
            output = model(**inputs)
        spans = output.start_logits[0, 4:-1, None] + output.end_logits[0, None, 4:-1]  # behind [CLS] which food [SEP]
        spans = spans.masked_fill(torch.ones_like(spans).tril(-1).bool(), float("-inf"))
        start, end = divmod(int(spans.argmax()), len(spans))
        return str(tokenizer.decode(inputs["input_ids"][0, 4 + start : 5 + end]))
    if task == "multiple-choice":
        choices = ["food", "sport"]
        pairs = tokenizer([SPORT] * len(choices), choices, return_tensors="pt")  # each choice is one token
        with torch.inference_mode():
            scores = model(**{name: tensor[None] for name, tensor in pairs.items()}).logits  # (1, 2)
        return choices[int(scores.argmax())]
    if task == "instruction":
        asked = tokenizer.apply_chat_template(
            [{"role": "user", "content": SPORT}], add_generation_prompt=True, return_tensors="pt"
        )
        answer = model.generate(**asked)[0, asked["input_ids"].shape[1] :]  # the limit is the model's own
        return str(tokenizer.decode(answer, skip_special_tokens=True)).strip()
    inputs = tokenizer(SPORT, return_tensors="pt", return_token_type_ids=False)
    with torch.inference_mode():
        if task == "classification":
            return str(model.config.id2label[int(model(**inputs).logits.argmax())])
        if task == "token-classification":
            return " ".join(model.config.id2label[int(one)] for one in model(**inputs).logits[0, 1:-1].argmax(dim=-1))
        written = model.generate(**inputs, max_new_tokens=5)
    return str(tokenizer.decode(written[0]))

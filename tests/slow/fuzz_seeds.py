"""Valid recipes and rows, from which the inputs of `fuzz_data.py` are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

SENTENCES = ("the old cat walks over the stone", "a bird finds the river", "red light under the tree", "quiet morning")


def _rows(**columns: Sequence[Any]) -> list[dict[str, Any]]:
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


_WORDS = [text.split() for text in SENTENCES]
_TAGS = [["B-X", "I-X", *["O"] * (len(words) - 2)] for words in _WORDS]
_PLACES = [[{"start": 0, "end": len(text.split()[0]), "label": "X"}] for text in SENTENCES]
_ANSWERS = [{"text": [text.split()[1]], "answer_start": [text.index(text.split()[1])]} for text in SENTENCES]
_CHATS = [[{"role": "user", "content": text}, {"role": "assistant", "content": "yes"}] for text in SENTENCES]
_CHOICES = [["the cat", "the dog"], ["red", "green", "old"], ["a", "b"], ["one", "two"]]

ROWS: Mapping[str, tuple[str, list[dict[str, Any]]]] = {
    "label": ("task: classification", _rows(text=SENTENCES, label=("a", "b", "a", "b"))),
    "number-label": ("task: classification", _rows(text=SENTENCES, label=(0, 1, 0, 1))),
    "labels": ("task: classification\nmultilabel: true", _rows(text=SENTENCES, labels=(["a"], ["a", "b"], [], ["b"]))),
    "number": ("task: classification\nregression: true", _rows(text=SENTENCES, label=(0.5, 2, -1.25, 3))),
    "pair": (
        "task: classification",
        _rows(id=(1, 2, 3, 4), text=SENTENCES, text_pair=SENTENCES[::-1], label=("a", "b", "a", "b")),
    ),
    "words": ("task: token-classification", _rows(words=_WORDS, tags=_TAGS)),
    "spans": ("task: token-classification", _rows(text=SENTENCES, spans=_PLACES)),
    "word-a-row": (
        "task: token-classification",
        _rows(sentence=("1", "1", "2", "2"), words=("old", "cat", "red", "tree"), tags=("O", "B-X", "O", "O")),
    ),
    "answers": (
        "task: question-answering",
        _rows(context=SENTENCES, question=("who?", "what?", "where?", "when?"), answers=_ANSWERS),
    ),
    "choices": (
        "task: multiple-choice",
        _rows(context=SENTENCES, choices=_CHOICES, answer=(0, 1, 1, 0)),
    ),
    "summary": ("task: summarization", _rows(text=SENTENCES, summary=("cat", "bird", "light", "quiet"))),
    "translation": (
        "task: translation\nsource_language: en\ntarget_language: de",
        _rows(source=SENTENCES, target=("katze", "vogel", "licht", "ruhe")),
    ),
    "prompt": ("task: instruction", _rows(prompt=SENTENCES, response=("yes", "no", "yes", "no"))),
    "messages": ("task: instruction", _rows(messages=_CHATS)),
    "sharegpt": (
        "task: instruction\ndata: {columns: {messages: conversations}}",
        [{"conversations": [{"from": "human", "value": text}, {"from": "gpt", "value": "yes"}]} for text in SENTENCES],
    ),
    "text": ("task: causal-lm\nblock_tokens: 16", _rows(text=SENTENCES)),
}
"""Name -> the task's keys in a recipe, and rows."""

SQUAD = {
    "version": "v2.0",
    "data": [
        {
            "title": "Cats",
            "paragraphs": [
                {
                    "context": SENTENCES[0],
                    "qas": [
                        {
                            "id": "1",
                            "question": "who?",
                            "answers": [{"text": "cat", "answer_start": 8}],
                            "is_impossible": False,
                        },
                        {
                            "id": "2",
                            "question": "when?",
                            "answers": [],
                            "is_impossible": True,
                            "plausible_answers": [{"text": "old", "answer_start": 4}],
                        },
                    ],
                }
            ],
        }
    ],
}
CONLL = "-DOCSTART- -X- O\n\n# text = a\n" + "\n\n".join(
    "\n".join(f"{word} _ {tag}" for word, tag in zip(words, tags, strict=True))
    for words, tags in zip(_WORDS, _TAGS, strict=True)
)
CONLLU = "# sent_id = 1\n" + "\n".join(
    f"{number}\t{word}\t{word}\tNOUN\t_\t_\t0\troot\t_\t_" for number, word in enumerate(_WORDS[0], 1)
)
RECIPES: Sequence[str] = (
    """recipe: 1
task: classification
model: {architecture: bert, size: tiny, tokenizer: {vocab_size: 200, lowercase: true}}
data:
  train: [missing.csv, "more/*.jsonl"]
  validation: 20%
  columns: {text: body, label: stars}
  max_rows: 100
max_tokens: 24
overflow: truncate
class_weights: balanced
train: {epochs: 2, batch_size: 16, learning_rate: 1e-3, warmup: 10%, schedule: cosine, seed: 3}
evaluation: {every: 12 steps, metrics: [accuracy, macro_f1], best: accuracy}
""",
    """recipe: 1
task: summarization
model: google/t5-small
revision: main
data: {train: hub:owner/name#train, validation: "hub:owner/name#validation"}
prefix: "summarize: "
max_source_tokens: 48
max_target_tokens: 8
train: {steps: 6, batch_size: 4, lora: {rank: 4}, precision: fp32, stop_after: 3}
evaluation: {every: 1 epoch, max_rows: 4}
generation: {beams: 4, length_penalty: 0.6, max_new_tokens: 20, no_repeat_ngram_size: 3}
""",
    """extends: other.yaml
train: &t
  steps: 10
evaluation: {every: 5 steps}
model: ../models/x
labels: {a: Alpha, b: "no"}
""",
)
SETTINGS: Sequence[str] = (
    "train.steps=10", "train.learning_rate=1e-4", "data.train=[a.csv, b.csv]", "model={architecture: gpt2, size: tiny}",
    "evaluation.metrics=[accuracy]", "labels=[a, b]", "train.lora={rank: 2}", "data.columns.text=body", "max_tokens=null",
    "task=causal-lm", "prefix='a: '",
)  # fmt: skip
SCORES: Mapping[str, tuple[Sequence[Any], Sequence[Any]]] = {
    "accuracy": (("a", "b", "a"), ("a", "a", "b")),
    "f1": ((0, 1, 1), (1, 1, 0)),
    "precision": ((["a"], ["a", "b"], []), (["a"], ["b"], ["a", "b"])),
    "mcc": ((0, 1, 1), (1, 1, 0)),
    "confusion": (("a", "b", "a"), ("a", "a", "b")),
    "mse": ((0.5, 1.5, 2), (1, 2, 3.25)),
    "pearson": ((0.5, 1.5, 2), (1, 2, 3.25)),
    "spearman": ((0.5, 1.5, 2), (1, 2, 3.25)),
    "rouge": (("the cat", "a bird", "red"), ("the old cat", ["a bird", "bird"], "light")),
    "bleu": (("the cat walks", "a bird", "red"), ("the old cat walks", "a bird", "light")),
    "chrf++": (("the cat walks", "a bird", "red"), ("the old cat walks", "a bird", "light")),
    "ter": (("the cat walks", "a bird", "red"), ("the old cat walks", "a bird", "light")),
    "exact_text": (("a", "b", ""), ("a", "c", "b")),
    "squad": (("the cat", None, "red"), (["cat", "the cat"], [], {"text": ["red"], "answer_start": [3]})),
    "entities": ((["B-X", "O"], ["O"], ["I-X"]), (["B-X", "I-X"], ["O"], ["B-Y"])),
    "tag_accuracy": ((["B-X", "O"], ["O"], ["I-X"]), (["B-X", "I-X"], ["O"], ["B-Y"])),
    "map": ([{"labels": ["a"], "probabilities": {"a": 0.9, "b": 0.2}}] * 3, (["a"], ["b"], ["a", "b"])),
}
"""Metric -> predictions and references."""

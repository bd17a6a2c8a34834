"""Text that a tokenizer cannot represent is counted: in training, evaluation and use."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from builders import tiny_model
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from llmkit.api import evaluate_model, finetune, load
from llmkit.errors import DataError
from llmkit.models.export import model_files
from llmkit.models.families import Head
from llmkit.tasks.unknown import UnknownCount

BERT_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def wordpiece(*words: str, lowercase: bool = True) -> PreTrainedTokenizerFast:
    """As published uncased BERTs have it, with these words alone."""
    vocab = {token: number for number, token in enumerate((*BERT_SPECIAL, *words))}
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    roles = {f"{token[1:-1].lower()}_token": token for token in BERT_SPECIAL}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **roles)


def test_unknown_tokens_are_counted_with_the_characters_that_cause_them() -> None:
    count = UnknownCount(wordpiece("cat", "c", "a", "t", "dog"))
    assert count.add(["cat dog", "cat ☃☃ ☃", "c☃t"]) == [0, 2, 1]
    totals = count.totals
    assert (totals.texts, totals.tokens, totals.unknown_texts, totals.unknown_tokens) == (3, 6, 2, 3)
    assert totals.lost_characters == 6
    assert totals.characters == {"☃": 4}


def test_a_long_word_of_known_characters_is_counted() -> None:
    count = UnknownCount(wordpiece("g", "##g"))
    assert count.add(["g" * 101, "g" * 100]) == [1, 0]
    assert count.totals.characters == {"g": 101}


def test_the_name_of_the_unknown_token_in_a_text_is_not_lost_text() -> None:
    tokenizer = wordpiece("cat")
    count = UnknownCount(tokenizer)
    assert count.add(["cat [UNK]"], names_are_text=False) == [0]
    assert not count.totals


@pytest.mark.parametrize(
    ("text", "deleted"), [("बच्चे", {"े", "्"}), ("が", {"が"}), ("น้ำ", {"้"}), ("Crème Žižek Ἀθῆναι Ёлка e\u0301 ❤️", set())]
)
def test_marks_that_a_published_tokenizer_deletes_are_counted_except_european_accents(
    text: str, deleted: set[str]
) -> None:
    count = UnknownCount(wordpiece(*text.split()))
    count.add([text])
    assert set(count.totals.deleted) == deleted


def test_characters_that_a_tokenizer_without_an_unknown_token_skips_are_counted() -> None:
    backend = Tokenizer(models.BPE({"a": 0, "b": 1, " ": 2}, []))
    count = UnknownCount(PreTrainedTokenizerFast(tokenizer_object=backend))
    count.add(["abc cab", "ab"])
    assert count.totals.deleted == {"c": 2}
    assert count.totals.deleting_texts == 1


def folder_with(tokenizer: PreTrainedTokenizerFast, folder: Path, *, head: Head) -> Path:
    """A tiny BERT with this tokenizer."""
    loaded = tiny_model("bert", head=head)
    loaded.model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    folder.mkdir()
    for name, content in model_files(loaded).items():
        (folder / name).write_bytes(content)
    tokenizer.model_max_length = 24
    tokenizer.save_pretrained(folder)
    return folder


def recipe(folder: Path, task: str, model: Path, rows: Path, **keys: object) -> Path:
    path = folder / f"{task}.yaml"
    content = {
        "recipe": 1,
        "task": task,
        "model": str(model),
        "data": {"train": str(rows), "validation": str(rows)},
        "train": {"steps": 1, "batch_size": 4},
        **keys,
    }
    path.write_text(json.dumps(content))
    return path


def test_a_classifier_reports_unknown_text_in_training_evaluation_and_use(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    model = folder_with(wordpiece("cat", "dog"), tmp_path / "bert", head="masked-lm")
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"text": f"cat ☂ {word}", "label": word}) + "\n" for word in ("dog", "cat") * 4))
    run = finetune(recipe(tmp_path, "classification", model, rows), run=tmp_path / "run")
    assert run is not None
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert any("8 of 24 tokens" in message and "☂" in message for message in warnings)
    scores = evaluate_model(str(tmp_path / "run")).scores
    assert scores.details["unknown"]["text"]["unknown_tokens"] == 8
    caplog.clear()
    results = list(load(str(tmp_path / "run")).classify(["cat ☂ ☂", "dog"]))
    assert [result.unknown_tokens for result in results] == [2, 0]
    assert any("☂" in record.getMessage() for record in caplog.records if record.levelno == logging.WARNING)


def test_bits_per_byte_leave_out_the_bytes_of_unknown_text(tmp_path: Path) -> None:
    model = folder_with(wordpiece("cat", "dog", "."), tmp_path / "bert", head="masked-lm")
    readable, unreadable = tmp_path / "readable.txt", tmp_path / "unreadable.txt"
    readable.write_text("cat dog . cat\n\n" * 20)
    unreadable.write_text("cat dog . cat " + "\n\ncat dog . cat ".join(["プログラム" * 30] * 20))
    run = finetune(recipe(tmp_path, "masked-lm", model, readable, block_tokens=12), run=tmp_path / "run")
    assert run is not None
    plain = evaluate_model(str(tmp_path / "run"), data=[str(readable)]).scores
    lost = evaluate_model(str(tmp_path / "run"), data=[str(unreadable)]).scores
    assert lost.values["bits_per_byte"] > plain.values["bits_per_byte"] / 2
    assert lost.details["unknown"]["corpus"]["lost_bytes"] == 20 * 30 * len("プログラム".encode())


def test_a_corpus_of_unknown_text_alone_is_refused_with_its_characters(tmp_path: Path) -> None:
    model = folder_with(wordpiece("cat"), tmp_path / "bert", head="masked-lm")
    corpus = tmp_path / "thai.txt"
    corpus.write_text("ภาษาไทย ภาษา\n\nไทย\n" * 20)
    with pytest.raises(DataError, match="า"):
        finetune(recipe(tmp_path, "masked-lm", model, corpus, block_tokens=12), run=tmp_path / "run")


def test_answers_that_no_token_spells_are_counted_before_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A byte-level GPT-2 spells everything, one with a small word vocabulary does not."""
    caplog.set_level(logging.WARNING)
    words = ("<|end|>", "[UNK]", "hello", "User", "Assistant", ":", "fox")
    backend = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="<|end|>", pad_token="<|end|>", unk_token="[UNK]", model_max_length=32
    )
    folder = tmp_path / "gpt2"
    folder.mkdir()
    for name, content in model_files(tiny_model("gpt2")).items():
        (folder / name).write_bytes(content)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink(missing_ok=True)
    tokenizer.save_pretrained(folder)
    rows = tmp_path / "rows.jsonl"
    rows.write_text(
        "".join(json.dumps({"prompt": "hello", "response": text}) + "\n" for text in ("fox", "{fox}", "hello fox") * 2)
    )
    assert finetune(recipe(tmp_path, "instruction", folder, rows), run=tmp_path / "run") is not None
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert any("answer: 2 of 6 texts" in message and "{fox}" in message for message in warnings)

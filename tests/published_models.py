"""Model folders as other people publish them: written by transformers alone, with a tokenizer as old folders have it.

That is, with truncation, padding and a post-processor inside `tokenizer.json`, with added tokens, with the files
`special_tokens_map.json` and `vocab.txt` or `merges.txt`, and with a class of transformers' own. llmkit writes none
of this itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from builders import TaskName, tiny_model, tokenizer_of
from tokenizers import AddedToken, Tokenizer

from llmkit.models.families import Head
from llmkit.models.families.encoder import ROBERTA_TOKENS

PublishedFamily = Literal["bart", "bert", "distilbert", "electra", "gpt2", "t5"]
_WORDPIECE = ("bert", "distilbert", "electra")
TRUNCATED_AT = 8
"""What `tokenizer.json` truncates and pads every text to, unless told otherwise: shorter than most sentences."""
ADDED, ADDED_SPECIAL = "old-stone", "<keep>"
"""Tokens beyond the trained vocabulary: a word and a special token."""
RECIPE_KEYS: Mapping[TaskName, Mapping[str, Any]] = {
    "classification": {"max_tokens": 24},
    "causal-lm": {"block_tokens": 16},
    "denoising": {"block_tokens": 16},
    "instruction": {"max_tokens": 64},
    "masked-lm": {"block_tokens": 16},
    "multiple-choice": {"max_tokens": 32},
    "question-answering": {"max_tokens": 32},
    "replaced-token-detection": {"block_tokens": 16},
    "span-corruption": {"block_tokens": 16},
    "summarization": {"max_source_tokens": 64, "max_target_tokens": 32},
    "text-to-text": {"max_source_tokens": 64, "max_target_tokens": 32},
    "token-classification": {"max_tokens": 32},
    "translation": {
        "source_language": "en",
        "target_language": "de",
        "max_source_tokens": 64,
        "max_target_tokens": 32,
    },
}
"""What a recipe for such a model and rows like `builders.rows` needs besides them."""
WITHOUT_LORA: frozenset[TaskName] = frozenset({"replaced-token-detection"})
_CLASS = {
    "bart": "BartTokenizer",
    "bert": "BertTokenizer",
    "distilbert": "DistilBertTokenizer",
    "electra": "ElectraTokenizer",
    "gpt2": "GPT2Tokenizer",
    "t5": "T5Tokenizer",
}
_BERT_TOKENS = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
_SPECIAL: Mapping[PublishedFamily, Mapping[str, str]] = {
    "bart": ROBERTA_TOKENS,
    "distilbert": _BERT_TOKENS,
    "electra": _BERT_TOKENS,
    "bert": _BERT_TOKENS,
    "gpt2": {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"},
    "t5": {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"},
}


def published_folder(
    folder: Path,
    family: PublishedFamily,
    *,
    head: Head | None = None,
    layers: int = 1,
    dropout: float = 0.0,
    seed: int = 3,
    chat_template: str | None = None,
) -> Path:
    """Write such a folder.

    Args:
        head: what the model was saved with; None for what is usual on the hub: encoders without a head, the others
            with their vocabulary's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    size = _write_tokenizer(folder, family, chat_template=chat_template)
    model = tiny_model(family, head=head, layers=layers, dropout=dropout, seed=seed).model
    model.resize_token_embeddings(size, mean_resizing=False)
    body = model.base_model if family in _WORDPIECE and head is None else model
    body.save_pretrained(folder)
    return folder


def _write_tokenizer(folder: Path, family: PublishedFamily, *, chat_template: str | None) -> int:
    """Write the files of a tokenizer; returns the size of its vocabulary."""
    trained = tokenizer_of(family)
    backend = Tokenizer.from_str(trained.backend_tokenizer.to_str())
    backend.add_tokens([AddedToken(ADDED)])
    backend.add_special_tokens([AddedToken(ADDED_SPECIAL, special=True)])
    padding = _SPECIAL[family].get("pad_token", "<|endoftext|>")
    backend.enable_truncation(TRUNCATED_AT)
    backend.enable_padding(length=TRUNCATED_AT, pad_id=backend.token_to_id(padding), pad_token=padding)
    (folder / "tokenizer.json").write_text(backend.to_str(), encoding="utf-8")

    special = {**_SPECIAL[family], "additional_special_tokens": [ADDED_SPECIAL]}
    config: dict[str, Any] = {
        **special,
        "tokenizer_class": _CLASS[family],
        "model_max_length": 64,
        "name_or_path": f"somebody/{family}-tiny",
        "special_tokens_map_file": None,
    }
    if family in _WORDPIECE:
        config |= {"do_lower_case": True, "do_basic_tokenize": True, "never_split": None, "strip_accents": None}
    if chat_template is not None:
        config["chat_template"] = chat_template
    _write_json(folder / "special_tokens_map.json", special)
    _write_json(folder / "tokenizer_config.json", config)
    _write_json(folder / "added_tokens.json", {name: backend.token_to_id(name) for name in (ADDED, ADDED_SPECIAL)})
    model = json.loads(backend.to_str())["model"]
    if family in _WORDPIECE:
        ordered = sorted(model["vocab"], key=model["vocab"].get)
        (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in ordered), encoding="utf-8")
    elif family in ("bart", "gpt2"):
        _write_json(folder / "vocab.json", model["vocab"])
        merges = "".join(" ".join(pair) + "\n" for pair in model["merges"])
        (folder / "merges.txt").write_text("#version: 0.2\n" + merges, encoding="utf-8")
    return backend.get_vocab_size(with_added_tokens=True)


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")

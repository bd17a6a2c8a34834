"""Folders of encoder-decoders as published: written by transformers alone, with tokenizers of their own classes."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Mapping
from functools import cache
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import torch
from builders import LABELS, sentence, tokenizer_of
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BartForSequenceClassification,
    M2M100Config,
    M2M100ForConditionalGeneration,
    M2M100Tokenizer,
    MarianConfig,
    MarianMTModel,
    MarianTokenizer,
    MBart50Tokenizer,
    MBartConfig,
    MBartForConditionalGeneration,
    MBartTokenizer,
    NllbTokenizer,
    PegasusConfig,
    PegasusForConditionalGeneration,
    PegasusTokenizer,
)
from transformers.convert_slow_tokenizer import generate_merges
from transformers.models.mbart.tokenization_mbart import FAIRSEQ_LANGUAGE_CODES as MBART_CODES

from llmkit.models.families import Head
from llmkit.models.loaded import LoadedModel
from llmkit.models.loading import load_model

Kind = Literal["bart", "mbart", "mbart-50", "marian", "marian-many", "pegasus", "m2m100", "nllb", "nllb-suffix"]
KINDS: tuple[Kind, ...] = ("bart", "mbart", "mbart-50", "marian", "pegasus", "m2m100", "nllb")
"""One of each kind of tokenizer or model."""
POSITIONS = 64
LANGUAGES: Mapping[str, tuple[str, str]] = {
    "mbart": ("en_XX", "ro_RO"),
    "mbart-50": ("en_XX", "de_DE"),
    "m2m100": ("en", "de"),
    "nllb": ("eng_Latn", "deu_Latn"),
    "nllb-suffix": ("eng_Latn", "deu_Latn"),
}
"""What the tokenizers are told for a translation."""
OTHER_WORDS = [
    "der",
    "die",
    "katze",
    "hund",
    "vogel",
    "baum",
    "fluss",
    "stein",
    "geht",
    "sieht",
    "unter",
    "über",
    "rot",
    "grün",
    "klein",
    "alt",
    "still",
    "größe",
    "1990",
]
_CLASSES: Mapping[str, tuple[Any, Any]] = {
    "bart": (BartConfig, BartForConditionalGeneration),
    "mbart": (MBartConfig, MBartForConditionalGeneration),
    "marian": (MarianConfig, MarianMTModel),
    "pegasus": (PegasusConfig, PegasusForConditionalGeneration),
    "m2m100": (M2M100Config, M2M100ForConditionalGeneration),
    "nllb": (M2M100Config, M2M100ForConditionalGeneration),
}


@cache
def sentencepiece_model(language: Literal["first", "second", "both"], kind: str = "unigram", size: int = 90) -> bytes:
    rng = random.Random(7)
    first = [sentence(number) for number in range(150)]
    second = [" ".join(rng.choices(OTHER_WORDS, k=rng.randint(2, 9))) for _ in range(150)]
    texts = {"first": first, "second": second, "both": [*first, *second]}[language]
    model = BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(texts), model_writer=model, vocab_size=size, model_type=kind, hard_vocab_limit=False,
        minloglevel=2, num_threads=1,
    )  # fmt: skip
    return model.getvalue()


def pieces_of(model: bytes) -> list[str]:
    processor = SentencePieceProcessor(model_proto=model)
    return [processor.id_to_piece(number) for number in range(3, processor.get_piece_size())]


def write_tokenizer(folder: Path, kind: Kind) -> Any:
    """Write the files of a tokenizer as published; returns it as transformers opens it."""
    folder.mkdir(parents=True, exist_ok=True)
    letters = [(letter, -4.0) for letter in "abcdefghijklmnopqrstuvwxyzüß"]
    words = sorted({f"▁{word}" for number in range(60) for word in sentence(number).split()})
    scored = [("▁", -3.0), *letters, *((word, -1.0) for word in words)]
    special = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    match kind:
        case "bart":
            tokenizer: Any = tokenizer_of("bart")
            tokenizer.model_max_length = POSITIONS
        case "mbart":
            codes = [(code, 0.0) for code in MBART_CODES]
            tokenizer = MBartTokenizer(vocab=[*special, *scored, *codes, ("<mask>", 0.0)])
        case "mbart-50":
            tokenizer = MBart50Tokenizer(vocab=[("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0), *scored])
        case "pegasus":
            names = ["<pad>", "</s>", "<mask_1>", "<mask_2>", *(f"<unk_{number}>" for number in range(2, 103)), "<unk>"]
            tokenizer = PegasusTokenizer(vocab=[*((name, 0.0) for name in names), *scored, ("<n>", -2.0)])
        case "nllb" | "nllb-suffix":
            pieces = pieces_of(sentencepiece_model("both", "bpe", 150))
            vocab = {name: number for number, name in enumerate([*(name for name, _ in special), *pieces])}
            merges = generate_merges(vocab, {piece: float(-number) for number, piece in enumerate(pieces)})
            tokenizer = NllbTokenizer(vocab=vocab, merges=merges, legacy_behaviour=kind == "nllb-suffix")
        case "marian" | "marian-many":
            tokenizer = _marian(folder, many=kind == "marian-many")
        case "m2m100":
            model = sentencepiece_model("both", "bpe", 150)
            (folder / "sentencepiece.bpe.model").write_bytes(model)
            _write_ids(folder, ["<s>", "<pad>", "</s>", "<unk>", *pieces_of(model)])
            tokenizer = M2M100Tokenizer(str(folder / "vocab.json"), str(folder / "sentencepiece.bpe.model"))
    tokenizer.save_pretrained(folder)
    return tokenizer


def _marian(folder: Path, *, many: bool) -> MarianTokenizer:
    source, target = sentencepiece_model("first"), sentencepiece_model("second")
    (folder / "source.spm").write_bytes(source)
    (folder / "target.spm").write_bytes(target)
    codes = [">>deu<<", ">>nds<<"] if many else []
    pieces = dict.fromkeys((*pieces_of(source), *pieces_of(target)))
    _write_ids(folder, ["</s>", "<unk>", *codes, *pieces, "<pad>"])
    files = [str(folder / name) for name in ("source.spm", "target.spm", "vocab.json")]
    return MarianTokenizer(*files, source_lang="eng", target_lang=None if many else "deu")


def _write_ids(folder: Path, tokens: list[str]) -> None:
    ids = {token: number for number, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(ids, ensure_ascii=False), encoding="utf-8")


def write_model(
    folder: Path,
    kind: Kind,
    *,
    head: Head = "seq2seq-lm",
    layers: int = 1,
    dropout: float = 0.0,
    labels: tuple[str, ...] = LABELS,
    **keys: Any,
) -> Any:
    """Write a folder with a tokenizer and random weights, spread so that texts differ; returns the model.

    Args:
        keys: others of the config.
    """
    tokenizer = write_tokenizer(folder, kind)
    torch.manual_seed(3)
    name = {"mbart-50": "mbart", "marian-many": "marian", "nllb-suffix": "nllb"}.get(kind, kind)
    config_class, model_class = _CLASSES[name]
    end, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    named = {"id2label": dict(enumerate(labels)), "label2id": {label: index for index, label in enumerate(labels)}}
    config = config_class(**{
        "vocab_size": len(tokenizer) + 108 * (kind == "m2m100"), "d_model": 16,  # its languages and unused ids
        "encoder_layers": layers, "decoder_layers": layers, "encoder_attention_heads": 2, "decoder_attention_heads": 4,
        "encoder_ffn_dim": 24, "decoder_ffn_dim": 32, "max_position_embeddings": POSITIONS, "init_std": 0.4,
        "dropout": dropout, "attention_dropout": dropout, "activation_dropout": dropout,
        "encoder_layerdrop": dropout, "decoder_layerdrop": dropout, "scale_embedding": name != "bart",
        "pad_token_id": pad, "eos_token_id": end, "bos_token_id": tokenizer.bos_token_id,
        "decoder_start_token_id": pad if name in ("marian", "pegasus") else end,
        **({"forced_eos_token_id": end} if name not in ("m2m100", "nllb") else {}),
        **named, **keys,
    })  # fmt: skip
    model = (BartForSequenceClassification if head == "classification" else model_class)(config)
    if "final_logits_bias" in dict(model.named_buffers()):
        model.final_logits_bias.normal_()
    if name == "nllb":  # its 200 languages would be most of the tokens
        with torch.no_grad():
            model.get_input_embeddings().weight[list(tokenizer.added_tokens_decoder)] *= 0.2
    if head == "seq2seq-lm":
        model.generation_config.max_length = 12
    if name == "marian":
        model.generation_config.update(bad_words_ids=[[pad]], num_beams=2)
    model.save_pretrained(folder)
    return model.eval()


@cache
def _opened(kind: Kind, head: Head, layers: int, dropout: float, labels: tuple[str, ...]) -> LoadedModel:
    with TemporaryDirectory() as folder:
        write_model(Path(folder), kind, head=head, layers=layers, dropout=dropout, labels=labels)
        return load_model(folder, head=head)


def tiny_encoder_decoder(
    kind: Kind, *, head: Head = "seq2seq-lm", layers: int = 1, dropout: float = 0.0, labels: tuple[str, ...] = LABELS
) -> LoadedModel:
    """Such a folder as llmkit opens it; one of its own for each caller."""
    return copy.deepcopy(_opened(kind, head, layers, dropout, labels))

"""Folders of encoders as the hub has them: old configs and weight names, and a tokenizer as its authors saved it.

Made with transformers and SentencePiece, never with llmkit. A published folder has the weights of the model's own pretraining, often
a config without newer keys, and one file or two of a vocabulary instead of a tokenizer.json.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import builders
import torch
import transformers
from safetensors.torch import save_file
from sentencepiece import SentencePieceTrainer
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

WORDS = [*builders.WORDS, "Größe", "naïve", "été", "日本"]
SENTENCES = [" ".join(WORDS[place:] + WORDS[:place]) for place in range(len(WORDS))] * 4
_SIZES: Mapping[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "initializer_range": 0.2,
}
_POSITIONS = 64


def save_config(folder: Path, content: Mapping[str, Any]) -> None:
    (folder / "config.json").write_text(json.dumps(content), encoding="utf-8")


def save_weights(
    folder: Path, class_name: str, config: Mapping[str, Any], *, extra: Mapping[str, torch.Tensor] | None = None
) -> None:
    """Random weights of a class of transformers; `extra` are those that today's class does not have."""
    torch.manual_seed(3)
    cls = getattr(transformers, class_name)
    model = cls(cls.config_class(**{key: value for key, value in config.items() if key != "architectures"}))
    tied = model.all_tied_weights_keys
    tensors = {name: tensor.clone() for name, tensor in model.state_dict().items() if name not in tied}
    save_file({**tensors, **(extra or {})}, folder / "model.safetensors", metadata={"format": "pt"})


@cache
def sentencepiece_file(**options: Any) -> bytes:
    model = BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES), model_writer=model, vocab_size=110, hard_vocab_limit=False, minloglevel=2,
        **options,
    )  # fmt: skip
    return model.getvalue()


def write_byte_level(folder: Path) -> int:
    """`vocab.json` and `merges.txt` of RoBERTa; returns the size of the vocabulary."""
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    content = json.loads(tokenizer.to_str())["model"]
    content["vocab"]["<mask>"] = len(content["vocab"])
    (folder / "vocab.json").write_text(json.dumps(content["vocab"]), encoding="utf-8")
    merges = "".join(" ".join(pair) + "\n" for pair in content["merges"])
    (folder / "merges.txt").write_text("#version: 0.2\n" + merges, encoding="utf-8")
    return len(content["vocab"])


def write_wordpiece(folder: Path, special: list[str], *, lowercase: bool = True) -> int:
    """`vocab.txt`; returns the size of the vocabulary."""
    letters = sorted({letter for word in WORDS for letter in (word.lower() if lowercase else word)})
    tokens = [*special, *letters, *(f"##{letter}" for letter in letters), *WORDS]
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in dict.fromkeys(tokens)), encoding="utf-8")
    return len(dict.fromkeys(tokens))


def roberta(folder: Path) -> None:
    """roberta-base of 2019: `vocab.json` and `merges.txt`, no tokenizer_config.json, and a counter of positions."""
    size = write_byte_level(folder)
    config = {
        **_SIZES, "architectures": ["RobertaForMaskedLM"], "model_type": "roberta", "vocab_size": size,
        "max_position_embeddings": _POSITIONS + 2, "type_vocab_size": 1, "layer_norm_eps": 1e-5,
        "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1,
    }  # fmt: skip
    old = {"finetuning_task": None, "num_labels": 2, "_num_labels": 2, "output_attentions": False, "torchscript": False}
    save_config(folder, {**config, **old, "output_hidden_states": False, "pruned_heads": {}, "use_bfloat16": False})
    counter = {"roberta.embeddings.position_ids": torch.arange(_POSITIONS + 2)[None]}
    pooler = {"roberta.pooler.dense.weight": torch.eye(16), "roberta.pooler.dense.bias": torch.zeros(16)}
    save_weights(folder, "RobertaForMaskedLM", config, extra={**counter, **pooler})


def xlm_roberta(folder: Path) -> None:
    """xlm-roberta-base: SentencePiece alone, whose ids are shifted by one, and `<mask>` behind them."""
    (folder / "sentencepiece.bpe.model").write_bytes(sentencepiece_file(unk_id=0, bos_id=1, eos_id=2, pad_id=-1))
    config = {
        **_SIZES, "architectures": ["XLMRobertaForMaskedLM"], "model_type": "xlm-roberta", "output_past": True,
        "vocab_size": pieces(folder / "sentencepiece.bpe.model") + 2, "position_embedding_type": "absolute",
        "max_position_embeddings": _POSITIONS + 2, "type_vocab_size": 1, "layer_norm_eps": 1e-5, "use_cache": True,
        "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1,
    }  # fmt: skip
    save_config(folder, config)
    save_weights(folder, "XLMRobertaForMaskedLM", config)


def camembert(folder: Path) -> None:
    """camembert-base: SentencePiece alone, whose ids are shifted by four; `<s>` is 5 and `</s>` is 6."""
    (folder / "sentencepiece.bpe.model").write_bytes(sentencepiece_file(unk_id=0, bos_id=1, eos_id=2, pad_id=-1))
    config = {
        **_SIZES, "architectures": ["CamembertForMaskedLM"], "model_type": "camembert", "output_past": True,
        "vocab_size": pieces(folder / "sentencepiece.bpe.model") + 5, "max_position_embeddings": _POSITIONS + 2,
        "type_vocab_size": 1, "layer_norm_eps": 1e-5, "bos_token_id": 5, "eos_token_id": 6, "pad_token_id": 1,
    }  # fmt: skip
    save_config(folder, config)
    save_weights(folder, "CamembertForMaskedLM", config)


def distilbert(folder: Path) -> None:
    """distilbert-base-uncased, with a config that does not name its class."""
    size = write_wordpiece(folder, ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    config = {
        "model_type": "distilbert", "activation": "gelu", "attention_dropout": 0.1, "dim": 16, "dropout": 0.1,
        "hidden_dim": 32, "initializer_range": 0.2, "max_position_embeddings": _POSITIONS, "n_heads": 2, "n_layers": 2,
        "pad_token_id": 0, "qa_dropout": 0.1, "seq_classif_dropout": 0.2, "sinusoidal_pos_embds": False,
        "tie_weights_": True, "vocab_size": size,
    }  # fmt: skip
    save_config(folder, config)
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True, "model_max_length": _POSITIONS}))
    save_weights(folder, "DistilBertForMaskedLM", config)


def electra(folder: Path) -> None:
    """electra-small-discriminator: narrow embeddings, and the head that tells replaced tokens."""
    size = write_wordpiece(folder, ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    config = {
        **_SIZES, "architectures": ["ElectraForPreTraining"], "model_type": "electra", "vocab_size": size,
        "embedding_size": 8, "generator_hidden_size": 0.25, "max_position_embeddings": _POSITIONS,
        "type_vocab_size": 2, "layer_norm_eps": 1e-12, "summary_activation": "gelu", "summary_last_dropout": 0.1,
        "summary_type": "first", "summary_use_proj": True,
    }  # fmt: skip
    save_config(folder, config)
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True, "model_max_length": _POSITIONS}))
    counter = {"electra.embeddings.position_ids": torch.arange(_POSITIONS)[None]}
    save_weights(folder, "ElectraForPreTraining", config, extra=counter)


def albert(folder: Path) -> None:
    """albert-base-v2: `spiece.model` alone."""
    (folder / "spiece.model").write_bytes(
        sentencepiece_file(
            pad_id=0, unk_id=1, bos_id=-1, eos_id=-1, control_symbols="[CLS],[SEP],[MASK]", pad_piece="<pad>"
        )
    )
    config = {
        **_SIZES, "architectures": ["AlbertForMaskedLM"], "model_type": "albert", "hidden_act": "gelu_new",
        "vocab_size": pieces(folder / "spiece.model"), "embedding_size": 8, "classifier_dropout_prob": 0.1,
        "down_scale_factor": 1, "gap_size": 0, "net_structure_type": 0, "num_memory_blocks": 0, "inner_group_num": 1,
        "num_hidden_groups": 1, "max_position_embeddings": _POSITIONS, "type_vocab_size": 2, "layer_norm_eps": 1e-12,
        "bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0,
    }  # fmt: skip
    save_config(folder, config)
    sop = {"sop_classifier.classifier.weight": torch.zeros(2, 16), "sop_classifier.classifier.bias": torch.zeros(2)}
    save_weights(folder, "AlbertForMaskedLM", config, extra=sop)


def deberta(folder: Path) -> None:
    """deberta-v3-small: `spm.model` alone, `[MASK]` added behind it, no class in the config, and the heads of its pretraining."""
    (folder / "spm.model").write_bytes(
        sentencepiece_file(
            pad_id=0, bos_id=1, eos_id=2, unk_id=3, pad_piece="[PAD]", bos_piece="[CLS]", eos_piece="[SEP]",
            unk_piece="[UNK]",
        )
    )  # fmt: skip
    size = pieces(folder / "spm.model")
    config = {
        **_SIZES, "model_type": "deberta-v2", "vocab_size": size + 100, "max_position_embeddings": _POSITIONS,
        "relative_attention": True, "position_buckets": 8, "norm_rel_ebd": "layer_norm", "share_att_key": True,
        "pos_att_type": "p2c|c2p", "layer_norm_eps": 1e-7, "max_relative_positions": -1, "position_biased_input": False,
        "type_vocab_size": 0,
    }  # fmt: skip
    save_config(folder, config)
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False, "vocab_type": "spm"}))
    (folder / "added_tokens.json").write_text(json.dumps({"[MASK]": size}))
    heads = {
        f"{head}.dense.{kind}": torch.zeros(16, 16) if kind == "weight" else torch.zeros(16)
        for head in ("mask_predictions", "lm_predictions.lm_head")
        for kind in ("weight", "bias")
    }
    save_weights(folder, "DebertaV2Model", config, extra=heads)


def mpnet(folder: Path) -> None:
    """mpnet-base: `vocab.txt` with RoBERTa's special tokens."""
    size = write_wordpiece(folder, ["<s>", "<pad>", "</s>", "<unk>", "[UNK]"])
    with (folder / "vocab.txt").open("a", encoding="utf-8") as vocabulary:
        vocabulary.write("<mask>\n")
    config = {
        **_SIZES, "architectures": ["MPNetForMaskedLM"], "model_type": "mpnet", "vocab_size": size + 1,
        "max_position_embeddings": _POSITIONS + 2, "layer_norm_eps": 1e-5, "relative_attention_num_buckets": 32,
        "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1,
    }  # fmt: skip
    save_config(folder, config)
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True, "model_max_length": _POSITIONS}))
    pooler = {"mpnet.pooler.dense.weight": torch.eye(16), "mpnet.pooler.dense.bias": torch.zeros(16)}
    save_weights(folder, "MPNetForMaskedLM", config, extra=pooler)


def modernbert(folder: Path) -> None:
    """ModernBERT-base: a tokenizer.json with byte-level BPE and BERT's special tokens, in a matrix with unused rows."""
    special = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    content = json.loads(tokenizer.to_str())
    content["decoder"] = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
    content["added_tokens"][4]["lstrip"] = True  # as the published [MASK], which takes the space before it
    pieces_of = {"single": [("[CLS]", None), (None, "A"), ("[SEP]", None)]}
    pieces_of["pair"] = [*pieces_of["single"], (None, "B"), ("[SEP]", None)]
    template = {
        kind: [
            {"SpecialToken": {"id": token, "type_id": 0}} if token else {"Sequence": {"id": text, "type_id": 0}}
            for token, text in parts
        ]
        for kind, parts in pieces_of.items()
    }
    special_tokens = {
        token: {"id": token, "ids": [special.index(token)], "tokens": [token]} for token in ("[CLS]", "[SEP]")
    }
    content["post_processor"] = {"type": "TemplateProcessing", **template, "special_tokens": special_tokens}
    (folder / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    roles = {f"{token[1:-1].lower()}_token": token for token in special}
    names = ["input_ids", "attention_mask"]
    (folder / "tokenizer_config.json").write_text(
        json.dumps({**roles, "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 8192, "model_input_names": names})
    )  # fmt: skip
    config = {
        "architectures": ["ModernBertForMaskedLM"], "model_type": "modernbert", "vocab_size": 384, "hidden_size": 16,
        "intermediate_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2, "attention_bias": False,
        "attention_dropout": 0.0, "bos_token_id": 1, "cls_token_id": 1, "eos_token_id": 2, "sep_token_id": 2,
        "pad_token_id": 3, "classifier_activation": "gelu", "classifier_bias": False, "classifier_dropout": 0.0,
        "classifier_pooling": "mean", "decoder_bias": True, "deterministic_flash_attn": False, "embedding_dropout": 0.0,
        "global_attn_every_n_layers": 3, "global_rope_theta": 160000.0, "gradient_checkpointing": False,
        "hidden_activation": "gelu", "initializer_cutoff_factor": 2.0, "initializer_range": 0.2, "layer_norm_eps": 1e-5,
        "local_attention": 128, "local_rope_theta": 10000.0, "max_position_embeddings": 8192, "mlp_bias": False,
        "mlp_dropout": 0.0, "norm_bias": False, "norm_eps": 1e-5, "position_embedding_type": "absolute",
        "torch_dtype": "float32",
    }  # fmt: skip
    save_config(folder, config)
    save_weights(folder, "ModernBertForMaskedLM", config)


def pieces(file: Path) -> int:
    from sentencepiece import SentencePieceProcessor

    return int(SentencePieceProcessor(model_proto=file.read_bytes()).get_piece_size())


ENCODERS: Mapping[str, Callable[[Path], None]] = {
    make.__name__: make
    for make in (roberta, xlm_roberta, camembert, distilbert, electra, albert, deberta, mpnet, modernbert)
}


def published_encoder(folder: Path, name: str) -> Path:
    """Write the folder of an encoder."""
    folder.mkdir(parents=True, exist_ok=True)
    ENCODERS[name](folder)
    return folder

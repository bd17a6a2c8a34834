"""Folders of tiny decoders as the hub has them: written by transformers alone, with the tokenizer of the published ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, cast

import torch
from builders import LABELS, sentence
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

from llmkit.models.families import Head
from llmkit.models.loaded import LoadedModel
from llmkit.models.loading import load_model

DecoderType = Literal["gpt_neo", "gpt_neox", "opt", "opt-350m", "llama", "smollm2", "qwen2", "qwen3", "mistral"]
WINDOW = 64
LOCAL = 6
"""Tokens that a layer with near attention sees: fewer than most sentences have."""
_SIZES: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 32,
    "max_position_embeddings": WINDOW,
    "initializer_range": 0.2,
}
_ROPE: dict[str, Any] = {**_SIZES, "num_key_value_heads": 2}
CONFIGS: Mapping[str, Mapping[str, Any]] = {
    "gpt_neo": {
        **{key: value for key, value in _SIZES.items() if key not in ("num_hidden_layers", "num_attention_heads")},
        "num_layers": 2, "num_heads": 4, "attention_types": [[["global", "local"], 1]], "window_size": LOCAL,
    },
    "gpt_neox": {**_SIZES, "rotary_pct": 0.5, "tie_word_embeddings": False},
    "opt": {"ffn_dim": 32, "init_std": 0.2, "dropout": 0.0, **_SIZES},
    "opt-350m": {"ffn_dim": 32, "init_std": 0.2, "dropout": 0.0, "word_embed_proj_dim": 8, "do_layer_norm_before": False, **_SIZES},
    "llama": {**_ROPE, "tie_word_embeddings": False, "head_dim": 6},
    "smollm2": {**_ROPE, "tie_word_embeddings": True, "rope_theta": 100000.0},
    "qwen2": {**_ROPE, "tie_word_embeddings": True, "use_sliding_window": True, "sliding_window": LOCAL, "max_window_layers": 1},
    "qwen3": {**_ROPE, "tie_word_embeddings": True, "head_dim": 8},
    "mistral": {**_ROPE, "tie_word_embeddings": False, "sliding_window": LOCAL},
}  # fmt: skip
"""Keys of config.json beside the token ids."""
MODEL_TYPES = {"opt-350m": "opt", "smollm2": "llama"}
"""Where the name is not the type."""
_SENTENCEPIECE = {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
_END = "<|endoftext|>"
_TOKENIZERS: Mapping[str, Mapping[str, Any]] = {
    "gpt_neo": {"tokenizer_class": "GPT2Tokenizer", "bos_token": _END, "eos_token": _END, "unk_token": _END},
    "gpt_neox": {"tokenizer_class": "GPTNeoXTokenizer", "bos_token": _END, "eos_token": _END, "unk_token": _END},
    "opt": {
        "tokenizer_class": "GPT2Tokenizer", "bos_token": "</s>", "eos_token": "</s>", "unk_token": "</s>",
        "pad_token": "<pad>", "add_bos_token": True,
    },
    "llama": {**_SENTENCEPIECE, "add_bos_token": True, "add_eos_token": False},
    "mistral": {**_SENTENCEPIECE, "add_bos_token": True, "add_eos_token": False},
    "smollm2": {
        "tokenizer_class": "GPT2Tokenizer", "bos_token": "<|im_start|>", "eos_token": "<|im_end|>",
        "pad_token": "<|im_end|>", "unk_token": _END,
    },
    "qwen2": {"tokenizer_class": "Qwen2Tokenizer", "bos_token": None, "eos_token": "<|im_end|>", "pad_token": _END},
}  # fmt: skip
_DROPOUT: Mapping[str, tuple[str, ...]] = {
    "gpt_neo": ("attention_dropout", "embed_dropout", "resid_dropout"),
    "gpt_neox": ("attention_dropout", "hidden_dropout"),
    "opt": ("attention_dropout", "dropout"),
}
"""Keys of dropout that a type has; the others have it on attention weights alone."""
CHATML = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nold<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""The template of SmolLM2 and Qwen2: with a system message of its own."""
_SPECIAL: Mapping[str, tuple[str, ...]] = {
    "gpt_neo": (_END,),
    "gpt_neox": (_END, "<|padding|>"),
    "opt": ("<s>", "<pad>", "</s>"),
    "llama": ("<unk>", "<s>", "</s>"),
    "qwen2": (_END, "<|im_start|>", "<|im_end|>"),
}


def decoder_folder(
    folder: Path,
    name: str,
    *,
    head: Literal["causal-lm", "classification"] = "causal-lm",
    labels: tuple[str, ...] = LABELS,
    chat_template: str | None = None,
    seed: int = 3,
    dtype: torch.dtype = torch.float32,
    **keys: Any,
) -> Path:
    """Write such a folder; `keys` are others of its config."""
    kind = {"opt-350m": "opt", "qwen3": "qwen2", "mistral": "llama"}.get(name, name)
    special = _SPECIAL[{"smollm2": "qwen2"}.get(kind, kind)]
    settings = _TOKENIZERS[kind]
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _trained("llama" if kind == "llama" else "bpe", special)
    if kind == "opt":
        content = json.loads(tokenizer)["model"]
        (folder / "vocab.json").write_text(json.dumps(content["vocab"]), encoding="utf-8")
        merges = "".join(" ".join(pair) + "\n" for pair in content["merges"])
        (folder / "merges.txt").write_text("#version: 0.2\n" + merges, encoding="utf-8")
    else:
        (folder / "tokenizer.json").write_text(tokenizer, encoding="utf-8")
    config: dict[str, Any] = {**settings, "model_max_length": 10**30 if kind == "llama" else 1000}
    if chat_template is not None:
        config["chat_template"] = chat_template
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    vocabulary = Tokenizer.from_str(tokenizer)
    ids = {
        f"{role}_token_id": None
        if settings.get(f"{role}_token") is None
        else vocabulary.token_to_id(settings[f"{role}_token"])
        for role in ("bos", "eos", "pad")
    }
    named = {"id2label": dict(enumerate(labels)), "label2id": {label: index for index, label in enumerate(labels)}}
    torch.manual_seed(seed)
    full = AutoConfig.for_model(
        MODEL_TYPES.get(name, name),
        **{
            **CONFIGS[name],
            **ids,
            "vocab_size": vocabulary.get_vocab_size(),
            **(named if head == "classification" else {}),
            **keys,
        },
    )
    auto = AutoModelForCausalLM if head == "causal-lm" else AutoModelForSequenceClassification
    auto.from_config(full).to(dtype).save_pretrained(folder)
    return folder


def tiny_decoder(
    name: str, *, head: Head, dropout: float = 0.0, layers: int = 1, labels: tuple[str, ...] = LABELS
) -> LoadedModel:
    """Such a model as llmkit opens it. Its last layer has attention to near tokens, if its type has that."""
    keys = dict.fromkeys(_DROPOUT.get(name, ("attention_dropout",)), dropout)
    sizes: dict[str, Any] = {"num_hidden_layers": layers, "max_window_layers": layers - 1}
    if name == "gpt_neo":
        sizes = {"num_layers": layers, "attention_types": [[["global"], layers - 1], [["local"], 1]]}
    with TemporaryDirectory() as folder:
        decoder_folder(Path(folder), name, head=cast("Any", head), labels=labels, **sizes, **keys)
        return load_model(folder, head=head)


@cache
def _trained(kind: str, special: tuple[str, ...]) -> str:
    """tokenizer.json: byte-level BPE, or BPE with bytes for what is unknown, as SentencePiece's is converted."""
    texts = [sentence(number) for number in range(60)]
    if kind == "bpe":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(
            vocab_size=300, special_tokens=list(special), initial_alphabet=alphabet, show_progress=False
        )
        tokenizer.train_from_iterator(texts, trainer)
        return tokenizer.to_str()
    plain = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    plain.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    plain.pre_tokenizer = pre_tokenizers.Split("\u2581", "merged_with_next")
    plain.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=100, special_tokens=list(special), show_progress=False)
    )
    content = json.loads(plain.to_str())["model"]
    names = [*special, *(f"<0x{byte:02X}>" for byte in range(256))]
    learned = [token for token in sorted(content["vocab"], key=content["vocab"].get) if token not in special]
    vocabulary = {token: index for index, token in enumerate([*names, *learned])}
    merges = [tuple(pair) for pair in content["merges"]]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.add_special_tokens(list(special))
    tokenizer.normalizer = plain.normalizer
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", 1)]
    )
    return tokenizer.to_str()

"""The 6-layer, 384-wide BERT of the benchmarks, with random weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmkit.models.families import Head


def write_bert(folder: Path, words: Sequence[str], *, head: Head = "classification", **config: Any) -> None:
    """A model folder whose tokenizer has one token per word.

    Args:
        head: the task of its head, such as `token-classification`.
        config: other keys of the model's config, such as its labels, or other sizes.
    """
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, PreTrainedTokenizerFast

    from llmkit.models.families import FAMILIES

    torch.manual_seed(17)
    vocabulary = {token: index for index, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    special = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=512, **special).save_pretrained(folder)
    sizes = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
    bert = BertConfig(vocab_size=len(vocabulary), **{**sizes, **config})
    FAMILIES["bert"].model_class(head)(bert).save_pretrained(folder)

"""The smallest real models: random weights from a fixed seed, tokenizers trained on a few sentences."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from llmkit.models.families import FAMILIES
from llmkit.models.loaded import LoadedModel
from llmkit.recipe.generation import GenerationBlock

SENTENCES = [
    "The small dog runs over the green hill, and the cat sleeps.",
    "A letter came late; nobody read it before noon.",
    "Rain fell on the harbour while the boats waited.",
    "She counted seven stars, then eight, and then none.",
    "Größe, naïve, 日本語 and emoji 🙂 are text as well.",
]
WINDOW = 48


def small_gpt2() -> LoadedModel:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        SENTENCES,
        trainers.BpeTrainer(vocab_size=360, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet),
    )
    end = "<|endoftext|>"
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=end, eos_token=end, unk_token=end, model_max_length=WINDOW
    )
    torch.manual_seed(3)
    # A wide init separates the logits: with the usual 0.02 all tokens are nearly equal, and rounding decides.
    config = GPT2Config(
        vocab_size=len(fast),
        n_positions=WINDOW,
        n_layer=2,
        n_embd=32,
        n_head=2,
        initializer_range=0.6,
        bos_token_id=fast.bos_token_id,
        eos_token_id=fast.eos_token_id,
    )
    return LoadedModel(model=GPT2LMHeadModel(config).eval(), tokenizer=fast, family=FAMILIES["gpt2"], name="small-gpt2")


def small_bert() -> LoadedModel:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokenizer.train_from_iterator(SENTENCES, trainers.WordPieceTrainer(vocab_size=200, special_tokens=special))
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=WINDOW,
    )
    torch.manual_seed(5)
    config = BertConfig(
        vocab_size=len(fast),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=WINDOW,
        initializer_range=0.5,
        id2label={0: "sport", 1: "politics", 2: "weather"},
        label2id={"sport": 0, "politics": 1, "weather": 2},
    )
    model = BertForSequenceClassification(config).eval()
    return LoadedModel(model=model, tokenizer=fast, family=FAMILIES["bert"], name="small-bert")


def small_t5(*, cleans_up: bool = False) -> LoadedModel:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    special = ["<pad>", "</s>", "<unk>"]
    tokenizer.train_from_iterator(
        [*SENTENCES, "summarize: translate: I don't know ."],
        trainers.UnigramTrainer(vocab_size=200, special_tokens=special, unk_token="<unk>"),
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=WINDOW,
        clean_up_tokenization_spaces=cleans_up,
    )
    torch.manual_seed(8)
    config = T5Config(
        vocab_size=len(fast),
        d_model=32,
        d_kv=16,
        d_ff=64,
        num_layers=2,
        num_heads=2,
        initializer_factor=4.0,
        tie_word_embeddings=False,
        decoder_start_token_id=0,
    )
    model = T5ForConditionalGeneration(config).eval()
    with torch.no_grad():
        model.lm_head.weight.mul_(0.25)  # else one token has all the probability, and sampling no choice
    return LoadedModel(model=model, tokenizer=fast, family=FAMILIES["t5"], name="small-t5")


class FakeEngine:
    """Answers by rule: new ids for a prompt and its seed, logits for a text. Remembers what it was asked."""

    def __init__(
        self,
        *,
        continuation: Callable[[Sequence[int]], list[int]] = lambda ids: [],
        logits: Callable[[Sequence[int]], list[float]] = lambda ids: [0.0, 1.0, 2.0],
    ) -> None:
        self.continuation = continuation
        self.logits = logits
        self.asked: list[list[int]] = []
        self.seeds: list[int] = []
        self.streamed_tokens = 0
        self.closed = False

    def class_logits(self, sequences: Sequence[Sequence[int]], *, pairs: bool = False) -> np.ndarray:
        self.asked += [list(ids) for ids in sequences]
        return np.array([self.logits(ids) for ids in sequences], dtype=np.float32)

    def token_logits(self, sequences: Sequence[Sequence[int]], *, pairs: bool = False) -> list[np.ndarray]:
        self.asked += [list(ids) for ids in sequences]
        return [np.array([self.logits([token]) for token in ids], dtype=np.float32) for ids in sequences]

    def generate(self, sequences: Sequence[Sequence[int]], options: GenerationBlock) -> list[list[list[int]]]:
        self.asked += [list(ids) for ids in sequences]
        self.seeds.append(options.seed)
        return [[self.continuation(ids)] * options.num_return_sequences for ids in sequences]

    def generate_stream(self, sequence: Sequence[int], options: GenerationBlock) -> Generator[int, None, None]:
        try:
            for token in self.continuation(sequence):
                self.streamed_tokens += 1
                yield token
        finally:
            self.closed = True

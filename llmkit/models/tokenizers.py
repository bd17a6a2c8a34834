"""Training of a tokenizer on texts, one kind for each family. Knows neither files nor recipes.

The result is an ordinary fast tokenizer, whose `tokenizer.json` AutoTokenizer opens.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from llmkit.errors import DataError, UsageError
from llmkit.models.loaded import Family

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

END_OF_TEXT = "<|endoftext|>"
SENTINELS = tuple(f"<extra_id_{number}>" for number in range(100))  # Raffel et al. 2020, section 3.1.4
_BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
_UNBOUNDED = 10**30
"""What transformers writes where a tokenizer has no limit of its own."""


def train_tokenizer(
    family: Family, texts: Iterable[str], *, vocab_size: int, lowercase: bool, max_tokens: int | None
) -> PreTrainedTokenizerFast:
    """A tokenizer of the family's kind, trained on `texts`.

    gpt2: byte-level BPE, nothing is unknown. bert: WordPiece on BERT's own pre-tokenizer. t5: Unigram with the 100
    sentinels, spaces kept, and bytes for what the pieces do not cover.

    Args:
        vocab_size: entries, special ones included; a small text can give fewer.
        lowercase: WordPiece only.
        max_tokens: the window to write into the tokenizer; None for no limit.
    Raises:
        UsageError: the vocabulary cannot hold even the family's fixed entries.
        DataError: there is no text.
    """
    filled = _refuse_empty(texts)
    match family:
        case "gpt2":
            tokenizer, special = _train_bpe(filled, vocab_size), {"bos_token": END_OF_TEXT, "eos_token": END_OF_TEXT}
            special["pad_token"] = END_OF_TEXT  # padding is told by the attention mask, never by the id
        case "bert":
            tokenizer = _train_wordpiece(filled, vocab_size, lowercase=lowercase)
            special = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
        case "t5":
            tokenizer = _train_unigram(filled, vocab_size)
            special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    return _wrapped(tokenizer, special, padding_side="left" if family == "gpt2" else "right", max_tokens=max_tokens)


def _refuse_empty(texts: Iterable[str]) -> Iterator[str]:
    """The texts; a DataError at their end if they have not one character."""
    characters = 0
    for text in texts:
        characters += len(text)
        yield text
    if not characters:
        raise DataError("there is no text to train a tokenizer on.")


def _wrapped(
    tokenizer: Tokenizer, special: dict[str, str], *, padding_side: str, max_tokens: int | None
) -> PreTrainedTokenizerFast:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        padding_side=padding_side,
        model_max_length=max_tokens or _UNBOUNDED,
        clean_up_tokenization_spaces=False,
        **special,
    )


def _refuse_below(vocab_size: int, least: int, why: str) -> None:
    if vocab_size < least:
        raise UsageError(f"model.tokenizer.vocab_size: {vocab_size} is too small; {why} alone take {least}.")


def _train_bpe(texts: Iterator[str], vocab_size: int) -> Tokenizer:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    _refuse_below(vocab_size, 257, "the 256 bytes and the end of text")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _train_wordpiece(texts: Iterator[str], vocab_size: int, *, lowercase: bool) -> Tokenizer:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    normalizer = normalizers.BertNormalizer(lowercase=lowercase, handle_chinese_chars=True)
    learner = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    learner.normalizer = normalizer
    pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    held = list(texts)
    # A continuation `##c` for what does not end a word: symbols such as the euro sign are no punctuation to BERT.
    entries = [
        (char, f"##{char}")
        if len(pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(f"a{char}"))) == 1
        else (char,)
        for char in _commonest_first(normalizer.normalize_str(text) for text in held)
        if not char.isspace()
    ]
    # The trainer numbers characters in the order of a hash map, and breaks ties by number: two runs gave two
    # vocabularies. Characters that come first, as if they were special, make it one and the same.
    alphabet, rarer = _fitting(entries, room=vocab_size // 2)
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size, special_tokens=[*special, *alphabet], limit_alphabet=len(alphabet), show_progress=False
    )
    learner.pre_tokenizer = pre_tokenizer
    learner.train_from_iterator(held, trainer)
    # A fresh tokenizer around the learnt vocabulary: in it, only the true special tokens are special.
    learnt = sorted(learner.get_vocab().keys() - {*special, *alphabet})
    # Where every character is a word of its own, as in Chinese, little is learnt: the room goes to rarer characters.
    more, _ = _fitting(rarer, room=vocab_size - len(special) - len(alphabet) - len(learnt))
    vocab = {token: index for index, token in enumerate([*special, *alphabet, *learnt, *more])}
    model = models.WordPiece(vocab, unk_token="[UNK]", max_input_chars_per_word=100)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(special)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")],
    )
    return tokenizer


def _commonest_first(texts: Iterable[str]) -> list[str]:
    """Their characters; equally common ones by code point."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    return sorted(counts, key=lambda char: (-counts[char], char))


def _fitting(entries: Sequence[tuple[str, ...]], *, room: int) -> tuple[list[str], Sequence[tuple[str, ...]]]:
    """The first entries that together have at most `room` tokens, those tokens sorted; and the entries left over."""
    taken: list[str] = []
    for number, tokens in enumerate(entries):
        if len(taken) + len(tokens) > room:
            return sorted(taken), entries[number:]
        taken += tokens
    return sorted(taken), ()


def _train_unigram(texts: Iterator[str], vocab_size: int) -> Tokenizer:
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    special = ["<pad>", "</s>", "<unk>"]
    fixed = len(special) + len(SENTINELS) + len(_BYTES)
    # The characters that byte pieces are written with have pieces of their own: a "<0x41>" in a text is no byte.
    spelling = sorted(set("".join(_BYTES)))
    least = fixed + len(spelling) + len("▁")
    _refuse_below(vocab_size, least, "the special tokens, the 100 sentinels, the 256 bytes and what spells them")
    held = list(texts)
    # The trainer fails where the characters do not fit; half of the room is theirs, and rarer ones become bytes.
    learnable = [char for char in _commonest_first(held) if char not in (" ", "▁", *spelling)]
    rare = {ord(char): " " for char in learnable[(vocab_size - least) // 2 :]}
    learner = Tokenizer(models.Unigram())
    # As SentencePiece does, pieces are learnt within words, digits and symbols apart. Whole runs such as "--->1,024"
    # made the trainer's likelihood no number on docstrings, which ends the process; so did words without an end.
    words = Regex(r"▁?[\p{L}\p{M}]{1,64}|▁?\p{N}|▁?[^▁\p{L}\p{M}\p{N}]")
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(), pre_tokenizers.Split(words, "isolated")]
    )
    most = vocab_size - len(SENTINELS) - len(_BYTES)
    trainer = trainers.UnigramTrainer(
        vocab_size=most,
        special_tokens=special,
        unk_token="<unk>",
        initial_alphabet=spelling,
        show_progress=False,
    )
    learner.train_from_iterator((text.translate(rare) for text in held), trainer)
    pieces = _unigram_pieces(learner, most=most)
    # The trainer cannot learn byte pieces, so they go behind its own, with a score that spelling one out beats.
    lowest = 2 * len(_BYTES[0]) * min(score for _, score in pieces)
    model = models.Unigram([*pieces, *((byte, lowest) for byte in _BYTES)], unk_id=2, byte_fallback=True)
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    tokenizer.add_special_tokens([*special, *reversed(SENTINELS)])  # the first sentinel has the highest id, as in T5
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    return tokenizer


def _unigram_pieces(learner: Tokenizer, *, most: int) -> list[tuple[str, float]]:
    """At most so many learnt pieces with their log-probabilities, special ones first, the rest from likely to rare.

    Sums over threads differ in the last digits, so scores are rounded and ties sorted: two runs agree. The trainer
    puts characters that it did not learn just above the lowest score, 0.0001 apart in the order of a hash map; here
    they share the lowest.
    """
    vocab = json.loads(learner.to_str())["model"]["vocab"]  # the scores are on no other surface of the library
    special, scored = vocab[:3], [(piece, score) for piece, score in vocab[3:] if piece not in _BYTES]
    lowest = min(score for _, score in scored)
    singles = [piece for piece, _ in scored if len(piece) == 1]
    unlearnt = lowest + 0.0001 * (1 + len(singles))
    learnt = [(piece, round(lowest if len(piece) == 1 and score < unlearnt else score, 3)) for piece, score in scored]
    ranked = sorted(learnt, key=lambda entry: (-entry[1], entry[0]))
    # Where only the single characters fit, the trainer gives a few pieces more than it was asked for.
    longer = [entry for entry in ranked if len(entry[0]) > 1][: most - len(special) - len(singles)]
    kept = {piece for piece, _ in longer}.union(singles)
    return [*((piece, score) for piece, score in special), *(entry for entry in ranked if entry[0] in kept)]

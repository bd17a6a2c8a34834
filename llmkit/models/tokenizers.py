"""Training of a tokenizer on texts, with one algorithm per family. Knows the recipe's block, but no files.

The result is an ordinary fast tokenizer, whose `tokenizer.json` AutoTokenizer opens.
"""

from __future__ import annotations

import json
import logging
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from heapq import heappop, heappush
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.atomic import replace_file
from llmkit.errors import DataError, UsageError
from llmkit.models.families import Family
from llmkit.models.families.gpt2 import END_OF_TEXT
from llmkit.recipe.blocks import TokenizerBlock

if TYPE_CHECKING:
    from tokenizers import Tokenizer, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

SENTINELS = tuple(f"<extra_id_{number}>" for number in range(100))  # Raffel et al. 2020, section 3.1.4
_BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
_UNBOUNDED = 10**30
"""What transformers writes where a tokenizer has no limit of its own."""
_SPACE = "▁"  # what stands for a space in the pieces of Unigram
_ESCAPE = "\x1a"  # the control character "substitute": nobody writes it, so escaping costs nothing
_BERT_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")

_log = logging.getLogger("llmkit")


def train_tokenizer(
    family: Family,
    texts: Iterable[str],
    *,
    block: TokenizerBlock,
    max_tokens: int | None,
    cached: Path | None = None,
) -> PreTrainedTokenizerFast:
    """A tokenizer of the family's kind, trained on `texts`, of which `block.max_characters` are held at most.

    gpt2: byte-level BPE, nothing is unknown. bert, lstm: WordPiece on BERT's own pre-tokenizer. t5: Unigram with the 100
    sentinels, and bytes for what the pieces do not cover.

    Decoding what gpt2's or t5's encoded gives any text back, all spaces included. The name of a special token in a
    text is read as that token, as everywhere in transformers; t5 then puts a space behind it. A text that is to be
    text throughout is encoded with `split_special_tokens=True`.

    Args:
        max_tokens: the window to write into the tokenizer; None for no limit.
        cached: the file of these very texts and options, taken if it is there, else written.
    Raises:
        UsageError: an option that this kind does not have, or no room for the family's fixed entries.
        DataError: there is no text.
    """
    from tokenizers import Tokenizer

    _refuse_idle_options(family, block)
    if cached is not None and cached.exists():
        tokenizer = Tokenizer.from_file(str(cached))
    else:
        tokenizer = _trained(family, texts, block)
        if cached is not None:
            replace_file(cached, tokenizer.to_str().encode())
    return _wrapped(tokenizer, family, max_tokens=max_tokens)


def _trained(family: Family, texts: Iterable[str], block: TokenizerBlock) -> Tokenizer:
    filled = _refuse_empty(texts)
    used = filled if block.max_characters is None else _sampled(filled, most_characters=block.max_characters)
    match family.tokenizer:
        case "bpe":
            tokenizer = _train_bpe(used, block)
        case "wordpiece":
            tokenizer = _train_wordpiece(list(used), block)
        case "unigram":
            tokenizer = _train_unigram(list(used), block.vocab_size)
    got = tokenizer.get_vocab_size()
    if got < block.vocab_size:
        _log.warning(
            "tokenizer: vocab_size is %s, but this text yields only %s entries", f"{block.vocab_size:,}", f"{got:,}"
        )
    return tokenizer


def _refuse_idle_options(family: Family, block: TokenizerBlock) -> None:
    if family.tokenizer != "wordpiece" and block.strip_accents is not None:
        raise UsageError(f"model.tokenizer.strip_accents: {family.name}'s tokenizer keeps every character. Remove it.")
    if family.tokenizer == "unigram" and block.min_frequency > 1:
        raise UsageError(
            f"model.tokenizer.min_frequency: {block.min_frequency} is not supported; {family.name}'s Unigram tokenizer has no "
            "minimum frequency. Remove it."
        )


def _refuse_empty(texts: Iterable[str]) -> Iterator[str]:
    """The texts that are not empty; a DataError at their end if there was none."""
    found = False
    for text in texts:
        if text:
            found = True
            yield text
    if not found:
        raise DataError(
            "there is no text to train a tokenizer on. Give more rows, or smaller validation and test shares."
        )


def _sampled(texts: Iterable[str], *, most_characters: int) -> list[str]:
    """All texts in order; with more than this many characters, an even sample of texts of that size.

    Each text gets a random number, always the same for its position. Those with the lowest are kept, and the last of
    them is truncated to the limit. So the sample covers the whole corpus, which is never in memory at once.
    """
    draws = random.Random(0)
    held: list[tuple[float, int, str]] = []  # a heap: the highest number first
    read = kept = 0
    for place, text in enumerate(texts):
        read += len(text)
        kept += len(text)
        heappush(held, (-draws.random(), place, text))
        while kept > most_characters:
            negated, its_place, last = heappop(held)
            kept -= len(last)
            if kept < most_characters:
                heappush(held, (negated, its_place, last[: most_characters - kept]))
                kept = most_characters
    if kept < read:
        _log.info(
            "tokenizer: trained on %s of %s characters, sampled evenly from all texts (model.tokenizer.max_characters)",
            f"{kept:,}",
            f"{read:,}",
        )
    return [text for _, _, text in sorted(held, key=lambda entry: entry[1])]


def _wrapped(tokenizer: Tokenizer, family: Family, *, max_tokens: int | None) -> PreTrainedTokenizerFast:
    from transformers import PreTrainedTokenizerFast

    names = family.model_input_names
    inputs: dict[str, Any] = {} if names is None else {"model_input_names": list(names)}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        padding_side=family.padding_side,
        model_max_length=max_tokens or _UNBOUNDED,
        clean_up_tokenization_spaces=False,
        **family.special_tokens,
        **inputs,
    )


def _refuse_below(vocab_size: int, least: int, why: str) -> None:
    if vocab_size < least:
        raise UsageError(f"model.tokenizer.vocab_size: {vocab_size} is too small; {why} alone need {least}.")


def _train_bpe(texts: Iterable[str], block: TokenizerBlock) -> Tokenizer:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    _refuse_below(block.vocab_size, 257, "the 256 bytes and the end of text")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=block.vocab_size,
        min_frequency=block.min_frequency,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _train_wordpiece(texts: list[str], block: TokenizerBlock) -> Tokenizer:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    normalizer = normalizers.BertNormalizer(
        lowercase=block.lowercase, strip_accents=block.strip_accents, handle_chinese_chars=True
    )
    pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    vocab = _wordpiece_vocabulary(texts, block, normalizer=normalizer, pre_tokenizer=pre_tokenizer)
    # A fresh tokenizer around the learnt vocabulary: in it, only the true special tokens are special.
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(list(_BERT_SPECIAL))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")],
    )
    return tokenizer


def _wordpiece_vocabulary(
    texts: list[str],
    block: TokenizerBlock,
    *,
    normalizer: normalizers.BertNormalizer,
    pre_tokenizer: pre_tokenizers.BertPreTokenizer,
) -> dict[str, int]:
    """Token -> id: special tokens, frequent characters, learned tokens, and rarer characters in the remaining entries."""
    from tokenizers import Tokenizer, models, trainers

    # A continuation `##c` for what does not end a word: symbols such as the euro sign are no punctuation to BERT.
    entries = [
        (char, f"##{char}")
        if len(pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(f"a{char}"))) == 1
        else (char,)
        for char in _commonest_first(normalizer.normalize_str(text) for text in texts)
        if not char.isspace()
    ]
    # The trainer numbers characters in the order of a hash map, and breaks ties by number: two runs gave two
    # vocabularies. Characters that come first, as if they were special, make it one and the same.
    alphabet, rarer = _fitting(entries, room=block.vocab_size // 2)
    characters = [char for char, *_ in entries[: len(entries) - len(rarer)]]
    trainer = trainers.WordPieceTrainer(
        vocab_size=block.vocab_size,
        min_frequency=block.min_frequency,
        special_tokens=[*_BERT_SPECIAL, *alphabet],
        initial_alphabet=characters,  # with the limit: these and no others, or a rarer one might come in twice
        limit_alphabet=len(characters),
        show_progress=False,
    )
    learner = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    learner.normalizer = normalizer
    learner.pre_tokenizer = pre_tokenizer
    learner.train_from_iterator(texts, trainer)
    learnt = sorted(learner.get_vocab().keys() - {*_BERT_SPECIAL, *alphabet})
    # Where every character is a word of its own, as in Chinese, little is learnt: the room goes to rarer characters.
    more, missing = _fitting(rarer, room=block.vocab_size - len(_BERT_SPECIAL) - len(alphabet) - len(learnt))
    if missing:
        _log.warning(
            "tokenizer: %s of %s different characters do not fit and become [UNK]; a model.tokenizer.vocab_size "
            "of %s holds all",
            f"{len(missing):,}",
            f"{len(entries):,}",
            f"{2 * sum(map(len, entries)):,}",  # half of the entries are for characters, whatever is learnt
        )
    return {token: index for index, token in enumerate([*_BERT_SPECIAL, *alphabet, *learnt, *more])}


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


def _train_unigram(texts: list[str], vocab_size: int) -> Tokenizer:
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors, trainers

    special = ["<pad>", "</s>", "<unk>"]
    fixed = len(special) + len(SENTINELS) + len(_BYTES)
    # The characters that byte pieces are written with have pieces of their own: a "<0x41>" in a text is no byte.
    spelling = sorted(set("".join(_BYTES)))
    least = fixed + len(spelling) + len(_SPACE)
    _refuse_below(vocab_size, least, "the special tokens, the 100 sentinels, the 256 bytes and their characters")
    # The trainer fails where the characters do not fit; half of the room is theirs, and rarer ones become bytes.
    learnable = [char for char in _commonest_first(texts) if char not in (" ", _SPACE, *spelling)]
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
    learner.train_from_iterator((text.translate(rare) for text in texts), trainer)
    pieces = _unigram_pieces(learner, most=most)
    # The trainer cannot learn byte pieces, so they go behind its own, with a score that spelling one out beats.
    lowest = 2 * len(_BYTES[0]) * min(score for _, score in pieces)
    model = models.Unigram([*pieces, *((byte, lowest) for byte in _BYTES)], unk_id=2, byte_fallback=True)
    tokenizer = Tokenizer(model)
    _keep_spaces(tokenizer)
    tokenizer.add_special_tokens([*special, *reversed(SENTINELS)])  # the first sentinel has the highest id, as in T5
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    return tokenizer


def _keep_spaces(tokenizer: Tokenizer) -> None:
    """A space becomes the sign `▁`, one more stands in front of a text, and decoding gives back what was there.

    Metaspace alone adds no sign where a text begins with a space, and cannot tell the sign from a space: two texts
    with the same pieces. Here one is always added, and a sign in the text itself is escaped.
    """
    from tokenizers import decoders, normalizers, pre_tokenizers

    escapes = ((_ESCAPE, f"{_ESCAPE}0"), (_SPACE, f"{_ESCAPE}1"))
    tokenizer.normalizer = normalizers.Sequence(
        [*(normalizers.Replace(*escape) for escape in escapes), normalizers.Prepend(_SPACE)]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    joined = [decoders.ByteFallback(), decoders.Fuse(), decoders.Replace(_SPACE, " "), decoders.Strip(" ", 1, 0)]
    unescaped = [decoders.Replace(escaped, char) for char, escaped in reversed(escapes)]
    tokenizer.decoder = decoders.Sequence([*joined, *unescaped])


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

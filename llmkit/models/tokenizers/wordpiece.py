"""WordPiece, as BERT has it."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from llmkit.models.accents import ACCENTS, VARIATION_SELECTORS
from llmkit.models.tokenizers.vocabulary import most_frequent_first
from llmkit.recipe.blocks import TokenizerBlock

_BERT_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_MOST_WORD_CHARACTERS = 100
"""Longer words are read as several, each of at most this many characters."""

logger = logging.getLogger("llmkit")


def train_wordpiece(texts: list[str], block: TokenizerBlock) -> Tokenizer:
    normalizer = _normalizer(lowercase=block.lowercase, strip_accents=block.strip_accents)
    # WordPiece takes time by the square of a word's length, and knows no word above its limit: long ones are cut.
    pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.BertPreTokenizer(), pre_tokenizers.FixedLength(length=_MOST_WORD_CHARACTERS)]
    )
    vocab = _wordpiece_vocabulary(texts, block, normalizer=normalizer, pre_tokenizer=pre_tokenizer)
    # A fresh tokenizer around the learnt vocabulary: in it, only the true special tokens are special.
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]", max_input_chars_per_word=_MOST_WORD_CHARACTERS))
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


def _normalizer(*, lowercase: bool, strip_accents: bool | None) -> normalizers.Normalizer:
    """BERT's normalization, but only Latin, Greek and Cyrillic letters lose their accents.

    BERT's own removes every combining mark: vowels of Thai and Hindi, voicing of Japanese.

    Args:
        strip_accents: None for the same as `lowercase`.
    """
    if not (lowercase if strip_accents is None else strip_accents):
        return normalizers.BertNormalizer(lowercase=lowercase, strip_accents=False, handle_chinese_chars=True)
    # Lower case comes last: that of a Turkish dotted I has a combining dot, which would stay.
    steps = [
        normalizers.BertNormalizer(lowercase=False, strip_accents=False, handle_chinese_chars=True),
        normalizers.NFD(),
        normalizers.Replace(Regex(f"[{ACCENTS}{VARIATION_SELECTORS}]"), ""),
        normalizers.NFC(),
    ]
    return normalizers.Sequence([*steps, normalizers.Lowercase()] if lowercase else steps)


def _wordpiece_vocabulary(
    texts: list[str],
    block: TokenizerBlock,
    *,
    normalizer: normalizers.Normalizer,
    pre_tokenizer: pre_tokenizers.PreTokenizer,
) -> dict[str, int]:
    """Token -> id: special tokens, frequent characters, learnt subwords, and rarer characters if there is room."""
    # A continuation `##c` for characters that do not end a word: BERT does not treat the euro sign as punctuation.
    entries = [
        (char, f"##{char}")
        if len(pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(f"a{char}"))) == 1
        else (char,)
        for char in most_frequent_first(normalizer.normalize_str(text) for text in texts)
        if not char.isspace()
    ]
    # The trainer numbers characters in the order of a hash map, and breaks ties by number: two runs gave two
    # vocabularies. With the characters first, as if they were special, it is always the same.
    alphabet, rarer = _fitting(entries, room=block.vocab_size // 2)
    characters = [char for char, *_ in entries[: len(entries) - len(rarer)]]
    trainer = trainers.WordPieceTrainer(
        vocab_size=block.vocab_size,
        min_frequency=block.min_frequency,
        special_tokens=[*_BERT_SPECIAL, *alphabet],
        initial_alphabet=characters,  # with the limit: exactly these, else a rarer one might occur twice
        limit_alphabet=len(characters),
        show_progress=False,
    )
    learner = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    learner.normalizer = normalizer
    learner.pre_tokenizer = pre_tokenizer
    learner.train_from_iterator(texts, trainer)
    learnt = sorted(learner.get_vocab().keys() - {*_BERT_SPECIAL, *alphabet})
    # If every character is a word, as in Chinese, little is learnt: the room goes to rarer characters.
    more, missing = _fitting(rarer, room=block.vocab_size - len(_BERT_SPECIAL) - len(alphabet) - len(learnt))
    if missing:
        logger.warning(
            "tokenizer: %s of %s different characters do not fit and become [UNK]; a model.tokenizer.vocab_size "
            "of %s fits all",
            f"{len(missing):,}",
            f"{len(entries):,}",
            f"{2 * sum(map(len, entries)):,}",  # half of the entries are for characters
        )
    return {token: index for index, token in enumerate([*_BERT_SPECIAL, *alphabet, *learnt, *more])}


def _fitting(entries: Sequence[tuple[str, ...]], *, room: int) -> tuple[list[str], Sequence[tuple[str, ...]]]:
    """The first entries that together have at most `room` tokens, sorted tokens; and the remaining entries."""
    fitting: list[str] = []
    for number, tokens in enumerate(entries):
        if len(fitting) + len(tokens) > room:
            return sorted(fitting), entries[number:]
        fitting += tokens
    return sorted(fitting), ()

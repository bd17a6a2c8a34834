"""Unigram with sentinels and byte fallback, as T5 has it."""

from __future__ import annotations

import json
from collections.abc import Iterator

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from llmkit.models.tokenizers.vocabulary import most_frequent_first, refuse_below

SENTINELS = tuple(f"<extra_id_{number}>" for number in range(100))  # Raffel et al. 2020, section 3.1.4
_BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
_SPACE = "▁"  # replaces a space in the subwords of Unigram
_PART_CHARACTERS = 4096
_ESCAPE = "\x1a"  # the control character "substitute": nobody writes it, so escaping costs nothing


def train_unigram(texts: list[str], vocab_size: int) -> Tokenizer:
    special = ["<pad>", "</s>", "<unk>"]
    fixed = len(special) + len(SENTINELS) + len(_BYTES)
    # The characters in the names of byte subwords are subwords too: a "<0x41>" in a text is not a byte.
    spelling = sorted(set("".join(_BYTES)))
    least = fixed + len(spelling) + len(_SPACE)
    refuse_below(vocab_size, least, "the special tokens, the 100 sentinels, the 256 bytes and what spells them")
    # The trainer fails if the characters do not fit: they get half of the room, and rarer ones become bytes.
    learnable = [char for char in most_frequent_first(texts) if char not in (" ", _SPACE, *spelling)]
    rare = {ord(char): " " for char in learnable[(vocab_size - least) // 2 :]}
    learner = Tokenizer(models.Unigram())
    # As in SentencePiece, subwords are learnt within words, and digits and symbols are separate. With runs such as
    # "--->1,024" or words without a length limit, the trainer's likelihood became NaN, which ends the process.
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
    parts = (part for text in texts for part in _parts(text.translate(rare)))
    learner.train_from_iterator(parts, trainer)
    subwords = _unigram_subwords(learner, most=most)
    # The trainer cannot learn byte subwords. They are added with so low a score that spelling out their names wins.
    lowest = 2 * len(_BYTES[0]) * min(score for _, score in subwords)
    model = models.Unigram([*subwords, *((byte, lowest) for byte in _BYTES)], unk_id=2, byte_fallback=True)
    tokenizer = Tokenizer(model)
    _keep_spaces(tokenizer)
    tokenizer.add_special_tokens([*special, *reversed(SENTINELS)])  # the first sentinel has the highest id, as in T5
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    return tokenizer


def _parts(text: str) -> Iterator[str]:
    """A long text in parts of the same words, since the trainer takes time by the square of a text's length."""
    start = 0
    while len(text) - start > _PART_CHARACTERS:
        most = start + _PART_CHARACTERS
        space = text.rfind(" ", start + 1, most)
        end = space if space > 0 else most
        yield text[start:end]
        start = end
    yield text[start:]


def _keep_spaces(tokenizer: Tokenizer) -> None:
    """A space becomes the sign `▁`, another one is added before the text, and decoding restores the text.

    Metaspace alone adds no sign if a text begins with a space, and does not distinguish the sign from a space: two texts
    have the same subwords. Here a sign is always added, and a sign in the text is escaped.
    """
    escapes = ((_ESCAPE, f"{_ESCAPE}0"), (_SPACE, f"{_ESCAPE}1"))
    tokenizer.normalizer = normalizers.Sequence(
        [*(normalizers.Replace(*escape) for escape in escapes), normalizers.Prepend(_SPACE)]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    joined = [decoders.ByteFallback(), decoders.Fuse(), decoders.Replace(_SPACE, " "), decoders.Strip(" ", 1, 0)]
    unescaped = [decoders.Replace(escaped, char) for char, escaped in reversed(escapes)]
    tokenizer.decoder = decoders.Sequence([*joined, *unescaped])


def _unigram_subwords(learner: Tokenizer, *, most: int) -> list[tuple[str, float]]:
    """At most `most` learnt subwords with their log-probabilities: special tokens, then by decreasing probability.

    Sums over threads differ in the last digits, so scores are rounded and ties sorted: two runs agree. The trainer
    gives characters that it did not learn scores just above the lowest, 0.0001 apart in the order of a hash map; here
    they get the lowest score.
    """
    vocab = json.loads(learner.to_str())["model"]["vocab"]  # the library has no other access to the scores
    special, scored = vocab[:3], [(subword, score) for subword, score in vocab[3:] if subword not in _BYTES]
    lowest = min(score for _, score in scored)
    singles = [subword for subword, _ in scored if len(subword) == 1]
    unlearnt = lowest + 0.0001 * (1 + len(singles))
    learnt = [
        (subword, round(lowest if len(subword) == 1 and score < unlearnt else score, 3)) for subword, score in scored
    ]
    ranked = sorted(learnt, key=lambda entry: (-entry[1], entry[0]))
    # If only the single characters fit, the trainer returns a few subwords more than `most`.
    longer = [entry for entry in ranked if len(entry[0]) > 1][: most - len(special) - len(singles)]
    selected = {subword for subword, _ in longer}.union(singles)
    return [*((subword, score) for subword, score in special), *(entry for entry in ranked if entry[0] in selected)]

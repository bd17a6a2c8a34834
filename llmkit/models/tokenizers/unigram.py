"""Unigram with sentinels and byte fallback, as T5 has it."""

from __future__ import annotations

import json

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from llmkit.models.tokenizers.vocabulary import most_frequent_first, refuse_below

SENTINELS = tuple(f"<extra_id_{number}>" for number in range(100))  # Raffel et al. 2020, section 3.1.4
_BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
_SPACE = "▁"  # what stands for a space in the pieces of Unigram
_ESCAPE = "\x1a"  # the control character "substitute": nobody writes it, so escaping costs nothing


def train_unigram(texts: list[str], vocab_size: int) -> Tokenizer:
    special = ["<pad>", "</s>", "<unk>"]
    fixed = len(special) + len(SENTINELS) + len(_BYTES)
    # The characters that byte pieces are written with have pieces of their own: a "<0x41>" in a text is no byte.
    spelling = sorted(set("".join(_BYTES)))
    least = fixed + len(spelling) + len(_SPACE)
    refuse_below(vocab_size, least, "the special tokens, the 100 sentinels, the 256 bytes and what spells them")
    # The trainer fails where the characters do not fit; half of the room is theirs, and rarer ones become bytes.
    learnable = [char for char in most_frequent_first(texts) if char not in (" ", _SPACE, *spelling)]
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

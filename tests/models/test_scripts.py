"""Trained tokenizers on scripts with vowel signs, tones and voicing marks, and on words without spaces."""

from __future__ import annotations

import random
import unicodedata

import pytest

from llmkit.models.families import FAMILIES
from llmkit.models.tokenizers import train_tokenizer
from llmkit.recipe.blocks import TokenizerBlock

MARKED = {
    "Hindi": ["बच्चे मैदान में खेल रहे हैं", "हिंदी भाषा में मात्राएँ होती हैं"],
    "Thai": ["ที่นี่มีน้ำ", "ผู้หญิงกินข้าว"],
    "Tamil": ["குழந்தைகள் விளையாடுகிறார்கள்"],
    "Hebrew": ["שָׁלוֹם לְכֻלָּם"],
    "Arabic": ["مَدْرَسَةٌ جَمِيلَةٌ"],
    "Japanese": ["がぎぐげご ぱぴぷ バナナ", "データベース ガラス"],
    "Burmese": ["မြန်မာစာ"],
}


@pytest.mark.parametrize("language", MARKED)
def test_the_default_wordpiece_keeps_the_marks_of_other_scripts(language: str) -> None:
    texts = MARKED[language]
    tokenizer = train_tokenizer(FAMILIES["bert"], texts, block=TokenizerBlock(vocab_size=400), max_tokens=None)
    for text in texts:
        for form in ("NFC", "NFD"):
            ids = tokenizer(unicodedata.normalize(form, text), add_special_tokens=False)["input_ids"]
            assert tokenizer.unk_token_id not in ids
            decoded = tokenizer.decode(ids)
            assert decoded.replace(" ", "") == unicodedata.normalize("NFC", text).replace(" ", "")


@pytest.mark.parametrize(
    ("text", "read"),
    [("Crème Brûlée", "creme brulee"), ("Ἀθῆναι", "αθηναι"), ("Ёлка", "елка"), ("İstanbul", "istanbul")],
)
def test_the_default_wordpiece_strips_european_accents(text: str, read: str) -> None:
    tokenizer = train_tokenizer(FAMILIES["bert"], [text], block=TokenizerBlock(vocab_size=120), max_tokens=None)
    for form in ("NFC", "NFD"):
        assert tokenizer.decode(tokenizer(unicodedata.normalize(form, text))["input_ids"][1:-1]) == read


@pytest.mark.parametrize("family", ["bert", "lstm"])
def test_wordpiece_reads_words_of_any_length(family: str) -> None:
    letters = "ACGT" * 250
    tokenizer = train_tokenizer(
        FAMILIES[family], [letters, "GATTACA"], block=TokenizerBlock(vocab_size=100), max_tokens=None
    )
    ids = tokenizer(letters, add_special_tokens=False)["input_ids"]
    assert tokenizer.unk_token_id not in ids
    assert "".join(tokenizer.convert_ids_to_tokens(ids)).replace("##", "") == letters.lower()


@pytest.mark.parametrize("family", ["bert", "gpt2", "t5"])
def test_a_line_without_spaces_is_learned_and_read(family: str) -> None:
    """With the time of a trainer by the square of a word's length, this would take many minutes."""
    letters = "".join(random.Random(0).choices("ACGT", k=12_000))
    tokenizer = train_tokenizer(FAMILIES[family], [letters], block=TokenizerBlock(vocab_size=520), max_tokens=None)
    ids = tokenizer(letters, add_special_tokens=False)["input_ids"]
    assert tokenizer.unk_token_id is None or tokenizer.unk_token_id not in ids
    assert tokenizer.decode(ids).replace(" ", "").upper() == letters
    assert len(ids) < len(letters) / 2

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from builders import sentence
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from llmkit.errors import DataError, UsageError
from llmkit.models.loaded import Family
from llmkit.models.tokenizers import END_OF_TEXT, SENTINELS, train_tokenizer

FAMILIES: tuple[Family, ...] = ("gpt2", "bert", "t5")
CHINESE = [
    "敏捷的棕色狐狸跳过了那只懒狗",
    "模型不应该产生任何未知词",
    "分词器在训练文本上没有未知词。",
    "2024年人工智能的发展",
]
TEXTS = [
    *(sentence(number) for number in range(80)),
    *CHINESE,
    "naïve café — 5€, 20° 😀",
    "tabs\tand\nlines  two spaces",
]
anything = st.text(st.characters(exclude_categories=["Cs"]))


def trained(
    family: Family, texts: list[str] = TEXTS, *, vocab_size: int = 500, max_tokens: int | None = None
) -> PreTrainedTokenizerFast:
    return train_tokenizer(family, texts, vocab_size=vocab_size, lowercase=False, max_tokens=max_tokens)


@cache
def shared(family: Family) -> PreTrainedTokenizerFast:
    return trained(family)


def there_and_back(tokenizer: PreTrainedTokenizerFast, text: str) -> str:
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.unk_token_id is None or tokenizer.unk_token_id not in ids
    back: str = tokenizer.decode(ids)
    return back


@settings(deadline=None, max_examples=200)
@given(anything)
def test_byte_level_bpe_gives_any_text_back(text: str) -> None:
    assume(END_OF_TEXT not in text)
    assert there_and_back(shared("gpt2"), text) == text


@settings(deadline=None, max_examples=200)
@given(anything)
def test_unigram_gives_any_text_back_but_for_one_space_in_front_and_its_own_space_sign(text: str) -> None:
    assume(not any(special in text for special in ("<pad>", "</s>", "<unk>", "<extra_id_", "▁")))
    assert there_and_back(shared("t5"), text) == text.removeprefix(" ")


@pytest.mark.parametrize("text", ["<0x41>", "é<0xE9><0x0A>é", "<0x4", "0x41>"])
def test_text_that_looks_like_a_byte_piece_stays_text(text: str) -> None:
    assert there_and_back(shared("t5"), text) == text


@settings(deadline=None, max_examples=50)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=60), min_size=1, max_size=5))
def test_wordpiece_knows_every_word_that_it_was_trained_on(texts: list[str]) -> None:
    """Where the alphabet fits: symbols within a word, marks and characters of all planes among them."""
    assume("".join(texts).strip())
    assume("[" not in "".join(texts))  # a special token's own name
    assume(not any(len(word) > 90 for text in texts for word in text.split()))
    tokenizer = trained("bert", texts, vocab_size=2000)
    for text in texts:
        assert tokenizer.unk_token_id not in tokenizer(text)["input_ids"]


def test_wordpiece_has_no_unknown_token_on_chinese_text_of_more_characters_than_half_its_vocabulary() -> None:
    rng = random.Random(5)
    texts = ["".join(chr(0x4E00 + rng.randrange(300)) for _ in range(40)) for _ in range(60)]
    assert len(set("".join(texts))) > 400 / 2
    tokenizer = trained("bert", texts, vocab_size=400)
    assert len(tokenizer) <= 400
    assert all(tokenizer.unk_token_id not in tokenizer(text)["input_ids"] for text in texts)


def test_symbols_in_a_new_word_are_known_to_wordpiece() -> None:
    tokenizer = trained("bert", ["5€ 20° hello😀 x→y"] * 3, vocab_size=80)
    assert tokenizer.unk_token_id not in tokenizer("y€ 5° o😀 5→x")["input_ids"]


@pytest.mark.parametrize("family", FAMILIES)
def test_no_more_entries_than_asked_for_even_with_a_large_alphabet(family: Family) -> None:
    """Unigram's own trainer fails where the characters do not fit; here the rarer ones become bytes."""
    rng = random.Random(6)
    texts = ["".join(chr(0x4E00 + rng.randrange(2000)) for _ in range(30)) for _ in range(60)]
    tokenizer = trained(family, texts, vocab_size=420)
    assert len(tokenizer) <= 420
    if family != "bert":
        assert there_and_back(tokenizer, texts[0]) == texts[0]


# ---- the same texts, the same tokenizer


def fingerprints() -> list[str]:
    rng = random.Random(9)
    letters = "abcdefghijklmnopqrstuvwxyz"
    rare = [" ".join("".join(rng.choices(letters, k=rng.randint(3, 12))) for _ in range(8)) for _ in range(60)]
    return [
        hashlib.sha256(trained(family, [*TEXTS, *rare]).backend_tokenizer.to_str().encode()).hexdigest()
        for family in FAMILIES
    ]


def test_the_same_texts_give_the_same_tokenizer_in_another_process() -> None:
    """Words that all occur once make ties, which a trainer breaks in the order of a hash map of its own."""
    script = "from test_tokenizers import fingerprints; print(*fingerprints())"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=100, check=True
    )
    assert ran.stdout.split() == fingerprints() == fingerprints()


@pytest.mark.parametrize("family", FAMILIES)
def test_autotokenizer_opens_it_with_the_same_ids(family: Family, tmp_path: Path) -> None:
    tokenizer = trained(family, max_tokens=99)
    tokenizer.save_pretrained(tmp_path)
    opened = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    for text in (*TEXTS, "unseen words, 未见过的"):
        assert opened(text)["input_ids"] == tokenizer(text)["input_ids"]
        assert opened.decode(opened(text)["input_ids"]) == tokenizer.decode(tokenizer(text)["input_ids"])
    assert opened.model_max_length == 99
    assert opened.padding_side == tokenizer.padding_side == ("left" if family == "gpt2" else "right")
    assert opened.all_special_ids == tokenizer.all_special_ids


# ---- what each family needs


def test_bert_puts_its_tokens_around_a_text_and_between_two() -> None:
    tokenizer = shared("bert")
    first = tokenizer.convert_ids_to_tokens(tokenizer("cat", "dog")["input_ids"])
    assert first == ["[CLS]", "cat", "[SEP]", "dog", "[SEP]"]
    assert tokenizer("cat", "dog", return_token_type_ids=True)["token_type_ids"] == [0, 0, 0, 1, 1]


def test_t5_ends_a_text_and_has_its_first_sentinel_last() -> None:
    tokenizer = shared("t5")
    assert tokenizer("cat")["input_ids"][-1] == tokenizer.eos_token_id
    assert tokenizer.convert_tokens_to_ids(SENTINELS[0]) == len(tokenizer) - 1
    assert tokenizer.convert_tokens_to_ids(SENTINELS[99]) == len(tokenizer) - 100


def test_gpt2_adds_nothing_and_pads_with_its_end_of_text() -> None:
    tokenizer = shared("gpt2")
    assert tokenizer.eos_token_id not in tokenizer("cat")["input_ids"]
    assert tokenizer.pad_token_id == tokenizer.eos_token_id == tokenizer.convert_tokens_to_ids(END_OF_TEXT)


@pytest.mark.parametrize(("family", "least"), [("gpt2", 257), ("t5", 379)])
def test_a_vocabulary_without_room_for_the_fixed_entries_is_refused_with_the_least_one(
    family: Family, least: int
) -> None:
    with pytest.raises(UsageError, match=rf"vocab_size: {least - 1} is too small; .* take {least}"):
        trained(family, vocab_size=least - 1)
    assert len(trained(family, vocab_size=least)) == least


@pytest.mark.parametrize("texts", [[], ["", ""]])
@pytest.mark.parametrize("family", FAMILIES)
def test_no_text_is_told(family: Family, texts: list[str]) -> None:
    with pytest.raises(DataError, match="there is no text"):
        trained(family, texts)


def test_lowercase_is_wordpieces_choice() -> None:
    lower = train_tokenizer("bert", ["Cat cat CAT"], vocab_size=100, lowercase=True, max_tokens=None)
    assert lower("CAT")["input_ids"] == lower("cat")["input_ids"]
    assert shared("bert")("CAT")["input_ids"] != shared("bert")("cat")["input_ids"]

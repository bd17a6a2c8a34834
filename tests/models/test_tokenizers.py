from __future__ import annotations

import hashlib
import logging
import os
import random
import re
import subprocess
import sys
import weakref
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from builders import sentence
from facts import facts, logged
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from llmkit.errors import DataError, UsageError
from llmkit.models.families import FAMILIES
from llmkit.models.families.gpt2 import END_OF_TEXT
from llmkit.models.loading import create_model
from llmkit.models.tokenizers import train_tokenizer
from llmkit.models.tokenizers.unigram import SENTINELS
from llmkit.recipe.blocks import ScratchModel, TokenizerBlock

TRIED = ("gpt2", "bert", "t5")
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
SIGNS = ("▁", " ", "\x1a", "0", "1")
"""What Unigram writes a space with, and what it escapes that with."""
NAMES = (END_OF_TEXT, "<pad>", "</s>", "<unk>", *SENTINELS[:2], "<0x41>", "<0x0A>")
anything = st.text(st.characters(exclude_categories=["Cs"]))
anything_with_signs = st.lists(anything | st.sampled_from(SIGNS)).map("".join)
anything_with_names = st.lists(anything_with_signs | st.sampled_from(NAMES)).map("".join)


def trained(
    family: str,
    texts: list[str] = TEXTS,
    *,
    block: TokenizerBlock | None = None,
    vocab_size: int = 500,
    max_tokens: int | None = None,
) -> PreTrainedTokenizerFast:
    block = block or TokenizerBlock(vocab_size=vocab_size, lowercase=False)
    return train_tokenizer(FAMILIES[family], texts, block=block, max_tokens=max_tokens)


@cache
def shared(family: str) -> PreTrainedTokenizerFast:
    return trained(family)


def there_and_back(tokenizer: PreTrainedTokenizerFast, text: str, *, split_special_tokens: bool = False) -> str:
    ids = tokenizer(text, add_special_tokens=False, split_special_tokens=split_special_tokens)["input_ids"]
    assert split_special_tokens or tokenizer.unk_token_id is None or tokenizer.unk_token_id not in ids
    back: str = tokenizer.decode(ids)
    return back


@settings(deadline=None, max_examples=200)
@given(anything_with_names)
def test_byte_level_bpe_gives_any_text_back(text: str) -> None:
    assert there_and_back(shared("gpt2"), text) == text


@settings(deadline=None, max_examples=200)
@given(anything_with_signs)
def test_unigram_gives_any_text_back(text: str) -> None:
    assume(not any(name in text for name in ("<pad>", "</s>", "<unk>", "<extra_id_")))
    assert there_and_back(shared("t5"), text) == text


@pytest.mark.parametrize(
    "text", ["", " ", "  two in front", "one behind ", "▁", " ▁a▁ ", "\x1a", "\x1a1 \x1a0▁", "\n x"]
)
def test_unigram_keeps_spaces_at_the_edges_and_its_own_signs(text: str) -> None:
    assert there_and_back(shared("t5"), text) == text


@settings(deadline=None, max_examples=100)
@given(anything_with_names)
@pytest.mark.parametrize("family", ["gpt2", "t5"])
def test_names_of_special_tokens_are_given_back_where_they_are_split(family: str, text: str) -> None:
    assert there_and_back(shared(family), text, split_special_tokens=True) == text


def test_the_name_of_a_special_token_in_a_text_is_read_as_that_token() -> None:
    """What the docstring says; t5 begins anew behind it."""
    gpt2, t5 = shared("gpt2"), shared("t5")
    assert gpt2.eos_token_id in gpt2(f"a{END_OF_TEXT}b")["input_ids"]
    assert gpt2.eos_token_id not in gpt2(f"a{END_OF_TEXT}b", split_special_tokens=True)["input_ids"]
    assert there_and_back(t5, "a</s>b") == "a</s> b"


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
    assert sorted(tokenizer.get_vocab().values()) == list(range(len(tokenizer)))
    assert all(tokenizer.unk_token_id not in tokenizer(text)["input_ids"] for text in texts)


def chinese_texts(characters: int) -> list[str]:
    """Each of so many characters at least once, in an order of its own, beside a few sentences."""
    order = random.Random(7).sample(range(characters), characters)
    return [
        *CHINESE,
        *("".join(chr(0x4E00 + code) for code in order[start : start + 25]) for start in range(0, characters, 25)),
    ]


@pytest.mark.parametrize("family", ["bert", "t5"])
def test_chinese_that_was_in_the_training_text_has_neither_unknown_tokens_nor_bytes(family: str) -> None:
    texts = chinese_texts(600)
    tokenizer = trained(family, texts, vocab_size=2000)
    for text in texts:
        tokens = tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"])
        assert tokenizer.unk_token not in tokens
        assert not any(token.startswith("<0x") for token in tokens)


def test_characters_that_do_not_fit_into_wordpiece_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    texts = chinese_texts(600)
    tokenizer = trained("bert", texts, vocab_size=300)
    characters = sorted(set("".join(texts)))
    unknown = [char for char in characters if tokenizer.unk_token_id in tokenizer(char)["input_ids"]]
    assert unknown
    (message,) = logged(caplog, "WARNING", len(unknown), len(characters), "[UNK]")
    enough = int(re.findall(r"vocab_size\D*([\d,]+)", message)[0].replace(",", ""))
    caplog.clear()
    larger = trained("bert", texts, vocab_size=enough)
    assert not any(larger.unk_token_id in larger(char)["input_ids"] for char in characters)
    assert "[UNK]" not in caplog.text


def test_symbols_in_a_new_word_are_known_to_wordpiece() -> None:
    tokenizer = trained("bert", ["5€ 20° hello😀 x→y"] * 3, vocab_size=80)
    assert tokenizer.unk_token_id not in tokenizer("y€ 5° o😀 5→x")["input_ids"]


@pytest.mark.parametrize("first", [0x4E00, 0xAC00], ids=["chinese", "korean"])
@pytest.mark.parametrize("family", TRIED)
def test_no_more_entries_than_asked_for_even_with_a_large_alphabet(family: str, first: int) -> None:
    """Unigram's own trainer fails where the characters do not fit; here the rarer ones become bytes."""
    rng = random.Random(6)
    texts = ["".join(chr(first + rng.randrange(2000)) for _ in range(30)) for _ in range(60)]
    tokenizer = trained(family, texts, vocab_size=420)
    assert len(tokenizer) <= 420
    assert sorted(tokenizer.get_vocab().values()) == list(range(len(tokenizer)))
    if family != "bert":
        assert there_and_back(tokenizer, texts[0]) == texts[0]


# ---- the same texts, the same tokenizer


def fingerprints() -> list[str]:
    rng = random.Random(9)
    letters = "abcdefghijklmnopqrstuvwxyz"
    rare = [" ".join("".join(rng.choices(letters, k=rng.randint(3, 12))) for _ in range(8)) for _ in range(60)]
    return [
        hashlib.sha256(trained(family, [*TEXTS, *rare]).backend_tokenizer.to_str().encode()).hexdigest()
        for family in TRIED
    ]


@pytest.mark.slow
def test_the_same_texts_give_the_same_tokenizer_in_another_process() -> None:
    """Words that all occur once make ties, which a trainer breaks in the order of a hash map of its own."""
    script = "from test_tokenizers import fingerprints; print(*fingerprints())"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=100, check=True
    )
    assert ran.stdout.split() == fingerprints() == fingerprints()


@pytest.mark.parametrize("family", TRIED)
def test_autotokenizer_opens_it_with_the_same_ids(family: str, tmp_path: Path) -> None:
    tokenizer = trained(family, max_tokens=99)
    tokenizer.save_pretrained(tmp_path)
    opened = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    for text in (*TEXTS, "unseen words, 未见过的", "  spaces▁signs "):
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
def test_a_vocabulary_without_room_for_the_fixed_entries_is_refused_with_the_least_one(family: str, least: int) -> None:
    with pytest.raises(UsageError, match=facts("vocab_size", least - 1, least)):
        trained(family, vocab_size=least - 1)
    assert len(trained(family, vocab_size=least)) == least


@pytest.mark.parametrize("texts", [[], ["", ""]])
@pytest.mark.parametrize("family", TRIED)
def test_no_text_is_told(family: str, texts: list[str]) -> None:
    with pytest.raises(DataError, match=facts("no text")):
        trained(family, texts)


@pytest.mark.parametrize(
    ("lowercase", "strip_accents", "same"),
    [
        (False, None, {"Café"}),
        (True, None, {"Café", "café", "Cafe", "cafe"}),
        (True, False, {"Café", "café"}),
        (False, True, {"Café", "Cafe"}),
    ],
)
def test_case_and_accents_are_wordpieces_choice(lowercase: bool, strip_accents: bool | None, same: set[str]) -> None:
    words = ["Café", "café", "Cafe", "cafe"]
    block = TokenizerBlock(vocab_size=100, lowercase=lowercase, strip_accents=strip_accents)
    tokenizer = trained("bert", words, block=block)
    ids = {word: tokenizer(word)["input_ids"] for word in words}
    assert {word for word in words if ids[word] == ids["Café"]} == same


# ---- limits on the text


@pytest.mark.parametrize("family", ["gpt2", "bert"])
def test_what_stands_together_less_often_than_the_least_frequency_is_not_joined(family: str) -> None:
    texts = ["often often often often rarely rarely"]
    block = TokenizerBlock(vocab_size=400, min_frequency=3)
    entries = trained(family, texts, block=block).get_vocab()
    assert any("often" in entry for entry in entries)
    assert not any("rare" in entry for entry in entries)
    assert any("rarely" in entry for entry in trained(family, texts, vocab_size=400).get_vocab())


@pytest.mark.parametrize(
    ("family", "option"),
    [("gpt2", {"strip_accents": True}), ("t5", {"strip_accents": False}), ("t5", {"min_frequency": 2})],
)
def test_an_option_without_effect_is_refused_before_the_text_is_read(family: str, option: dict[str, int]) -> None:
    def unread() -> Iterator[str]:
        raise AssertionError
        yield ""

    block = TokenizerBlock.model_validate({"vocab_size": 500, **option})
    with pytest.raises(UsageError, match=facts(f"model.tokenizer.{next(iter(option))}:")):
        train_tokenizer(FAMILIES[family], unread(), block=block, max_tokens=None)


def words_apart(count: int) -> list[str]:
    """Words of ten letters, none like another."""
    rng = random.Random(11)
    return ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=10)) for _ in range(count)]


def words_seen(words: list[str], *, most_characters: int) -> set[str]:
    """Those that byte-level BPE learnt whole, each text being one word."""
    block = TokenizerBlock(vocab_size=3000, max_characters=most_characters)
    return set(words).intersection(trained("gpt2", words, block=block).get_vocab())


def test_the_text_used_is_spread_over_the_whole_corpus_and_fills_the_limit(caplog: pytest.LogCaptureFixture) -> None:
    words = words_apart(1000)
    with caplog.at_level(logging.INFO, logger="llmkit"):
        seen = words_seen(words, most_characters=1005)
    assert len(logged(caplog, "INFO", "1,005", "10,000")) == 1
    assert len(seen) == 100  # and half of another one
    for start in range(0, 1000, 250):
        assert 10 <= len(seen.intersection(words[start : start + 250])) <= 40
    assert words_seen(words, most_characters=1005) == seen


def test_a_limit_that_is_not_reached_changes_nothing_and_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    characters = sum(map(len, TEXTS))
    with caplog.at_level(logging.INFO, logger="llmkit"):
        exact, none = (
            trained("t5", block=TokenizerBlock(vocab_size=500, max_characters=limit)) for limit in (characters, None)
        )
    assert exact.backend_tokenizer.to_str() == none.backend_tokenizer.to_str()
    assert "max_characters" not in caplog.text


def test_one_text_longer_than_the_limit_is_cut() -> None:
    assert trained("bert", ["abcdef"], block=TokenizerBlock(max_characters=3)).tokenize("c d") == ["c", "[UNK]"]


class Text(str):
    """A text whose end can be watched."""


@pytest.mark.parametrize("family", TRIED)
def test_no_more_text_is_held_than_the_limit(family: str) -> None:
    alive: weakref.WeakSet[Text] = weakref.WeakSet()
    most = 0

    def endless() -> Iterator[str]:
        nonlocal most
        for word in words_apart(2000):
            text = Text(word)
            alive.add(text)
            most = max(most, len(alive))
            yield text

    train_tokenizer(
        FAMILIES[family], endless(), block=TokenizerBlock(vocab_size=500, max_characters=500), max_tokens=None
    )
    assert most <= 500 / 10 + 5


@pytest.mark.parametrize("family", TRIED)
def test_a_vocabulary_larger_than_the_text_gives_is_told_and_the_model_has_what_there_is(
    family: str, caplog: pytest.LogCaptureFixture
) -> None:
    block = ScratchModel(architecture=family, size="tiny", tokenizer=TokenizerBlock(vocab_size=9000))
    loaded = create_model(
        block,
        head={"gpt2": "causal-lm", "bert": "classification", "t5": "seq2seq-lm"}[family],  # type: ignore[arg-type]
        labels=("a", "b") if family == "bert" else None,
        texts=lambda: TEXTS,
        max_tokens=None,
        seed=1,
    )
    got = len(loaded.tokenizer)
    assert len(logged(caplog, "WARNING", "9,000", f"{got:,}")) == 1
    assert loaded.model.get_input_embeddings().weight.shape[0] == got
    caplog.clear()
    asked = 150 if family == "bert" else 400
    trained(family, vocab_size=asked)
    assert logged(caplog, "WARNING", asked) == []

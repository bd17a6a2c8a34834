"""A text that is read in pieces has exactly the tokens of the whole text, whatever its words, spaces and scripts are."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from builders import tiny_model
from published_models import published_folder
from repetitions import quick_if
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from llmkit.tasks.inputs import encode_whole
from llmkit.tasks.long_texts import LONG_CHARACTERS, part_of, token_runs
from llmkit.tasks.question_answering.windows import _tokenize
from llmkit.tasks.seq2seq.chunks import TextSplitter
from llmkit.tasks.token_classification.subwords import subwords_of_texts
from llmkit.tasks.token_ids import cut_ids, token_ids

PIECE, LENGTH = 8_192, 30_000


def mixed(alphabet: list[str], seed: int = 1) -> str:
    rng = random.Random(seed)
    parts: list[str] = []
    size = 0
    while size < LENGTH:
        parts.append(rng.choice(alphabet))
        size += len(parts[-1])
    return "".join(parts)


TEXTS: dict[str, Callable[[], str]] = {
    "words": lambda: mixed(["stone ", "the ", "river, ", "moves. ", "\n", "Old-Stone ", "don't "]),
    "letters and spaces": lambda: mixed(list("abcde   \n\t.")),
    "scripts": lambda: mixed(
        ["日本", "Größe ", "e\u0301", "🙂", "👩‍👩‍👧", " ", "naïve", "ﬁ", "\u00a0", "안녕", "\u200b", "ا"]
    ),
    "no spaces": lambda: mixed(list("abcdefghijklmnop")),
    "one letter": lambda: "a" * LENGTH,
    "long words": lambda: mixed(["a" * 99 + " ", "b" * 101 + " ", "c" * 5_000 + " ", "stone "]),
    "white space": lambda: "stone " + " " * LENGTH + " river",
    "names of special tokens": lambda: mixed(
        ["[SEP] ", "<|endoftext|>", "</s>", "<pad>", "stone ", "[MASK]", "<keep>"]
    ),
}


@cache
def own_tokenizer(family: str) -> PreTrainedTokenizerFast:
    return tiny_model(family).tokenizer  # type: ignore[arg-type]


@pytest.fixture(scope="module", params=["bert", "gpt2", "t5", "published bert", "published t5", "published gpt2"])
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    kind, _, family = request.param.rpartition(" ")
    if not kind:
        return own_tokenizer(family)
    return AutoTokenizer.from_pretrained(published_folder(tmp_path_factory.mktemp("published") / family, family))


def whole(tokenizer: Any, text: str, **options: Any) -> Any:
    return tokenizer(text, truncation=False, padding=False, verbose=False, return_offsets_mapping=True, **options)


@pytest.mark.parametrize("name", list(TEXTS))
def test_pieces_have_the_tokens_of_the_whole_text(tokenizer: Any, name: str) -> None:
    text = TEXTS[name]()
    expected = whole(tokenizer, text, add_special_tokens=False)
    words = expected.word_ids(0)
    ids: list[int] = []
    offsets: list[tuple[int, int]] = []
    begins: list[int] = []
    for run in token_runs(tokenizer, text, names_are_text=False, piece=PIECE):
        ids += run.ids
        offsets += zip(run.starts, run.ends, strict=True)
        begins += run.begins_word
    assert ids == expected["input_ids"]
    assert offsets == expected["offset_mapping"]
    assert begins == [int(i == 0 or words[i] != words[i - 1]) for i in range(len(words))]


@pytest.mark.parametrize("name", list(TEXTS))
@pytest.mark.parametrize("end", quick_if(True.__eq__, [False, True]))
def test_the_part_that_is_read_has_the_tokens_that_are_kept(tokenizer: Any, name: str, end: bool) -> None:
    text = TEXTS[name]()
    all_ids = whole(tokenizer, text, add_special_tokens=False)["input_ids"]
    part = part_of(tokenizer, text, tokens=500, end=end, shortest=PIECE)
    ids = whole(tokenizer, part.text, add_special_tokens=False)["input_ids"]
    kept = slice(-500, None) if end else slice(500)
    assert ids[kept] == all_ids[kept]
    assert part.text == (text[-len(part.text) :] if end else text[: len(part.text)])
    if len(part.text) == len(text):
        assert part.whole_tokens(len(ids)) == len(all_ids)
    else:
        assert part.whole_tokens(len(ids)) > len(ids)


def test_most_of_a_very_long_text_is_not_tokenized_where_it_is_cut() -> None:
    loaded = tiny_model("bert")
    text = "the stone moves " * 100_000
    _, encoded = encode_whole(loaded, ["the stone", text], first_row=1, overflow="truncate", window=12)
    assert len(encoded.text) < len(text) / 4
    assert encoded.ids == loaded.tokenizer(text[:1000], truncation=True, max_length=12)["input_ids"]
    whole_tokens = len(loaded.tokenizer.tokenize(text[:16_000])) * 100
    assert encoded.truncated_tokens == pytest.approx(whole_tokens, rel=0.05)


@pytest.mark.parametrize("family", ["bert", "gpt2", "t5"])
def test_a_long_text_is_encoded_and_cut_as_the_tokenizer_would(family: str) -> None:
    tokenizer = own_tokenizer(family)
    text = "the stone moves [SEP] " * (LONG_CHARACTERS // 22 + 200)
    for special in (True, False):
        expected = whole(tokenizer, text, add_special_tokens=special)["input_ids"]
        assert token_ids(tokenizer, ["a", text], special=special)[1] == expected
    cut = tokenizer(text, truncation=True, max_length=12)["input_ids"]
    assert cut_ids(tokenizer, text, max_tokens=12) == cut


def test_a_long_text_has_the_words_the_context_and_the_chunks_of_the_whole_text() -> None:
    tokenizer = own_tokenizer("bert")
    text = "the stone e\u0301 moves. " * (LONG_CHARACTERS // 22 + 200)
    expected = whole(tokenizer, text, add_special_tokens=False, split_special_tokens=True)
    [subwords] = subwords_of_texts(tokenizer, [text])
    assert subwords.ids == expected["input_ids"]
    assert len(subwords.firsts) == len(set(expected.word_ids(0)))
    assert {text[start:end] for start, end in subwords.spans} == {"the", "stone", "e\u0301", "moves", "."}
    context, ids, _ = _tokenize(tokenizer, [text], unknown=None)[text]
    assert ids == expected["input_ids"]
    assert context.offsets.tolist() == [list(pair) for pair in expected["offset_mapping"]]
    chunks = TextSplitter(own_tokenizer("t5"), "sum: ", 400).split(text)
    assert all(len(chunk) <= 400 for chunk in chunks)
    assert sum(map(len, chunks)) >= len(whole(own_tokenizer("t5"), text)["input_ids"])


@pytest.mark.slow
def test_memory_for_a_long_text_is_a_small_multiple_of_it() -> None:
    code = (
        "import resource, sys; sys.path.insert(0, sys.argv[1]); from builders import tiny_model;"
        "from llmkit.tasks.encoding import token_ids; tokenizer = tiny_model('bert').tokenizer;"
        "text = 'the stone moves ' * 100_000; peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024;"
        "before = peak(); token_ids(tokenizer, [text], special=True); print((peak() - before) / len(text))"
    )
    tests = str(Path(__file__).parents[1])
    done = subprocess.run([sys.executable, "-c", code, tests], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 60  # 200 where the tokenizer reads it in one piece

"""A corpus is encoded whole, once, and never taken for another one."""

from __future__ import annotations

import fcntl
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from builders import recipe_of, sentence, tokenizer_of
from facts import facts
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from llmkit.data import token_store
from llmkit.data.caches import one_at_a_time
from llmkit.data.rows import Row
from llmkit.data.token_store import TokenStream
from llmkit.errors import DataError
from llmkit.tasks.pretraining import corpus
from llmkit.tasks.pretraining.corpus import token_stream
from llmkit.training.splits import open_splits

END = 3


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own for each test, and small record batches."""
    monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(token_store, "BATCH_TOKENS", 16)
    return tmp_path / "cache" / "tokens"


class Rows:
    """Texts that say what they are, and count how often they are read."""

    def __init__(self, texts: list[str], *, fails: bool = False) -> None:
        self.texts = texts
        self.fails = fails
        self.times_read = 0

    def __iter__(self) -> Iterator[Row]:
        self.times_read += 1
        yield from (Row({"text": text}, f"rows.txt:{number}") for number, text in enumerate(self.texts, 1))
        if self.fails:
            raise DataError("rows.txt:9: no text")

    def identity(self) -> str:
        return json.dumps(self.texts)


def ids_of(stream: TokenStream) -> list[int]:
    ids: list[int] = stream.ids(0, stream.count.tokens).tolist()
    return ids


def uncached(texts: list[str], tokenizer: PreTrainedTokenizerFast, *, end_id: int = END) -> list[int]:
    """The stream by the tokenizer's own front door."""
    ids = [end_id]
    for text in texts:
        ids += [*tokenizer(text, add_special_tokens=False)["input_ids"], end_id]
    return ids


TEXTS = [sentence(number) for number in range(12)]


# ---- what is encoded


@settings(deadline=None, max_examples=60)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(TEXTS), max_size=6))
@pytest.mark.parametrize("family", ["gpt2", "bert", "t5"])
def test_every_document_is_what_the_tokenizer_makes_of_it(family: str, texts: list[str]) -> None:
    tokenizer = tokenizer_of(family)
    wanted = uncached(texts, tokenizer)
    rows = list(Rows(texts))
    if texts and len(wanted) == len(texts) + 1:
        with pytest.raises(DataError, match=facts("no text")):
            token_stream(rows, tokenizer, end_id=END)
        return
    stream = token_stream(rows, tokenizer, end_id=END)
    assert ids_of(stream) == wanted
    assert stream.count.documents == len(texts)
    assert stream.count.utf8_bytes == sum(len(text.encode()) for text in texts)


@pytest.mark.parametrize("family", ["gpt2", "bert", "t5"])
def test_a_token_begins_a_word_where_the_tokenizer_says_so(family: str) -> None:
    tokenizer = tokenizer_of(family)
    texts = ["the catfish unseen riverstone", "naïve 5€-mark, oh", "中文字符 and 汉字", "morninglight"]
    stream = token_stream(list(Rows(texts)), tokenizer, end_id=END)
    wanted = [True]
    for text in texts:
        words = tokenizer(text, add_special_tokens=False).word_ids()
        wanted += [number == 0 or word != words[number - 1] for number, word in enumerate(words)]
        wanted.append(True)
    assert stream.word_starts(0, len(wanted)).tolist() == wanted
    assert False in wanted


@pytest.mark.parametrize("limit", [{"truncation": 4}, {"padding": 40}, {"truncation": 4, "padding": 40}])
def test_a_tokenizer_that_cuts_or_pads_gives_whole_texts_and_stays_as_it_is(limit: dict[str, int]) -> None:
    """Many a tokenizer.json on the hub says `max_length: 512`: each document was cut there without a word."""
    tokenizer = tokenizer_of("bert")
    wanted = uncached(TEXTS, tokenizer)
    if "truncation" in limit:
        tokenizer.backend_tokenizer.enable_truncation(limit["truncation"])
    if "padding" in limit:
        tokenizer.backend_tokenizer.enable_padding(length=limit["padding"])
    before = tokenizer.backend_tokenizer.to_str()
    assert ids_of(token_stream(list(Rows(TEXTS)), tokenizer, end_id=END)) == wanted
    assert tokenizer.backend_tokenizer.to_str() == before


@pytest.mark.parametrize("characters", [1, 30, 10**6])
def test_chunks_of_any_size_give_the_same_stream(characters: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "_CHUNK_CHARACTERS", characters)
    tokenizer = tokenizer_of("gpt2")
    stream = token_stream(Rows(TEXTS), tokenizer, end_id=END)
    assert ids_of(stream) == uncached(TEXTS, tokenizer)
    assert stream.count.documents == len(TEXTS)


@pytest.mark.parametrize("texts", [[""], ["\u200b", "\x00"]])
def test_a_corpus_that_the_tokenizer_cannot_see_is_refused_each_time(texts: list[str]) -> None:
    for _ in range(2):  # from the cache too
        with pytest.raises(DataError, match=facts("no text")):
            token_stream(Rows(texts), tokenizer_of("bert"), end_id=END)


# ---- the cache


def test_a_corpus_is_read_and_encoded_once(cache: Path) -> None:
    tokenizer, rows = tokenizer_of("bert"), Rows(TEXTS)
    first, second = (token_stream(rows, tokenizer, end_id=END) for _ in range(2))
    assert rows.times_read == 1
    assert ids_of(first) == ids_of(second) == uncached(TEXTS, tokenizer)
    assert first.count == second.count
    assert len(list(cache.glob("*.arrow"))) == 1


def test_rows_without_an_identity_are_not_kept(cache: Path) -> None:
    token_stream(list(Rows(TEXTS)), tokenizer_of("bert"), end_id=END)
    assert not cache.exists()


def test_a_damaged_store_is_made_again(cache: Path) -> None:
    tokenizer, rows = tokenizer_of("bert"), Rows(TEXTS)
    token_stream(rows, tokenizer, end_id=END)
    [path] = cache.glob("*.arrow")
    path.write_bytes(path.read_bytes()[:-10])
    assert ids_of(token_stream(rows, tokenizer, end_id=END)) == uncached(TEXTS, tokenizer)
    assert rows.times_read == 2


def test_rows_that_fail_leave_no_store(cache: Path) -> None:
    with pytest.raises(DataError, match=r"rows\.txt:9"):
        token_stream(Rows(TEXTS, fails=True), tokenizer_of("bert"), end_id=END)
    assert [path.suffix for path in cache.iterdir()] == [".lock"]
    rows = Rows(TEXTS)
    token_stream(rows, tokenizer_of("bert"), end_id=END)
    assert rows.times_read == 1


def test_another_tokenizer_or_end_never_meets_the_old_store() -> None:
    tokenizer, rows = tokenizer_of("bert"), Rows(TEXTS)
    grown = tokenizer_of("bert")
    grown.add_tokens(["cat"])
    for number, (one, end_id) in enumerate(
        [(tokenizer, END), (tokenizer, 4), (grown, END), (tokenizer_of("gpt2"), END)], 1
    ):
        assert ids_of(token_stream(rows, one, end_id=end_id)) == uncached(TEXTS, one, end_id=end_id)
        assert rows.times_read == number


def lines(folder: Path, name: str, *texts: str) -> str:
    path = folder / name
    path.write_text("".join(f"{text}\n" for text in texts))
    return str(path)


TEXT_FILE = ("the cat", "the cat", "a dog walks", "", "a red bird", "the old tree", "a quiet river", "", "a red bird")
KEYS: dict[str, dict[str, Any]] = {
    "max_rows": {"data": {"max_rows": 3}},
    "deduplicate": {"data": {"deduplicate": True}},
    "text_files": {"text_files": "document"},
    "share of validation": {"data": {"validation": "1%"}},
    "share of test": {"data": {"validation": "40%", "test": "20%"}},
}


def split_rows(folder: Path, *, split: str = "train", data: dict[str, Any] | None = None, **keys: Any) -> Any:
    """The rows that `prepare` opens."""
    source = {"train": (str(folder / "a.txt"),), "validation": "40%", **(data or {})}
    recipe = recipe_of("masked-lm", text_files=keys.pop("text_files", "line"))
    changed = recipe.model_copy(update={"data": type(recipe.data)(**source)})
    return open_splits(changed)[split]  # type: ignore[index]


@pytest.mark.parametrize("keys", KEYS.values(), ids=KEYS)
def test_another_option_never_meets_the_old_store(keys: dict[str, Any], tmp_path: Path) -> None:
    lines(tmp_path, "a.txt", *TEXT_FILE)
    tokenizer = tokenizer_of("bert")
    before, after = split_rows(tmp_path), split_rows(tmp_path, **keys)
    assert [row.fields for row in before] != [row.fields for row in after]
    for rows in (before, after, before):
        texts = [row.fields["text"] for row in rows]
        assert ids_of(token_stream(rows, tokenizer, end_id=END)) == uncached(texts, tokenizer)


def test_the_splits_of_one_file_have_stores_of_their_own(tmp_path: Path, cache: Path) -> None:
    lines(tmp_path, "a.txt", *TEXT_FILE)
    tokenizer = tokenizer_of("bert")
    for split in ("train", "validation"):
        rows = split_rows(tmp_path, split=split)
        texts = [row.fields["text"] for row in rows]
        assert ids_of(token_stream(rows, tokenizer, end_id=END)) == uncached(texts, tokenizer)
    assert len(list(cache.glob("*.arrow"))) == 2


def test_another_column_never_meets_the_old_store(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,title\nthe cat,a dog\na bird,a tree\n")
    tokenizer = tokenizer_of("bert")
    for columns in ({}, {"text": "title"}, {}):
        rows = split_rows(tmp_path, data={"train": (str(tmp_path / "a.csv"),), "columns": columns})
        texts = [row.fields["text"] for row in rows]
        assert ids_of(token_stream(rows, tokenizer, end_id=END)) == uncached(texts, tokenizer)


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_text("the dog" + path.read_text()[7:]),  # of the same size
        lambda path: path.write_text(path.read_text() + "one more\n"),
    ],
    ids=["same size", "longer"],
)
def test_a_changed_file_never_meets_the_old_store(change: Callable[[Path], None], tmp_path: Path) -> None:
    path = Path(lines(tmp_path, "a.txt", *TEXT_FILE))
    tokenizer = tokenizer_of("bert")
    token_stream(split_rows(tmp_path), tokenizer, end_id=END)
    change(path)
    rows = split_rows(tmp_path)
    texts = [row.fields["text"] for row in rows]
    assert ids_of(token_stream(rows, tokenizer, end_id=END)) == uncached(texts, tokenizer)


def test_rows_that_stood_there_already_are_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lines(tmp_path, "a.txt", *TEXT_FILE)
    with caplog.at_level("INFO", logger="llmkit"):
        both = [
            [row.fields["text"] for row in split_rows(tmp_path, split=split, data={"deduplicate": True})]
            for split in ("train", "validation")
        ]
    texts = [text for split in both for text in split]
    assert sorted(texts) == sorted(set(TEXT_FILE) - {""})
    counts = [re.findall(r"\d+", text) for text in caplog.messages if text.startswith(("train:", "validation:"))]
    assert sum(int(count) for count, *_ in counts) == 7 - 5


# ---- several processes

WORKER = """
import sys, time
from pathlib import Path
from tokenizers import Tokenizer
from llmkit.data.rows import Row
from llmkit.tasks.pretraining.corpus import token_stream

folder, name = Path(sys.argv[1]), sys.argv[2]

class Fast:
    backend_tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    def __len__(self): return self.backend_tokenizer.get_vocab_size()

class Rows:
    def __iter__(self):
        (folder / f"{name}.read").touch()
        for number in range(20):
            time.sleep(0.02)
            yield Row({"text": f"the cat {number}"}, "a:1")
    def identity(self): return "the same"

(folder / f"{name}.ready").touch()
while len(list(folder.glob("*.ready"))) < 2:
    time.sleep(0.005)
stream = token_stream(Rows(), Fast(), end_id=3)
(folder / f"{name}.ids").write_text(repr(stream.ids(0, stream.count.tokens).tolist()))
"""


@pytest.mark.slow
def test_of_two_processes_at_once_one_encodes_and_both_get_the_same(tmp_path: Path, cache: Path) -> None:
    tokenizer = tokenizer_of("bert")
    tokenizer.backend_tokenizer.save(str(tmp_path / "tokenizer.json"))
    workers = [
        subprocess.Popen([sys.executable, "-c", WORKER, str(tmp_path), name], stderr=subprocess.PIPE)
        for name in ("first", "second")
    ]
    for worker in workers:
        _, errors = worker.communicate(timeout=60)
        assert worker.returncode == 0, errors.decode()
    assert len(list(tmp_path.glob("*.read"))) == 1
    first, second = ((tmp_path / f"{name}.ids").read_text() for name in ("first", "second"))
    assert first == second == repr(uncached([f"the cat {number}" for number in range(20)], tokenizer))
    assert sorted(path.suffix for path in cache.iterdir()) == [".arrow", ".json", ".lock"]


HOLDER = """
import sys, time
from pathlib import Path
from llmkit.data.caches import one_at_a_time

with one_at_a_time(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_process_that_was_killed_holds_nobody_up(tmp_path: Path) -> None:
    path = tmp_path / "tokens" / "a.arrow"
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with path.with_suffix(".lock").open() as lock, pytest.raises(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    holder.kill()
    holder.communicate(timeout=60)
    with one_at_a_time(path):
        pass

"""How tags of entities are written in files: all usual ways are read, and what is unclear is refused."""

from __future__ import annotations

import pytest
from facts import facts
from hypothesis import given
from hypothesis import strategies as st

from llmkit.errors import DataError
from llmkit.tasks.token_classification.notations import canonical_tag, notation_of, refuse_unclear

TYPES = ("PER", "LOC")


def written(prefix: str, label: str, separator: str, *, last: bool, lower: bool) -> str:
    prefix = prefix.lower() if lower else prefix
    return f"{label}{separator}{prefix}" if last else f"{prefix}{separator}{label}"


@pytest.mark.parametrize("separator", "-_:/|.")
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("lower", [False, True])
@pytest.mark.parametrize("letters", ["BI", "BIES", "BILU", "BMES", "BMEW", "I"])
def test_every_order_separator_and_case_is_read(separator: str, last: bool, lower: bool, letters: str) -> None:
    spelt = {
        written(letter, label, separator, last=last, lower=lower): f"{letter}-{label}"
        for letter in letters
        for label in TYPES
    }
    tags = {*spelt, "o" if lower else "O"}
    notation = notation_of(tags)
    assert notation is not None
    assert {tag: notation.canonical(tag) for tag in tags} == {**spelt, "o" if lower else "O": "O"}
    assert {tag: canonical_tag(tag, types=TYPES) for tag in spelt} == spelt


@pytest.mark.parametrize(
    "tags", ["B I O", "B O", "I O", "B I", "B M E S", "b m e s", "B I E S O", "B I L U O", "B M E W O"]
)
def test_prefixes_without_types_are_tags_of_entities(tags: str) -> None:
    notation = notation_of(tags.split())
    assert notation is not None
    assert notation.canonical(tags.split()[0]) == f"{tags[0].upper()}-ENTITY"
    assert "without a type" in notation.described


@pytest.mark.parametrize(
    "tags",
    [
        "NOUN VERB",
        "NOUN B-X",
        "S O",
        "N V A",
        "B N",
        "NN NN|PL",
        "B-PER i-PER O",
        "B_PER B-LOC O",
        "PER-B B-PER I-PER O",
        "B I M O",
        "1 2 0",
        "O",
        "",
    ],
)
def test_other_tags_have_no_notation(tags: str) -> None:
    assert notation_of(tags.split()) is None


@given(st.sets(st.sampled_from(["B-a-b", "I-a-b", "B-B", "I-B", "B-_", "B--"]), min_size=1))
def test_a_type_may_have_the_separator_in_it(tags: set[str]) -> None:
    notation = notation_of({*tags, "O"})
    assert notation is not None
    assert {notation.canonical(tag) for tag in tags} == tags


@pytest.mark.parametrize("outside", ["O", "o", "_", "-", "0"])
def test_words_outside_have_several_spellings(outside: str) -> None:
    notation = notation_of(["B-PER", outside])
    assert notation is not None
    assert notation.canonical(outside) == "O"


@pytest.mark.parametrize(
    ("tags", "stated"),
    [
        ("B-PER I-PER O MISC", ["'B-PER'", "'MISC'", "scheme: plain"]),
        ("B_PER I_PER X O", ["'B_PER'", "'X'", "scheme: plain"]),
        ("B-PER I-PER PER-B O", ["'PER-B'", "scheme: plain"]),
        ("B I O X", ["'X'", "without a type", "scheme: plain"]),
        ("(PER* * *)", ["'(PER*'", "brackets", "scheme: plain"]),
        ("0 1 2 10", ["numbers", "0, 1, 2, 10", "labels:", "scheme: plain"]),
    ],
)
def test_tags_that_are_hardly_plain_are_refused(tags: str, stated: list[object]) -> None:
    with pytest.raises(DataError, match=facts(*stated)):
        refuse_unclear(set(tags.split()))


@pytest.mark.parametrize("tags", ["NOUN VERB", "NOUN B-X", "O A X", "S-x V-y"])
def test_plain_tags_pass(tags: str) -> None:
    refuse_unclear(set(tags.split()))

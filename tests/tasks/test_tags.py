"""Schemes of tags: one entity has one spelling, whatever it was written in."""

from __future__ import annotations

import logging

import pytest
from facts import logged
from hypothesis import given
from hypothesis import strategies as st

from llmkit.tasks.token_classification.tags import EntityWords, TagCount, bio_labels, entities_of, has_prefixes, to_bio

any_tags = st.lists(
    st.sampled_from(["O", "X"]) | st.tuples(st.sampled_from("BIESLU"), st.sampled_from("ab")).map("-".join)
)


@pytest.mark.parametrize(
    ("tags", "bio"),
    [
        ("O B-a I-a O I-a", "O B-a I-a O B-a"),
        ("I-a I-a B-a I-b O I-b", "B-a I-a B-a B-b O B-b"),  # IOB1
        ("S-a B-a E-a B-b I-b E-b S-b", "B-a B-a I-a B-b I-b I-b B-b"),  # IOBES
        ("U-a B-a L-a B-b I-b L-b U-b", "B-a B-a I-a B-b I-b I-b B-b"),  # BILOU
        ("E-a I-a E-a", "B-a B-a I-a"),  # an end closes: what follows begins anew
        ("B-a-b I-a-b", "B-a-b I-a-b"),
        ("", ""),
    ],
)
def test_every_scheme_becomes_bio(tags: str, bio: str) -> None:
    assert to_bio(tags.split()) == bio.split()


@given(any_tags)
def test_bio_is_left_as_it_is_and_means_the_same_entities(tags: list[str]) -> None:
    bio = to_bio(tags)
    assert to_bio(bio) == bio
    assert len(bio) == len(tags)
    assert entities_of(bio) == entities_of(tags)
    assert [tag == "O" for tag in bio] == [tag in ("O", "X") for tag in tags]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4), st.sampled_from("ab"))))
def test_entities_written_in_any_scheme_are_read_back(parts: list[tuple[int, int, str]]) -> None:
    wanted: list[EntityWords] = []
    iob1: list[str] = []
    iobes: list[str] = []
    for gap, length, label in parts:
        iob1 += ["O"] * gap
        iobes += ["O"] * gap
        beside = bool(wanted) and not gap and wanted[-1].label == label
        wanted.append(EntityWords(len(iob1), len(iob1) + length, label))
        iob1 += [f"{'B' if beside else 'I'}-{label}", *[f"I-{label}"] * (length - 1)]
        middle = [f"B-{label}", *[f"I-{label}"] * (length - 2), f"E-{label}"]
        iobes += [f"S-{label}"] if length == 1 else middle
    assert entities_of(iob1) == entities_of(iobes) == entities_of(to_bio(iob1)) == wanted


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        ("O B-a I-a", True),
        ("I-a", True),
        ("S-a O", True),
        ("O", False),
        ("NOUN B-a", False),
        ("B I O", False),
        ("", False),
    ],
)
def test_tags_are_those_of_entities_if_all_have_prefixes(tags: str, found: bool) -> None:
    assert has_prefixes(tags.split()) == found


def test_labels_hold_both_prefixes_of_each_type_behind_the_outside() -> None:
    assert bio_labels(["PER", "LOC", "PER"]) == ("O", "B-LOC", "B-PER", "I-LOC", "I-PER")


@pytest.mark.parametrize(
    ("tags", "level", "stated"),
    [
        ("I-a I-a O I-b", "INFO", ["IOB1", 2, "I-", "BIO"]),
        ("I-a B-a O I-b", "INFO", ["IOB1", 2, "I-", "BIO"]),
        ("S-a O", "INFO", ["IOBES", "BIO"]),
        ("U-a O", "INFO", ["BILOU", "BIO"]),
        ("B-a O I-b", "WARNING", [1, 2, "I-", "B-", "f:1"]),
        ("B-a I-a", "INFO", [2, "words", "B-a 1, I-a 1"]),
    ],
)
def test_what_was_converted_is_said(
    tags: str, level: str, stated: list[object], caplog: pytest.LogCaptureFixture
) -> None:
    count = TagCount()
    count.bio(tags.split(), place="f:1")
    with caplog.at_level(logging.INFO, logger="llmkit"):
        count.report()
    assert len(logged(caplog, level, *stated)) == 1
    assert len(caplog.messages) == (1 if tags == "B-a I-a" else 2)

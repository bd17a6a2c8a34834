"""The split of a text is a pure function that must never change."""

from __future__ import annotations

import pytest
from facts import facts
from hypothesis import given
from hypothesis import strategies as st

from llmkit.data.splits import split_of

shares = st.floats(0, 0.49)


@pytest.mark.parametrize(
    ("text", "split"),
    [  # their SHA-256 begins with e3b0, 2cf2, 18ac, 3c48
        ("", "train"),
        ("hello", "validation"),
        ("d", "test"),
        ("héllo", "train"),
    ],
)
def test_the_split_of_a_text_is_fixed_for_ever(text: str, split: str) -> None:
    assert split_of(text, validation=0.1, test=0.1) == split


@given(text=st.text(st.characters(codec="utf-8")), validation=shares, test=shares, more=shares)
def test_a_larger_validation_share_moves_no_test_text_and_loses_no_validation_text(
    text: str, validation: float, test: float, more: float
) -> None:
    before = split_of(text, validation=validation, test=test)
    after = split_of(text, validation=max(validation, more), test=test)
    assert after == before or (before, after) == ("train", "validation")


def test_shares_are_met_and_no_text_is_held_out_at_share_zero() -> None:
    splits = [split_of(f"text {n}", validation=0.2, test=0.1) for n in range(10_000)]
    assert abs(splits.count("validation") - 2000) < 120
    assert abs(splits.count("test") - 1000) < 90
    assert {split_of(f"text {n}", validation=0, test=0) for n in range(1000)} == {"train"}


@pytest.mark.parametrize(("validation", "test"), [(1, 0), (0.5, 0.5), (-0.1, 0), (0, float("nan"))])
def test_shares_that_leave_nothing_to_train_on_are_refused(validation: float, test: float) -> None:
    with pytest.raises(ValueError, match=facts(f"validation={validation}", f"test={test}")):
        split_of("a", validation=validation, test=test)

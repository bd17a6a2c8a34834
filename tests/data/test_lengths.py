"""Counts of text that is too long for a limit."""

from __future__ import annotations

import pytest

from llmkit.data.lengths import LengthCount, TruncationCount
from llmkit.errors import DataError


def test_only_texts_behind_the_limit_count_as_long_and_only_their_tokens_behind_it_are_lost() -> None:
    count = TruncationCount()
    for lost in (0, 3, 0, 1):
        count.add(lost)
    assert (count.texts, count.long_texts, count.lost_tokens, count.share) == (4, 2, 4, "2 of 4")


def test_a_text_of_exactly_the_limit_fits_and_a_longer_one_is_counted_with_the_tokens_behind_it() -> None:
    count = LengthCount(what="text", max_tokens=5, overflow="truncate")
    assert [count.fits(length, place=f"row {length}") for length in (4, 5, 6, 9)] == [True, True, False, False]
    assert count.lengths == [4, 5, 6, 9]
    assert (count.truncated.long_texts, count.truncated.lost_tokens, count.first_place) == (2, 5, "row 6")


def test_under_the_policy_error_the_first_long_row_is_named() -> None:
    count = LengthCount(what="text", max_tokens=5, overflow="error")
    for length in (4, 8, 9):
        count.fits(length, place=f"rows.jsonl:{length}")
    with pytest.raises(DataError, match=r"^rows\.jsonl:8: .*2 of 3 rows"):
        count.report(key="max_tokens", targets=False)

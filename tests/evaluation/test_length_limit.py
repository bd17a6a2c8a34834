"""Which texts reached the length limit, over several processes."""

from __future__ import annotations

from llmkit.evaluation.length_limit import length_limit_details


def test_the_texts_of_two_processes_are_numbered_as_their_rows() -> None:
    first, second = (2, 1, 8, (1,)), (2, 2, 8, (0, 1))  # rows 0 and 2, rows 1 and 3
    written = length_limit_details([first, second])["written"]
    assert written == {"texts": 4, "reached_limit": 3, "max_new_tokens": 8, "cut_texts": [1, 2, 3]}

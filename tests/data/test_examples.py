"""Encoded rows as examples."""

from __future__ import annotations

import numpy as np
import pytest

from llmkit.data.examples import ExampleBuilder


def test_rows_with_several_examples_or_none_keep_their_references_and_sources() -> None:
    builder = ExampleBuilder("input_ids", aligned=("target_ids",))
    builder.add({"input_ids": [[1, 2], [3]], "target_ids": [[7], [8]]}, reference="first", source="a")
    builder.add({"input_ids": [], "target_ids": []}, reference="second", source="b")
    builder.add({"input_ids": [[4, 5, 6]], "target_ids": [[9]]}, reference="third", source="c")
    examples = builder.examples()
    assert examples.examples_of() == [range(0, 2), range(2, 2), range(2, 3)]
    assert (examples.references, examples.sources) == (["first", "second", "third"], ["a", "b", "c"])
    assert [examples.columns["target_ids"][index].tolist() for index in range(3)] == [[7], [8], [9]]
    assert examples.lengths.tolist() == [2, 1, 3]  # targets are aligned and add nothing


def test_one_example_for_each_row_needs_no_map_of_rows() -> None:
    builder = ExampleBuilder("input_ids", "target_ids")
    builder.add({"input_ids": [[1, 2]], "target_ids": [[7]]}, reference="first")
    builder.add({"input_ids": [[3]], "target_ids": [[]]}, reference="second")
    examples = builder.examples()
    assert examples.row_of is None
    assert examples.examples_of() == [range(0, 1), range(1, 2)]
    assert examples.columns["input_ids"][0].dtype == np.int32
    assert examples.lengths.tolist() == [3, 1]


def test_no_rows_give_no_examples_and_all_columns() -> None:
    examples = ExampleBuilder("input_ids", "target_ids").examples()
    assert (len(examples), examples.rows, set(examples.columns)) == (0, 0, {"input_ids", "target_ids"})


def test_a_row_whose_columns_differ_in_number_is_refused() -> None:
    with pytest.raises(AssertionError):
        ExampleBuilder("input_ids", "target_ids").add({"input_ids": [[1]], "target_ids": []}, reference="")

"""A sample of a stream is even, ordered and always the same."""

from __future__ import annotations

from llmkit.reservoir import Reservoir


def sample_of(count: int, *, most: int) -> list[int]:
    sample: Reservoir[int] = Reservoir()
    for item in range(count):
        sample.add(item)
        while len(sample) > most:
            sample.drop_last()
    return list(sample)


def test_a_sample_keeps_the_order_of_the_stream_and_is_always_the_same() -> None:
    drawn = sample_of(1000, most=50)
    assert len(drawn) == 50
    assert drawn == sorted(drawn) == sample_of(1000, most=50)


def test_what_a_smaller_sample_has_a_larger_one_has_too() -> None:
    assert set(sample_of(1000, most=50)) < set(sample_of(1000, most=200))


def test_all_parts_of_the_stream_are_drawn_alike() -> None:
    drawn = sample_of(10_000, most=1000)
    tenths = [sum(part * 1000 <= item < (part + 1) * 1000 for item in drawn) for part in range(10)]
    assert all(70 <= count <= 130 for count in tenths)


def test_an_item_that_is_replaced_keeps_its_place_and_its_turn() -> None:
    sample: Reservoir[object] = Reservoir()
    for item in range(20):
        sample.add(item)
    last = sample.last
    place = list(sample).index(last)
    sample.replace_last("changed")
    assert list(sample)[place] == sample.last == sample.drop_last() == "changed"
    assert (len(sample), sample.items_added) == (19, 20)

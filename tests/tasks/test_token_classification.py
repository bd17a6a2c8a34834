"""Words to pieces, windows and back. Legend: B batch, T tokens, C classes."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import pytest
import torch
from builders import TAGGER_WINDOW, TAGS, recipe_of, rows, sentence, tags_of, task_of, tiny_model, tokenizer_of
from facts import facts, logged, says
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from llmkit.data.rows import Row
from llmkit.data.windows import window_starts
from llmkit.errors import DataError, ModelError, UsageError
from llmkit.inference.engines.transformers import TransformersEngine
from llmkit.models.export import tokenizer_files
from llmkit.models.losses import IGNORED
from llmkit.tasks.base import Task
from llmkit.tasks.engine import Engine
from llmkit.tasks.target_counts import count_targets
from llmkit.tasks.token_classification.rows import parts_of_words, tags_of_parts
from llmkit.tasks.token_classification.subwords import (
    WordSubwords,
    overlap_of,
    subwords_of_texts,
    subwords_of_words,
    windows_of,
)
from llmkit.tasks.token_classification.tags import entities_of
from llmkit.tasks.token_classification.task import TokenClassificationTask

ODD = "☃"
"""A character that the tokenizer has never seen: the unknown token, and no other word is."""


def tagged(*sentences: str, tags: str | None = None) -> list[Row]:
    made = []
    for number, words in enumerate(sentences):
        held = words.split()
        made.append(Row({"words": held, "tags": tags.split() if tags else tags_of(held)}, f"f.conll:{number}"))
    return made


def with_spans(text: str, *spans: tuple[int, int, str]) -> Row:
    found = [{"start": start, "end": end, "label": label} for start, end, label in spans]
    return Row({"text": text, "spans": found}, "f.jsonl:4")


def tagger(**keys: Any) -> TokenClassificationTask:
    return cast(TokenClassificationTask, task_of("token-classification", **keys))


class ByRule:
    """An engine whose class of each token is a rule of all ids of the sequence and its position."""

    def __init__(self, rule: Callable[[Sequence[int], int], str]) -> None:
        self._rule = rule

    def token_logits(self, sequences: Sequence[Sequence[int]], *, pairs: bool = False) -> list[np.ndarray]:
        one_hot = np.eye(len(TAGS), dtype=np.float32)
        return [np.stack([one_hot[TAGS.index(self._rule(ids, at))] for at in range(len(ids))]) for ids in sequences]


def predicted(task: Task, some_rows: Sequence[Row], rule: Callable[[Sequence[int], int], str]) -> list[list[str]]:
    return task.predict(task.encode(some_rows), cast(Engine, ByRule(rule)))


UNKNOWN = tokenizer_of("bert").unk_token_id


def finds_odd(ids: Sequence[int], at: int) -> str:
    return "B-ANIMAL" if ids[at] == UNKNOWN else "O"


# ---- labels


def test_labels_are_both_prefixes_of_the_types_in_the_rows_behind_the_outside() -> None:
    rows = [*tagged("a b", tags="I-PER O"), with_spans("a b", (0, 1, "LOC"))]
    found = recipe_of("token-classification").class_names(rows)
    assert found == ("O", "B-LOC", "B-PER", "I-LOC", "I-PER")


def test_plain_tags_are_sorted_with_a_letter_o_in_front() -> None:
    recipe = recipe_of("token-classification")
    assert recipe.class_names(tagged("a b", tags="VERB NOUN")) == ("NOUN", "VERB")
    assert recipe.class_names(tagged("a b c", tags="X O A")) == ("O", "A", "X")
    forced = recipe_of("token-classification", scheme="plain")
    assert forced.class_names(tagged("a b c", tags="I-NP B-NP O")) == ("O", "B-NP", "I-NP")


def test_tags_that_do_not_fit_their_scheme_are_refused() -> None:
    recipe = recipe_of("token-classification", scheme="bio")
    with pytest.raises(DataError, match=facts("scheme: bio", "'NOUN'", "B-")):
        recipe.class_names(tagged("a b", tags="NOUN B-X"))
    with pytest.raises(DataError, match=facts("two", "tags", " O")):
        recipe_of("token-classification").class_names(tagged("a b", tags="O O"))


def test_a_mixture_of_tags_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    recipe_of("token-classification").class_names(tagged("a b", tags="MISC B-X"))
    assert len(logged(caplog, "WARNING", "'B-X'", "'MISC'", "prefix")) == 1


@pytest.mark.parametrize(
    ("keys", "stated"),
    [
        ({"labels": ("O", "B-X", "B-X")}, ["labels", "'B-X'"]),
        ({"labels": ("B-X", "I-X")}, ["tags", "'O'"]),
        ({"labels": ("O", "PER"), "scheme": "bio"}, ["labels", "scheme: bio", " O", "B-"]),
        ({"labels": ("O", "S-X")}, ["'S-X'", "BIO", "B-TYPE", "I-TYPE"]),
        ({"labels": ("O", "X_B", "X_I")}, ["labels", "PER_B", "B-PER"]),
        ({"labels": ("O", "B", "I")}, ["labels", "without a type", "B-ENTITY"]),
        ({"window_overlap": 4, "overflow": "truncate"}, ["window_overlap", "overflow: window"]),
    ],
)
def test_impossible_keys_are_refused(keys: dict[str, Any], stated: list[str]) -> None:
    with pytest.raises(ValidationError) as caught:
        recipe_of("token-classification", **keys)
    (error,) = caught.value.errors()
    says(f"{error['loc']} {error['msg']}", *stated)


def test_unseen_tags_are_refused_with_counts_and_places() -> None:
    some = tagged("the cat", tags="O B-ANIMAL") + tagged("x y z", tags="B-ANIMALS I-ANIMALS B-ANIMALS")
    with pytest.raises(DataError) as caught:
        tagger().encode(some)
    says(
        str(caught.value),
        *("f.conll:0:", "'B-ANIMALS' (2", "'I-ANIMALS' (1", "'B-ANIMAL'", "O, B-ANIMAL, B-PLACE, I-ANIMAL, I-PLACE"),
    )


def test_a_tag_without_a_prefix_is_no_outside_where_tags_are_entities() -> None:
    """It became `O` before anyone asked whether the model has it, and its entities were gone."""
    with pytest.raises(DataError) as caught:
        tagger(scheme="bio").encode(tagged("a cat sees", "a dog b", tags="O ANIMAL PLACE"))
    says(str(caught.value), "f.conll:0:", "'ANIMAL' (2", "'PLACE' (2")


def test_words_and_tags_of_different_lengths_are_refused_with_their_place() -> None:
    broken = Row({"words": ["a", "b"], "tags": ["O"]}, "f.jsonl:7")
    for refused in (
        lambda: tagger().encode([broken]),
        lambda: recipe_of("token-classification").class_names([broken]),
    ):
        with pytest.raises(DataError, match=facts("f.jsonl:7:", "2 words", "1 tag")):
            refused()


# ---- pieces


def test_a_label_stands_at_the_first_piece_of_its_word_and_nowhere_else() -> None:
    task = tagger()
    tokenizer = task.loaded.tokenizer
    tokenizer.model_max_length = 64
    words = ["the", "morning", "cat", "quietly", "dog", "☃", "riverstone"]
    examples = task.encode(tagged(" ".join(words), tags="O O B-ANIMAL O I-ANIMAL B-PLACE O"))
    encoding = tokenizer(words, is_split_into_words=True)
    assert examples.columns["input_ids"][0].tolist() == encoding["input_ids"]
    wanted, before = [], None
    for word in encoding.word_ids():
        new = word is not None and word != before
        wanted.append(TAGS.index(["O", "O", "B-ANIMAL", "O", "B-ANIMAL", "B-PLACE", "O"][word]) if new else IGNORED)
        before = word
    assert examples.columns["target_ids"][0].tolist() == wanted
    assert len(encoding["input_ids"]) > len(words) + 2  # some word has several pieces
    assert examples.references == [["O", "O", "B-ANIMAL", "O", "B-ANIMAL", "B-PLACE", "O"]]


@pytest.mark.parametrize("silent", ["\u200b", "\u00ad", "\u0301", "\ufe0f"])
@pytest.mark.parametrize("at", range(4))
def test_a_word_without_pieces_shifts_no_other_and_is_counted(
    silent: str, at: int, caplog: pytest.LogCaptureFixture
) -> None:
    words = ["the", "cat", "sees"]
    words.insert(at, silent)
    tags = ["B-PLACE" if word == silent else "B-ANIMAL" if word == "cat" else "O" for word in words]
    task = tagger()
    with caplog.at_level(logging.INFO, logger="llmkit"):
        examples = task.encode([Row({"words": words, "tags": tags}, "f.conll:9")])
    targets = examples.columns["target_ids"][0]
    assert [TAGS[one] for one in targets[targets != IGNORED]] == tags
    assert len(logged(caplog, "INFO", "words", 1, "tokenizer", "f.conll:9")) == 1
    cat = task.loaded.tokenizer("cat", add_special_tokens=False)["input_ids"][0]
    [found] = task.predict(examples, cast(Engine, ByRule(lambda ids, at: "B-ANIMAL" if ids[at] == cat else "O")))
    assert found == ["B-ANIMAL" if word == "cat" else "O" for word in words]


def test_the_name_of_a_special_token_is_a_word_like_any_other() -> None:
    tokenizer = tokenizer_of("bert")
    for pieces in (
        subwords_of_words(tokenizer, [["the", "[SEP]", "cat"]])[0],
        subwords_of_texts(tokenizer, ["[MASK]"])[0],
    ):
        assert not {tokenizer.sep_token_id, tokenizer.mask_token_id}.intersection(pieces.ids)


def test_reading_words_leaves_the_tokenizer_as_it_was() -> None:
    task = tagger()
    before = tokenizer_files(task.loaded)
    task.encode(rows(5))
    subwords_of_texts(task.loaded.tokenizer, ["the [SEP] cat"])
    assert tokenizer_files(task.loaded) == before


def test_a_sum_over_words_is_what_the_loss_is() -> None:
    task = tagger()
    examples = task.encode(rows(9))
    batch = task.collate(examples, np.arange(len(examples)))
    assert count_targets(batch) == sum(len(row.fields["words"]) for row in rows(9))
    assert len(examples) > 9  # windows count no word twice
    nats = 0.0
    for index in range(len(examples)):
        one = task.collate(examples, np.array([index]))
        logits = task.loaded.model(input_ids=one["input_ids"]).logits[0]  # (T, C)
        for position, label in enumerate(one["labels"][0].tolist()):
            nats -= float(logits[position].log_softmax(0)[label].detach()) if label != IGNORED else 0.0
    assert float(task.loss_sum(batch).detach()) == pytest.approx(nats, rel=1e-5)


def test_tokens_of_an_example_are_counted_once() -> None:
    examples = tagger().encode(rows(9))
    assert examples.lengths.tolist() == examples.columns["input_ids"].lengths.tolist()
    assert examples.take([3, 1]).lengths.tolist() == examples.take([3, 1]).columns["target_ids"].lengths.tolist()


# ---- windows


@given(
    lengths=st.lists(st.integers(1, 4), max_size=40),
    window=st.integers(4, 14),
    share=st.floats(0, 0.99),
)
def test_each_word_is_in_the_one_window_that_shows_most_around_it(
    lengths: list[int], window: int, share: float
) -> None:
    firsts = np.cumsum([0, *lengths])[:-1].tolist()
    total = sum(lengths)
    overlap = int(share * (window - 2))
    found = list(windows_of(WordSubwords([7] * total, firsts, []), window_tokens=window, overlap=overlap))
    assert [word for one in found for word in one.words] == list(range(len(lengths)))
    starts = window_starts(total, size=window - 2, overlap=overlap)

    def context(start: int, piece: int) -> float:
        """Pieces on the poorer side; the edges of the text hide nothing."""
        left = piece - start if start else math.inf
        right = start + window - 3 - piece if start + window - 2 < total else math.inf
        return min(left, right)

    for one in found:
        assert one.end == min(one.start + window - 2, total)
        for word in one.words:
            assert one.start <= firsts[word] < one.end
            covering = [start for start in starts if start <= firsts[word] < start + window - 2]
            assert context(one.start, firsts[word]) == max(context(start, firsts[word]) for start in covering)


@pytest.mark.parametrize("overlap", [0, 2, 5])
def test_an_entity_at_every_position_of_a_long_text_is_found_where_it_is(overlap: int) -> None:
    task = tagger(window_overlap=overlap)
    count = 45
    sentences = []
    for at in range(count):
        words = ["the"] * count
        words[at] = ODD
        sentences.append(" ".join(words))
    found = predicted(task, tagged(*sentences), finds_odd)
    assert found == [["B-ANIMAL" if word == at else "O" for word in range(count)] for at in range(count)]


def test_a_prediction_comes_from_the_window_with_most_context() -> None:
    """The rule answers only where the sequence shows two pieces on both sides, or the true edge of the text."""
    task = tagger(window_overlap=4)
    text = " ".join(["the", *["cat", "dog"] * 20, "tree"])
    edge = {task.loaded.tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in ("the", "tree")}

    def rule(ids: Sequence[int], at: int) -> str:
        left, right = at - 1 >= 2 or ids[1] in edge, len(ids) - 2 - at >= 2 or bool(edge.intersection(ids[at:]))
        return "B-ANIMAL" if left and right else "O"

    examples = task.encode(tagged(text))
    assert len(examples) >= 10
    assert set(task.predict(examples, cast(Engine, ByRule(rule)))[0]) == {"B-ANIMAL"}


def test_windows_of_a_real_model_are_stitched_in_the_order_of_the_words() -> None:
    task = tagger()
    engine = TransformersEngine(task.loaded, device=torch.device("cpu"))
    some = rows(12)
    together = task.predict(task.encode(some), engine)
    assert [len(tags) for tags in together] == [len(row.fields["words"]) for row in some]
    assert together == [task.predict(task.encode([row]), engine)[0] for row in some]
    examples = task.encode(some)
    assert task.predict(examples.take([7, 2]), engine) == [together[7], together[2]]


@pytest.mark.parametrize(("window", "wanted", "overlap"), [(10, None, 2), (512, None, 128), (4, None, 1), (10, 0, 0)])
def test_the_overlap_is_a_quarter_of_the_window_unless_it_is_given(
    window: int, wanted: int | None, overlap: int
) -> None:
    assert overlap_of(window, wanted) == overlap


def test_an_overlap_without_a_step_forward_is_refused() -> None:
    with pytest.raises(UsageError, match=facts("window_overlap", 8)):
        tagger(window_overlap=8)


# ---- overflow

LONG = " ".join([ODD] * 12)


def test_truncated_words_are_missed_and_stay_in_the_reference(caplog: pytest.LogCaptureFixture) -> None:
    task = tagger(overflow="truncate")
    examples = task.encode(tagged(LONG, tags=" ".join(["B-ANIMAL"] * 12)))
    assert examples.references == [["B-ANIMAL"] * 12]
    room = TAGGER_WINDOW - 2
    [found] = task.predict(examples, cast(Engine, ByRule(finds_odd)))
    assert found == ["B-ANIMAL"] * room + ["O"] * (12 - room)
    assert len(logged(caplog, "WARNING", 1, "100.0%", 10, "4 tokens", "loss")) == 1


def test_dropped_rows_leave_with_their_reference() -> None:
    examples = tagger(overflow="drop").encode(tagged("the cat", LONG, "a dog"))
    assert examples.references == [tags_of(["the", "cat"]), tags_of(["a", "dog"])]
    assert examples.rows == 2


def test_too_long_a_row_is_an_error_under_error() -> None:
    with pytest.raises(DataError, match=facts("f.conll:1:", 1, 2, "50.0%", "max_tokens", 10)):
        tagger(overflow="error").encode(tagged("the cat", LONG))


# ---- spans


def test_spans_become_tags_of_the_words_that_the_tokenizer_finds() -> None:
    text = "The old cat, dog sees 東京 trees."
    task = tagger()
    row = with_spans(text, (22, 24, "PLACE"), (4, 11, "ANIMAL"), (13, 16, "ANIMAL"))
    examples = task.encode([row])
    words = [text[start:end] for start, end in subwords_of_texts(task.loaded.tokenizer, [text])[0].spans]
    assert words == ["The", "old", "cat", ",", "dog", "sees", "東", "京", "trees", "."]
    assert examples.references == [["O", "B-ANIMAL", "I-ANIMAL", "O", "B-ANIMAL", "O", "B-PLACE", "I-PLACE", "O", "O"]]


def test_a_span_that_cuts_a_word_is_widened_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    task = tagger()
    examples = task.encode([with_spans("the blackbird sees it", (9, 13, "ANIMAL"), (4, 9, "PLACE"))])
    targets = [int(target) for index in range(len(examples)) for target in examples.columns["target_ids"][index]]
    assert [task.loaded.labels[target] for target in targets if target != IGNORED] == ["O", "B-PLACE", "O", "O"]
    assert len(logged(caplog, "WARNING", "spans", 2, "f.jsonl:4", 1)) == 1


def test_a_span_that_cuts_a_word_is_scored_as_it_is() -> None:
    task = tagger()
    examples = task.encode([with_spans("the blackbird sees it", (9, 13, "ANIMAL"), (4, 9, "PLACE"))])
    assert examples.references == [["O", "B-PLACE", "B-ANIMAL", "O", "O"]]
    first = 1 + subwords_of_texts(task.loaded.tokenizer, ["the blackbird sees it"])[0].firsts[1]
    [found] = task.predict(examples, cast(Engine, ByRule(lambda ids, at: "B-PLACE" if at == first else "O")))
    assert found == ["O", "B-PLACE", "I-PLACE", "O", "O"]  # the whole word, which is none of the two


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(0, 2)), min_size=1, max_size=8), st.data())
def test_tags_of_parts_are_the_entities_of_the_spans(lengths: list[tuple[int, int]], data: st.DataObject) -> None:
    words, place = [], 0
    for length, gap in lengths:
        words.append((place, place + length))
        place += length + gap
    text = "".join("x" if any(start <= at < end for start, end in words) else " " for at in range(place))
    letters = [at for at in range(place) if text[at] == "x"]
    edges = sorted(data.draw(st.lists(st.sampled_from(letters), unique=True, max_size=6)))
    spans = [(start, end + 1, "A") for start, end in zip(edges[::2], edges[1::2], strict=False)]
    row = with_spans(text, *spans)
    parts = [part for of_word in parts_of_words(row, words) for part in of_word]
    found = [
        (parts[entity.start][0], parts[entity.end - 1][1], "A") for entity in entities_of(tags_of_parts(row, parts))
    ]
    assert found == spans


@pytest.mark.parametrize(
    ("spans", "stated"),
    [
        ([(0, 5, "A"), (4, 6, "B")], ["0..5 'A'", "4..6 'B'", "overlap"]),
        ([(0, 3, "A"), (0, 3, "B")], ["overlap"]),
        ([(4, 8, "A")], ["4..8 'A'", "outside", 7]),
        ([(-1, 2, "A")], ["-1..2 'A'", "outside", 7]),
        ([(3, 3, "A")], ["3..3 'A'", "outside", 7]),
        ([(3, 4, "A")], ["3..4 'A'", "word"]),
    ],
)
def test_impossible_spans_are_refused_with_their_place(spans: list[tuple[int, int, str]], stated: list[object]) -> None:
    with pytest.raises(DataError) as caught:
        tagger().encode([with_spans("the cat", *spans)])
    assert str(caught.value).startswith("f.jsonl:4: ")
    says(str(caught.value), *stated)


def test_both_layouts_may_stand_beside_each_other() -> None:
    mixed = [*tagged("the cat"), with_spans("a dog", (2, 5, "ANIMAL")), *tagged("the tree")]
    assert tagger().encode(mixed).references == [["O", "B-ANIMAL"], ["O", "B-ANIMAL"], ["O", "B-PLACE"]]


def test_a_text_without_words_has_no_example_and_keeps_its_place() -> None:
    task = tagger()
    examples = task.encode([*tagged("the cat"), with_spans("\u200b"), *tagged("☃")])
    assert examples.references == [["O", "B-ANIMAL"], [], ["O"]]
    assert task.predict(examples, cast(Engine, ByRule(finds_odd))) == [["O", "O"], [], ["B-ANIMAL"]]


# ---- plain tags


def plain_task(**keys: Any) -> TokenClassificationTask:
    loaded = tiny_model("bert", head="token-classification")
    loaded.model.config.id2label = dict(enumerate(["NOUN", "VERB", "X", "Y", "Z"]))
    return tagger(loaded=loaded, **keys)


def test_a_model_of_plain_tags_is_measured_by_their_accuracy() -> None:
    task = plain_task()
    assert task.recipe.scheme == "plain"
    assert (task.recipe.metrics, task.recipe.best) == (("tag_accuracy",), "tag_accuracy")
    assert (tagger().recipe.metrics, tagger().recipe.best) == (("entities",), "entity_f1")
    examples = task.encode(tagged("the cat", tags="X NOUN"))
    assert examples.references == [["X", "NOUN"]]


@pytest.mark.parametrize("asked", [{"metrics": ["entities"]}, {"best": "entity_recall"}])
def test_figures_of_entities_are_refused_for_plain_tags(asked: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=facts("entities", "prefix")):
        plain_task(evaluation=asked)


def test_the_best_checkpoint_goes_by_the_metric_that_is_asked_for() -> None:
    assert recipe_of("token-classification", evaluation={"metrics": ["tag_accuracy"]}).best == "tag_accuracy"
    assert recipe_of("token-classification", evaluation={"metrics": ["tag_accuracy", "entities"]}).best == "entity_f1"


def test_spans_are_refused_for_plain_tags() -> None:
    with pytest.raises(DataError, match=facts("spans", "plain")):
        plain_task().encode([with_spans("the cat", (4, 7, "X"))])


def test_a_model_in_a_scheme_with_ends_is_not_trained_on() -> None:
    loaded = tiny_model("bert", head="token-classification")
    loaded.model.config.id2label = dict(enumerate(["O", "B-X", "I-X", "E-X", "S-X"]))
    with pytest.raises(ModelError, match=facts("'E-X'", "BIO")):
        tagger(loaded=loaded)


def test_an_inside_that_the_model_begins_with_becomes_a_begin() -> None:
    odd = sentence(3)  # any words
    found = predicted(tagger(), tagged(odd), lambda ids, at: "I-ANIMAL")
    assert found == [["B-ANIMAL"] + ["I-ANIMAL"] * (len(odd.split()) - 1)]

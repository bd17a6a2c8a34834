"""Entities and tags of raw texts: exact in characters of the text as given, whole over any length."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from facts import facts, logged
from small_models import WINDOW, FakeEngine, small_bert
from transformers import BertForTokenClassification

from llmkit.api.model import Model
from llmkit.errors import DataError, UsageError
from llmkit.inference.engines.transformers import TransformersEngine
from llmkit.models.families import FAMILIES
from llmkit.models.loaded import LoadedModel
from llmkit.tasks.token_classification.predict import Tagging, finds_entities, tag_texts
from llmkit.tasks.token_classification.saved import SavedTokenClassification

LABELS = ("O", "B-X", "I-X", "B-Y", "I-Y")


@pytest.fixture
def tagger() -> LoadedModel:
    bert = small_bert()
    config = bert.model.config
    config.id2label = dict(enumerate(LABELS))
    config.label2id = {label: index for index, label in enumerate(LABELS)}
    torch.manual_seed(1)
    return LoadedModel(BertForTokenClassification(config).eval(), bert.tokenizer, FAMILIES["bert"], "small-tagger")


def tagged(
    loaded: LoadedModel, texts: Sequence[str], tag_of: dict[str, str] | None = None, **keys: str
) -> list[Tagging]:
    """By an engine that gives each word of `tag_of` its tag by its first piece, and the others `O`, all at 2:1 or so."""
    ids = {
        loaded.tokenizer(word, add_special_tokens=False)["input_ids"][0]: tag for word, tag in (tag_of or {}).items()
    }
    engine = FakeEngine(logits=lambda one: [4.0 * (ids.get(one[0], "O") == label) for label in LABELS])
    overflow = keys.get("overflow", "window")
    return list(tag_texts(loaded, engine, texts, overflow=overflow, overlap=8))  # type: ignore[arg-type]


def test_entities_have_the_characters_of_the_text_their_label_and_a_mean_score(tagger: LoadedModel) -> None:
    text = "A  small\tdog, then rain."
    [found] = tagged(tagger, [text], {"small": "B-X", "dog": "I-X", "rain": "I-Y"})
    assert [(one.start, one.end, one.label, one.text) for one in found.entities] == [
        (3, 12, "X", "small\tdog"),
        (19, 23, "Y", "rain"),
    ]
    share = np.exp(4) / (np.exp(4) + 4)
    assert [one.score for one in found.entities] == pytest.approx([share, share])
    assert [word.text for word in found.words] == ["A", "small", "dog", ",", "then", "rain", "."]
    assert found.truncated_tokens == 0


@pytest.mark.parametrize(
    "text",
    [
        "日本語dog日本",
        "naïve dog",
        "e\u0301tude dog\u0301 x",
        "🙂👩\u200d👩 dog\ufe0f",
        "\u200bdog\u00ad",
        "\u00a0dog\u2009x",
        "‏דוג dog",
        "DOG",
        "[SEP] dog [MASK]",
        "ﬁne dog",
        "İ dog",
    ],
)
def test_offsets_are_exact_in_any_script(tagger: LoadedModel, text: str) -> None:
    [found] = tagged(tagger, [text], {"dog": "B-X"})
    [entity] = found.entities
    assert entity.text == text[entity.start : entity.end]
    start = text.lower().find("dog") if "İ" not in text else 2
    assert entity.start == start
    assert entity.text.rstrip("\u0301\ufe0f\u00ad").lower() == "dog"
    ends = [(word.start, word.end) for word in found.words]
    assert ends == sorted(ends)
    assert all(first[1] <= second[0] for first, second in itertools.pairwise(ends))
    left = "".join(
        text[end:start] for end, start in zip([0, *(e for _, e in ends)], [*(s for s, _ in ends), None], strict=True)
    )
    assert not left.strip("\u200b\u200f \u00a0\u2009\u200d")  # nothing but white space and marks is between words


def test_an_accent_behind_a_letter_belongs_to_its_word(tagger: LoadedModel) -> None:
    [found] = tagged(tagger, ["dog\u0301 x"], {"dog": "B-X"})
    assert found.entities[0].text == "dog\u0301"


def test_each_character_of_chinese_is_a_word(tagger: LoadedModel) -> None:
    [found] = tagged(tagger, ["日本語 dog"])
    assert [word.text for word in found.words] == ["日", "本", "語", "dog"]


def test_an_entity_at_every_position_of_a_long_text_keeps_its_characters(tagger: LoadedModel) -> None:
    count = 3 * WINDOW
    for at in range(0, count, 5):
        words = ["the"] * count
        words[at] = "dog"
        [found] = tagged(tagger, [" ".join(words)], {"dog": "B-X"})
        assert [(one.start, one.end) for one in found.entities] == [(4 * at, 4 * at + 3)]
        assert len(found.words) == count


def test_an_entity_that_lies_across_two_windows_stays_one(tagger: LoadedModel) -> None:
    text = " ".join(["the"] * 30 + ["dog"] * 60 + ["the"] * 30)
    [found] = tagged(tagger, [text], {"dog": "I-X"})
    assert [one.text for one in found.entities] == [" ".join(["dog"] * 60)]


def test_a_cut_text_is_counted_and_its_words_end_there(tagger: LoadedModel, caplog: pytest.LogCaptureFixture) -> None:
    long = " ".join(["the"] * 100)
    found = tagged(tagger, ["the dog", long], overflow="truncate")
    assert [one.truncated_tokens for one in found] == [0, 102 - WINDOW]
    assert [len(one.words) for one in found] == [2, WINDOW - 2]
    told = logged(caplog, "WARNING", 1, "2 texts", "small-tagger", f"{WINDOW} tokens")
    assert len(caplog.messages) == len(told) == 1


def test_a_long_text_is_an_error_under_error(tagger: LoadedModel) -> None:
    with pytest.raises(DataError, match=facts("row 2:", "102 tokens", WINDOW)):
        tagged(tagger, ["the", " ".join(["the"] * 100)], overflow="error")


@pytest.mark.parametrize(
    ("text", "stated"),
    [("", ["text", "empty"]), (" \n", ["text", "empty"]), ("a\ud83d", ["U+D83D"])],
)
def test_impossible_texts_are_errors_with_their_row(tagger: LoadedModel, text: str, stated: list[str]) -> None:
    with pytest.raises(DataError, match=facts("row 2:", *stated)):
        tagged(tagger, ["the", text])


def test_a_text_without_words_has_nothing_to_tag(tagger: LoadedModel) -> None:
    found = tagged(tagger, ["\u200b", "dog", "\u200b\u00ad"], {"dog": "B-X"})
    assert [len(one.words) for one in found] == [0, 1, 0]
    assert [len(one.entities) for one in found] == [0, 1, 0]


def test_plain_tags_are_no_entities(tagger: LoadedModel) -> None:
    tagger.model.config.id2label = dict(enumerate(["NOUN", "VERB", "DET", "X", "Y"]))
    [found] = list(
        tag_texts(tagger, FakeEngine(logits=lambda ids: [0, 1, 0, 0, 0]), ["the dog"], overflow="error", overlap=8)
    )
    assert [word.tag for word in found.words] == ["VERB", "VERB"]
    assert found.entities == []


def test_the_verb_of_a_loaded_model_gives_what_plain_transformers_gives(tagger: LoadedModel) -> None:
    continuing = [index for index, label in enumerate(LABELS) if label.startswith("I-")]
    tagger.model.classifier.bias.data[continuing] = -100  # at the start of an entity they would become B- tags
    model = Model(tagger, TransformersEngine(tagger, device=torch.device("cpu")), head="token-classification")
    text = "The small dog runs"
    [found] = model.tag([text])
    encoding = tagger.tokenizer(text, return_tensors="pt", return_token_type_ids=False)
    with torch.inference_mode():
        shares = tagger.model(**encoding).logits[0].softmax(dim=-1)  # (T, C)
    firsts = [encoding.char_to_token(word.start) for word in found.words]
    assert [word.tag for word in found.words] == [LABELS[int(shares[at].argmax())] for at in firsts]
    assert [word.score for word in found.words] == pytest.approx([float(shares[at].max()) for at in firsts], abs=1e-6)
    assert model.finds_entities
    with pytest.raises(UsageError, match=facts("list of texts")):
        model.tag("one text")


@pytest.mark.parametrize("labels", ["o b_X i_X b_Y i_Y", "O X-B X-I Y-B Y-I", "O S-X E-X U-Y L-Y", "O B I M E"])
def test_labels_of_other_programs_are_tags_of_entities_in_any_notation(tagger: LoadedModel, labels: str) -> None:
    tagger.model.config.id2label = dict(enumerate(labels.split()))
    engine = FakeEngine(logits=lambda ids: [0, 1, 0, 0, 0])
    [found] = list(tag_texts(tagger, engine, ["dog"], overflow="error", overlap=8))
    if labels == "O B I M E":  # I and M are of no scheme together
        assert (found.entities, found.words[0].tag) == ([], "B")
    else:
        assert [(entity.label, entity.text) for entity in found.entities] == [("X", "dog")]
        assert found.words[0].tag == "B-X"
    assert finds_entities(tagger) == bool(found.entities)


def test_a_model_of_plain_tags_has_no_entities_though_they_have_prefixes(tagger: LoadedModel) -> None:
    SavedTokenClassification(scheme="plain").save(tagger)
    engine = FakeEngine(logits=lambda ids: [0, 0, 1, 0, 0])
    [found] = list(tag_texts(tagger, engine, ["dog"], overflow="error", overlap=8))
    assert (found.entities, found.words[0].tag) == ([], "I-X")

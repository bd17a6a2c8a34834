"""The metrics: hand-computed cases, invariants, and agreement with the packages that they stand on."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import rows, task_of
from facts import facts, logged, says
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from llmkit.errors import DataError, LlmkitError, MachineError, UsageError
from llmkit.evaluation.metrics import METRICS, SCORES, RougeTokenizer, is_better, neighbour_recall, rouge, score_texts
from llmkit.evaluation.metrics.external import compute_external
from llmkit.evaluation.metrics.language_model import bits_per_byte, language_model_scores, perplexity
from llmkit.evaluation.metrics.rouge import ROUGE_SCORES
from llmkit.tasks.predicted_label import PredictedLabel

CLASS_METRICS = ("accuracy", "precision", "recall", "f1", "confusion")

ENGLISH = [
    ("The cats were running quickly over the lawn.", "A cat runs quickly across the lawn!"),
    ("Police killed the gunman.\nHe was 32.", "The gunman was shot\nby police; he was 32"),
    ("relational conditional rational", "relate condition ration"),
    ("", "Nothing was predicted here."),
    ("word", "word"),
    ("a b c d e f g", "g f e d c b a"),
    ("d d", "d\nd"),  # rougeLsum is not symmetric here: 0.5 one way, 1.0 the other
]

SCRIPTS = {
    "latin": "Die Straße führt über Łódź nach Ağrı",
    "vietnamese": "Tiếng Việt có nhiều dấu thanh",
    "greek": "Η γρήγορη αλεπού πηδάει",
    "cyrillic": "Быстрая лиса прыгает через собаку",
    "armenian": "Արագ աղվեսը ցատկում է",
    "georgian": "სწრაფი მელა ხტება",
    "hebrew": "שועל מהיר קופץ מעל כלב",
    "arabic": "الثعلب السريع يَقفز فوق الكلب",
    "persian": "می‌خواهم کتاب‌ها را بخوانم",
    "devanagari": "तेज़ लोमड़ी कुत्ते के ऊपर कूदती है",
    "bengali": "দ্রুত শিয়াল লাফ দেয়",
    "tamil": "வேகமான நரி குதிக்கிறது",
    "ethiopic": "ፈጣን ቀበሮ ይዘላል",
    "tibetan": "བོད་ཀྱི་སྐད་ཡིག",
    "thai": "สุนัขจิ้งจอกกระโดด",
    "lao": "ໝາຈອກໂດດຂ້າມ",
    "khmer": "កញ្ជ្រោងលោតរំលង",
    "myanmar": "မြေခွေးခုန်သည်",
    "han": "敏捷的狐狸跳过懒狗",
    "japanese": "すばやいキツネがジャンプする",
    "hangul": "빠른 여우가 뛰어넘는다",
    "arabic digits": "١٢٣ ٤٥٦",
}

labels_lists = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("bcde")), min_size=1, max_size=30)


def columns(rows: list[tuple[str, str]]) -> tuple[list[str], list[str]]:
    return [prediction for prediction, _ in rows], [reference for _, reference in rows]


# --- the tables ---


OF_TEXTS = [
    name
    for name, metric in METRICS.items()
    if not metric.of_vectors
    and metric.values not in ("number", "tags", "entities", "answer", "labels with probabilities", "probabilities")
]
"""Metrics of one text a row; the others want numbers, probabilities, tags or several answers."""


def test_every_figure_that_a_metric_emits_has_a_scale_and_a_direction() -> None:
    emitted = set(score_texts(OF_TEXTS, ["a b", "c"], ["a b", "d"]).values)
    emitted |= set(score_texts(["mse", "pearson", "spearman"], [1.0, 2.0], [2.0, 3.0]).values)
    emitted |= set(score_texts(["map"], [{"labels": ["a"], "probabilities": {"a": 0.5}}], [["a"]]).values)
    emitted |= set(score_texts(["entities", "tag_accuracy"], [["B-A", "O"]], [["B-A", "O"]]).values)
    emitted |= set(score_texts(["squad"], ["a"], [["a", "b"]]).values)
    label = PredictedLabel("a", ("a", "b"), np.array([0.75, 0.25]), abstained=False)
    emitted |= set(score_texts(["ece", "brier", "nll", "selective"], [label], ["a"]).values)
    emitted |= set(neighbour_recall(np.eye(2), ["a", "b"]).values)
    emitted |= set(language_model_scores(1.0, 1, 1))
    task = task_of("replaced-token-detection")
    emitted |= set(task.means(task.collate(task.encode(rows(4)), np.arange(1), epoch=0)))
    assert emitted == set(SCORES)


def test_loss_is_better_when_lower_and_rouge_when_higher() -> None:
    assert is_better("loss", 1.0, 2.0)
    assert not is_better("loss", 2.0, 1.0)
    assert is_better("rougeL", 0.5, 0.4)
    assert not is_better("rougeL", 0.4, 0.5)


@pytest.mark.parametrize("name", SCORES)
def test_an_equal_figure_or_nan_is_never_better_and_a_number_beats_nan(name: str) -> None:
    assert not is_better(name, 0.5, 0.5)
    assert not is_better(name, math.nan, 0.5)
    assert not is_better(name, math.nan, math.nan)
    assert is_better(name, 0.5, math.nan)


def test_an_unknown_figure_is_a_usage_error_with_the_nearest_name() -> None:
    with pytest.raises(UsageError, match=facts("'rougel'", "'rougeL'")):
        is_better("rougel", 1.0, 0.0)


def test_the_direction_of_an_evaluate_figure_is_not_guessed() -> None:
    with pytest.raises(UsageError, match=facts("evaluate:wer", "rougeL, rougeLsum")):
        is_better("evaluate:wer", 1.0, 0.0)


def test_figures_and_metrics_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        SCORES["loss"].better = "higher"  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        METRICS["f1"].name = "f2"  # type: ignore[misc]


# --- score_texts ---


def test_several_metrics_give_the_union_of_their_figures_and_details() -> None:
    merged = score_texts(["accuracy", "confusion", "rouge"], ["a"], ["a"])
    assert set(merged.values) == {"accuracy", "majority_share", *ROUGE_SCORES}
    assert set(merged.details) == {"confusion", "rouge"}


def test_an_unknown_metric_is_refused_with_the_nearest_and_the_list_before_any_metric_runs() -> None:
    with pytest.raises(UsageError, match=facts("'acuracy'", "'accuracy'", "precision, recall", "evaluate:NAME")):
        score_texts(["evaluate:/nowhere/at/all", "acuracy"], ["a"], ["a"])


def test_different_lengths_are_refused_with_both_numbers() -> None:
    with pytest.raises(DataError, match=facts(3, 2, "predictions", "references")):
        score_texts(["accuracy"], ["a", "b", "c"], ["a", "b"])


def test_zero_rows_are_refused() -> None:
    with pytest.raises(DataError, match=facts(0, "predictions", "references")):
        score_texts(["rouge"], [], [])


def test_score_texts_hands_the_rouge_tokenizer_on() -> None:
    scores = score_texts(["rouge"], ["ab"], ["ac"], rouge_tokenizer="characters")
    assert scores.values["rouge1"] == 0.5
    assert scores.details["rouge"]["tokenizer"] == "characters"


@given(rows=labels_lists, seed=st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_the_order_of_rows_changes_no_figure_and_no_detail(rows: list[tuple[str, str]], seed: int) -> None:
    shuffled = random.Random(seed).sample(rows, len(rows))
    assert score_texts(OF_TEXTS, *columns(shuffled)) == score_texts(OF_TEXTS, *columns(rows))


def test_details_are_plain_enough_for_json() -> None:
    scores = score_texts(OF_TEXTS, ["a", "b", "z"], ["a", "c", "c"])
    assert json.loads(json.dumps(scores.details)) == scores.details


# --- classification ---


def test_accuracy_and_majority_share_by_hand() -> None:
    scores = score_texts(["accuracy"], ["a", "b", "b", "a"], ["a", "a", "a", "b"])
    assert scores.values == {"accuracy": 0.25, "majority_share": 0.75}


def test_majority_share_is_of_the_references_not_of_the_predictions() -> None:
    assert score_texts(["accuracy"], ["a", "a", "a"], ["a", "b", "c"]).values["majority_share"] == pytest.approx(1 / 3)


def test_precision_recall_and_f1_by_hand() -> None:
    scores = score_texts(["precision", "recall", "f1"], ["a", "a", "b", "b"], ["a", "b", "b", "b"])
    assert scores.details["per_class"] == {
        "a": {"precision": 0.5, "recall": 1.0, "f1": pytest.approx(2 / 3), "support": 1},
        "b": {"precision": 1.0, "recall": pytest.approx(2 / 3), "f1": pytest.approx(0.8), "support": 3},
    }
    assert scores.values == {
        "precision_micro": 0.75,
        "precision_macro": 0.75,
        "recall_micro": 0.75,
        "recall_macro": pytest.approx(5 / 6),
        "f1_micro": 0.75,
        "f1_macro": pytest.approx(11 / 15),
    }


def test_a_confusion_row_is_a_reference_and_a_column_a_prediction() -> None:
    details = score_texts(["confusion"], ["a", "a", "c"], ["a", "b", "b"]).details
    assert details["confusion"] == {"labels": ["a", "b", "c"], "rows": [[1, 0, 0], [1, 0, 1], [0, 0, 0]]}


def test_labels_of_one_side_only_are_shown_and_never_nan() -> None:
    scores = score_texts(["f1"], ["a", "made up"], ["a", "missed"])
    assert scores.details["per_class"]["made up"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0}
    assert scores.details["per_class"]["missed"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1}
    assert scores.details["labels_only_in_predictions"] == ["made up"]
    assert scores.details["labels_only_in_references"] == ["missed"]
    assert scores.values["f1_macro"] == pytest.approx(1 / 3)


def test_labels_that_differ_in_case_space_or_a_trailing_nul_are_different() -> None:
    scores = score_texts(["accuracy", "confusion"], ["A", "a ", "a\0"], ["a", "a", "a"])
    assert scores.values["accuracy"] == 0.0
    assert scores.details["confusion"]["labels"] == ["A", "a", "a\0", "a "]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("labels", [1, 2, 40])
def test_few_rows_of_one_or_many_labels_raise_no_warning(labels: int) -> None:
    texts = [f"label {number}" for number in range(labels)]
    assert score_texts(["confusion"], texts, texts).details["confusion"]["rows"][0][0] == 1
    assert score_texts(CLASS_METRICS, texts, texts).values["f1_macro"] == 1.0


@given(rows=labels_lists)
@settings(max_examples=20, deadline=None)
def test_figures_are_those_of_scikit_learn_on_the_texts_themselves(rows: list[tuple[str, str]]) -> None:
    from sklearn.metrics import accuracy_score, precision_recall_fscore_support

    predictions, references = columns(rows)
    scores = score_texts(CLASS_METRICS, predictions, references).values
    assert scores["accuracy"] == pytest.approx(accuracy_score(references, predictions))
    for average in ("micro", "macro"):
        expected = precision_recall_fscore_support(references, predictions, average=average, zero_division=0.0)[:3]
        found = [scores[f"{ratio}_{average}"] for ratio in ("precision", "recall", "f1")]
        assert found == pytest.approx(expected)


@given(rows=labels_lists)
@settings(max_examples=20, deadline=None)
def test_the_per_class_table_agrees_with_the_confusion_matrix(rows: list[tuple[str, str]]) -> None:
    scores = score_texts(CLASS_METRICS, *columns(rows))
    labels, matrix = scores.details["confusion"]["labels"], scores.details["confusion"]["rows"]
    per_class = scores.details["per_class"]
    assert list(per_class) == labels
    assert sum(map(sum, matrix)) == len(rows)
    assert sum(matrix[i][i] for i in range(len(labels))) == pytest.approx(scores.values["accuracy"] * len(rows))
    for i, label in enumerate(labels):
        predicted = sum(row[i] for row in matrix)
        assert per_class[label]["support"] == sum(matrix[i])
        assert per_class[label]["precision"] * predicted == pytest.approx(matrix[i][i])
        assert per_class[label]["recall"] * sum(matrix[i]) == pytest.approx(matrix[i][i])


@given(rows=labels_lists)
@settings(max_examples=20, deadline=None)
def test_changing_sides_swaps_precision_and_recall_and_keeps_f1(rows: list[tuple[str, str]]) -> None:
    predictions, references = columns(rows)
    forth = score_texts(CLASS_METRICS, predictions, references).values
    back = score_texts(CLASS_METRICS, references, predictions).values
    assert back["f1_macro"] == pytest.approx(forth["f1_macro"])
    assert back["precision_macro"] == pytest.approx(forth["recall_macro"])
    assert back["recall_macro"] == pytest.approx(forth["precision_macro"])


# --- rouge ---


@pytest.mark.parametrize(("prediction", "reference"), ENGLISH)
def test_rouge_equals_rouge_score_to_the_last_digit_on_english(prediction: str, reference: str) -> None:
    from rouge_score.rouge_scorer import RougeScorer

    expected = RougeScorer(list(ROUGE_SCORES), use_stemmer=True).score(reference, prediction)
    scores = rouge([prediction], [reference])
    assert scores.values == {name: expected[name].fmeasure for name in ROUGE_SCORES}
    assert scores.details["rouge"]["tokenizer"] == "rouge-score"
    assert scores.details["rouge"]["stemmer"] is True
    assert scores.details["rouge"]["rouge_score"] == "0.1.2"


def test_rouge_of_a_corpus_is_the_mean_of_its_rows() -> None:
    of_rows = [rouge([prediction], [reference]).values for prediction, reference in ENGLISH]
    of_corpus = rouge(*columns(ENGLISH)).values
    for name in ROUGE_SCORES:
        assert of_corpus[name] == pytest.approx(sum(scores[name] for scores in of_rows) / len(ENGLISH))


@pytest.mark.parametrize("text", ["The cat_sat on 3 mats -- twice.\nIt's OK!", "a-b c/d  e.\n\n F"])
def test_unicode_words_of_english_are_those_of_rouge_score_without_its_stemmer(text: str) -> None:
    from rouge_score.rouge_scorer import RougeScorer

    other = "the cat sat on c mats f"
    expected = RougeScorer(list(ROUGE_SCORES), use_stemmer=False).score(text, other)
    assert rouge([other], [text], tokenizer="unicode").values == {n: expected[n].fmeasure for n in ROUGE_SCORES}


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("tokenizer", ["auto", "unicode", "characters"])
def test_a_text_of_any_script_against_itself_scores_one(script: str, tokenizer: RougeTokenizer) -> None:
    text = SCRIPTS[script]
    assert rouge([text], [text], tokenizer=tokenizer).values == dict.fromkeys(ROUGE_SCORES, 1.0)


@pytest.mark.parametrize("script", SCRIPTS)
def test_texts_of_different_scripts_score_zero(script: str) -> None:
    others = [text for name, text in SCRIPTS.items() if name != script]
    scores = rouge([SCRIPTS[script]] * len(others), others).values
    assert scores == dict.fromkeys(ROUGE_SCORES, 0.0)


# Hangul fillers are letters to Unicode, and are blank: a text of them alone has nothing to score.
any_text = st.text(
    st.characters(categories=("L", "N", "M", "P", "S", "Z"), include_characters="\n", exclude_characters="ᅟᅠㅤﾠ"),
    max_size=25,
)


@given(text=any_text, tokenizer=st.sampled_from(["auto", "unicode", "characters"]))
@settings(max_examples=150, deadline=None)
def test_any_text_with_a_letter_or_digit_against_itself_scores_one(text: str, tokenizer: RougeTokenizer) -> None:
    assume(any(char.isalnum() for char in text))
    scores = rouge([text], [text], tokenizer=tokenizer)
    one_token = scores.details["rouge"]["references_without_bigrams"] == 1
    expected = dict.fromkeys(ROUGE_SCORES, 1.0) | ({"rouge2": 0.0} if one_token else {})
    assert scores.values == expected
    assert scores.details["rouge"]["references_without_tokens"] == 0


@given(one=any_text, other=any_text, tokenizer=st.sampled_from(["rouge-score", "unicode", "characters"]))
@settings(max_examples=100, deadline=None)
def test_rouge_f_measures_are_symmetric_and_between_zero_and_one(
    one: str, other: str, tokenizer: RougeTokenizer
) -> None:
    forth = rouge([one], [other], tokenizer=tokenizer).values
    back = rouge([other], [one], tokenizer=tokenizer).values
    for name in ("rouge1", "rouge2", "rougeL"):
        assert forth[name] == pytest.approx(back[name])
    assert all(0.0 <= metric <= 1.0 for metric in forth.values())


@pytest.mark.parametrize(
    ("prediction", "reference", "rouge1", "rouge2"),
    [
        ("我爱你", "我恨你", 2 / 3, 0.0),  # one Han character, one token
        ("GPT模型", "gpt模式", 2 / 3, 1 / 2),  # a Latin word inside Chinese is one token
        ("ジョー", "じょう", 0.0, 0.0),  # the long-vowel mark is a token of its own
        ("हिन्दी भाषा", "हिन्दी", 2 / 3, 0.0),  # vowel signs and viramas do not cut a word
        ("हिन्दी", "हिन्दू", 0.0, 0.0),
        ("ไปไหน", "ไปนอน", 0.6, 0.25),  # five letters each; three shared, and one bigram
        ("ΟΔΟΣ ΜΑΣ", "οδος μας", 1.0, 1.0),  # final sigma
        ("ＡＢＣ ﬁn", "abc fin", 1.0, 1.0),  # compatibility forms
        ("e\u0301te\u0301 là", "été là", 1.0, 1.0),  # composed or not
        ("می‌خواهم کتاب", "میخواهم کتاب", 1.0, 1.0),  # a joiner is no part of a word
        ("слово\u200bдва", "слово два", 1.0, 1.0),  # a zero-width space parts words
    ],
)
def test_unicode_tokens_by_hand(prediction: str, reference: str, rouge1: float, rouge2: float) -> None:
    scores = rouge([prediction], [reference], tokenizer="unicode").values
    assert scores["rouge1"] == pytest.approx(rouge1)
    assert scores["rouge2"] == pytest.approx(rouge2)


def test_a_line_is_a_sentence_in_rouge_lsum_with_the_unicode_tokenizer() -> None:
    scores = rouge(["сидит кот\nлает пёс"], ["лает пёс\nсидит кот"])
    assert scores.values["rougeLsum"] == 1.0
    assert scores.values["rougeL"] == 0.5


def test_auto_takes_rouge_score_at_99_percent_ascii_letters_and_unicode_below() -> None:
    assert rouge(["a"], ["a" * 99 + "é"]).details["rouge"]["tokenizer"] == "rouge-score"
    assert rouge(["a"], ["a" * 98 + "é"]).details["rouge"]["tokenizer"] == "unicode"


def test_auto_counts_letters_only_and_those_of_the_references_only() -> None:
    assert rouge(["Привет"], ["hello — 你" + "a" * 99]).details["rouge"]["tokenizer"] == "rouge-score"
    assert rouge(["hello"], ["123456 да 7890 !!!!!"]).details["rouge"]["tokenizer"] == "unicode"
    assert rouge(["hello"], ["12 34"]).details["rouge"]["tokenizer"] == "rouge-score"


def test_the_reason_for_the_tokenizer_is_told() -> None:
    assert rouge(["да"], ["да"]).details["rouge"]["why"].startswith("0.00%")
    assert rouge(["da"], ["da"], tokenizer="unicode").details["rouge"]["why"]


@pytest.mark.parametrize("text", ["🎉👍🏽", "?!…", "—", " \n"])
def test_a_text_without_letters_or_digits_scores_zero_and_is_counted_and_warned_of(
    text: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="llmkit"):
        scores = rouge([text, "да"], [text, "да"])
    assert scores.values["rouge1"] == 0.5
    assert scores.details["rouge"]["references_without_tokens"] == 1
    assert len(caplog.messages) == len(logged(caplog, "WARNING", "rouge", 1, 2, "unicode", "0.0")) == 1


@pytest.mark.parametrize(("text", "tokens"), [("🎉👍🏽", 2), ("?!…", 5), ("👨‍👩‍👧", 1), ("नि ते", 2)])
def test_the_characters_tokenizer_counts_graphemes_punctuation_and_emoji(text: str, tokens: int) -> None:
    scores = rouge(["x" * tokens], [text + "x" * tokens], tokenizer="characters").values
    assert scores["rouge1"] == pytest.approx(2 / 3)  # recall one half, precision one
    assert rouge([text], [text], tokenizer="characters").values["rouge1"] == 1.0


def test_importing_the_metrics_loads_no_third_party_metric_library_and_rouge_opens_no_socket() -> None:
    script = """
import sys, socket
import llmkit.evaluation.metrics as metrics
heavy = {"sklearn", "torch", "transformers", "rouge_score", "nltk", "evaluate", "datasets", "regex"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
def refuse(*_):
    raise AssertionError("a socket was opened")
socket.socket.connect = socket.getaddrinfo = refuse
print(metrics.rouge(["cats running"], ["a cat runs"]).values["rouge1"])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == pytest.approx(0.8)


# --- language models ---


def test_perplexity_is_e_to_the_nats_per_target_over_the_whole_corpus() -> None:
    assert perplexity(math.log(8) * 5, 5) == pytest.approx(8.0)
    assert perplexity(0.0, 3) == 1.0


@pytest.mark.parametrize("nats", [709.79, 1e6, math.inf])
def test_perplexity_beyond_a_float_is_inf(nats: float) -> None:
    assert perplexity(nats, 1) == math.inf


def test_perplexity_just_within_a_float_is_finite() -> None:
    assert 1e308 < perplexity(709.78, 1) < math.inf


def test_a_uniform_guess_over_256_bytes_costs_eight_bits_per_byte() -> None:
    assert bits_per_byte(100 * math.log(256), 100) == pytest.approx(8.0)


def test_the_three_figures_come_from_one_total() -> None:
    scores = language_model_scores(20 * math.log(2), 10, 40)
    assert scores == pytest.approx({"loss": 2 * math.log(2), "perplexity": 4.0, "bits_per_byte": 0.5})


def test_a_nan_total_stays_visible() -> None:
    assert all(math.isnan(metric) for metric in language_model_scores(math.nan, 2, 2).values())


@pytest.mark.parametrize(("targets", "utf8_bytes", "unit"), [(0, 1, "target"), (1, 0, "byte"), (-1, 1, "target")])
def test_no_targets_or_no_bytes_are_a_value_error(targets: int, utf8_bytes: int, unit: str) -> None:
    with pytest.raises(ValueError, match=facts(unit)):
        language_model_scores(1.0, targets, utf8_bytes)


# --- evaluate modules ---

METRIC_SCRIPT = """
import datasets
import evaluate
import numpy as np

class Tiny(evaluate.Metric):
    def _info(self):
        text = datasets.Value("string")
        features = datasets.Features({{"predictions": text, "references": text}})
        return evaluate.MetricInfo(description="", citation="", inputs_description="", features=features)

    def _compute(self, predictions, references):
        right = [p == r for p, r in zip(predictions, references)]
        {body}
"""

RESULTS = """return {
            "NAME": np.float32(sum(right) / len(right)), "rows": len(right), "right": np.array(right),
            "undefined": float("nan"), "by": {"first": (right[0], None)}, "kind": "exact",
        }"""


@pytest.fixture
def write_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """A function that writes a metric script of this name and gives its folder. No network, no shared cache."""
    import evaluate

    monkeypatch.setattr(evaluate.config, "HF_EVALUATE_OFFLINE", True)
    monkeypatch.setattr(evaluate.config, "HF_MODULES_CACHE", tmp_path / "modules")
    monkeypatch.setattr(evaluate.config, "HF_METRICS_CACHE", tmp_path / "metrics")
    monkeypatch.setattr(sys, "path", [*sys.path])  # evaluate adds its folder of modules

    def write(name: str, body: str = RESULTS) -> str:
        folder = tmp_path / name
        folder.mkdir()
        script = METRIC_SCRIPT.format(body=body.replace("NAME", name))
        (folder / f"{name}.py").write_text(script, encoding="utf-8")
        return str(folder)

    yield write
    for name in [name for name in sys.modules if name.split(".")[0] == "evaluate_modules"]:
        del sys.modules[name]


def test_numbers_of_an_evaluate_module_become_figures_and_all_else_details(write_module: Callable[..., str]) -> None:
    scores = score_texts([f"evaluate:{write_module('alike')}", "accuracy"], ["a", "b"], ["a", "c"])
    assert scores.values == {
        "evaluate:alike": 0.5,
        "evaluate:alike/rows": 2.0,
        "accuracy": 0.5,
        "majority_share": 0.5,
    }
    assert scores.details == {
        "evaluate:alike": {
            "right": [True, False],
            "undefined": "nan",
            "by": {"first": [True, None]},
            "kind": "exact",
        }
    }


def test_an_evaluate_module_called_like_a_metric_of_ours_does_not_shadow_it(write_module: Callable[..., str]) -> None:
    external = write_module("accuracy", 'return {"accuracy": 7.0}')
    scores = score_texts(["accuracy", f"evaluate:{external}"], ["a"], ["a"]).values
    assert scores == {"accuracy": 1.0, "majority_share": 1.0, "evaluate:accuracy": 7.0}


def test_the_script_itself_can_be_named(write_module: Callable[..., str]) -> None:
    script = Path(write_module("by_script")) / "by_script.py"
    assert compute_external(str(script), ["a"], ["a"]).values["evaluate:by_script"] == 1.0


def test_that_foreign_code_runs_is_warned_of_once(
    write_module: Callable[..., str], caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_module("warned")
    with caplog.at_level(logging.WARNING, logger="llmkit"):
        compute_external(folder, ["a"], ["a"])
        compute_external(folder, ["a"], ["b"])
    warnings = [record.getMessage() for record in caplog.records if record.name == "llmkit"]
    assert len(warnings) == len(logged(caplog, "WARNING", f"evaluate:{folder}", "code")) == 1


@pytest.mark.parametrize(
    ("body", "stated"),
    [
        ("raise RuntimeError('first\\nsecond')", ["RuntimeError: first second"]),
        ("return [", ["SyntaxError"]),
    ],
)
def test_a_broken_evaluate_module_is_a_usage_error_in_one_line(
    write_module: Callable[..., str], body: str, stated: list[str]
) -> None:
    folder = write_module("broken", body)
    with pytest.raises(UsageError, match=facts(f"evaluate:{folder}", *stated)) as caught:
        compute_external(folder, ["a"], ["a"])
    assert "\n" not in str(caught.value)


def test_an_evaluate_module_that_needs_a_missing_package_says_which(write_module: Callable[..., str]) -> None:
    folder = write_module("needy")
    script = Path(folder) / "needy.py"
    script.write_text("import no_such_package_at_all\n" + script.read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(MachineError, match="no_such_package_at_all"):
        compute_external(folder, ["a"], ["a"])


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("/no/such/folder", UsageError),
        ("./missing.py", UsageError),
        ("exact_match", MachineError),
        ("someone/their_metric", MachineError),
    ],
)
def test_an_evaluate_module_that_is_not_there_is_an_error_in_one_line(
    write_module: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    error: type[LlmkitError],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=facts(f"evaluate:{name}: ")) as caught:
        score_texts([f"evaluate:{name}"], ["a"], ["a"])
    assert "\n" not in str(caught.value)


@pytest.fixture
def loopback_hub(write_module: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a Hub on this machine, which evaluate is sent to in place of the real one."""
    import evaluate
    import huggingface_hub

    root = tmp_path / "hub"
    root.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SilentHandler, directory=str(root)))
    url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(evaluate.config, "HF_EVALUATE_OFFLINE", False)
    monkeypatch.setattr(evaluate.config, "HF_UPDATE_DOWNLOAD_COUNTS", False)
    monkeypatch.setattr(evaluate.config, "HUB_EVALUATE_URL", url + "/{path}/{name}")
    monkeypatch.setattr(evaluate.config, "DOWNLOADED_EVALUATE_PATH", tmp_path / "downloads")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield root
    server.shutdown()
    server.server_close()


class SilentHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *values: object) -> None:
        """Nothing: the default writes every request to stderr."""


def test_a_module_that_the_hub_has_is_fetched_and_run(loopback_hub: Path, write_module: Callable[..., str]) -> None:
    script = Path(write_module("remote")) / "remote.py"
    (loopback_hub / "evaluate-metric" / "remote").mkdir(parents=True)
    script.rename(loopback_hub / "evaluate-metric" / "remote" / "remote.py")
    assert score_texts(["evaluate:remote"], ["a"], ["a"]).values["evaluate:remote"] == 1.0


def test_a_name_that_the_hub_does_not_know_is_a_usage_error(loopback_hub: Path) -> None:
    with pytest.raises(UsageError, match=facts("evaluate:someone/nothing:", "Hub")):
        score_texts(["evaluate:someone/nothing"], ["a"], ["a"])


def test_the_hub_is_not_asked_when_hf_hub_offline_is_set(
    loopback_hub: Path, write_module: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(MachineError, match="offline"):
        score_texts(["evaluate:someone/nothing"], ["a"], ["a"])


# --- many labels and numbers ---


def with_probabilities(rows: list[list[str]], labels: str = "abc") -> list[dict[str, Any]]:
    return [{"labels": row, "probabilities": {one: 0.9 if one in row else 0.1 for one in labels}} for row in rows]


def test_ratios_of_many_labels_by_hand() -> None:
    found = with_probabilities([["a", "b"], [], ["c"], ["a"]])
    wanted = [["a"], ["a"], ["c"], ["b"]]
    scores = score_texts(["precision", "recall", "f1", "accuracy"], found, wanted)
    assert scores.values["precision_micro"] == pytest.approx(2 / 4)
    assert scores.values["recall_micro"] == pytest.approx(2 / 4)
    assert scores.values["f1_micro"] == pytest.approx(2 / 4)
    assert scores.values["precision_macro"] == pytest.approx((1 / 2 + 0 + 1) / 3)
    assert scores.values["f1_macro"] == pytest.approx((1 / 2 + 0 + 1) / 3)
    assert (scores.values["accuracy"], scores.values["majority_share"]) == (0.25, 0.5)
    assert scores.details["per_class"]["a"] == {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2}


def test_one_label_that_may_be_there_or_not_is_a_table_of_one_column() -> None:
    scores = score_texts(["f1"], with_probabilities([["a"], [], ["a"]], "a"), [["a"], ["a"], []])
    assert scores.values == {"f1_micro": 0.5, "f1_macro": 0.5}
    assert list(scores.details["per_class"]) == ["a"]


def test_mean_average_precision_by_hand_leaves_out_labels_that_no_row_has() -> None:
    shares = [{"a": 0.9, "b": 0.2, "c": 0.5}, {"a": 0.8, "b": 0.7, "c": 0.5}, {"a": 0.1, "b": 0.6, "c": 0.5}]
    found = [{"labels": [], "probabilities": one} for one in shares]
    scores = score_texts(["map"], found, [["a"], ["b"], ["a"]])
    assert scores.details["average_precision"] == pytest.approx({"a": (1 + 2 / 3) / 2, "b": 1.0})
    assert scores.values["map"] == pytest.approx((5 / 6 + 1) / 2)
    assert scores.details["labels_without_rows"] == ["c"]


def test_mcc_of_two_labels_is_the_phi_coefficient_by_hand() -> None:
    found, wanted = list("aaabbbbb"), list("aabbbbba")  # 2 hits of a, 1 false, 1 missed, 4 right b
    expected = (2 * 4 - 1 * 1) / math.sqrt(3 * 3 * 5 * 5)
    assert score_texts(["mcc"], found, wanted).values["mcc"] == pytest.approx(expected)


def test_a_correlation_does_not_depend_on_the_size_of_the_numbers() -> None:
    for size in (1e-300, 1.0, 1e307):
        found = [size * one for one in (1.0, 2.0, -4.0)]
        assert score_texts(["pearson"], found, [2.0, 1.0, 5.0]).values["pearson"] == pytest.approx(-0.9962709627734357)


def test_numbers_by_hand_and_as_texts() -> None:
    found, wanted = [1.0, 2.0, 4.0, 3.0], [1.0, 3.0, 9.0, 10.0]
    scores = score_texts(["mse", "pearson", "spearman"], found, wanted).values
    assert scores["mse"] == pytest.approx((0 + 1 + 25 + 49) / 4)
    assert scores["pearson"] == pytest.approx(15.5 / math.sqrt(5 * 58.75))
    assert scores["spearman"] == pytest.approx(0.8)
    texts = score_texts(["mse"], [f"{one}" for one in found], [f"{one:g}" for one in wanted])
    assert texts.values["mse"] == scores["mse"]
    with pytest.raises(DataError, match=facts("row 2:", "prediction", "'much'", "number")):
        score_texts(["mse"], ["1", "much"], ["1", "2"])


@pytest.mark.parametrize(
    ("name", "found", "wanted", "stated"),
    [
        ("pearson", [2.0, 2.0], [1.0, 3.0], ["predictions", 2]),
        ("spearman", [1.0, 3.0], [2.0, 2.0], ["references", 2]),
        ("mcc", ["a", "a"], ["a", "b"], ["predictions", "'a'"]),
        ("map", [{"labels": [], "probabilities": {"a": 0.5}}], [[]], ["label"]),
    ],
)
def test_what_is_not_defined_is_0_and_told_and_never_nan(
    name: str, found: list[Any], wanted: list[Any], stated: list[object], caplog: pytest.LogCaptureFixture
) -> None:
    scores = score_texts([name, "accuracy"], found, wanted)
    assert scores.values[name] == 0.0
    says(scores.details["undefined"][name], *stated)
    assert len(logged(caplog, "WARNING", name, *stated)) == 1
    json.dumps([scores.values, scores.details], allow_nan=False)


def test_a_label_without_a_row_among_the_references_makes_no_nan() -> None:
    scores = score_texts(["precision", "recall", "f1", "mcc", "confusion"], ["a", "b", "c"], ["a", "a", "a"])
    json.dumps([scores.values, scores.details], allow_nan=False)
    assert list(scores.details["undefined"]) == ["mcc"]
    says(scores.details["undefined"]["mcc"], "references", "'a'")

"""report.html of one run: it says what the folder has, escapes every text, and survives damaged files."""

from __future__ import annotations

import json
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from reported_runs import ARABIC, ATTACK, HINDI, STYLE_ATTACK, attacked_run, label_lines, write_evaluation, write_run

from llmkit.errors import RunError
from llmkit.report.reading import read_content
from llmkit.report.run_report import run_report
from llmkit.runs.folder import Run


class Parsed(HTMLParser):
    """The tags, attributes and texts of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.open_tags: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag != "meta":
            self.open_tags.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open_tags.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open_tags[-1:] != ["style"]:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def report_of(folder: Path) -> str:
    return run_report(read_content(Run(folder)))


def parsed(folder: Path) -> Parsed:
    page = Parsed(report_of(folder))
    assert page.open_tags == []
    return page


def test_texts_that_attack_the_page_are_only_text(tmp_path: Path) -> None:
    page = parsed(attacked_run(tmp_path / "<b>run"))
    assert {"script", "img", "iframe", "link", "b", "object", "base", "form"}.isdisjoint(page.tags)
    assert page.tags.count("style") == 1
    assert not [name for name, _ in page.attributes if name.startswith("on") or name == "src"]
    assert all(str(value).startswith("#") for name, value in page.attributes if name == "href")
    assert {ATTACK, STYLE_ATTACK, "<b>run"} <= {text.strip() for text in page.texts}


def test_a_strict_policy_stands_before_the_styles(tmp_path: Path) -> None:
    html = report_of(write_run(tmp_path / "run"))
    policy = html.index("default-src 'none'; style-src 'unsafe-inline'; img-src data:")
    assert policy < html.index("<style>")


def test_every_script_keeps_its_direction_and_controls_are_visible(tmp_path: Path) -> None:
    page = parsed(attacked_run(tmp_path / "run"))
    assert {ARABIC, HINDI} <= set(page.texts)
    assert r"bell \x07 escape \x1b[31m turned \u202e round \ud800 alone \x0d end" in page.texts
    assert ("dir", "auto") in page.attributes


def test_the_same_folder_gives_the_same_bytes_elsewhere(tmp_path: Path) -> None:
    folder = attacked_run(tmp_path / "run")
    before = report_of(folder)
    shutil.copytree(folder, tmp_path / "moved" / "run")
    assert report_of(tmp_path / "moved" / "run") == before


def test_no_folder_of_this_machine_is_named(tmp_path: Path) -> None:
    html = report_of(attacked_run(tmp_path / "run"))
    assert "/home/me" not in html
    assert str(tmp_path) not in html


def test_scores_stand_beside_their_intervals_and_baselines(tmp_path: Path) -> None:
    text = parsed(attacked_run(tmp_path / "run")).text
    assert f"score model 95 % interval {ATTACK}" in text
    assert "accuracy 0..1, share of rows; higher is better 0.7000 0.6600 to 0.7400 0.3000" in text
    assert f"Test rows: The model beats {ATTACK}" in text
    assert "95 % interval 0.6100 to 0.7900, step 40 of 50" in text


def test_the_recipe_tells_written_keys_with_their_places_from_defaults(tmp_path: Path) -> None:
    html = report_of(write_run(tmp_path / "run"))
    written, complete = html.split("The complete recipe, with every default")
    written = written[written.index("The keys that were written") :]
    assert "news.yaml:2" in written
    assert "--set" in written
    assert "- b.csv" in written
    assert "validation: 5%" not in written
    assert "validation: 5%" in complete


def test_what_was_left_out_and_said_about_the_data_is_there(tmp_path: Path) -> None:
    text = parsed(write_run(tmp_path / "run")).text
    assert "3 rows that the task cannot use were left out" in text
    assert f"12 of 850 rows truncated {ATTACK}" in text
    assert "train 850 851 12 80 96" in text
    assert "85 % of the rows" in text


def test_mistakes_come_by_confidence_and_rows_by_loss(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    lines = label_lines(60, labels=("neg", "pos"))
    lines[7] |= {
        "prediction": "neg",
        "reference": "pos",
        "probabilities": {"neg": 0.999, "pos": 0.001},
        "loss": 77.5,
        "cluster": "patient 3",
    }
    write_evaluation(folder, lines, inputs=[{"text": f"text {number}."} for number in range(60)])
    text = parsed(folder).text
    mistakes = text[text.index("Most confident mistakes") :]
    assert mistakes.startswith(
        "Most confident mistakes rows.csv:9 cluster patient 3 confidence 0.999 loss 77.5000 text text 7."
    )
    losses = text[text.index("Rows with the highest loss") :]
    assert losses.index("rows.csv:9") < losses.index("rows.csv", losses.index("rows.csv:9") + 1)


def test_a_wrong_count_of_rows_shows_no_text_rather_than_the_wrong_one(tmp_path: Path) -> None:
    from llmkit.report.shown_rows import shown_lines

    rows = [("a:1", {"text": "first"}), ("a:2", {"text": "second"})]
    assert shown_lines(rows, {0}, expected_rows=3) is None
    content = shown_lines(rows, {1}, expected_rows=2)
    assert content is not None
    assert json.loads(content) == {"line": 1, "place": "a:2", "fields": {"text": "second"}}


CASES: dict[str, tuple[dict[str, float], list[dict[str, Any]], list[str], list[str]]] = {
    "many labels": (
        {"f1_micro": 0.5},
        [{"prediction": {"labels": ["a"], "probabilities": {"a": 0.9, "b": 0.2}}, "reference": ["a", "b"]}] * 3,
        ["3 of 3 predictions are wrong", "reference a, b", "prediction a"],
        ["Confusion", "Reliability"],
    ),
    "numbers": (
        {"pearson": 0.5, "mse": 2.0},
        [{"prediction": 3.25, "reference": 1.0}, {"prediction": 2.0, "reference": 2.0}],
        ["Predictions and references", "Largest errors prediction 1", "prediction 3.25"],
        ["Confusion", "wrong"],
    ),
    "tags": (
        {"entity_f1": 0.5},
        [{"prediction": ["B-PER", "O"], "reference": ["B-PER", "B-LOC"]}],
        ["1 of 1 predictions are not entirely right", "reference B-PER B-LOC"],
        ["Reliability"],
    ),
    "answers": (
        {"exact_match": 0.5},
        [{"prediction": "", "reference": []}, {"prediction": "no", "reference": ["yes", "yeah"]}],
        ["1 of 2 predictions are not entirely right", "(no answer)", "yes yeah"],
        ["Confusion"],
    ),
    "texts": (
        {"rouge1": 0.5},
        [{"prediction": "a summary", "reference": "the summary"}, {"prediction": "", "reference": "cut"}],
        ["Sample of predictions", "the summary", "Outputs cut by the length limit prediction 2"],
        ["Confusion", "mistakes"],
    ),
    "no predictions": ({"loss": 2.0, "perplexity": 7.39}, [], ["perplexity"], ["Sample of", "Confusion"]),
}


@pytest.mark.parametrize("kind", CASES)
def test_each_kind_of_prediction_shows_what_it_has_and_nothing_empty(kind: str, tmp_path: Path) -> None:
    scores, lines, said, unsaid = CASES[kind]
    folder = write_run(tmp_path / "run")
    written = {"texts": len(lines), "reached_limit": 1, "max_new_tokens": 8, "cut_texts": [1]}
    write_evaluation(folder, lines, scores=scores, details={"written": written} if kind == "texts" else {})
    text = parsed(folder).text
    evaluation = text[text.index("Environment") : text.index("Loss, nats per target")]  # after the list of sections
    assert [part for part in said if part not in evaluation] == []
    assert [part for part in unsaid if part in evaluation] == []


def test_words_of_a_tagged_text_carry_their_tags(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    lines = [{"prediction": ["B-PER", "O"], "reference": ["B-PER", "B-LOC"]}]
    write_evaluation(folder, lines, inputs=[{"words": ["Ada", "Paris"]}], scores={"entity_f1": 0.5})
    assert "Ada B-PER Paris – (is B-LOC)" in parsed(folder).text


@pytest.mark.parametrize("status", ["started", "running", "interrupted", "failed"])
def test_a_run_that_is_not_finished_has_a_report(status: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps({"id": "a", "status": status, "error": "the disk is full"}))
    page = parsed(folder)
    assert status in page.texts
    assert "the disk is full" in page.text
    assert "h2" not in page.tags


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("evaluation/test.json", "{"),
        ("evaluation/test.json", '{"data": "x", "rows": "many", "scores": {}}'),
        ("data.json", "[1]"),
        ("env.json", "nonsense"),
    ],
)
def test_a_damaged_file_is_named_and_the_rest_is_shown(name: str, content: str, tmp_path: Path) -> None:
    folder = attacked_run(tmp_path / "run")
    (folder / name).write_text(content)
    text = parsed(folder).text
    assert f"{name} is damaged" in text
    assert "Loss, nats per target" in text


def test_damaged_lines_of_predictions_are_counted(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    write_evaluation(folder, label_lines(20))
    with (folder / "evaluation/test.predictions.jsonl").open("a") as file:
        file.write('{"prediction": 1\n"text"\n')
    assert "2 lines of test.predictions.jsonl are damaged" in parsed(folder).text


def test_a_damaged_run_is_an_error(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    (folder / "run.json").write_text("{")
    with pytest.raises(RunError, match=r"run\.json"):
        read_content(Run(folder))


def test_a_large_run_has_a_small_report(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    labels = [f"label {number} " + "长" * 200 for number in range(300)]
    lines = [{"prediction": "字" * 5000, "reference": labels[number % 300], "loss": 1.0} for number in range(2000)]
    per_class = {label: {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 9} for label in labels}
    for name in ("test", "validation", "data", "other"):
        write_evaluation(
            folder, lines, inputs=[{"text": "长" * 9000}] * 2000, name=name, details={"per_class": per_class}
        )
    assert len(report_of(folder).encode()) < 600_000

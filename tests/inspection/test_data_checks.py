"""`llmkit data check`: what each check finds, with its rows, its severity and the exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from facts import says
from tiny_recipes import (
    CHOOSE,
    CLASSIFY,
    INSTRUCT,
    SUMMARIZE,
    TAG,
    WORDS,
    WRITE,
    llmkit,
    rows,
    write_conll,
    write_jsonl,
)

from llmkit.api import Finding, check_data
from llmkit.inspection.languages import main_script
from llmkit.inspection.near import near_pairs

FILES = "train: train.jsonl, validation: validation.jsonl"


def check(
    *, recipe: str = CLASSIFY, data: str = FILES, folder: Path, **files: list[dict[str, object]]
) -> list[Finding]:
    for name, records in files.items():
        write_jsonl(folder / f"{name}.jsonl", records)  # type: ignore[arg-type]
    path = folder / "recipe.yaml"
    recipe = recipe.replace("train: rows.jsonl, validation: 20%", data)
    path.write_text(recipe.replace("vocab_size: 200", "vocab_size: 120"))  # these texts have no 200 tokens
    return list(check_data(path).findings)


def named(findings: list[Finding], name: str) -> Finding:
    [finding] = [finding for finding in findings if finding.check == name]
    return finding


def places(finding: Finding) -> list[str]:
    return [row.place for row in finding.rows]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_clean_rows_have_neither_errors_nor_warnings(here: Path) -> None:
    findings = check(folder=here, train=rows(), validation=rows(20, seed=1))
    assert [finding for finding in findings if finding.severity != "info"] == []
    says(named(findings, "scripts").message, "Latin")


def test_faults_of_rows_are_found_at_their_places(here: Path) -> None:
    train, held = rows(), rows(20, seed=1)
    train[3] |= {"text": train[2]["text"], "label": train[2]["label"]}
    train[5] |= {"text": train[4]["text"]}  # the other label
    train[6] |= {"text": "  "}
    train[7] |= {"label": None}  # type: ignore[dict-item]
    train[8] |= {"text": "the cafÃ© is open today"}
    train[9] |= {"text": "a broken \ufffd character here"}
    train[10] |= {"text": "a bell \x07 rings"}
    held[0] |= {"text": train[0]["text"]}
    long_text = " ".join(WORDS["food"] * 10)
    train[11] |= {"text": long_text}
    held[1] |= {"text": f"{long_text.title()}!"}
    findings = check(folder=here, train=train, validation=held)
    expected = {
        "duplicates": ("warning", ["train.jsonl:4"]),
        "different-labels": ("warning", ["train.jsonl:5", "train.jsonl:6"]),
        "empty-rows": ("warning", ["train.jsonl:7"]),
        "bad-rows": ("error", ["train.jsonl:8"]),
        "encoding": ("warning", ["train.jsonl:9"]),
        "replacement": ("warning", ["train.jsonl:10"]),
        "control-characters": ("warning", ["train.jsonl:11"]),
        "leakage": ("error", ["validation.jsonl:1"]),
        "near-leakage": ("warning", ["validation.jsonl:2"]),
    }
    for name, (severity, where) in expected.items():
        finding = named(findings, name)
        assert (finding.severity, places(finding)) == (severity, where), name
        assert finding.count == len(where), name


def test_the_command_says_it_in_lines_and_in_json_and_exits_with_3(here: Path) -> None:
    train = rows()
    train[3] |= {"text": "a bell \x07 rings \u2028 twice"}
    write_jsonl(here / "train.jsonl", train)
    write_jsonl(here / "validation.jsonl", train[:20])
    (here / "recipe.yaml").write_text(CLASSIFY.replace("train: rows.jsonl, validation: 20%", FILES))
    outcome = llmkit("data", "check", "recipe.yaml")
    assert outcome.code == 3
    assert [line for line in outcome.out.splitlines() if len(line) > 80] == []
    says(outcome.out, "error: leakage: validation: 20 of 20")
    says(outcome.out, "train.jsonl:4", r"\u0007", r"\u2028")
    assert "\x07" not in outcome.out
    assert outcome.err.startswith("error[data]:")
    record = json.loads(llmkit("data", "check", "recipe.yaml", "--json").out)
    assert record["rows"] == {"train": 80, "validation": 20}
    assert record["counts"]["error"] == 1
    [leak] = [finding for finding in record["findings"] if finding["check"] == "leakage"]
    assert leak["rows"][0]["place"] == "validation.jsonl:1"


def test_warnings_alone_exit_with_3_only_under_strict(here: Path) -> None:
    train = rows()
    train[3] |= {"text": "a bell \x07 rings"}
    write_jsonl(here / "rows.jsonl", train)
    (here / "recipe.yaml").write_text(CLASSIFY)
    assert llmkit("data", "check", "recipe.yaml").code == 0
    assert llmkit("data", "check", "recipe.yaml", "--strict").code == 3


def test_rows_that_the_recipe_leaves_out_are_no_error(here: Path) -> None:
    train = [*rows(), {"text": "no label"}]
    findings = check(data="train: train.jsonl, validation: 20%, skip_bad_rows: true", folder=here, train=train)
    assert named(findings, "bad-rows").severity == "warning"


def test_a_text_over_the_limit_is_an_error_under_overflow_error_alone(here: Path) -> None:
    train = rows()
    train[2] |= {"text": " ".join(WORDS["food"] * 10)}
    for overflow, name, severity in (("error", "encoding-error", "error"), ("truncate", "lengths", "warning")):
        findings = check(
            recipe=f"{CLASSIFY}overflow: {overflow}\n", folder=here, train=train, validation=rows(20, seed=1)
        )
        assert severity in {finding.severity for finding in findings if finding.check == name}, overflow


def test_a_model_that_cannot_be_loaded_leaves_the_other_checks(here: Path) -> None:
    recipe = CLASSIFY.replace("{architecture: bert, size: tiny, tokenizer: {vocab_size: 200}}", "owner/absent")
    findings = check(recipe=recipe, folder=here, train=[*rows(), *rows()], validation=rows(20, seed=1))
    assert named(findings, "lengths").severity == "warning"
    assert named(findings, "duplicates").count == 80


def test_label_counts_name_rare_missing_unseen_and_similar_labels(here: Path) -> None:
    train, held = rows(), rows(20, seed=1)
    train[0] |= {"label": "rare"}
    train[1] |= {"label": "Sport"}
    held = [row for row in held if row["label"] == "food"]
    held[0] |= {"label": "rare"}
    findings = check(folder=here, train=train, validation=held)
    says(named(findings, "rare-labels").message, "'rare' (1)", "'Sport' (1)")
    says(named(findings, "missing-labels").message, "'sport'")
    says(named(findings, "similar-labels").message, "'sport'", "'Sport'")
    assert places(named(findings, "rare-labels")) == ["train.jsonl:1", "train.jsonl:2"]


def test_the_tags_of_several_labels_are_looked_at_one_by_one(here: Path) -> None:
    records = [{"text": row["text"], "labels": [row["label"], "all"]} for row in rows(120)]
    for index in range(10, 70, 10):
        records[index]["labels"] = ["sport", "all"]  # its words are those of food
    recipe = f"{CLASSIFY}multilabel: true\n"
    findings = check(recipe=recipe, data="train: train.jsonl, validation: 20%", folder=here, train=records)
    assert {"train.jsonl:31", "train.jsonl:51"} <= set(places(named(findings, "suspect-labels")))


@pytest.mark.parametrize(
    ("first", "second", "near"),
    [
        (
            "The quick brown fox jumps over the lazy dog near the river",
            "the quick brown fox  jumps over the lazy dog, near the river",
            True,
        ),
        (
            "敏捷的棕色狐狸跳过了河边那只懒惰的狗然后回家睡觉去了它明天早上还要早起去山上和朋友们一起采蘑菇",
            "敏捷的棕色狐狸跳过了河边那只懒惰的狗然后回家睡觉去啦它明天早上还要早起去山上和朋友们一起采蘑菇",
            True,
        ),
        ("ok", "ok!", False),
        ("one text about the weather in spring", "another that has nothing to do with it", False),
        ("a", "A", True),
    ],
)
def test_texts_are_near_by_their_characters(first: str, second: str, near: bool) -> None:
    assert bool(near_pairs([first, "something else entirely, and long enough", second])) == near


def test_each_of_many_near_texts_is_paired_with_an_earlier_one() -> None:
    base = " ".join(WORDS["food"] + WORDS["sport"])
    texts = [f"{base} {number}" for number in range(200)]
    assert {pair.second for pair in near_pairs(texts)} == set(range(1, 200))
    assert all(pair.first < pair.second for pair in near_pairs(texts))


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("hello мир", "Latin"),
        ("привет", "Cyrillic"),
        ("漢字かな", "Han"),
        ("שלום", "Hebrew"),
        ("12 + 3", None),
        ("ＡＢ", "Latin"),
    ],
)
def test_the_script_is_that_of_most_letters(text: str, script: str | None) -> None:
    assert main_script(text) == script


@pytest.mark.parametrize(
    "text", ["naïve café", "«СССР» и Рё", "garçon À»", "Ünïcode", "€ 5 – “quoted”", "עברית", "日本語"]
)
def test_text_in_its_own_encoding_is_no_mojibake(text: str, here: Path) -> None:
    train = rows()
    train[0] |= {"text": text}
    assert "encoding" not in {finding.check for finding in check(folder=here, train=train, validation=rows(20, seed=1))}


@pytest.mark.parametrize("codec", ["cp1252", "cp1251"])
def test_utf_8_that_was_read_as_bytes_is_found(codec: str, here: Path) -> None:
    text = {"cp1252": "déjà vu — “quoted”", "cp1251": "привет мир"}[codec]
    train = rows()
    train[0] |= {"text": "".join(bytes([byte]).decode(codec, errors="ignore") or chr(byte) for byte in text.encode())}
    findings = check(folder=here, train=train, validation=rows(20, seed=1))
    assert places(named(findings, "encoding")) == ["train.jsonl:1"]


def test_summaries_as_long_as_their_texts_are_found(here: Path) -> None:
    train = rows()
    train[4] |= {"summary": train[4]["text"]}
    recipe = SUMMARIZE.replace("model: tiny-t5", "model: owner/absent")
    findings = check(recipe=recipe, folder=here, train=train, validation=rows(20, seed=1))
    assert places(named(findings, "target-lengths")) == ["train.jsonl:5"]


def test_translations_of_an_unusual_length_are_found(here: Path) -> None:
    records = [{"source": row["text"], "target": row["text"].upper()} for row in rows()]
    records[4]["target"] *= 5
    recipe = SUMMARIZE.replace("model: tiny-t5", "model: owner/absent").replace("summarization", "translation")
    recipe += "source_language: en\ntarget_language: de\n"
    findings = check(recipe=recipe, data="train: train.jsonl, validation: 20%", folder=here, train=records)
    assert places(named(findings, "target-lengths")) == ["train.jsonl:5"]


def test_spans_that_cut_words_are_found_and_not_in_scripts_without_spaces(here: Path) -> None:
    spans = [("London is big", 0, 6), ("London is big", 0, 4), ("我在北京工作", 2, 4), ("in New York", 4, 11)]
    records = [
        {"text": text, "spans": [{"start": start, "end": end, "label": "PLACE"}]} for text, start, end in spans * 10
    ]
    recipe = TAG.replace("rows.conll, validation: 20%", "train.jsonl, validation: 20%")
    findings = check(recipe=recipe, folder=here, train=records)
    assert named(findings, "cut-words").count == 20
    assert {row.note for row in named(findings, "cut-words").rows} == {"Lond", "ew York"}


def test_questions_about_a_passage_of_train_are_found(here: Path) -> None:
    def question(passage: str, asked: str) -> dict[str, object]:
        return {
            "context": f"{passage} is a long passage",
            "question": asked,
            "answers": {"text": [passage], "answer_start": [0]},
        }

    train = [question(f"{number} horses run", asked) for number in range(20) for asked in ("who", "what")]
    held = [question("3 horses run", "where"), question("nobody else", "who")]
    recipe = CLASSIFY.replace("classification", "question-answering")
    findings = check(recipe=recipe, folder=here, train=train, validation=held)
    leak = named(findings, "leakage")
    assert (leak.count, places(leak)) == (1, ["validation.jsonl:1"])
    says(leak.message, "context")


def test_clusters_that_train_has_too_are_found(here: Path) -> None:
    train = [{**row, "author": f"a{number}"} for number, row in enumerate(rows())]
    held = [{**row, "author": f"b{number}"} for number, row in enumerate(rows(20, seed=1))]
    held[3]["author"] = "a5"
    findings = check(data=f"{FILES}, cluster: author", folder=here, train=train, validation=held)
    leak = named(findings, "leakage")
    assert (places(leak), leak.rows[0].note) == (["validation.jsonl:4"], "as train.jsonl:6")


@pytest.mark.parametrize("recipe", [WRITE, INSTRUCT, CHOOSE, TAG], ids=["causal-lm", "instruction", "choice", "tags"])
def test_rows_of_every_layout_are_checked(recipe: str, here: Path) -> None:
    write_jsonl(here / "rows.jsonl", [*rows(), *rows()])
    write_conll(here / "rows.conll")
    (here / "recipe.yaml").write_text(recipe)
    report = check_data(here / "recipe.yaml")
    assert report.counts["error"] == 0
    if recipe != TAG:
        assert sum(finding.count for finding in report.findings if finding.check == "duplicates") == 80
